"""Reading the zip archives that checkpoints are: torch's and NumPy's both have a checksum of each part in them."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mlframework.errors import CheckpointError, DamagedCheckpointError, RunError


@contextmanager
def open_checkpoint(path: Path) -> Iterator[BinaryIO]:
    """Open a checkpoint whose bytes are those that were written.

    `torch.load` does not look at the checksums that `torch.save` writes: it takes weights with a flipped bit as they are.

    Raises:
        CheckpointError: there is no such file.
        RunError: it cannot be opened, which says nothing of its content.
        zipfile.BadZipFile: it is cut short, or a bit of it has flipped.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such checkpoint") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None
    with file:
        with zipfile.ZipFile(file) as archive:
            part = archive.testzip()
        if part is not None:
            raise zipfile.BadZipFile(f"the checksum of {part} is wrong")
        file.seek(0)
        yield file


def damaged(path: Path, error: Exception) -> DamagedCheckpointError:
    """Return the error that says of a checkpoint what reading it has raised."""
    reason = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0][:200]
    return DamagedCheckpointError(
        f"{path}: cannot be read as a checkpoint; it is cut short or not ours ({reason}); delete the folder "
        f"{path.parent} to train from the first epoch",
        path.parent,
    )

"""A run's folder: what lies where in it, and writing that is never half done."""

import errno
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlframework.errors import RunError

FORMAT = 1
"""Version of the public file formats: result.json, results.json, metrics.jsonl, model_meta.json, study.json."""


FILE_MODE, FOLDER_MODE = 0o664, 0o775
"""What files and folders are made with, before the umask: a group may share them where that allows it, the world never."""


@dataclass(frozen=True)
class RunDir:
    """The folder of one run.

    config.yaml, metrics.jsonl (a line an epoch), result.json, environment.json, test_ledger.jsonl,
    checkpoints/, artifacts/, and TensorBoard's event files.
    """

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def test_ledger(self) -> Path:
        return self.path / "test_ledger.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    @classmethod
    def create(cls, root: Path, name: str) -> "RunDir":
        """Make a new folder `root/name`, or `root/name-2` and so on where that exists: none is ever overwritten.

        Raises:
            RunError: the folder cannot be made.
        """
        with writing(root / name):
            make_folder(root)
            number = 1
            while True:
                path = root / _numbered(name, number)
                try:
                    path.mkdir(FOLDER_MODE)
                except FileExistsError:
                    number += 1
                else:
                    return cls(path)

    @classmethod
    def upcoming(cls, root: Path, name: str) -> "RunDir":
        """Return the run that `create` would make now; nothing is made."""
        number = 1
        while (root / _numbered(name, number)).exists():
            number += 1
        return cls(root / _numbered(name, number))

    @classmethod
    def open(cls, path: Path) -> "RunDir":
        """Return an existing run.

        Raises:
            RunError: it is no run folder; the message names the runs that are there.
        """
        run = cls(path)
        if not run.config.is_file():
            others = sorted(str(found.parent) for found in path.parent.glob("*/config.yaml"))
            listed = f"; runs there: {', '.join(others[:10])}" if others else ""
            what = "has no config.yaml, it is not a run folder" if path.exists() else "there is no such run"
            raise RunError(f"{path}: {what}{listed}")
        return run

    def read_result(self) -> dict[str, Any] | None:
        """Return result.json, or None for a run that has not ended."""
        return read_json(self.result) if self.result.is_file() else None


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def run_name(name: str, overrides: Mapping[str, object]) -> str:
    """Return the folder name of a run: the config's name, and what was overridden, `digits_lr-0.01_batch_size-64`."""
    parts = [name, *(f"{key.split('.')[-1]}-{value}" for key, value in overrides.items())]
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in "_".join(parts))[:120]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write into an error that says what to do.

    Raises:
        RunError: the disk is full, the folder is read-only, or a file stands in the way.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path | str, error: OSError) -> RunError:
    """Return the error that says of a file why it cannot be written, and what to do."""
    remedies = {
        errno.ENOSPC: "the disk is full; make room, then go on with --resume",
        errno.EDQUOT: "the disk quota is used up; make room, then go on with --resume",
        errno.EFBIG: "the file would be larger than this system allows; raise the limit (ulimit -f), then go on with --resume",
        errno.EROFS: "the file system is read-only; run in a folder that you can write to",
        errno.EACCES: "you may not write there; run in a folder that you can write to, or mend its permissions",
        errno.EPERM: "you may not write there; run in a folder that you can write to, or mend its permissions",
        errno.ENOTDIR: "a file stands where a folder is needed; move it away",
        errno.EEXIST: "a file stands where a folder is needed; move it away",
        errno.ENOENT: "its folder was removed meanwhile; go on with --resume",
    }
    return RunError(f"{path}: cannot be written: {remedies.get(error.errno or 0, error.strerror or error)}")


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing; whatever the umask is, none that everybody may write to."""
    if path.is_dir():
        return
    # A folder's mode says nothing of those above it that Path.mkdir(parents=True) makes.
    for folder in (*reversed(path.parents), path):
        if not folder.is_dir():
            folder.mkdir(FOLDER_MODE, exist_ok=True)


@contextmanager
def replacing(path: Path, former: Path | None = None) -> Iterator[Path]:
    """Yield a temporary file beside `path` that takes its place when the block ends well: readers see old or new.

    After a power cut, too: the bytes are on the disk before the file has its name.

    Args:
        path: the file.
        former: what the old file is called from now on; None: it is gone.

    Raises:
        RunError: see `writing`.
    """
    temporary = None
    with writing(path):
        make_folder(path.parent)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        try:
            yield Path(temporary)
            os.chmod(temporary, FILE_MODE & ~_umask())
            _sync(Path(temporary))
            if former is not None:
                with suppress(FileNotFoundError):
                    os.replace(path, former)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def sync_folder(folder: Path) -> None:
    """Wait until the names of the files in a folder are on the disk.

    Raises:
        RunError: see `writing`.
    """
    if hasattr(os, "O_DIRECTORY"):  # Windows can't open a folder
        with writing(folder):
            _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):  # a file system that has no such thing
            raise
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file atomically. What is not a number is written as null: NaN is no JSON."""
    write_text(path, _json(value, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that `write_json` wrote.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path}: there is no such file") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: is damaged: {error}") from None
    if not isinstance(value, dict):
        raise RunError(f"{path}: should hold a JSON object, got {type(value).__name__}")
    return value


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Add one JSON line with a single write, so that a reader never sees half a line.

    Raises:
        RunError: see `writing`; the file is as it was.
    """
    # Its folder is not made: one that was removed while its run goes on would come back without the run's config.
    line = (_json(record) + "\n").encode()
    with writing(path):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
        try:
            write_whole(handle, line)
        finally:
            os.close(handle)


def write_whole(handle: int, data: bytes) -> None:
    """Write at the end of a file, all of it or nothing.

    Raises:
        OSError: the disk is full; the file is as it was.
    """
    size, left = os.fstat(handle).st_size, memoryview(data)
    try:
        while left:  # only a disk that is nearly full takes a part of it, and then says why it takes no more
            left = left[os.write(handle, left) :]
    except OSError:
        with suppress(OSError):  # no file, but a device
            os.ftruncate(handle, size)
        raise


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write a file of JSON lines atomically."""
    write_text(path, "".join(_json(record) + "\n" for record in records))


def _json(value: Mapping[str, Any], indent: int | None = None) -> str:
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):  # not a number, or no dict: seldom, and to look first at all of it takes as long
        return json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def _umask() -> int:
    # It can be read only by setting it, and what another thread makes meanwhile must be nobody else's.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

"""A run folder as a parcel: what a worker on a machine with a disk of its own sends, and is given."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from mlframework.errors import RunError
from mlframework.runs import replacing

Parcel = Mapping[str, bytes]
"""Path of each file below the folder, with `/` between its parts, and what is in it."""
_ATTEMPTS = 5


def pack(folder: Path) -> Parcel:
    """Return the files of a folder; one that stands there under two names is held once. Links to elsewhere stay behind."""
    found: dict[str, bytes] = {}
    held: dict[tuple[int, int], bytes] = {}
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or path.is_symlink() or not path.is_file():
            continue  # a name with a dot is a file that is being written
        with suppress(FileNotFoundError):
            status = path.stat()
            key = (status.st_dev, status.st_ino)
            if key not in held:
                held[key] = path.read_bytes()
            found[path.relative_to(folder).as_posix()] = held[key]
    return found


def size_of(parcel: Parcel) -> int:
    """Return its bytes."""
    return sum(len(content) for content in {id(each): each for each in parcel.values()}.values())


def unpack(parcel: Parcel, folder: Path) -> None:
    """Make a folder hold what a parcel holds, and nothing else.

    Raises:
        RunError: a file of it would lie outside the folder, and nothing was written; or the disk takes no more.
    """
    for name in parcel:
        _refuse_outside(name, folder)
    for name, content in parcel.items():
        _put(folder / name, content)
    _remove_others(folder, set(parcel))


def _put(path: Path, content: bytes) -> None:
    """Write a file; who clears away the checkpoints of a trial that is over may take the folder away meanwhile."""
    if path.is_symlink():
        path.unlink()
    for left in reversed(range(_ATTEMPTS)):
        try:
            with replacing(path) as temporary:
                temporary.write_bytes(content)
            return
        except RunError as error:
            if not left or not isinstance(error.__cause__, FileNotFoundError):
                raise


def _refuse_outside(name: str, folder: Path) -> None:
    pure = PurePosixPath(name)
    inside = name and not pure.is_absolute() and ".." not in pure.parts and "\\" not in name and "\0" not in name
    # A link that stands in the folder could lead out of it, too.
    if not inside or not (folder / pure).parent.resolve().is_relative_to(folder.resolve()):
        raise RunError(f"a worker sent a file {name!r}, which would lie outside {folder}: nothing of it was written")


def _remove_others(folder: Path, kept: set[str]) -> None:
    for root, folders, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(root, name)
            if path.relative_to(folder).as_posix() not in kept:
                path.unlink(missing_ok=True)
        for name in folders:
            with suppress(OSError):  # not empty, or a link
                Path(root, name).rmdir()

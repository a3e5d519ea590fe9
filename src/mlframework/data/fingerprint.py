"""The fingerprint of data: tells whether a training reads the same bytes as another one did, wherever they lie.

Of a table and of a log every byte counts. Of a folder of images their names, which say their classes and splits, and
their sizes count; every byte of them does up to `CONTENT_UP_TO`, beyond which they would take too long to read, and the
fingerprint says so. Times of change do not count: a copy has others.
"""

import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from itertools import repeat
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np

from mlframework.config.base import Config
from mlframework.config.decode import decode
from mlframework.config.override import get
from mlframework.config.yaml import Document
from mlframework.data import AnyConfig, DataConfig
from mlframework.data.image_files import MAX_THREADS, scan_image_folder
from mlframework.data.images import ImageFolderConfig
from mlframework.data.interactions import InteractionsConfig
from mlframework.data.table_file import known_suffix, reading
from mlframework.errors import DataError

CONTENT_UP_TO = 2**30
"""Bytes of a folder's images that are read for a fingerprint; of a larger one names and sizes count alone."""
CONTENT, NAMES = "content", "names and sizes"
Read: TypeAlias = tuple[str, str, tuple[tuple[str, int], ...]]
"""Digest, what it covers, and counts."""
_BLOCK = 2**16  # what fits into the processor's cache is hashed and counted fastest
_DIGEST_SIZE = 16
_NEWLINE = ord("\n")
_KEPT = 8
_TICK = 100_000_000  # ns: longer than any system's clock takes from one time of change to the next


@dataclass(frozen=True)
class Source:
    """One file or folder that data is read from.

    Attributes:
        setting: its key in the config, `data.path`.
        path: as the config has it; it says nothing of the content.
        digest: of the content.
        covers: `content`, or `names and sizes` of images that are too many to read.
        counts: what a person counts: `{"lines": 570, "bytes": 119000}`; images and classes of a folder, rows of parquet.
    """

    setting: str
    path: str
    digest: str
    covers: str
    counts: Mapping[str, int]

    @classmethod
    def from_dict(cls, written: Mapping[str, Any]) -> Self:
        """Return the source that was written."""
        texts = {key: str(written[key]) for key in ("setting", "path", "digest", "covers")}
        return cls(**texts, counts={str(name): int(count) for name, count in written["counts"].items()})

    def is_same(self, other: "Source") -> bool:
        """Whether both have the same content, wherever they lie."""
        return (self.digest, self.covers) == (other.digest, other.covers)

    def described(self) -> str:
        """Return the counts in words: `570 lines, 119,000 bytes`."""
        return ", ".join(f"{count:,} {name}" for name, count in self.counts.items())


@dataclass(frozen=True)
class Fingerprint:
    """What a config's `data:` section reads, one source a file or folder."""

    sources: tuple[Source, ...]

    @property
    def digest(self) -> str:
        """Return what is equal where all contents are: paths have no say in it."""
        told = "\n".join(f"{source.setting} {source.covers} {source.digest}" for source in self.sources)
        return blake2b(told.encode(), digest_size=_DIGEST_SIZE).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the fingerprint as it is written into environment.json and into a study."""
        return {"digest": self.digest, "sources": [asdict(source) for source in self.sources]}

    @classmethod
    def from_dict(cls, written: Mapping[str, Any]) -> Self:
        """Return the fingerprint that was written.

        Raises:
            DataError: it is damaged.
        """
        try:
            return cls(tuple(Source.from_dict(each) for each in written["sources"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            what = "the record of the data that was trained on is damaged (`data` in environment.json, or in the study)"
            raise DataError(what) from None

    def changes(self, now: "Fingerprint") -> list[str]:
        """Say in words what is other than it was, a line a source; nothing where all contents are the same."""
        before = {source.setting: source for source in self.sources}
        after = {source.setting: source for source in now.sources}
        lines = []
        for setting in dict.fromkeys((*before, *after)):
            then, present = before.get(setting), after.get(setting)
            if then is None:
                lines.append(f"{setting}: nothing then, {after[setting].path} now")
            elif present is None:
                lines.append(f"{setting}: {then.path} then, nothing now")
            elif not then.is_same(present):
                lines.append(f"{setting}: {present.path}: {_change(then.counts, present.counts)}")
        return lines


def _change(then: Mapping[str, int], now: Mapping[str, int]) -> str:
    """Say what a person would count: `570 lines then, 561 now`."""
    other = [name for name in dict.fromkeys((*then, *now)) if then.get(name) != now.get(name)]
    if not other:
        counted = ", ".join(f"{count:,} {name}" for name, count in now.items())
        return f"other content, though it has {counted} as then"
    return "; ".join(f"{_counted(then, name)} then, {_counted(now, name)} now" for name in other)


def _counted(counts: Mapping[str, int], name: str) -> str:
    return f"{counts[name]:,} {name}" if name in counts else f"no {name}"


class _DataSection(Config):
    """A config's data alone: what it reads can be told without the rest."""

    data: DataConfig


def fingerprint_of(tree: Mapping[str, Any]) -> Fingerprint | None:
    """Return the fingerprint of the data that a config's tree reads; None for a tree without data.

    Raises:
        ConfigError: the data section does not decode.
        DataError: a file is missing or cannot be read.
    """
    if "data" not in tree:
        return None
    found = fingerprint(decode(_DataSection, Document({"data": tree["data"]})).data)
    # As it is written: what a `${VAR}` stands for gets into no file.
    written = [replace(source, path=str(get(tree, source.setting) or source.path)) for source in found.sources]
    return Fingerprint(tuple(written))


def fingerprint(config: AnyConfig) -> Fingerprint:
    """Return the fingerprint of the files that a config's data is read from.

    Within a process each is read once, as long as it has not changed.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    read = _read_images if isinstance(config, ImageFolderConfig) else _read_file
    found = []
    for setting, path in paths_of(config).items():
        with reading(Path(path), setting) if read is _read_file else nullcontext():
            digest, covers, counts = read(Path(path), _stamp(Path(path)))
        found.append(Source(setting, path, digest, covers, dict(counts)))
    return Fingerprint(tuple(found))


def paths_of(config: AnyConfig) -> dict[str, str]:
    """Return the files and folders that data is read from, by the setting that names them."""
    paths = {"data.path": config.path}
    if isinstance(config, InteractionsConfig):
        tables = {"data.user_features": config.user_features, "data.item_features": config.item_features}
        paths |= {f"{key}.path": table.path for key, table in tables.items() if table is not None}
    return paths


def _stamp(path: Path) -> tuple[tuple[int, ...], ...]:
    """Return what is another one once a file was changed, or the folders of a folder were."""
    folders = [folder for pattern in ("*/", "*/*/") for folder in sorted(path.glob(pattern))] if path.is_dir() else []
    stats = [each.stat() for each in (path, *folders) if each.exists()]
    changed = tuple((each.st_dev, each.st_ino, each.st_size, each.st_mtime_ns, each.st_ctime_ns) for each in stats)
    # A clock's tick may hold two changes: what has just been written is read again each time.
    just_now = any(time.time_ns() - each.st_ctime_ns < _TICK for each in stats)
    return (*changed, (time.monotonic_ns(),)) if just_now else changed


@lru_cache(maxsize=_KEPT)
def _read_file(path: Path, _stamp: object) -> Read:
    """Read the fingerprint of a table or a log."""
    found, size, lines, last = blake2b(digest_size=_DIGEST_SIZE), 0, 0, _NEWLINE
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            found.update(block)
            size += len(block)
            lines += int(np.count_nonzero(np.frombuffer(block, np.uint8) == _NEWLINE))
            last = block[-1]
    counts: tuple[tuple[str, int], ...] = (("bytes", size),)
    if known_suffix(path) == ".parquet":
        counts = (("rows", _rows_of_parquet(path)), *counts)
    elif path.suffix.lower() != ".gz":
        counts = (("lines", lines + (last != _NEWLINE)), *counts)
    return found.hexdigest(), CONTENT, counts


def _rows_of_parquet(path: Path) -> int:
    import polars as pl

    try:
        return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path}: cannot be read as parquet: {error}; write the file again") from error


@lru_cache(maxsize=_KEPT)
def _read_images(path: Path, _stamp: object) -> Read:
    """Read the fingerprint of a folder of images."""
    folder = scan_image_folder(path)
    names = {os.path.relpath(file.path, path).replace(os.sep, "/"): file.path for file in folder.files}
    ordered = sorted(names)
    try:
        sizes = [os.stat(names[name]).st_size for name in ordered]
        covers = CONTENT if sum(sizes) <= CONTENT_UP_TO else NAMES
        with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
            contents = pool.map(_digest, (names[name] for name in ordered)) if covers == CONTENT else repeat(b"")
            found = blake2b(digest_size=_DIGEST_SIZE)
            for name, size, content in zip(ordered, sizes, contents, strict=False):
                # The length stands before a name, so that no two folders make the same stream of bytes.
                found.update(f"{len(name)} {name} {size} ".encode() + content)
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be read: {error.strerror}; check its permissions") from error
    counts = (("images", len(sizes)), ("classes", len(folder.class_names)), ("bytes", sum(sizes)))
    return found.hexdigest(), covers, counts


def _digest(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return blake2b(file.read(), digest_size=_DIGEST_SIZE).digest()

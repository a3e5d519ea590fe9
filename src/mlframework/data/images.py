"""Images in one folder a class: `ImageFolderConfig`, and the examples that it loads.

Two layouts: `path/<class>/*.png`, or `path/{train,val,test}/<class>/*.png`. Pixels are uint8 until a batch is made:
a quarter of the memory of floats, and the very bytes that prediction decodes.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mlframework.config.base import Config
from mlframework.data.image_files import ImageFile, decode_images, scan_image_folder
from mlframework.data.splits import Array, Loaded, Rows, SplitConfig
from mlframework.errors import DataError
from mlframework.machine import free_memory

UNREADABLE_NAMED = 5
CHECK_SIZE = 8


@dataclass(frozen=True)
class LazyPixels:
    """The pixels of image files, decoded when they are asked for: `pixels[rows]` is uint8 (b, 3, h, w)."""

    paths: tuple[str, ...]
    image_size: int

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: Rows) -> Array:
        """Decode these files, several at a time.

        Raises:
            DataError: a file can no longer be read.
        """
        paths = [self.paths[row] for row in rows]
        pixels, unreadable = decode_images(paths, self.image_size)
        if unreadable:
            position, reason = next(iter(unreadable.items()))
            raise DataError(
                f"{paths[position]}: could be read when the training began, but no longer ({reason}); put it back, or "
                "start again without it"
            )
        return pixels


@dataclass(frozen=True)
class ImageExamples:
    """Labelled images; `pixels[rows]` gives uint8 (b, 3, h, w) in both forms of pixels."""

    pixels: Array | LazyPixels
    targets: Rows
    """Index into `class_names`, (n,)."""
    class_names: tuple[str, ...]
    """Names of the class folders, sorted."""
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Rows) -> Self:
        """Return the images at these positions, in this order, as a copy."""
        paths = tuple(self.paths[row] for row in rows)
        if isinstance(self.pixels, LazyPixels):
            pixels: Array | LazyPixels = LazyPixels(paths, self.pixels.image_size)
        else:
            pixels = self.pixels[rows]
        return type(self)(pixels, self.targets[rows], self.class_names, paths)

    def concat(self, other: Self) -> Self:
        """Return these images followed by the others, which must be of the same classes, size and kind of cache."""
        if self.class_names != other.class_names:
            raise ValueError(f"images of different classes: {self.class_names} and {other.class_names}")
        paths = self.paths + other.paths
        pixels: Array | LazyPixels
        if isinstance(self.pixels, LazyPixels) and isinstance(other.pixels, LazyPixels):
            if self.pixels.image_size != other.pixels.image_size:
                raise ValueError(f"images of different sizes: {self.pixels.image_size}, {other.pixels.image_size}")
            pixels = LazyPixels(paths, self.pixels.image_size)
        elif isinstance(self.pixels, np.ndarray) and isinstance(other.pixels, np.ndarray):
            pixels = np.concatenate([self.pixels, other.pixels])
        else:
            raise TypeError("images kept in memory and images decoded on demand cannot be put together")
        return type(self)(pixels, np.concatenate([self.targets, other.targets]), self.class_names, paths)


class ImageFolderConfig(Config):
    """Images in one folder a class."""

    task: ClassVar[Literal["classification"]] = "classification"

    type: Literal["image_folder"]
    """The kind of data."""
    path: str
    """Folder that holds class/*.png, or {train,val,test}/class/*.png; PNG, JPEG, WebP, BMP, GIF, TIFF and PNM are read."""
    image_size: int = Field(default=224, ge=8, le=2048)
    """Side in pixels of the square that every image is resized to."""
    augment: Literal["none", "light", "standard"] = "none"
    """Random changes of the training images: light shifts and turns a little, standard also crops, flips and recolours."""
    cache: Literal["none", "memory"] = "memory"
    """Where decoded images are kept: memory decodes each once, none decodes each of them again in every epoch."""
    max_unreadable_fraction: float = Field(default=0.05, ge=0, le=1)
    """Largest share of files that may be unreadable, and are then skipped with a warning; more than this is an error."""
    fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of the training split that is used; val and test stay whole."""
    split: SplitConfig = SplitConfig()
    """How the images are cut into train, val and test; not used for the splits that have their own folder."""

    @model_validator(mode="after")
    def _has_no_time(self) -> Self:
        if self.split.strategy == "time":
            raise ValueError("an image folder has no time to split by; set split.strategy to stratified or random")
        return self

    def load(self) -> Loaded[ImageExamples]:
        """Find the images, decode them (cache: none only checks them), and return them all.

        Raises:
            DataError: the folder or its layout cannot be used, too many files are unreadable, or memory is too small.
        """
        root = Path(self.path)
        folder = scan_image_folder(root)
        paths = [file.path for file in folder.files]
        # cache: none decodes all of them too, at the smallest size: a broken file then shows at once, not hours later.
        pixels, unreadable = self._decode(paths, self.image_size if self.cache == "memory" else CHECK_SIZE)
        if unreadable:
            _report_unreadable(root, paths, unreadable, self.max_unreadable_fraction)
        kept = np.array([row for row in range(len(paths)) if row not in unreadable], dtype=np.int64)
        files = [folder.files[row] for row in kept]
        _check_class_counts(root, folder.class_names, files)
        kept_paths = tuple(file.path for file in files)
        if self.cache == "none":
            kept_pixels: Array | LazyPixels = LazyPixels(kept_paths, self.image_size)
        else:
            kept_pixels = pixels[kept] if unreadable else pixels
        targets = np.array([file.target for file in files], dtype=np.int64)
        return Loaded(
            examples=ImageExamples(kept_pixels, targets, folder.class_names, kept_paths),
            given=_rows_by_split(files),
            stratify=targets,
            class_names=folder.class_names,
        )

    def _decode(self, paths: list[str], image_size: int) -> tuple[Array, dict[int, str]]:
        n_bytes, free = len(paths) * 3 * image_size**2, free_memory()
        try:
            if free is not None and n_bytes > free:
                raise MemoryError
            return decode_images(paths, image_size, progress="Reading images")
        except MemoryError:
            raise DataError(
                f"{self.path}: {len(paths)} images of {image_size} x {image_size} pixels need {n_bytes / 1e9:.1f} GB, which "
                "the memory does not hold; set data.cache to none, or make data.image_size smaller"
            ) from None


def _report_unreadable(root: Path, paths: list[str], unreadable: dict[int, str], allowed: float) -> None:
    """Warn of unreadable images, or raise DataError where they are more than the allowed share."""
    listing = [f"{Path(paths[row]).relative_to(root)} ({reason})" for row, reason in unreadable.items()]
    named = ", ".join(listing[:UNREADABLE_NAMED])
    if len(listing) > UNREADABLE_NAMED:
        named += f" and {len(listing) - UNREADABLE_NAMED} more"
    if len(unreadable) > allowed * len(paths):
        raise DataError(
            f"{root}: {len(unreadable)} of {len(paths)} images cannot be read, more than data.max_unreadable_fraction "
            f"{allowed} allows: {named}; mend or delete them, or raise data.max_unreadable_fraction"
        )
    warnings.warn(
        f"{len(unreadable)} of {len(paths)} images cannot be read and are skipped: {named}", UserWarning, stacklevel=3
    )


def _check_class_counts(root: Path, class_names: tuple[str, ...], files: list[ImageFile]) -> None:
    """Require of each class as many images to learn from as a split needs: two, or one where val has a folder."""
    splits = {file.split for file in files}
    needed = 1 if "val" in splits else 2
    counts = np.zeros(len(class_names), dtype=np.int64)
    for file in files:
        counts[file.target] += file.split in (None, "train")
    small = [f"{name} ({count})" for name, count in zip(class_names, counts, strict=True) if count < needed]
    if small:
        raise DataError(
            f"{root}: each class needs at least {needed} readable images to train with, but these have fewer: "
            f"{', '.join(small)}; add images to these folders or take the folders away"
        )


def _rows_by_split(files: list[ImageFile]) -> dict[str, Rows] | None:
    by_split: dict[str, list[int]] = {}
    for row, file in enumerate(files):
        if file.split is not None:
            by_split.setdefault(file.split, []).append(row)
    return {name: np.array(rows, dtype=np.int64) for name, rows in by_split.items()} or None

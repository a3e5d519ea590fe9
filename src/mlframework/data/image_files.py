"""Image files: finding them in a folder, and decoding them into pixels."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlframework.data.splits import Array
from mlframework.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"})
SPLIT_NAMES = ("train", "val", "test")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""What a file may be, whatever it is called: Pillow would look for others, and starts Ghostscript for one of them."""
MAX_PIXELS = 90_000_000
"""Of an image as it is decoded: each takes 270 MB in each thread. Some hundred bytes of PNG may say that they are more."""
PROGRESS_FROM = 2000
MAX_THREADS = 16


@dataclass(frozen=True)
class ImageFile:
    """One image of a folder: where it lies, the index of its class, and its split where it lies in a split's folder."""

    path: str
    target: int
    split: str | None


@dataclass(frozen=True)
class ImageFolder:
    """What a folder of images holds: class names, sorted, and files in the order of split, class and path."""

    class_names: tuple[str, ...]
    files: tuple[ImageFile, ...]


def scan_image_folder(root: Path) -> ImageFolder:
    """Find the images under `root`, by class and, where there is a train folder, by split.

    Hidden files and files without an image's suffix are passed over; class folders may have folders of their own.

    Raises:
        DataError: the folder is missing, is no folder, cannot be listed, or is not laid out as classes.
    """
    if not root.exists():
        raise DataError(f"{root}: there is no such folder; correct data.path")
    if not root.is_dir():
        raise DataError(f"{root} is a file, not a folder; data.path must name the folder that holds the class folders")
    try:
        names = _folders(root)
        if any(name in SPLIT_NAMES and _is_split(root / name) for name in names):
            return _scan_splits(root, names)
        _check_classes(root, names)
        files = [ImageFile(path, i, None) for i, name in enumerate(names) for path in _images(root / name)]
    except OSError as error:
        raise DataError(f"{error.filename or root}: cannot be read: {error.strerror}; check its permissions") from error
    return ImageFolder(tuple(names), tuple(files))


def _scan_splits(root: Path, names: list[str]) -> ImageFolder:
    others = [name for name in names if name not in SPLIT_NAMES]
    if "train" not in names:
        raise DataError(f"{root}: there is {' and '.join(names)} but no train folder; add {root / 'train'}")
    if others:
        raise DataError(
            f"{root}: beside train there is {', '.join(others)}, which is no split; name the folders train, val and "
            "test, or move the others away"
        )
    class_names = _folders(root / "train")
    _check_classes(root / "train", class_names)
    files = []
    for split in (name for name in SPLIT_NAMES if name in names):
        found = _folders(root / split)
        if found != class_names:
            missing, extra = sorted(set(class_names) - set(found)), sorted(set(found) - set(class_names))
            raise DataError(
                f"{root / split}: its classes are not those of {root / 'train'} (missing: {', '.join(missing) or 'none'}; "
                f"extra: {', '.join(extra) or 'none'}); give all splits the same class folders"
            )
        paths = [(path, i) for i, name in enumerate(class_names) for path in _images(root / split / name)]
        if not paths:
            raise DataError(f"{root / split}: no images in it; put some there, or take the folder away")
        files += [ImageFile(path, target, split) for path, target in paths]
    return ImageFolder(tuple(class_names), tuple(files))


def _check_classes(root: Path, names: list[str]) -> None:
    if not names:
        if any(_is_image(path) for path in root.iterdir()):
            raise DataError(f"{root}: the images lie directly in it; put them in one folder a class: {root}/<class>/")
        raise DataError(f"{root}: empty, no class folders in it; it must hold one folder of images a class")
    empty = [name for name in names if next(_images(root / name), None) is None]
    if len(empty) == len(names):
        kinds = ", ".join(sorted(SUFFIXES))
        raise DataError(f"{root}: no images in its folders {', '.join(names[:10])}; what can be read: {kinds}")
    if empty:
        raise DataError(f"{root}: no images in {', '.join(empty)}; add images, or take these folders away")
    if len(names) == 1:
        inner = _folders(root / names[0])
        hint = f"did you mean {root / names[0]}?" if len(inner) > 1 else "add a folder for each other class"
        raise DataError(f"{root}: only one class, {names[0]!r}, and telling classes apart needs two; {hint}")


def _is_split(folder: Path) -> bool:
    """Tell a split's folder (folders of images) from a class that happens to be called train (images)."""
    return bool(_folders(folder)) and not any(_is_image(path) for path in folder.iterdir())


def _folders(root: Path) -> list[str]:
    """Return the names of the folders in `root`, sorted; hidden ones and the Mac's zip leftovers are passed over."""
    with os.scandir(root) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(".") and e.name != "__MACOSX")


def _images(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str]:
    """Yield the images under `folder`, each folder's in the order of their names, then its folders'.

    Raises:
        DataError: a link leads to a folder above it, so that there would be no end.
    """
    about = folder.stat()
    identity = about.st_dev, about.st_ino
    if identity in above:
        raise DataError(f"{folder}: is a link to a folder that it lies in; delete the link")
    with os.scandir(folder) as entries:
        found = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    yield from (e.path for e in found if os.path.splitext(e.name)[1].lower() in SUFFIXES and e.is_file())
    for entry in found:
        if entry.is_dir():
            yield from _images(Path(entry.path), above | {identity})


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def decode_images(paths: list[str], image_size: int, progress: str | None = None) -> tuple[Array, dict[int, str]]:
    """Decode many files at once, in threads (PIL works outside the interpreter's lock).

    With `progress`, a text, a bar is drawn on stderr where that is a terminal and the files are many.

    Returns:
        pixels uint8 (n, 3, image_size, image_size), and the reasons of the files that cannot be read, by position in
        `paths`; their pixels are undefined.
    """
    pixels = np.empty((len(paths), 3, image_size, image_size), dtype=np.uint8)
    unreadable: dict[int, str] = {}

    def decode(row: int) -> tuple[int, str | None]:
        try:
            pixels[row] = _decode(paths[row], image_size)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - PIL's decoders raise whatever a broken file leads them to
            return row, _reason(error)
        return row, None

    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        for row, reason in _with_progress(pool.map(decode, range(len(paths))), len(paths), progress):
            if reason is not None:
                unreadable[row] = reason
    return pixels, unreadable


def decode_image(path: str | Path, image_size: int) -> Array:
    """Decode one file into uint8 (3, image_size, image_size), RGB.

    Training and prediction both come through here. Upright by the EXIF orientation, transparent parts on white, 16-bit
    grey scaled to 8, the first frame of an animation, stretched to the square with antialiasing.

    Raises:
        DataError: the file is missing, or cannot be read as an image.
    """
    pixels, unreadable = decode_images([str(path)], image_size)
    if unreadable:
        raise DataError(f"{path}: cannot be read as an image ({unreadable[0]}); replace or delete it")
    return np.asarray(pixels[0])


def _decode(path: str, image_size: int) -> Array:
    from PIL import Image, ImageOps

    if not os.path.isfile(path) and os.path.exists(path):
        raise ValueError("a pipe or a device")  # of which there may be no end
    with Image.open(path, formats=FORMATS) as image:
        # A JPEG can be decoded at a half, a quarter or an eighth, never below twice the size that is wanted.
        image.draft("RGB", (2 * image_size, 2 * image_size))
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS / 1e6:.0f} million")
        upright = ImageOps.exif_transpose(image)
        rgb = _to_rgb(upright)
    resized = rgb.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(resized).transpose(2, 0, 1)


def _to_rgb(image: "Image") -> "Image":
    from PIL import Image

    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("32-bit pixels; save it with 8 or 16 bits")
        # PIL's own conversion clips at 255 instead of scaling.
        image = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels; save it with 8 or 16 bits")
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers).convert("RGB")
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    """Say in a few words why a file cannot be read."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "no permission"
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or empty"
    if isinstance(error, Image.DecompressionBombError):
        return "more pixels than any photo has"
    return "truncated" if "truncated" in str(error).lower() else str(error) or type(error).__name__


def _with_progress(
    results: Iterable[tuple[int, str | None]], total: int, text: str | None
) -> Iterable[tuple[int, str | None]]:
    if text is None or total <= PROGRESS_FROM:
        return results
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(results, text, total, console=console) if console.is_terminal else results

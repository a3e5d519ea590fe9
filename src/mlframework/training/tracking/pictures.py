"""Pictures for the trackers, as pixel arrays: a confusion matrix, and a grid of labelled images.

Drawn with PIL, not with a plotting library: one is drawn after every epoch, and importing PIL takes no time.
"""

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Image.preinit()  # PIL's formats, which the first picture that is written would load: it may be of the last epoch

Pixels = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]
Colour = tuple[int, int, int]

INK: Colour = (38, 38, 38)
PAPER: Colour = (255, 255, 255)
FAINT: Colour = (210, 214, 220)
# White to dark blue: readable for every kind of colour blindness, and on a grey printer.
_RAMP: tuple[Colour, ...] = ((250, 252, 255), (107, 174, 214), (8, 48, 107))

_NUMBERS_UP_TO = 20  # classes; above it the numbers would be too small to read
_LONGEST_LABEL = 150  # pixels
_GAP = 10

_SMALLEST_TILE = 96  # pixels; smaller images are enlarged to at least this
_LARGEST_TILE = 256


def confusion_matrix(
    targets: npt.NDArray[np.integer], predictions: npt.NDArray[np.integer], class_names: Sequence[str]
) -> Counts:
    """Count how often each class was taken for each.

    Args:
        targets: true class numbers (n,), from 0 to k - 1.
        predictions: predicted class numbers (n,).
        class_names: the k names.

    Returns:
        int64 array (k, k): row = true class, column = predicted class.

    Raises:
        ValueError: the lengths differ, or a number is not a class.
    """
    k = len(class_names)
    if targets.shape != predictions.shape or targets.ndim != 1:
        raise ValueError(f"targets {targets.shape} and predictions {predictions.shape} must be (n,) both")
    for name, numbers in (("targets", targets), ("predictions", predictions)):
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < k):
            raise ValueError(f"{name} run from {numbers.min()} to {numbers.max()}, but there are {k} classes")
    cells = targets.astype(np.int64) * k + predictions.astype(np.int64)
    return np.bincount(cells, minlength=k * k).reshape(k, k).astype(np.int64)


def draw_confusion_matrix(counts: Counts, class_names: Sequence[str]) -> Pixels:
    """Draw a confusion matrix: a colour is the share of the row's true class, a number is the count.

    Up to 20 classes have their numbers written in the cells; with more the colours stand alone, and as many labels
    are written as there is room for.

    Args:
        counts: (k, k) as from `confusion_matrix`.
        class_names: the k names.

    Returns:
        uint8 array (height, width, 3).

    Raises:
        ValueError: there is no class, or `counts` is not (k, k).
    """
    k = len(class_names)
    if k == 0 or counts.shape != (k, k):
        raise ValueError(f"counts must be ({k}, {k}) for {k} classes, got {counts.shape}")
    cell = 48 if k <= _NUMBERS_UP_TO else max(1, min(24, 800 // k))
    font = font_of(14 if cell >= 16 else 11)
    labels = [shortened(name, font, _LONGEST_LABEL) for name in class_names]
    margin = max(math.ceil(font.getlength(label)) for label in labels) + 2 * _GAP
    title = math.ceil(font.size) + _GAP

    left, top, side = title + margin, _GAP, k * cell
    # A label may be longer than a small matrix is wide; the axis titles need room as well.
    width = left + max(side, math.ceil(font.getlength("predicted"))) + 2 * _GAP
    height = top + max(side, math.ceil(font.getlength("true class"))) + margin + title + _GAP
    canvas = Image.new("RGB", (width, height), PAPER)

    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    heat = Image.fromarray(_coloured(shares)).resize((side, side), Image.Resampling.NEAREST)
    canvas.paste(heat, (left, top))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((left - 1, top - 1, left + side, top + side), outline=FAINT)
    if k <= _NUMBERS_UP_TO:
        _write_counts(draw, counts, shares, (left, top), cell)

    every = math.ceil((font.size + 2) / cell)
    for index in range(0, k, every):
        middle = index * cell + cell // 2
        draw.text((left - _GAP, top + middle), labels[index], fill=INK, font=font, anchor="rm")
        write_upwards(canvas, labels[index], font, (left + middle, top + side + _GAP))
    draw.text((left + side // 2, height - _GAP), "predicted", fill=INK, font=font, anchor="ms")
    beside = math.ceil(font.getlength("true class"))
    write_upwards(canvas, "true class", font, (math.ceil(font.size) // 2 + 4, top + max(0, side - beside) // 2))
    return np.asarray(canvas)


def image_grid(images: Pixels, labels: Sequence[str], columns: int = 8) -> Pixels:
    """Lay images out in rows, each with its label beneath.

    Small images are enlarged by a whole factor without smoothing, so that their pixels can be seen; large ones are
    reduced.

    Args:
        images: uint8 array (n, 3, h, w).
        labels: n texts; one too long for its tile is cut.
        columns: images in a row.

    Returns:
        uint8 array (height, width, 3).

    Raises:
        ValueError: there is no image, a label is missing, or the array has another shape or type.
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8:
        raise ValueError(f"images are uint8 (n, 3, h, w), got {images.dtype} {images.shape}")
    n, _, h, w = images.shape
    if n == 0 or len(labels) != n:
        raise ValueError(f"each image has one label and there is at least one: {n} images, {len(labels)} labels")
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    tile_width, tile_height, resampling = _tile(w, h)
    font = font_of(13)
    line = math.ceil(font.size) + 4
    in_row = min(columns, n)
    rows = math.ceil(n / in_row)
    step_x, step_y = tile_width + _GAP, tile_height + line + _GAP
    canvas = Image.new("RGB", (in_row * step_x + _GAP, rows * step_y + _GAP), PAPER)
    draw = ImageDraw.Draw(canvas)
    for index, label in enumerate(labels):
        x, y = _GAP + index % in_row * step_x, _GAP + index // in_row * step_y
        tile = Image.fromarray(np.ascontiguousarray(images[index].transpose(1, 2, 0)))
        canvas.paste(tile.resize((tile_width, tile_height), resampling), (x, y))
        text = shortened(label, font, tile_width)
        draw.text((x + tile_width // 2, y + tile_height + 3), text, fill=INK, font=font, anchor="ma")
    return np.asarray(canvas)


def font_of(size: int) -> ImageFont.FreeTypeFont:
    # With a size, PIL gives its built-in scalable font, or raises; never the old bitmap one.
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))


def _tile(width: int, height: int) -> tuple[int, int, Image.Resampling]:
    """Size at which an image is shown, and how it is resampled to it."""
    longest = max(width, height)
    if longest > _LARGEST_TILE:
        factor = _LARGEST_TILE / longest
        return max(1, round(width * factor)), max(1, round(height * factor)), Image.Resampling.LANCZOS
    factor = math.ceil(_SMALLEST_TILE / longest)
    return width * factor, height * factor, Image.Resampling.NEAREST


def _coloured(shares: npt.NDArray[np.float64]) -> Pixels:
    stops = np.linspace(0, 1, len(_RAMP))
    channels = [np.interp(shares, stops, [colour[channel] for colour in _RAMP]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _write_counts(
    draw: ImageDraw.ImageDraw, counts: Counts, shares: npt.NDArray[np.float64], corner: tuple[int, int], cell: int
) -> None:
    font = font_of(14)
    for (row, column), count in np.ndenumerate(counts):
        middle = (corner[0] + column * cell + cell // 2, corner[1] + row * cell + cell // 2)
        ink = PAPER if shares[row, column] > 0.55 else INK if count else FAINT
        draw.text(middle, _compact(int(count)), fill=ink, font=font, anchor="mm")


def _compact(count: int) -> str:
    """Write a count in at most five characters: 9999, 12k, 3.4M."""
    if count < 10_000:
        return str(count)
    return f"{count // 1000}k" if count < 1_000_000 else f"{count / 1_000_000:.1f}M"


def write_upwards(canvas: Image.Image, text: str, font: ImageFont.FreeTypeFont, at: tuple[int, int]) -> None:
    """Write a text that reads from below to above; `at` is the middle of its upper end (x, y)."""
    box = font.getbbox(text)
    strip = Image.new("RGB", (math.ceil(box[2]) + 1, math.ceil(box[3]) + 2), PAPER)
    ImageDraw.Draw(strip).text((0, 0), text, fill=INK, font=font)
    turned = strip.rotate(90, expand=True)
    canvas.paste(turned, (at[0] - turned.width // 2, at[1]))


def shortened(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Cut a text in its middle so that it is at most `width` pixels wide: names often differ at their ends."""
    shown, kept = text, len(text)
    while font.getlength(shown) > width and kept > 0:
        kept -= 1
        shown = text[: math.ceil(kept / 2)] + "…" + text[len(text) - kept // 2 :]
    return shown

"""Charts for the trackers, as pixel arrays: ROC curves, and predictions against the truth. Drawn with PIL; see `pictures`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mlframework.training.tracking.curves import RocCurve, ticks
from mlframework.training.tracking.pictures import FAINT, INK, PAPER, Colour, Pixels, font_of, shortened, write_upwards

# Okabe and Ito's, told apart with every kind of colour blindness, and two shades of grey.
_COLOURS: tuple[Colour, ...] = (
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233),
    (230, 159, 0), (110, 80, 160), (150, 75, 40), (90, 90, 90), (165, 165, 165),
)  # fmt: skip
_SIDE = 420  # pixels of the square that a chart is drawn in
_FINER = 2  # lines are drawn so much larger and reduced: PIL's own have steps
_GAP = 10
_TEXT = 14
_MOST_POINTS = 3000
_LEGEND = 190


@dataclass(frozen=True)
class _Square:
    """A chart's square: the same range on both axes."""

    low: float
    high: float

    def places(self, across: NDArray[np.floating], upwards: NDArray[np.floating]) -> list[tuple[float, float]]:
        """Return points as pixels of the enlarged square."""
        span, size = self.high - self.low, _SIDE * _FINER
        x = (across - self.low) / span * size
        y = size - (upwards - self.low) / span * size
        return list(zip(x.tolist(), y.tolist(), strict=True))


def draw_roc(curves: Mapping[str, RocCurve], title: str, note: str = "") -> Pixels:
    """Draw ROC curves, each with its area in the legend.

    Args:
        curves: by the name of the class; at most ten.
        title: stands above.
        note: stands under the legend.

    Returns:
        uint8 array (height, width, 3).

    Raises:
        ValueError: there is none, or too many.
    """
    if not 1 <= len(curves) <= len(_COLOURS):
        raise ValueError(f"there can be 1 to {len(_COLOURS)} curves, got {len(curves)}")
    square = _Square(0.0, 1.0)
    plot, draw = _plot(square)
    for colour, curve in zip(_COLOURS, curves.values(), strict=False):
        draw.line(
            square.places(curve.false_positive_rate, curve.true_positive_rate), colour, width=2 * _FINER, joint="curve"
        )
    canvas, corner = _framed(plot, square, title, "false positive rate", "true positive rate", _LEGEND)
    _write_legend(canvas, curves, note, (corner[0] + _SIDE + 2 * _GAP, corner[1]))
    return np.asarray(canvas)


def draw_predictions(truth: NDArray[np.floating], predicted: NDArray[np.floating], title: str) -> Pixels:
    """Draw predictions of a regression against the true values: what lies on the diagonal is right.

    Up to 3,000 points are drawn, evenly from all of them; the title says where that is not all.

    Args:
        truth: (n,), in the target's unit.
        predicted: (n,).
        title: stands above.

    Returns:
        uint8 array (height, width, 3).

    Raises:
        ValueError: there is none whose two values are finite.
    """
    known = np.flatnonzero(np.isfinite(truth) & np.isfinite(predicted))
    if not len(known):
        raise ValueError("there is no prediction to draw")
    chosen = known[np.linspace(0, len(known) - 1, min(_MOST_POINTS, len(known))).astype(np.int64)]
    truth, predicted = truth[chosen].astype(np.float64), predicted[chosen].astype(np.float64)
    low, high = float(min(truth.min(), predicted.min())), float(max(truth.max(), predicted.max()))
    margin = (high - low) * 0.03 or abs(high) * 0.03 or 1.0
    square = _Square(low - margin, high + margin)
    plot, _ = _plot(square)
    radius = _FINER * (3 if len(chosen) <= 500 else 2)
    shade = Image.new("RGBA", plot.size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(shade)
    for x, y in square.places(truth, predicted):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(*_COLOURS[0], 130))
    plot.paste(shade, (0, 0), shade)
    if len(chosen) < len(known):
        title += f" ({len(chosen):,} of {len(known):,} examples)"
    return np.asarray(_framed(plot, square, title, "true value", "predicted")[0])


def _plot(square: _Square) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Return an enlarged square with grid lines and the diagonal."""
    size = _SIDE * _FINER
    plot = Image.new("RGB", (size, size), PAPER)
    draw = ImageDraw.Draw(plot)
    ends = np.array([square.low, square.high])
    for tick in ticks(square.low, square.high):
        here = np.array([tick, tick])
        draw.line(square.places(here, ends), FAINT, width=1)
        draw.line(square.places(ends, here), FAINT, width=1)
    draw.line(square.places(ends, ends), (150, 150, 150), width=_FINER)
    return plot, draw


def _framed(
    plot: Image.Image, square: _Square, title: str, across: str, upwards: str, beside: int = 0
) -> tuple[Image.Image, tuple[int, int]]:
    """Put a square into a picture with title, axes and room beside it; returns also where its upper left corner is."""
    text = font_of(_TEXT)
    line = math.ceil(text.size) + 4
    labels = {tick: f"{tick:.6g}" for tick in ticks(square.low, square.high)}
    widest = max(math.ceil(text.getlength(label)) for label in labels.values())
    left, top = line + widest + 3 * _GAP, line + 2 * _GAP
    width, height = left + _SIDE + 2 * _GAP + beside, top + _SIDE + 2 * line + 2 * _GAP
    canvas = Image.new("RGB", (width, height), PAPER)
    canvas.paste(plot.reduce(_FINER), (left, top))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((left - 1, top - 1, left + _SIDE, top + _SIDE), outline=FAINT)
    draw.text((left, _GAP), shortened(title, text, width - left - _GAP), fill=INK, font=text)
    for tick, label in labels.items():
        at = round((tick - square.low) / (square.high - square.low) * _SIDE)
        draw.text((left + at, top + _SIDE + 4), label, fill=INK, font=text, anchor="ma")
        draw.text((left - 6, top + _SIDE - at), label, fill=INK, font=text, anchor="rm")
    draw.text((left + _SIDE // 2, height - _GAP), across, fill=INK, font=text, anchor="ms")
    long = math.ceil(text.getlength(upwards))
    write_upwards(canvas, upwards, text, (math.ceil(text.size) // 2 + 4, top + (_SIDE - long) // 2))
    return canvas, (left, top)


def _write_legend(canvas: Image.Image, curves: Mapping[str, RocCurve], note: str, at: tuple[int, int]) -> None:
    text, draw, (x, y) = font_of(_TEXT), ImageDraw.Draw(canvas), at
    line, swatch = math.ceil(text.size) + 8, 18
    for colour, (name, curve) in zip(_COLOURS, curves.items(), strict=False):
        middle = y + line // 2
        draw.line((x, middle, x + swatch, middle), colour, width=3)
        area = f"  {curve.area:.3f}"
        room = _LEGEND - swatch - 3 * _GAP - math.ceil(text.getlength(area))
        draw.text((x + swatch + 8, middle), shortened(name, text, room) + area, fill=INK, font=text, anchor="lm")
        y += line
    for row in ["area under the curve", *note.splitlines()]:
        draw.text((x, y + 6), row, fill=(110, 110, 110), font=font_of(12))
        y += 18

"""How mistakes are drawn: images in rows, each with what it is and what it is taken for, or a table."""

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlframework.visualise import style
from mlframework.visualise.run_plots.classified import label

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from mlframework.visualise.run_plots.mistakes import MistakesData

_COLUMNS = 6
_ROW = 225  # pixels that a row of images takes, with its texts
_TEXT = 62  # of these, what the texts take
_SMALL = 96  # pixels; smaller images are enlarged so that their pixels can be seen, larger ones are photos
_NAME = 25  # characters


def images(data: "MistakesData") -> "go.Figure":
    """Draw images, six in a row."""
    go = style.plotly()
    from plotly.subplots import make_subplots

    rows = -(-len(data.mistakes) // _COLUMNS)
    figure = make_subplots(
        rows=rows, cols=_COLUMNS, horizontal_spacing=0.02, vertical_spacing=_TEXT / (rows * _ROW) if rows > 1 else 0
    )
    for place in range(rows * _COLUMNS):
        row, column = 1 + place // _COLUMNS, 1 + place % _COLUMNS
        figure.update_xaxes(visible=False, constrain="domain", row=row, col=column)
        figure.update_yaxes(visible=False, constrain="domain", row=row, col=column)
        if place >= len(data.mistakes):
            continue
        each = data.mistakes[place]
        said = f"<b>{label(each.true, 14)}</b>, taken for <b>{label(each.predicted, 14)}</b>"
        hover = (
            f"{label(each.name, 80)}<br>true <b>{label(each.true, 60)}</b><br>predicted <b>{label(each.predicted, 60)}</b>"
            f"<br>{each.how} {data.how}"
        )
        if each.pixels is None:
            empty = {"showarrow": False, "x": 0.5, "y": 0.5, "xref": "x domain", "yref": "y domain"}
            figure.add_trace(go.Scatter(x=[0], y=[0], mode="markers", opacity=0, hovertext=hover), row=row, col=column)
            figure.add_annotation(text="cannot be read<br>any more", **empty, row=row, col=column)
        else:
            figure.add_trace(
                go.Image(source=source(each.pixels), hovertemplate=f"{hover}<extra></extra>"), row=row, col=column
            )
        for text, y, anchor, size in (
            (said, 1, "bottom", 14),
            (f"{each.how} {data.how}<br>{label(each.name, _NAME)}", 0, "top", 12),
        ):
            figure.add_annotation(
                text=text, showarrow=False, x=0.5, y=y, xref="x domain", yref="y domain", xanchor="center",
                yanchor=anchor, font={"size": size}, opacity=1 if y else 0.75, row=row, col=column,
            )  # fmt: skip
    style.styled(figure, data.heading, 180 + rows * _ROW)
    figure.update_layout(showlegend=False, margin={"t": 135, "b": 55, "l": 24, "r": 24})
    return figure


def source(pixels: NDArray[np.uint8]) -> str:
    """Return an image (h, w, 3) as a page can hold it: enlarged where it is small, compressed where it is a photo."""
    from PIL import Image

    picture, buffer = Image.fromarray(np.ascontiguousarray(pixels)), io.BytesIO()
    factor = -(-2 * _SMALL // max(pixels.shape[:2]))
    if max(pixels.shape[:2]) < _SMALL:
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
        picture.save(buffer, "PNG", optimize=True)
        kind = "png"
    else:
        picture.save(buffer, "JPEG", quality=88)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def table(data: "MistakesData") -> "go.Figure":
    """Draw a table, a mistake a row."""
    go = style.plotly()

    heads = ["example", "true", "predicted", data.how, *data.columns]
    rows = [(each.name, each.true, each.predicted, each.how, *each.features) for each in data.mistakes]
    longest = 13 if len(heads) > 6 else 30
    cells = [[label(row[column], longest) for row in rows] for column in range(len(heads))]
    striped = ["white" if place % 2 else "#F6F8FA" for place in range(len(rows))]
    figure = go.Figure(
        go.Table(
            header={
                "values": [f"<b>{label(head, longest)}</b>" for head in heads],
                "align": ["left", *["left"] * 2, *["right"] * (len(heads) - 3)],
                "fill": {"color": "#E8EEF4"},
                "line": {"color": style.FAINT},
                "font": {"size": 13, "color": style.INK},
                "height": 32,
            },
            cells={
                "values": cells,
                "align": ["left", *["left"] * 2, *["right"] * (len(heads) - 3)],
                "fill": {"color": [striped] * len(heads)},
                "line": {"color": style.GRID},
                "font": {"size": 13, "color": style.INK},
                "height": 28,
            },
            columnwidth=[1.1, 1, 1, 0.8, *[1] * len(data.columns)],
        )
    )
    style.styled(figure, data.heading, 210 + 28 * len(rows) + 20 * (len(heads) > 6))
    figure.update_layout(margin={"l": 24, "r": 24, "b": 30})
    return figure

"""Predictions in one chart: how often each class was told, or numbers against the truth."""

import html
from collections import Counter
from typing import TYPE_CHECKING

from mlframework.visualise import style
from mlframework.visualise.predictions.answers import Answers
from mlframework.visualise.wording import count_of, short

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_CLASSES = 60


def draw(found: Answers) -> "go.Figure":
    """Draw what the model says of all the examples."""
    if isinstance(found.answers[0].prediction.value, str):
        return _classes(found)
    if all(answer.truth is None for answer in found.answers):
        return _values(found)
    return _against_truth(found)


def _classes(found: Answers) -> "go.Figure":
    go = style.plotly()
    right, wrong = Counter[str](), Counter[str]()
    for answer in found.answers:
        (wrong if answer.is_right is False else right)[str(answer.prediction.value)] += 1
    names = list(found.answers[0].prediction.probabilities)
    names = (
        sorted(names, key=lambda name: -right[name] - wrong[name])[:MOST_CLASSES]
        if len(names) > MOST_CLASSES
        else names
    )
    known = any(answer.truth is not None for answer in found.answers)
    places = list(range(len(names)))
    kinds = [
        ("right" if known else "predicted", right, style.BLUE),
        *([("wrong", wrong, style.VERMILLION)] if known else []),
    ]
    figure = go.Figure()
    for label, counts, colour in kinds:
        figure.add_bar(
            x=places, y=[counts[name] for name in names], name=label, marker={"color": colour}, hoverinfo="text",
            hovertext=[f"{html.escape(name)}, {label}: {counts[name]:,}" for name in names],
        )  # fmt: skip
    heading = style.Heading(f"How often each {html.escape(found.target)} was predicted", _told(found))
    style.styled(figure, heading, 400)
    figure.update_layout(barmode="stack")
    words = [html.escape(name if len(name) <= 24 else f"{name[:11]}…{name[-12:]}") for name in names]
    figure.update_xaxes(tickvals=places, ticktext=words)
    return figure


def _told(found: Answers) -> str:
    return found.summary or count_of(len(found.answers), found.unit)


def _values(found: Answers) -> "go.Figure":
    go = style.plotly()
    target = html.escape(found.target)
    said = [float(answer.prediction.value) for answer in found.answers]
    figure = go.Figure(go.Histogram(x=said, marker={"color": style.BLUE}, nbinsx=40))
    style.styled(figure, style.Heading(f"Predictions of {target}", _told(found)), 400)
    figure.update_xaxes(title_text=f"predicted {target}")
    figure.update_yaxes(title_text=f"{found.unit}s")
    return figure


def _against_truth(found: Answers) -> "go.Figure":
    go = style.plotly()
    target = html.escape(found.target)
    points = [
        (float(answer.truth), float(answer.prediction.value), answer.name)
        for answer in found.answers
        if answer.truth is not None
    ]
    figure = go.Figure(
        go.Scatter(
            x=[truth for truth, _, _ in points], y=[value for _, value, _ in points], mode="markers", showlegend=False,
            marker={"color": style.BLUE, "opacity": 0.6, "size": 8}, hoverinfo="text",
            hovertext=[
                f"{found.unit} {html.escape(name)}<br>predicted {short(value)}, truth {short(truth)}"
                for truth, value, name in points
            ],
        )
    )  # fmt: skip
    every = [number for truth, value, _ in points for number in (truth, value)]
    ends = [min(every), max(every)]
    line = {"color": style.GREY, "dash": "dot"}
    figure.add_scatter(x=ends, y=ends, mode="lines", line=line, name="right on it", hoverinfo="skip")
    style.styled(figure, style.Heading(f"Predictions of {target} against the truth", _told(found)), 480)
    figure.update_xaxes(title_text=f"true {target}")
    figure.update_yaxes(title_text=f"predicted {target}")
    return figure

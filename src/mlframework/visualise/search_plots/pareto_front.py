"""Several objectives against one another: the Pareto front, and the trials behind it."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from mlframework.errors import PlotError
from mlframework.search.goal import number
from mlframework.visualise import style
from mlframework.visualise.axes import visible_range
from mlframework.visualise.study_view import StudyView
from mlframework.visualise.wording import count_of, short, standing, too_few

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from mlframework.search.results import TrialRecord

_MOST_OBJECTIVES = 4  # six panels
_MOST_NUMBERS = 15  # front points that have their trial's number beside them
_LOG_FROM = 30.0  # largest by smallest value, from which on an axis is logarithmic


@dataclass(frozen=True)
class Marks:
    """Some trials, one entry each in every tuple: number, hover text, and their values, one tuple an objective."""

    numbers: tuple[int, ...]
    hovers: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class ValueAxis:
    """One objective's axis: its title, whether it is logarithmic, whether it has large numbers, its reach (None: all)."""

    title: str
    is_log: bool
    is_large: bool
    visible: tuple[float, float] | None


@dataclass(frozen=True)
class ParetoData:
    """What the plot shows.

    Attributes:
        axes: one an objective.
        dominated: the complete trials that are not on the front.
        front: those that are, the best in the first objective first.
        chosen: the trial of best_config.yaml.
        rule: how it is chosen.
    """

    heading: style.Heading
    axes: tuple[ValueAxis, ...]
    dominated: Marks
    front: Marks
    chosen: Marks
    rule: str

    @property
    def panels(self) -> list[tuple[int, int]]:
        """Which objective is along x and which along y, a pair a panel."""
        return [(x, y) for y, x in combinations(range(len(self.axes)), 2)]


def has_front(view: StudyView) -> bool:
    """Whether a study has a front to show: more than one objective."""
    return not view.goal.is_single


def compute(view: StudyView, params: Sequence[str] = ()) -> ParetoData:
    """Compute the front. It shows values only: `params` has no bearing on it.

    Raises:
        PlotError: there is one objective, or no trial has finished.
    """
    goal = view.goal
    if goal.is_single:
        raise PlotError(f"the study has one objective, {view.metric}; a Pareto front takes two: see search.objectives")
    placed = [record for record in view.records if goal.point(record) is not None]
    if not placed:
        raise too_few(view, "1 finished trial", "none")
    first = goal.objectives[0]
    front = sorted(goal.front(placed), key=lambda record: first.loss(record.values[first.metric]))
    best = goal.best(placed)
    chosen = [record for record in front if best is not None and record.number == best.number]
    behind = [record for record in placed if record not in front]
    shown = goal.metrics[:_MOST_OBJECTIVES]
    parts = [
        view.name,
        standing(view),
        f"{len(front)} on the front",
        f"{goal.rule}: trial {chosen[0].number}",
        f"the first {len(shown)} of {count_of(len(goal.metrics), 'objective')}"
        if len(shown) < len(goal.metrics)
        else "",
    ]
    return ParetoData(
        heading=style.Heading(
            f"{' against '.join(shown)}: the Pareto front"
            if len(shown) == 2
            else "The Pareto front, two objectives each",
            html.escape(" · ".join(part for part in parts if part), quote=False),
        ),
        axes=tuple(_axis(view, name, placed) for name in shown),
        dominated=_marks(view, behind, shown),
        front=_marks(view, front, shown),
        chosen=_marks(view, chosen, shown),
        rule=goal.rule,
    )


def _axis(view: StudyView, name: str, placed: "Sequence[TrialRecord]") -> ValueAxis:
    direction = view.goal.objectives[view.goal.metrics.index(name)].direction
    values = [record.values[name] for record in placed]
    title = f"{name} ({'more' if direction == 'maximize' else 'less'} is better)"
    if min(values) > 0 and max(values) / min(values) >= _LOG_FROM:
        return ValueAxis(title, True, min(values) >= 1, None)
    return ValueAxis(title, False, min(values) >= 1, visible_range(values, direction))


def _marks(view: StudyView, records: "Sequence[TrialRecord]", names: Sequence[str]) -> Marks:
    return Marks(
        tuple(record.number for record in records),
        tuple(_hover(view, record) for record in records),
        tuple(tuple(record.values[name] for record in records) for name in names),
    )


def _hover(view: StudyView, record: "TrialRecord") -> str:
    values = [f"{name} = {number(record.values[name])}" for name in view.goal.metrics]
    params = [f"{view.labels.get(key, key)} = {short(given)}" for key, given in record.params.items()]
    return "<br>".join(
        [f"<b>trial {record.number}</b>", *(html.escape(line, quote=False) for line in (*values, *params))]
    )


def draw(data: ParetoData) -> "go.Figure":
    """Draw it, a panel a pair of objectives: dominated trials pale, the front in front, a star for the chosen trial."""
    style.plotly()
    from plotly.subplots import make_subplots

    panels = data.panels
    n_columns = min(3, len(panels))
    n_rows = -(-len(panels) // n_columns)
    figure = make_subplots(n_rows, n_columns, horizontal_spacing=0.09, vertical_spacing=0.16)
    for at, panel in enumerate(panels):
        place = {"row": at // n_columns + 1, "col": at % n_columns + 1}
        _draw_panel(figure, data, panel, place, is_first=at == 0)
        for update, axis in ((figure.update_xaxes, data.axes[panel[0]]), (figure.update_yaxes, data.axes[panel[1]])):
            update(title_text=axis.title, range=axis.visible, **(_log(axis) if axis.is_log else {}), **place)
    return style.styled(figure, data.heading, 600 if len(panels) == 1 else 130 + 400 * n_rows)


def _log(axis: ValueAxis) -> dict[str, Any]:
    # 10k parameters, and a loss of 1e-2.
    ticks = {"dtick": 1, "exponentformat": "SI" if axis.is_large else "e"}
    return {"type": "log", **ticks, "minor": {"ticks": "outside", "ticklen": 3}}


def _draw_panel(figure: Any, data: ParetoData, panel: tuple[int, int], place: dict[str, int], is_first: bool) -> None:
    x, y = panel
    numbered = len(data.front.numbers) <= _MOST_NUMBERS
    dominated = {"color": style.GREY, "size": 7, "opacity": 0.45}
    front = {"color": style.BLUE, "size": 10, "line": {"color": "white", "width": 1}}
    if len(data.axes) == 2:  # in more dimensions the front is no line
        figure.add_scatter(
            x=data.front.values[x], y=data.front.values[y], mode="lines", hoverinfo="skip", showlegend=False,
            # From the best of the first objective on, what is reached at this cost stays so until the next point.
            line={"shape": "vh", "color": style.BLUE, "width": 1.2, "dash": "dot"}, **place,
        )  # fmt: skip
    for name, marks, marker, text in (
        ("dominated", data.dominated, dominated, False),
        ("Pareto front", data.front, front, numbered),
        (data.rule, data.chosen, style.best_marker(18), False),
    ):
        figure.add_scatter(
            x=marks.values[x], y=marks.values[y], mode="markers+text" if text else "markers", name=name,
            text=[str(each) for each in marks.numbers] if text else None, textposition="top right",
            textfont={"size": 12, "color": "#5F6368"}, marker=marker, hovertext=marks.hovers, hoverinfo="text",
            legendgroup=name, showlegend=is_first, cliponaxis=False, **place,
        )  # fmt: skip

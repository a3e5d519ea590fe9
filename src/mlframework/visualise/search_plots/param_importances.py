"""How much each parameter decided the value."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlframework.errors import PlotError
from mlframework.visualise import style
from mlframework.visualise.study_view import StudyView, values_of
from mlframework.visualise.wording import count_of, subtitle, too_few

if TYPE_CHECKING:
    import plotly.graph_objects as go

_MOST_BARS = 25
_FEW_TRIALS = 30


@dataclass(frozen=True)
class ImportancesData:
    """What the plot shows, the most important parameter first.

    Attributes:
        metric: what they are important for.
        keys: dotted keys.
        labels: what the axis shows for each.
        shares: each one's share of the importance; those of all the study's parameters add up to 1.
    """

    heading: style.Heading
    metric: str
    keys: tuple[str, ...]
    labels: tuple[str, ...]
    shares: tuple[float, ...]


def importances(view: StudyView) -> dict[str, float]:
    """Return each parameter's share of the importance (PED-ANOVA), the largest first; they add up to 1.

    Raises:
        PlotError: fewer than 2 finished trials with different values, or no parameter.
    """
    if len(view.complete) < 2:
        raise too_few(view, "2 finished trials with different values", count_of(len(view.complete), "value"))
    if len(set(values_of(view.complete))) < 2:
        raise PlotError(
            f"needs 2 finished trials with different values; all {len(view.complete)} have "
            f"{view.metric} {view.complete[0].value}: nothing can be said about what decided it"
        )
    keys = sorted({key for trial in view.complete for key in trial.params})
    if not keys:
        raise PlotError("the trials have no parameters: put some under search.search_space")
    import optuna

    # The evaluator wants a study; one in memory holds just these trials. Its advice on small studies is in our
    # subtitle, in words that do not speak of quantiles.
    with _quiet(optuna.logging), warnings.catch_warnings(action="ignore"):
        study = optuna.create_study(direction=view.direction)
        study.add_trials(view.complete)
        shares = optuna.importance.get_param_importances(study, params=keys)
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def ranked(view: StudyView) -> list[str]:
    """Return the study's parameters, the most important first; as they first appeared where none can be ranked."""
    try:
        order = importances(view)
    except PlotError:
        return view.params
    return [*order, *(key for key in view.params if key not in order)]


def compute(view: StudyView, params: Sequence[str] = ()) -> ImportancesData:
    """Compute the importances.

    Args:
        view: the study.
        params: dotted keys to show; none: all of them. Shares are shares of the whole in either case.

    Raises:
        PlotError: fewer than 2 finished trials with different values, or no finished trial has one of `params`.
    """
    shares = importances(view)
    if missing := [key for key in params if key not in shares]:
        raise PlotError(f"no finished trial has {' or '.join(missing)}, so its importance is not known")
    keys = [key for key in shares if not params or key in params]
    shown = keys[:_MOST_BARS]
    cut = f"the {_MOST_BARS} most important of {len(keys)} parameters" if len(keys) > len(shown) else ""
    rough = f"a rough guide: only {count_of(len(view.complete), 'finished trial')}"
    return ImportancesData(
        heading=style.Heading(
            f"Which parameters decided {view.metric}",
            subtitle(view, cut, rough if len(view.complete) < _FEW_TRIALS else ""),
        ),
        metric=view.metric,
        keys=tuple(shown),
        labels=tuple(view.labels[key] for key in shown),
        shares=tuple(shares[key] for key in shown),
    )


def draw(data: ImportancesData) -> "go.Figure":
    """Draw it: a bar a parameter, the longest on top."""
    go = style.plotly()
    figure = go.Figure()
    figure.add_bar(
        x=data.shares,
        y=data.labels,
        orientation="h",
        marker={"color": style.BLUE},
        text=[f"{share:.2f}" if share >= 0.01 else "< 0.01" for share in data.shares],
        textposition="outside",
        cliponaxis=False,
        hovertext=[f"{key}: {share:.3f}" for key, share in zip(data.keys, data.shares, strict=True)],
        hoverinfo="text",
    )
    figure.update_xaxes(title_text=f"share of the importance for {data.metric}", range=(0, 1.08 * max(data.shares)))
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="", ticklabelstandoff=6, type="category")
    figure.update_layout(bargap=0.35)
    return style.styled(figure, data.heading, 220 + 44 * max(3, len(data.keys)))


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Keep optuna from announcing the study in memory as a new one."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)

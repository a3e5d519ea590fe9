"""What each plot of a run computes, from files whose answers are known, and that what it computes is what it draws."""

import json
import random
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mlframework.errors import PlotError, RunError
from mlframework.visualise import style
from mlframework.visualise.draw_all import draw_run
from mlframework.visualise.run_plots import curves, popularity, ranking_at_k, ranking_lines, recall_at_k, user_hits
from mlframework.visualise.run_plots.labels import spread
from mlframework.visualise.run_plots.ranking import Ranking, read_ranking
from mlframework.visualise.run_view import RunView

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
Epochs = list[dict[str, Any]]

# Item 3 is the most popular and in everybody's top 2; item 2 is known to nobody and recommended to nobody.
RANKING: dict[str, Any] = {
    "format": 1,
    "split": "val",
    "k": 2,
    "n_users": 4,
    "n_items": 4,
    "recall_at": [0.25, 0.5, 0.625, 1.0],
    "popularity_recall_at": [0.125, 0.25, 0.5, 1.0],
    "recommended": [3, 1, 0, 4],
    "interactions": [30, 10, 0, 60],
    "precision_at": [0.25, 0.25, 0.2, 0.25],
    "ndcg_at": [0.25, 0.4, 0.5, 0.6],
    "popularity_precision_at": [0.125, 0.125, 0.1, 0.2],
    "popularity_ndcg_at": [0.125, 0.2, 0.3, 0.5],
    "users_by_hits": [1, 2, 1],
}
OF_RANKINGS = ("recall_at_k", "ranking_at_k", "user_hits", "popularity")


def trained(epochs: int = 4) -> Epochs:
    """A classifier's epochs; the second has the best val_acc."""
    accuracies = [0.5, 0.9, 0.8, 0.7]
    return [
        {
            "epoch": number,
            "train_loss": 1 / number,
            "train_acc": 0.6,
            "val_loss": 2 / number,
            "val_acc": accuracies[(number - 1) % 4],
            "lr": 0.1,
            "seconds": 1.0,
        }
        for number in range(1, epochs + 1)
    ]


def recommended(epochs: int = 3) -> Epochs:
    """A recommender's epochs; the last has the best val_ndcg_at_10."""
    names = ("precision_at_10", "recall_at_10", "ndcg_at_10", "map_at_10", "mrr")
    values = {f"val_{name}": 0.02 * index for index, name in enumerate(names, 1)}
    return [
        {
            "epoch": number,
            "train_loss": 1 / number,
            **{name: number * value for name, value in values.items()},
            "lr": None,
            "seconds": 1.0,
        }
        for number in range(1, epochs + 1)
    ]


@pytest.fixture
def a_run(tmp_path: Path) -> Callable[..., RunView]:
    """Writes a run's files and reads it: epochs, its metric, and what its ranking files hold."""

    def make(epochs: Epochs, metric: str = "val_acc", **rankings: dict[str, Any]) -> RunView:
        folder = tmp_path / "digits"
        folder.mkdir()
        (folder / "config.yaml").write_text(f"metric: {metric}\n")
        (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in epochs))
        for split, content in rankings.items():
            (folder / f"ranking_{split}.json").write_text(json.dumps({**content, "split": split}))
        return RunView.of(folder)

    return make


MakeRun = Callable[..., RunView]


@pytest.fixture
def recommender(a_run: MakeRun) -> RunView:
    """A run with both rankings; in test everything is twice as good."""
    doubled = {**RANKING, "recall_at": [0.5, 1.0, 1.0, 1.0], "recommended": [0, 0, 4, 4]}
    return a_run(recommended(), "val_ndcg_at_10", val=RANKING, test=doubled)


def without_later(content: dict[str, Any]) -> dict[str, Any]:
    """What the first version wrote: recall alone."""
    return {key: value for key, value in content.items() if key in FIRST}


FIRST = (
    "format", "split", "k", "n_users", "n_items", "recall_at", "popularity_recall_at", "recommended", "interactions",
)  # fmt: skip


def panel(data: curves.CurvesData, title: str) -> curves.Panel:
    [found] = [panel for panel in data.panels if panel.title == title]
    return found


def stars(figure: Any) -> list[tuple[float, ...]]:
    return [(*trace.x, *trace.y) for trace in figure.data if trace.name == "best epoch"]


# --- curves


def test_train_and_val_share_a_panel_and_the_loss_comes_first(a_run: MakeRun) -> None:
    records = [{"val_f1": 0.5, **record} for record in trained()]
    data = curves.compute(a_run(records))
    assert [panel.title for panel in data.panels] == ["loss", "f1", "acc"]
    loss = panel(data, "loss")
    assert [(curve.name, curve.split, curve.base) for curve in loss.curves] == [
        ("train_loss", "train", "loss"),
        ("val_loss", "val", "loss"),
    ]
    assert loss.curves[1].epochs == (1, 2, 3, 4)
    assert loss.curves[1].values == (2.0, 1.0, 2 / 3, 0.5)
    assert data.heading.title == "loss, f1 and acc epoch by epoch"
    assert data.heading.subtitle == "digits · 4 epochs in 4.0 s · best val_acc 0.9 (epoch 2) · not ended"


def test_the_star_stands_at_the_best_epoch_of_every_panel(a_run: MakeRun) -> None:
    data = curves.compute(a_run(trained()))
    assert data.best_epoch == 2
    assert {panel.title: (panel.best, panel.decides) for panel in data.panels} == {
        "loss": ((("val_loss", 1.0),), False),
        "acc": ((("val_acc", 0.9),), True),
    }
    figure = curves.draw(data)
    assert stars(figure) == [(2, 1.0), (2, 0.9)]
    assert {trace.marker.color for trace in figure.data if trace.name == "best epoch"} == {style.VERMILLION}
    small, large = (trace.marker.size for trace in figure.data if trace.name == "best epoch")
    assert small < large


def test_without_validation_the_star_stands_on_training(a_run: MakeRun) -> None:
    records = [{"epoch": number, "train_loss": 1 / number, "train_acc": 0.5} for number in (1, 2)]
    data = curves.compute(a_run(records, "train_loss"))
    assert [panel.best for panel in data.panels] == [(("train_loss", 0.5),), (("train_acc", 0.5),)]


def test_without_a_best_epoch_there_is_no_star(a_run: MakeRun) -> None:
    data = curves.compute(a_run(trained(), "val_auc"))
    assert (data.best_epoch, [panel.best for panel in data.panels]) == (None, [(), ()])
    assert stars(curves.draw(data)) == []


def test_the_two_splits_have_two_colours_and_one_legend(a_run: MakeRun) -> None:
    figure = curves.draw(curves.compute(a_run(trained())))
    lines = [trace for trace in figure.data if trace.name in ("train", "val")]
    assert {(trace.name, trace.line.color) for trace in lines} == {("train", style.GREY), ("val", style.BLUE)}
    assert sorted(trace.name for trace in figure.data if trace.showlegend) == ["best epoch", "train", "val"]


def test_ranking_metrics_share_a_panel_that_takes_the_first_row(recommender: RunView) -> None:
    data = curves.compute(recommender)
    assert [panel.title for panel in data.panels] == ["ranking", "loss"]
    ranking = data.panels[0]
    assert [curve.base for curve in ranking.curves] == [
        "precision_at_10", "recall_at_10", "ndcg_at_10", "map_at_10", "mrr",
    ]  # fmt: skip
    assert ranking.best == (("val_ndcg_at_10", pytest.approx(0.18)),) and ranking.decides
    figure = curves.draw(data)
    assert figure.layout.xaxis.domain == (0.0, 1.0)
    written = [note.text for note in figure.layout.annotations]
    for name in ("precision@10", "recall@10", "ndcg@10", "map@10", "mrr"):
        assert sum(text.endswith(f"</span> {name}") for text in written) == 1
    colours = {trace.line.color for trace in figure.data if trace.name.startswith("val_")}
    assert len(colours) == 5 and style.VERMILLION not in colours


def test_a_ranking_metric_has_a_colour_a_kind_and_dashes_a_k() -> None:
    together = ["ndcg_at_20", "ndcg_at_5", "recall_at_5", "mrr"]
    looks = {base: ranking_lines.line(base, together) for base in together}
    assert looks["ndcg_at_5"]["color"] == looks["ndcg_at_20"]["color"] != looks["recall_at_5"]["color"]
    assert {base: look["dash"] for base, look in looks.items()} == {
        "ndcg_at_20": "dash", "ndcg_at_5": "solid", "recall_at_5": "solid", "mrr": "solid",
    }  # fmt: skip
    assert ranking_lines.label("ndcg_at_5", "val") == "ndcg@5"
    assert ranking_lines.label("ndcg_at_5", "train") == "ndcg@5 (train)"
    assert [ranking_lines.is_ranking(base) for base in ("mrr", "map_at_1", "acc", "loss", "map_at_x")] == [
        True, True, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rates", "shown", "log"),
    [
        ([0.1] * 4, False, False),
        ([None] * 4, False, False),
        ([0.1, 0.1, 0.05, 0.05], True, False),
        ([1, 0.1, 0.01, 0.001], True, True),
    ],
)
def test_the_learning_rate_is_seen_where_it_changes(
    a_run: MakeRun, rates: list[float | None], shown: bool, log: bool
) -> None:
    records = [{**record, "lr": rate} for record, rate in zip(trained(), rates, strict=True)]
    data = curves.compute(a_run(records))
    assert [panel.title for panel in data.panels] == ["loss", "acc", *(["learning rate"] if shown else [])]
    if shown:
        assert data.panels[-1].curves[0].values == tuple(rates)
        assert (data.panels[-1].log, data.panels[-1].best) == (log, ())
        assert curves.draw(data).layout.yaxis3.type == ("log" if log else "linear")


def test_a_loss_that_diverged_once_does_not_flatten_the_others(a_run: MakeRun) -> None:
    records = trained()
    records[2]["val_loss"] = 1e5
    data = curves.compute(a_run(records))
    assert [panel.log for panel in data.panels] == [True, False]
    figure = curves.draw(data)
    assert (figure.layout.yaxis.type, figure.layout.yaxis2.type) == ("log", "linear")
    assert "logarithmic" in figure.layout.annotations[0].text


@pytest.mark.parametrize("value", [0.0, -50.0])
def test_a_logarithmic_axis_would_hide_what_is_not_above_zero(a_run: MakeRun, value: float) -> None:
    records = [{"epoch": 1, "val_r2": value}, {"epoch": 2, "val_r2": 0.001}, {"epoch": 3, "val_r2": 0.9}]
    assert [panel.log for panel in curves.compute(a_run(records)).panels] == [False]


def test_what_is_not_a_number_is_left_out(a_run: MakeRun) -> None:
    records = trained()
    records[1]["val_acc"] = None
    del records[2]["val_acc"]
    records[3]["val_f1"] = None
    data = curves.compute(a_run(records, "val_loss"))
    assert [panel.title for panel in data.panels] == ["loss", "acc"]
    assert panel(data, "acc").curves[1].epochs == (1, 4)


def test_a_metric_that_is_not_known_at_the_best_epoch_has_no_star(a_run: MakeRun) -> None:
    records = trained()
    records[1]["val_loss"] = None
    data = curves.compute(a_run(records))
    assert (panel(data, "loss").best, panel(data, "acc").best) == ((), (("val_acc", 0.9),))
    assert stars(curves.draw(data)) == [(2, 0.9)]


def test_a_metric_of_one_epoch_is_seen_among_many(a_run: MakeRun) -> None:
    records = trained(40)
    records[7]["val_f1"] = 0.5
    figure = curves.draw(curves.compute(a_run(records)))
    assert [trace.mode for trace in figure.data if tuple(trace.x) == (8,)] == ["lines+markers"]


def test_a_ranking_is_on_a_linear_axis_that_its_labels_fit(a_run: MakeRun) -> None:
    records = [
        {"epoch": 1, "val_mrr": 0.5, "val_map_at_10": 0.001},
        {"epoch": 2, "val_mrr": 0.6, "val_map_at_10": 0.002},
    ]
    data = curves.compute(a_run(records, "val_mrr"))
    figure = curves.draw(data)
    low, high = figure.layout.yaxis.range
    assert (data.panels[0].log, figure.layout.yaxis.type) == (False, "linear")
    assert low < 0.001 and high > 0.6
    labels = [note for note in figure.layout.annotations if "span" in note.text]
    assert [note.y for note in labels] == [0.6, pytest.approx(0.002, abs=0.02)]


def test_a_run_whose_metrics_are_no_numbers_says_so(a_run: MakeRun) -> None:
    with pytest.raises(
        PlotError, match=r"needs a metric that is a number; .*metrics\.jsonl has none: a lower learning"
    ):
        curves.compute(a_run([{"epoch": 1, "val_loss": None, "lr": 0.1}, {"epoch": 2, "val_loss": None, "lr": 0.2}]))


@pytest.mark.parametrize("count", range(1, 8))
@pytest.mark.parametrize("ranking", [False, True])
def test_panels_leave_no_place_empty(a_run: MakeRun, count: int, ranking: bool) -> None:
    record = {f"val_m{number}": 0.5 for number in range(count)} | ({"val_mrr": 0.2} if ranking else {})
    data = curves.compute(a_run([{"epoch": 1, **record}], "val_m0"))
    figure = curves.draw(data)
    axes = [figure.layout[name] for name in figure.layout if str(name).startswith("xaxis")]
    widths = sorted(round(axis.domain[1] - axis.domain[0], 3) for axis in axes)
    whole = ranking + count % 2
    assert widths == sorted([1.0] * whole + [0.45] * (count + ranking - whole))
    named = "curves" if len(axes) > 6 else "m0"
    assert named in figure.layout.title.text


@pytest.mark.parametrize(("epochs", "mode"), [(1, "lines+markers"), (30, "lines+markers"), (31, "lines")])
def test_a_single_epoch_is_seen_and_many_are_no_string_of_beads(a_run: MakeRun, epochs: int, mode: str) -> None:
    figure = curves.draw(curves.compute(a_run(trained(epochs))))
    assert {trace.mode for trace in figure.data if trace.name in ("train", "val")} == {mode}


def test_the_mouse_shows_every_value_of_the_epoch(a_run: MakeRun) -> None:
    figure = curves.draw(curves.compute(a_run(trained())))
    assert figure.data[0].hovertext[1] == "<b>epoch 2</b><br>train_loss = 0.5<br>val_loss = 1"


@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=12),
    st.floats(0.001, 1),
)
def test_labels_keep_their_order_their_distance_and_to_the_axis(wanted: list[float], gap: float) -> None:
    heights = spread(wanted, gap, -1.0, 1.0)
    room = min(gap, 2 / max(1, len(wanted) - 1))
    assert all(-1 - 1e-9 <= height <= 1 + 1e-9 for height in heights)
    assert all(above - below >= room - 1e-9 for below, above in pairwise(sorted(heights)))
    by_wish = [height for _, height in sorted(zip(wanted, heights, strict=True))]
    assert by_wish == sorted(by_wish)


def test_labels_that_are_apart_stay_where_they_are() -> None:
    assert spread([0.9, 0.1, 0.5], 0.2, 0.0, 1.0) == [0.9, 0.1, 0.5]
    assert spread([], 0.2, 0.0, 1.0) == []


# --- recall_at_k


def test_recall_of_both_splits_beside_the_most_popular(recommender: RunView) -> None:
    data = recall_at_k.compute(recommender)
    assert [(curve.split, curve.recall[:2], curve.popularity[:2]) for curve in data.curves] == [
        ("val", (0.25, 0.5), (0.125, 0.25)),
        ("test", (0.5, 1.0), (0.125, 0.25)),
    ]
    assert data.heading.subtitle == (
        "digits · val recall@2 0.5 against 0.25 · test recall@2 1 against 0.25 · 4 users, 4 items"
    )
    figure = recall_at_k.draw(data)
    lines = {trace.name: trace for trace in figure.data if trace.name}
    assert list(lines) == ["val", "most popular, val", "test", "most popular, test"]
    assert tuple(lines["test"].x) == (1, 2, 3, 4) and tuple(lines["test"].y) == (0.5, 1.0, 1.0, 1.0)
    assert tuple(lines["most popular, val"].y) == (0.125, 0.25, 0.5, 1.0)
    assert [lines[name].line.dash for name in lines] == [None, "dash", None, "dash"]
    dots = [(tuple(trace.x), tuple(trace.y)) for trace in figure.data if trace.mode == "markers"]
    assert dots == [((2, 2), (0.5, 0.25)), ((2, 2), (1.0, 0.25))]


def test_one_split_is_enough(a_run: MakeRun) -> None:
    data = recall_at_k.compute(a_run(recommended(), "val_mrr", test=RANKING))
    assert [curve.split for curve in data.curves] == ["test"]


@pytest.mark.parametrize(("last", "axis"), [(1, "linear"), (10, "linear"), (11, "log"), (100, "log")])
def test_many_k_are_on_a_logarithmic_axis(a_run: MakeRun, last: int, axis: str) -> None:
    values = [number / last for number in range(1, last + 1)]
    view = a_run(
        recommended(), "val_mrr", val={**without_later(RANKING), "recall_at": values, "popularity_recall_at": values}
    )
    layout = recall_at_k.draw(recall_at_k.compute(view)).layout
    assert layout.xaxis.type == axis
    if last == 100:
        assert layout.xaxis.tickvals == (1, 2, 5, 10, 20, 50, 100)


def test_a_k_beyond_the_list_takes_the_lists_end(a_run: MakeRun) -> None:
    data = recall_at_k.compute(a_run(recommended(), "val_mrr", val={**without_later(RANKING), "k": 10}))
    assert "val recall@4 1 against 1" in data.heading.subtitle
    assert all(trace.mode == "lines" for trace in recall_at_k.draw(data).data)


def test_no_recall_at_all_says_what_to_do(a_run: MakeRun) -> None:
    empty = {**without_later(RANKING), "recall_at": [], "popularity_recall_at": []}
    with pytest.raises(PlotError, match=r"recall_at is empty .*: no user has a held-out item"):
        recall_at_k.compute(a_run(recommended(), "val_mrr", val=empty))


# --- ranking_at_k and user_hits


def test_precision_and_ndcg_of_both_splits_beside_the_most_popular(recommender: RunView) -> None:
    data = ranking_at_k.compute(recommender)
    assert [(curve.metric, curve.split, curve.own[:2], curve.popular[:2]) for curve in data.curves[:2]] == [
        ("precision", "val", (0.25, 0.25), (0.125, 0.125)), ("NDCG", "val", (0.25, 0.4), (0.125, 0.2)),
    ]  # fmt: skip
    assert data.heading.subtitle.startswith("digits · val NDCG@2 0.4 against 0.2 · test NDCG@2 0.4 against 0.2")
    figure = ranking_at_k.draw(data)
    lines = [trace for trace in figure.data if trace.name]
    assert [trace.name for trace in lines if trace.showlegend] == [
        "val",
        "most popular, val",
        "test",
        "most popular, test",
    ]
    assert {tuple(trace.y) for trace in lines if trace.name == "most popular, val"} == {
        (0.125, 0.125, 0.1, 0.2), (0.125, 0.2, 0.3, 0.5)}  # fmt: skip
    dots = [(tuple(trace.x), tuple(trace.y)) for trace in figure.data if trace.mode == "markers"]
    assert ((2,), (0.4,)) in dots and len(dots) == 8


def test_users_by_their_hits(a_run: MakeRun) -> None:
    data = user_hits.compute(a_run(recommended(), "val_mrr", val=RANKING))
    assert data.splits == (("val", (1, 2, 1)),)
    assert data.heading.title == "75.0 % of the users find something they like among their first 2"
    [bars] = user_hits.draw(data).data
    assert tuple(bars.x) == (0, 1, 2) and tuple(bars.y) == (25, 50, 25) and tuple(bars.text) == ("1", "2", "1")


@pytest.mark.parametrize(("plot", "key"), [(ranking_at_k, "precision_at and ndcg_at"), (user_hits, "users_by_hits")])
def test_rankings_of_an_earlier_version_are_told(a_run: MakeRun, plot: Any, key: str) -> None:
    view = a_run(recommended(), "val_mrr", val=without_later(RANKING))
    assert recall_at_k.compute(view).curves
    with pytest.raises(PlotError, match=rf"needs {key} in the rankings of .*: train again"):
        plot.compute(view)


# --- popularity


def test_popularity_of_what_is_recommended(a_run: MakeRun) -> None:
    data = popularity.compute(a_run(recommended(), "val_mrr", val=RANKING))
    assert data.items == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert data.recommendations == (0.0, 0.5, 0.875, 1.0, 1.0)
    assert data.interactions == (0.0, 0.6, 0.9, 1.0, 1.0)
    assert (data.covered, data.n_items, data.k) == (3, 4, 2)
    assert data.recommended_by_group == (0.5, 0.375, 0.125, 0.0)
    assert data.interactions_by_group == pytest.approx((0.6, 0.3, 0.1, 0.0))
    assert data.heading.subtitle == ("digits · val split: the top 2 of 4 users · 4 items, 100 training interactions")
    figure = popularity.draw(data)
    assert [note.text for note in figure.layout.annotations] == [
        "3 of 4 items (75 %) are in somebody's top 2",
        "The most popular item gets 50 % of the recommendations",
    ]
    curve, bars = (
        [trace for trace in figure.data if trace.name == "recommendations" and trace.type == kind]
        for kind in ("scatter", "bar")
    )
    assert tuple(curve[0].y) == (0, 50, 87.5, 100, 100)
    assert tuple(bars[0].y) == (50, 37.5, 12.5, 0)


def test_the_test_split_goes_before_val(recommender: RunView) -> None:
    data = popularity.compute(recommender)
    assert data.covered == 2
    assert "test split" in data.heading.subtitle


def test_a_catalogue_of_tenths(a_run: MakeRun) -> None:
    content = {**RANKING, "n_items": 25, "recommended": [2] * 5 + [0] * 20, "interactions": list(range(25, 0, -1))}
    data = popularity.compute(a_run(recommended(), "val_mrr", val=content))
    assert data.recommended_by_group == pytest.approx((0.5, 0.5, *[0.0] * 8))
    assert data.interactions_by_group[0] == pytest.approx((25 + 24 + 23 / 2) / 325)
    figure = popularity.draw(data)
    assert figure.layout.annotations[1].text == "The most popular tenth gets 50 % of the recommendations"
    assert figure.layout.xaxis2.title.text == "tenth of the catalogue, most popular first"


def test_a_catalogue_of_three_items_and_one_recommendation_for_all(a_run: MakeRun) -> None:
    content = {**RANKING, "n_items": 3, "recommended": [0, 4, 0], "interactions": [1, 3, 1]}
    data = popularity.compute(a_run(recommended(), "val_mrr", val=content))
    assert data.items == pytest.approx((0.0, 1 / 3, 1.0))
    assert data.recommended_by_group == pytest.approx((1.0, 0.0, 0.0))
    assert data.interactions_by_group == pytest.approx((0.6, 0.2, 0.2))
    texts = [note.text for note in popularity.draw(data).layout.annotations]
    assert texts[0] == "1 of 3 items (33 %) is in somebody's top 2"


def test_a_catalogue_of_one_item(a_run: MakeRun) -> None:
    content = {**RANKING, "n_items": 1, "recommended": [4], "interactions": [9]}
    data = popularity.compute(a_run(recommended(), "val_mrr", val=content))
    assert (data.recommended_by_group, data.interactions_by_group) == ((1.0,), (1.0,))
    assert popularity.draw(data).layout.annotations[0].text == "1 of 1 item (100 %) is in somebody's top 2"


counts = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=60).filter(
    lambda pairs: any(a for a, _ in pairs) and any(b for _, b in pairs)
)


@given(counts, st.randoms(use_true_random=False))
def test_shares_sum_to_one_rise_and_do_not_depend_on_the_items_order(
    pairs: list[tuple[int, int]], shuffler: random.Random
) -> None:
    def of(pairs: list[tuple[int, int]]) -> tuple[tuple[float, ...], ...]:
        recommended, interactions = zip(*pairs, strict=True)
        return popularity.curves(Ranking("val", 1, 1, len(pairs), (), (), recommended, interactions))

    items, recommendations, interactions = of(pairs)
    shuffled = pairs.copy()
    shuffler.shuffle(shuffled)
    assert of(shuffled) == (items, recommendations, interactions)
    for heights in (items, recommendations, interactions):
        assert heights[0] == 0 and heights[-1] == 1
        assert list(heights) == sorted(heights)
    # Most popular first: no curve of the interactions is below that of items that are all alike.
    assert all(height >= share - 1e-9 for share, height in zip(items, interactions, strict=True))
    groups = min(10, len(pairs))
    by_group = popularity.by_group(items, interactions, groups)
    assert len(by_group) == groups
    assert sum(by_group) == pytest.approx(1)
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(by_group))


@pytest.mark.parametrize("key", ["recommended", "interactions"])
def test_nothing_to_share_says_what_is_missing(a_run: MakeRun, key: str) -> None:
    content = {**RANKING, key: [0, 0, 0, 0]}
    what = {"recommended": "recommendations", "interactions": "training interactions"}[key]
    with pytest.raises(PlotError, match=rf"needs {what}; ranking_val\.json of .* counts none"):
        popularity.compute(a_run(recommended(), "val_mrr", val=content))


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (0.0006, "0.06 %"),
        (0.0589, "5.9 %"),
        (0.0994, "9.9 %"),
        (0.0996, "10 %"),
        (0.24, "24 %"),
        (1.0, "100 %"),
    ],
)
def test_percent(share: float, text: str) -> None:
    assert popularity.percent(share) == text


# --- the files


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "format: this version reads 1, got 2"),
        ({"format": None}, "format: this version reads 1, got None"),
        ({"split": "train"}, "split: should be val or test, got 'train'"),
        ({"k": "ten"}, "k: should be a whole number from 0, got 'ten'"),
        ({"n_users": -1}, "n_users: should be a whole number from 0, got -1"),
        ({"recommended": None}, "recommended: should be a list, got None"),
        ({"recommended": []}, "recommended: has 0 values, n_items is 4"),
        ({"interactions": [1, 2, 3]}, "interactions: has 3 values, n_items is 4"),
        ({"interactions": [1, 2, 3, 0.5]}, r"interactions\[3\]: should be a whole number from 0, got 0\.5"),
        ({"recall_at": [0.1, None, 0.2, 0.3]}, r"recall_at\[1\]: should be a number from 0 to 1, got None"),
        ({"recall_at": [0.1, 1.5, 0.2, 0.3]}, r"recall_at\[1\]: should be a number from 0 to 1, got 1\.5"),
        ({"popularity_recall_at": [0.1]}, "popularity_recall_at: has 1 values, the length of recall_at is 4"),
        ({"ndcg_at": [0.1]}, "ndcg_at: has 1 values, the length of recall_at is 4"),
        ({"precision_at": [0.1, 2, 0, 0]}, r"precision_at\[1\]: should be a number from 0 to 1, got 2"),
        ({"users_by_hits": [4]}, r"users_by_hits: has 1 values, k \+ 1 is 3"),
        ({"users_by_hits": "4"}, "users_by_hits: should be a list, got '4'"),
    ],
)
def test_a_damaged_ranking_names_file_key_and_value(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "ranking_val.json"
    path.write_text(json.dumps({**RANKING, **change}))
    with pytest.raises(RunError, match=rf"ranking_val\.json: {said}; train again"):
        read_ranking(path)


# --- drawing them all


def test_every_plot_is_drawn_for_a_recommender(recommender: RunView, tmp_path: Path) -> None:
    outcomes = draw_run(recommender, [], tmp_path / "plots", ["html"])
    assert [(outcome.name, outcome.reason) for outcome in outcomes] == [
        (name, None) for name in ("curves", *OF_RANKINGS)
    ]
    for name in ("curves", *OF_RANKINGS):
        assert "digits" in (tmp_path / "plots" / f"{name}.html").read_text(encoding="utf-8")


def test_plots_of_other_runs_are_left_out_unless_asked_for(a_run: MakeRun, tmp_path: Path) -> None:
    view = a_run(trained())
    drawn_by_itself = [outcome.name for outcome in draw_run(view, [], tmp_path, ["html"])]
    assert drawn_by_itself == ["curves", "confusion_matrix", "calibration", "roc", "precision_recall", "mistakes"]
    [asked, drawn] = draw_run(view, ["popularity", "curves"], tmp_path, ["html"])
    assert asked.paths == () and drawn.paths == (tmp_path / "curves.html",)
    assert asked.reason is not None
    assert "needs ranking_val.json or ranking_test.json" in asked.reason and "--plot-type curves" in asked.reason


def test_a_damaged_ranking_is_told_also_where_nobody_asked(a_run: MakeRun, tmp_path: Path) -> None:
    view = a_run(recommended(), "val_mrr", val={**RANKING, "k": None})
    outcomes = {outcome.name: outcome for outcome in draw_run(view, [], tmp_path, ["html"])}
    assert outcomes["curves"].paths
    for name in OF_RANKINGS:
        assert not outcomes[name].paths and "k: should be a whole number" in str(outcomes[name].reason)


def test_an_unknown_plot_is_refused(a_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(PlotError, match="unknown plot 'curve'; did you mean 'curves'"):
        draw_run(a_run(trained()), ["curve"], tmp_path)


def test_png_by_a_real_browser(recommender: RunView, tmp_path: Path) -> None:
    if not any(shutil.which(name) for name in BROWSERS):
        pytest.skip("no Chrome or Chromium on the PATH")
    outcomes = draw_run(recommender, [], tmp_path / "plots", ["png"])
    assert [outcome.reason for outcome in outcomes] == [None] * 5
    expected = {
        "curves": (style.VERMILLION, 865), "recall_at_k": (style.GREEN, 580), "ranking_at_k": (style.GREEN, 560),
        "user_hits": (style.GREEN, 520), "popularity": (style.BLUE, 580),
    }  # fmt: skip
    for outcome in outcomes:
        [path], (colour, height) = outcome.paths, expected[outcome.name]
        with Image.open(path) as picture:
            assert picture.size == (2300, 2 * height)
            colours = {each for _, each in picture.convert("RGB").getcolors(maxcolors=10**6)}
        assert tuple(bytes.fromhex(colour[1:])) in colours

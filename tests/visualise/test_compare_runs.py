"""Runs side by side: what differs, what is the best, and whose curves share a panel."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mlframework.config import yaml
from mlframework.errors import PlotError, RunError
from mlframework.visualise.compare_runs import curves
from mlframework.visualise.compare_runs.differences import Comparison, compare
from mlframework.visualise.compare_runs.page import folder_name, write_comparison
from mlframework.visualise.compare_runs.sides import names_of, read_sides, settings_of
from mlframework.visualise.wording import six_digits
from support.browser import DRAWN, chromium, opened

Tree = dict[str, Any]
MakeRun = Callable[..., Path]

TREE: Tree = {
    "name": "r",
    "data": {"type": "table", "path": "t.csv", "target": "kind"},
    "model": {"architecture": "mlp"},
    "training": {"num_epochs": 3, "num_threads": 1},
    "optimizer": {"type": "sgd", "lr": 0.1},
    "metric": "val_acc",
}


def changed(**sections: Any) -> Tree:
    return {**TREE, **sections}


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a run's folder, as `ml-train` leaves it."""

    def make(
        name: str, accuracies: Sequence[float], tree: Tree | None = None, ended: bool = True,
        environment: Mapping[str, Any] | None = None, metric: str = "val_acc",
    ) -> Path:  # fmt: skip
        path = tmp_path / name
        path.mkdir(parents=True)
        (path / "config.yaml").write_text(yaml.dump(tree or TREE), encoding="utf-8")
        lines = [
            {"epoch": epoch, "lr": 0.1, "seconds": 0.5, "train_loss": 1 / epoch, metric: value}
            for epoch, value in enumerate(accuracies, 1)
        ]
        (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        about = {"python": "3.11.1", "packages": {"torch": "2.0"}, "data": {"digest": "aa"}, **(environment or {})}
        (path / "environment.json").write_text(json.dumps(about), encoding="utf-8")
        if ended and accuracies:
            best = max(range(len(accuracies)), key=accuracies.__getitem__)
            result = {
                "metric": metric, "best_epoch": best + 1, "last_epoch": len(lines), "seconds": 1.5, "reason": "all epochs done",
                "best_metrics": {"train_loss": 1 / (best + 1), metric: accuracies[best]}, "resources": {"n_parameters": 1200},
            }  # fmt: skip
            (path / "result.json").write_text(json.dumps(result), encoding="utf-8")
        return path

    return make


def texts(comparison: Comparison) -> dict[str, tuple[str, ...]]:
    rows = [*comparison.results, *comparison.settings, *comparison.surroundings]
    return {row.key: row.texts() for row in rows}


def test_only_what_differs_is_listed_with_defaults_written_out(make_run: MakeRun) -> None:
    # The first writes down what the second has by default.
    one = make_run("one", [0.5, 0.9], changed(model={"architecture": "mlp", "hidden_layers": 2}))
    two = make_run("two", [0.6, 0.8], changed(optimizer={"type": "sgd", "lr": 0.2}))
    found = compare(read_sides([one, two]))
    assert [row.key for row in found.settings] == ["optimizer.lr"]
    assert texts(found)["optimizer.lr"] == ("0.1", "0.2")
    assert found.surroundings == ()
    assert found.notes == ()


def test_a_searched_number_is_shown_in_six_digits_and_kept_exact(make_run: MakeRun, tmp_path: Path) -> None:
    def with_lr(name: str, lr: float) -> Path:
        return make_run(name, [0.5], changed(optimizer={"type": "sgd", "lr": lr}))

    runs = [with_lr("a", 0.13677843416434182), with_lr("b", 1.2345678901e-05), with_lr("c", 0.05)]
    found = compare(read_sides(runs))
    assert texts(found)["optimizer.lr"] == ("0.136778", "1.23457e-05", "0.05")
    write_comparison(found, None, tmp_path / "there", ["html"])
    page = (tmp_path / "there/comparison.html").read_text()
    assert '<td class="number" title="0.13677843416434182">0.136778</td>' in page
    assert '<td class="number">0.05</td>' in page
    # What differs does not look the same.
    near = compare(read_sides([runs[0], with_lr("d", 0.1367784)]))
    assert texts(near)["optimizer.lr"] == ("0.13677843416434182", "0.1367784")


def test_only_numbers_are_shortened() -> None:
    shown = {
        "[0.123456789, 2]": "[0.123457, 2]", "3.11.4": "3.11.4", "2024.1234567": "2024.12", "1234567890123": "1234567890123",
        "123e4567890": "123e4567890", "runs/0.123456789": "runs/0.123456789", "0.10": "0.10", "-": "-", "1.0": "1.0",
    }  # fmt: skip
    assert {text: six_digits(text) for text in shown} == shown


def test_results_are_all_listed_and_the_best_is_marked(make_run: MakeRun) -> None:
    sides = read_sides([make_run("a", [0.5, 0.9, 0.7]), make_run("b", [0.6, 0.8]), make_run("c", [0.9, 0.2])])
    rows = {row.key: row for row in compare(sides).results}
    assert next(iter(rows)) == "val_acc"
    assert rows["val_acc"].values == (0.9, 0.8, 0.9)
    assert rows["val_acc"].best == (0, 2)
    assert rows["train_loss"].best == ()  # being small there is no merit
    assert rows["best epoch"].texts() == ("2", "2", "1")
    assert rows["epochs"].texts() == ("3", "2", "2")
    assert rows["seconds"].texts() == ("1.5 s",) * 3
    assert rows["parameters"].texts() == ("1,200",) * 3


def test_a_choice_stands_before_what_hangs_on_it_and_a_missing_setting_is_a_dash(make_run: MakeRun) -> None:
    adam = make_run("adam", [0.5], changed(optimizer={"type": "adam", "lr": 0.1}))
    found = compare(read_sides([make_run("sgd", [0.5]), adam]))
    keys = [row.key for row in found.settings]
    assert keys[0] == "optimizer.type"
    assert texts(found)["optimizer.beta1"][0] == "–"


@pytest.mark.parametrize(
    ("tree", "environment", "said"),
    [
        (TREE, {"data": {"digest": "bb"}}, "not all trained on the same data"),
        (changed(seed=7), None, "not cut in the same way"),
        (changed(metric="val_loss"), None, "not chosen by the same metric"),
        (changed(seed=7, data={**TREE["data"], "split": {"seed": 1}}), None, "not cut in the same way"),
    ],
)
def test_what_stands_in_the_way_of_comparing_is_said(
    make_run: MakeRun, tree: Tree, environment: Tree | None, said: str
) -> None:
    metric = str(tree["metric"])
    other = make_run("other", [0.5], tree, environment=environment, metric=metric)
    notes = compare(read_sides([make_run("one", [0.5]), other])).notes
    assert [said in note for note in notes].count(True) == 1


def test_another_seed_with_the_same_cut_is_no_obstacle(make_run: MakeRun) -> None:
    data = {**TREE["data"], "split": {"seed": 1}}
    runs = [make_run(str(seed), [0.5], changed(seed=seed, data=data)) for seed in (1, 2)]
    assert compare(read_sides(runs)).notes == ()


def test_a_run_that_has_not_ended_is_shown_as_far_as_it_is(make_run: MakeRun) -> None:
    going, empty = make_run("going", [0.4, 0.7], ended=False), make_run("empty", [], ended=False)
    sides = read_sides([make_run("done", [0.5]), going, empty])
    found = compare(sides)
    assert texts(found)["val_acc"] == ("0.5", "0.7", "–")
    assert texts(found)["ended"] == ("all epochs done", "not ended", "not ended")
    assert "going, empty" in found.notes[0]
    assert "1 run without epochs" in curves.compute(sides).heading.subtitle


def test_no_password_is_shown(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    secret = {"mlflow": {"enabled": False, "tracking_uri": "postgresql://u:${DB_PASSWORD}@h/db"}}
    plain = {"mlflow": {"enabled": False, "tracking_uri": "postgresql://u:hunter2@h/db"}}
    runs = [
        make_run("a", [0.5]),
        make_run("b", [0.5], changed(tracking=secret)),
        make_run("c", [0.5], changed(tracking=plain)),
    ]
    shown = json.dumps(settings_of(read_sides(runs)))
    assert "hunter2" not in shown
    assert "${DB_PASSWORD}" in shown


def test_a_config_of_another_version_is_taken_as_it_was_written(make_run: MakeRun) -> None:
    old = make_run("old", [0.5], changed(colour="red"))
    rows = texts(compare(read_sides([make_run("new", [0.5]), old])))
    assert rows["colour"] == ("–", "red")
    assert "seed" not in rows and "training.batch_size" not in rows


def test_everything_that_is_missing_or_damaged_is_said_at_once(make_run: MakeRun, tmp_path: Path) -> None:
    damaged = make_run("damaged", [0.5])
    (damaged / "metrics.jsonl").write_text('{"epoch": "one"}\n', encoding="utf-8")
    with pytest.raises(RunError) as error:
        read_sides([make_run("fine", [0.5]), damaged, tmp_path / "nothing"])
    assert "should be a whole number from 1" in str(error.value)
    assert "nothing: there is no such run; runs there:" in str(error.value)


def test_names_are_as_short_as_they_can_be() -> None:
    paths = [Path("/r/a/fold_1"), Path("/r/b/fold_1"), Path("/r/other")]
    assert names_of(paths) == ["a/fold_1", "b/fold_1", "other"]
    assert folder_name(["a/fold_1", "b"]) == "a-fold_1_b"
    many = folder_name([f"run_number_{n}" for n in range(30)])
    assert many.startswith("run_number_0_run_number_1_") and many.endswith("_more") and len(many) < 130


def test_folds_are_read_with_the_config_above_them_and_a_cross_validation_is_their_mean(make_run: MakeRun) -> None:
    whole = make_run("cv", [])
    for fold, values in ((1, [0.5, 0.7, 0.9]), (2, [0.3, 0.5])):
        make_run(f"cv/fold_{fold}", values)
        (whole / f"fold_{fold}" / "config.yaml").unlink()
    (whole / "metrics.jsonl").unlink()
    sides = read_sides([whole, whole / "fold_1", whole / "fold_2"])
    assert [side.n_parts for side in sides] == [2, 0, 0]
    assert [record.metrics["val_acc"] for record in sides[0].records] == [0.4, 0.6]
    assert sides[1].tree == sides[0].tree
    assert "judged by other validation examples" in compare(sides).notes[0]
    assert not any("judged by" in note for note in compare(sides[:1] * 2).notes)


def test_curves_share_a_panel_a_metric_and_keep_their_colours(make_run: MakeRun) -> None:
    sides = read_sides([make_run("a", [0.5, 0.9]), make_run("b", [0.6, 0.8, 0.7])])
    data = curves.compute(sides)
    assert [panel.title for panel in data.panels] == ["acc", "loss"]  # the learning rate is the same everywhere
    assert [(line.run, line.values, line.best) for line in data.panels[0].lines] == [
        (0, (0.5, 0.9), (2, 0.9)),
        (1, (0.6, 0.8, 0.7), (2, 0.8)),
    ]
    figure = curves.draw(data)
    shown = [trace for trace in figure.data if trace.showlegend]
    assert [trace.name for trace in shown] == ["a", "b"]
    assert {trace.line.color for trace in figure.data if trace.legendgroup == "1" and trace.mode != "markers"} == {
        curves.COLOURS[1]
    }


def test_thirty_runs_have_thirty_colours(make_run: MakeRun) -> None:
    assert len({curves.colour_of(run, 30) for run in range(30)}) == 30
    data = curves.compute(read_sides([make_run(f"r{n}", [n / 30, n / 40]) for n in range(30)]))
    figure = curves.draw(data)
    assert sum(bool(trace.showlegend) for trace in figure.data) == 30
    assert figure.layout.height >= 30 * 20


def test_runs_without_a_metric_in_common_have_no_curves(make_run: MakeRun) -> None:
    other = make_run("ranked", [0.5], changed(metric="val_loss"), metric="val_loss")
    lines = [json.loads(line) for line in (other / "metrics.jsonl").read_text().splitlines()]
    kept = [{key: value for key, value in line.items() if key in ("epoch", "val_loss")} for line in lines]
    (other / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    with pytest.raises(PlotError, match="none in common"):
        curves.compute(read_sides([make_run("acc", [0.5]), other]))


def test_the_page_opens_without_an_error_and_shows_the_numbers(make_run: MakeRun, tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    runs = [make_run("plain", [0.5, 0.9125]), make_run(evil, [0.6, 0.8], changed(optimizer={"type": "sgd", "lr": 0.2}))]
    sides = read_sides(runs)
    written = write_comparison(compare(sides), curves.compute(sides), tmp_path / "out", ["html"])
    assert [path.name for path in written.paths] == ["comparison.html"]
    with chromium() as browser, opened(browser, written.paths[0].as_uri()) as seen:
        seen.page.wait_for_selector(DRAWN)
        assert seen.page.locator(".js-plotly-plot .main-svg .trace").count()
        assert seen.page.locator("tr", has_text="val_acc").locator("td strong").all_inner_texts() == ["0.9125"]
        assert seen.page.locator("tr", has_text="optimizer.lr").locator("td").all_inner_texts() == [
            "0.1",
            "0.2",
        ]
        assert seen.page.locator("img[src='x']").count() == 0
        assert (seen.errors, seen.requests) == ([], [])

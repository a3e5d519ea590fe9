"""What is read of a run's folder: the epochs, and which is the best; and what is said of a folder that is damaged."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from mlframework.errors import ConfigError, RunError
from mlframework.visualise.run_view import Best, RunView, duration, read_epochs, standing, subtitle

LOSSES = [0.9, 0.4, 0.6]


def epoch(number: int, **values: Any) -> dict[str, Any]:
    return {"epoch": number, **values, "lr": 0.1, "seconds": 1.5}


def write_run(
    folder: Path, records: list[dict[str, Any]], config: str = "metric: val_loss\n", result: Any = None
) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(config)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    if result is not None:
        (folder / "result.json").write_text(json.dumps(result))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three epochs, the second has the lowest loss; it has not ended."""
    return write_run(tmp_path / "digits", [epoch(number, val_loss=loss) for number, loss in enumerate(LOSSES, 1)])


def test_a_run_that_goes_on_is_judged_by_its_configs_metric(run: Path) -> None:
    view = RunView.of(run)
    assert [record.metrics["val_loss"] for record in view.records] == LOSSES
    assert (view.best, view.reason) == (Best(2, "val_loss", 0.4), None)
    assert standing(view) == ["3 epochs in 4.5 s", "best val_loss 0.4 (epoch 2)", "not ended"]
    assert subtitle(view, "", "a note") == "digits · a note"


def test_the_configs_metric_is_the_default_where_it_names_none(run: Path) -> None:
    (run / "config.yaml").write_text("name: digits\n")
    assert RunView.of(run).best == Best(2, "val_loss", 0.4)


def test_the_metrics_direction_decides(tmp_path: Path) -> None:
    records = [epoch(number, val_acc=value) for number, value in enumerate([0.9, 0.4, 0.6], 1)]
    assert RunView.of(write_run(tmp_path / "r", records, "metric: val_acc\n")).best == Best(1, "val_acc", 0.9)


@pytest.mark.parametrize("metric", ["val_acc", "val_nonsense"])
def test_without_the_metric_no_epoch_is_the_best(run: Path, metric: str) -> None:
    (run / "config.yaml").write_text(f"metric: {metric}\n")
    view = RunView.of(run)
    assert view.best is None
    assert standing(view) == ["3 epochs in 4.5 s", "not ended"]


def test_a_run_that_has_ended_says_itself_which_epoch_was_best(run: Path) -> None:
    result = {"metric": "val_loss", "best_epoch": 3, "last_epoch": 3, "reason": "all 3 epochs done"}
    (run / "result.json").write_text(json.dumps(result))
    view = RunView.of(run)
    assert (view.best, view.reason) == (Best(3, "val_loss", 0.6), "all 3 epochs done")
    assert standing(view)[-1] == "all 3 epochs done"


def test_the_result_of_an_earlier_end_is_not_that_of_a_resumed_run(run: Path) -> None:
    result = {"metric": "val_loss", "best_epoch": 1, "last_epoch": 1, "reason": "all 1 epochs done"}
    (run / "result.json").write_text(json.dumps(result))
    view = RunView.of(run)
    assert (view.best, view.reason) == (Best(2, "val_loss", 0.4), None)


@pytest.mark.parametrize("key", ["metric", "best_epoch"])
def test_a_result_without_its_keys_is_damaged(run: Path, key: str) -> None:
    result = {"metric": "val_loss", "best_epoch": 1, "last_epoch": 3}
    del result[key]
    (run / "result.json").write_text(json.dumps(result))
    with pytest.raises(RunError, match=rf"result\.json: has no {key}, it is damaged: without the file"):
        RunView.of(run)


def test_a_last_line_that_was_cut_short_is_no_epoch(run: Path) -> None:
    with (run / "metrics.jsonl").open("ab") as file:
        file.write('{"epoch": 4, "val_loss": 0.1, "näm'.encode()[:-2])
    assert [record.epoch for record in RunView.of(run).records] == [1, 2, 3]


def test_a_whole_last_line_without_its_newline_is_an_epoch(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(epoch(4, val_loss=0.1)))
    assert RunView.of(run).best == Best(4, "val_loss", 0.1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"epoch": 2, "val_l', r"metrics\.jsonl:2: is damaged \("),
        ("[1, 2]", r"metrics\.jsonl:2: should hold a JSON object, got list"),
        ('{"val_loss": 1}', r"metrics\.jsonl:2: epoch: should be a whole number from 1, got None"),
        ('{"epoch": true}', r"epoch: should be a whole number from 1, got True"),
        ('{"epoch": 0}', r"epoch: should be a whole number from 1, got 0"),
        ('{"epoch": 2, "val_loss": "low"}', r"metrics\.jsonl:2: val_loss: should be a number or null, got 'low'"),
        ('{"epoch": 2, "val_loss": true}', r"val_loss: should be a number or null, got True"),
    ],
)
def test_a_damaged_line_in_the_middle_has_its_number(tmp_path: Path, line: str, said: str) -> None:
    whole = json.dumps(epoch(1, val_loss=0.5))
    (tmp_path / "metrics.jsonl").write_text(f"{whole}\n{line}\n{whole}\n")
    with pytest.raises(RunError, match=said + r".*: take the line out"):
        read_epochs(tmp_path / "metrics.jsonl")


def test_null_is_not_a_number_and_what_is_missing_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(
        '{"epoch": 1, "val_loss": null}\n\n{"epoch": 2, "lr": null, "seconds": 2}\n'
    )
    first, second = read_epochs(tmp_path / "metrics.jsonl")
    assert math.isnan(first.metrics["val_loss"]) and math.isnan(first.seconds) and first.lr is None
    assert (second.metrics, second.seconds, second.lr) == ({}, 2.0, None)


def test_throughput_and_gradient_norm_are_no_metrics(tmp_path: Path) -> None:
    line = epoch(1, val_loss=0.5, gradient_norm=0.25, gradient_norm_max=None, throughput=1e3)
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    [record] = read_epochs(tmp_path / "metrics.jsonl")
    assert record.metrics == {"val_loss": 0.5}
    assert (record.throughput, record.gradient_norm, record.gradient_norm_max) == (1e3, 0.25, None)


def test_without_all_seconds_no_duration_is_claimed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", [epoch(1, val_loss=0.5), {"epoch": 2, "val_loss": 0.4}])
    assert standing(RunView.of(run))[0] == "2 epochs"


def test_no_epoch_yet_says_how_to_go_on(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", [])
    with pytest.raises(RunError, match=rf"no epoch of this run has finished.*ml-train --resume {run}"):
        RunView.of(run)
    (run / "metrics.jsonl").unlink()
    with pytest.raises(RunError, match="no epoch of this run has finished"):
        RunView.of(run)


def test_a_folder_that_is_no_run_names_those_that_are(run: Path) -> None:
    (run.parent / "other").mkdir()
    with pytest.raises(RunError, match=rf"other: has no config\.yaml, it is not a run folder; runs there: {run}"):
        RunView.of(run.parent / "other")
    with pytest.raises(RunError, match="there is no such run"):
        RunView.of(run.parent / "nothing")


def test_a_cross_validation_points_to_its_folds_and_a_fold_can_be_seen(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", [])
    fold = write_run(run / "fold_1", [epoch(1, val_loss=0.5)])
    (fold / "config.yaml").unlink()  # it stands in the folder above
    with pytest.raises(RunError, match=rf"is a cross-validation.*--mode run {fold}"):
        RunView.of(run)
    assert RunView.of(fold).best is None


def test_a_config_that_cannot_be_read_has_its_place(run: Path) -> None:
    (run / "config.yaml").write_text("metric: [\n")
    with pytest.raises(ConfigError, match=r"config\.yaml:"):
        RunView.of(run)


def test_a_run_seen_from_within_has_its_name(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    assert RunView.of(Path()).name == "digits"


def test_markup_in_names_is_shown_as_it_is(run: Path) -> None:
    assert subtitle(RunView.of(run), "a<b>") == "digits · a&lt;b&gt;"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.58, "0.6 s"),
        (34.2, "34 s"),
        (59.9, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3599.9, "1 h 0 min"),
        (7000, "1 h 56 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text

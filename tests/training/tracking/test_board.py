"""What TensorBoard reads of a real run."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.pr_curve.plugin_data_pb2 import PrCurvePluginData
from tensorboard.util import tensor_util

from mlframework.errors import Terminated, TrainingError
from mlframework.experiment import ExperimentConfig, build_learner, load_data, train
from mlframework.learners.base import Outputs
from mlframework.runs import RunDir
from mlframework.training.tracking.findings import Pace, findings_of
from support.ending import Ending

MakeConfig = Callable[..., ExperimentConfig]


def read(run: RunDir) -> EventAccumulator:
    accumulator = EventAccumulator(str(run.path), size_guidance={"images": 0, "scalars": 0})
    accumulator.Reload()
    return accumulator


def curve(board: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in board.Scalars(tag)]


def session(board: EventAccumulator, tag: str) -> plugin_data_pb2.HParamsPluginData:
    return plugin_data_pb2.HParamsPluginData.FromString(board.SummaryMetadata(f"_hparams_/{tag}").plugin_data.content)


def written(run: RunDir, name: str) -> list[Any]:
    import json

    return [json.loads(line)[name] for line in run.metrics.read_text().splitlines()]


@pytest.fixture(scope="module")
def image_run(make_config: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = RunDir(tmp_path_factory.mktemp("image_run"))
    config = make_config("image classifier", scheduler={"type": "exponential"}, metric="val_acc")
    train(config, load_data(config), run)
    return run


def test_curves_stand_beside_each_other_by_metric(image_run: RunDir) -> None:
    board = read(image_run)
    assert sorted(board.Tags()["scalars"]) == [
        "acc/train", "acc/val", "hparam/val_acc", "loss/train", "loss/val", "lr",
        "training/gradient_norm", "training/gradient_norm_max", "training/seconds", "training/share_compute",
        "training/share_data", "training/share_writing", "training/throughput"]  # fmt: skip
    for tag, name in (
        ("loss/train", "train_loss"),
        ("acc/val", "val_acc"),
        ("lr", "lr"),
        ("training/gradient_norm", "gradient_norm"),
        ("training/gradient_norm_max", "gradient_norm_max"),
        ("training/throughput", "throughput"),
        ("training/share_data", "share_data"),
    ):
        assert curve(board, tag) == [(n, pytest.approx(v)) for n, v in enumerate(written(image_run, name), 1)]
    best_so_far = np.maximum.accumulate(written(image_run, "val_acc"))
    assert curve(board, "hparam/val_acc") == [(n, pytest.approx(value)) for n, value in enumerate(best_so_far, 1)]
    assert written(image_run, "lr") == pytest.approx([0.05 * 0.95**n for n in range(4)])


def test_hparams_are_the_settings_by_dotted_key(image_run: RunDir) -> None:
    board = read(image_run)
    values = session(board, "session_start_info").session_start_info.hparams
    assert values["optimizer.lr"].number_value == 0.05 and values["optimizer.type"].string_value == "sgd"
    assert values["model.architecture"].string_value == "shufflenet_v2_x0_5"
    assert values["training.batch_size"].number_value == 16 and values["data.image_size"].number_value == 32
    assert not {"name", "device", "metric", "tracking.tensorboard"} & set(values)
    assert session(board, "session_end_info").session_end_info.status == 1


def test_sample_images_and_the_confusion_matrix_of_the_best_epoch(image_run: RunDir) -> None:
    board = read(image_run)
    assert sorted(board.Tags()["images"]) == ["confusion_matrix/val", "roc_curve/val", "samples/train"]
    [samples] = board.Images("samples/train")
    picture = np.asarray(Image.open(io.BytesIO(samples.encoded_image_string)))
    assert samples.step == 0 and picture.shape[2] == 3 and picture.std() > 10
    values = written(image_run, "val_acc")
    assert board.Images("confusion_matrix/val")[-1].step == values.index(max(values)) + 1


def test_precision_and_recall_are_those_of_the_best_epoch(image_run: RunDir, make_config: MakeConfig) -> None:
    board = read(image_run)
    config = make_config("image classifier", scheduler={"type": "exponential"}, metric="val_acc")
    learner = build_learner(config, load_data(config).without_test())
    learner.load_state_dict(learner.codec.load(image_run.checkpoints / "best.pt")["learner"])
    outputs = learner.outputs("val")
    assert outputs is not None and outputs.class_names is not None
    tags = [tag for tag in board.Tags()["tensors"] if tag.startswith("pr_curve/")]
    values = written(image_run, "val_acc")
    shown = outputs.class_names if len(outputs.class_names) > 2 else outputs.class_names[1:]
    assert tags == [f"pr_curve/{name}" for name in shown]
    for name, tag in zip(shown, tags, strict=True):
        index = list(outputs.class_names).index(name)
        event = board.Tensors(tag)[-1]
        assert event.step == values.index(max(values)) + 1
        metadata = board.SummaryMetadata(tag)
        assert metadata.plugin_data.plugin_name == "pr_curves"
        n_thresholds = PrCurvePluginData.FromString(metadata.plugin_data.content).num_thresholds
        counts = tensor_util.make_ndarray(event.tensor_proto)
        assert counts.shape == (6, n_thresholds)
        of_class = outputs.targets == index
        taken = outputs.values[:, index] >= 0.5 - 1e-6
        middle = counts[:, (n_thresholds - 1) // 2]
        assert middle[:4].tolist() == [
            (taken & of_class).sum(), (taken & ~of_class).sum(), (~taken & ~of_class).sum(), (~taken & of_class).sum()
        ]  # fmt: skip


def test_while_there_is_no_time_for_it_nothing_is_drawn_but_at_the_end(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training of moments has its pictures once, whatever the number of its best epochs; a long one in between, too."""
    found = {}
    for has_time in (False, True):
        monkeypatch.setattr(Pace, "has_time", lambda self, answer=has_time: answer)
        config, run = make_config("mlp classification"), RunDir(tmp_path / str(has_time))
        train(config, load_data(config), run)
        losses = written(run, "val_loss")
        best = [n for n, loss in enumerate(losses, 1) if loss == min(losses[:n]) and loss not in losses[: n - 1]]
        assert len(best) > 1
        found[has_time] = [image.step for image in read(run).Images("confusion_matrix/val")]
        assert found[has_time] == (best if has_time else best[-1:])


def test_time_for_a_drawing_is_a_small_share(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("mlframework.training.tracking.findings.time.monotonic", lambda: now[0])
    pace = Pace()
    assert not pace.has_time()
    now[0] = 10.0
    assert pace.has_time()
    now[0] = 10.5
    pace.drawn(10.0)  # it took half a second
    now[0] = 30.0
    assert not pace.has_time()
    now[0] = 36.0
    assert pace.has_time()


def test_predictions_that_are_no_numbers_are_not_drawn() -> None:
    values = np.array([[0.5, 0.5], [np.nan, np.nan]])
    assert findings_of(Outputs("classification", np.array([0, 1]), values, ["a", "b"])) is None
    assert findings_of(Outputs("regression", np.array([0.0, 1.0]), np.array([np.inf, 1.0]), None)) is None


def test_a_table_has_no_pictures_of_its_rows_and_a_regression_no_confusion(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    for family, images in (
        ("mlp regression", ["predicted_against_true/val"]),
        ("mlp classification", ["confusion_matrix/val", "roc_curve/val"]),
    ):
        config, run = make_config(family), RunDir(tmp_path / family)
        train(config, load_data(config), run)
        assert read(run).Tags()["images"] == images


def test_a_resumed_run_is_one_curve_and_ends_once(make_config: MakeConfig, tmp_path: Path) -> None:
    config, run = make_config("mlp classification", metric="val_acc"), RunDir(tmp_path)
    splits = load_data(config)
    with pytest.raises(Terminated):
        train(config, splits, run, [Ending(2, Terminated("test"))])
    assert "_hparams_/session_end_info" not in read(run).Tags()["tensors"]  # it may go on
    best_before = max(written(run, "val_acc"))
    # The best epoch came before the stop: its confusion matrix is there already.
    assert [image.step for image in read(run).Images("confusion_matrix/val")][-1] == (
        written(run, "val_acc").index(best_before) + 1
    )
    train(config, splits, run)
    board = read(run)
    assert [step for step, _ in curve(board, "acc/val")] == [1, 2, 3, 4]
    assert [value for _, value in curve(board, "acc/val")] == pytest.approx(written(run, "val_acc"))
    assert session(board, "session_end_info").session_end_info.status == 1


def test_a_run_that_fails_says_so(make_config: MakeConfig, tmp_path: Path) -> None:
    config, run = make_config("mlp classification"), RunDir(tmp_path)
    with pytest.raises(TrainingError):
        train(config, load_data(config), run, [Ending(2, TrainingError("x"))])
    assert session(read(run), "session_end_info").session_end_info.status == 2

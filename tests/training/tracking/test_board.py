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

from mlframework.errors import Terminated, TrainingError
from mlframework.experiment import ExperimentConfig, load_data, train
from mlframework.learners.base import Learner
from mlframework.runs import RunDir
from mlframework.training.callbacks import History

MakeConfig = Callable[..., ExperimentConfig]


class Ending:
    """Ends a training after an epoch."""

    def __init__(self, epoch: int, error: Exception) -> None:
        self._epoch, self._error = epoch, error

    def on_start(self, learner: Learner, history: History) -> None: ...

    def on_epoch(self, learner: Learner, history: History) -> None:
        if history.records[-1].epoch == self._epoch:
            raise self._error

    def on_end(self, learner: Learner, history: History, status: str) -> None: ...


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
        "acc/train", "acc/val", "hparam/val_acc", "loss/train", "loss/val", "lr"]  # fmt: skip
    for tag, name in (
        ("loss/train", "train_loss"),
        ("acc/val", "val_acc"),
        ("hparam/val_acc", "val_acc"),
        ("lr", "lr"),
    ):
        assert curve(board, tag) == [(n, pytest.approx(v)) for n, v in enumerate(written(image_run, name), 1)]
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
    assert sorted(board.Tags()["images"]) == ["confusion_matrix/val", "samples/train"]
    [samples] = board.Images("samples/train")
    picture = np.asarray(Image.open(io.BytesIO(samples.encoded_image_string)))
    assert samples.step == 0 and picture.shape[2] == 3 and picture.std() > 10
    values = written(image_run, "val_acc")
    assert board.Images("confusion_matrix/val")[-1].step == values.index(max(values)) + 1


def test_a_table_has_no_pictures_of_its_rows_and_a_regression_no_confusion(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    for family, images in (("mlp regression", []), ("mlp classification", ["confusion_matrix/val"])):
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

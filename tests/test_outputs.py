"""The files of what a model says of each example: what is written is read, and what is damaged is told."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlframework.data import ImageFolderConfig
from mlframework.data.images import ImageExamples
from mlframework.data.tables import TableConfig
from mlframework.errors import RunError
from mlframework.experiment import ExperimentConfig, evaluate_test, export, load_data, train
from mlframework.learners.base import Outputs
from mlframework.outputs import outputs_path, read_outputs, write_outputs
from mlframework.runs import RunDir

MakeConfig = Callable[..., ExperimentConfig]
TABLE = TableConfig(type="table", path="data.csv", target="y")
OUTPUTS = Outputs(
    "classification", np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), ("no", "ye\u0301s")
)


@dataclass(frozen=True)
class Rows:
    """Examples of a table, as far as their outputs need them."""

    rows: NDArray[np.int64]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    return run


@pytest.fixture
def path(run: RunDir) -> Path:
    write_outputs(run, "val", 4, OUTPUTS, Rows(np.array([2, 0, 7])), TABLE)
    return outputs_path(run, "val")


def rewritten(path: Path, **changes: Any) -> None:
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays |= changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


def test_what_is_written_is_read(path: Path) -> None:
    found = read_outputs(path)
    assert (found.split, found.epoch, found.task, len(found)) == ("val", 4, "classification", 3)
    assert found.class_names == ("no", "ye\u0301s")
    assert found.targets.tolist() == [0, 1, 1]
    assert np.array_equal(found.values, OUTPUTS.values.astype(np.float32))
    assert found.rows.tolist() == [3, 1, 8], "counted from 1"
    assert found.names == ()


def test_images_are_named_below_their_folder(run: RunDir) -> None:
    data = ImageFolderConfig(type="image_folder", path="data/pets")
    paths = ("data/pets/cat/1.png", "data/pets/cat/in/2.png", "data/pets/dog/\udcff.png")
    examples = ImageExamples(np.zeros((3, 3, 8, 8), np.uint8), np.array([0, 0, 1]), ("cat", "dog"), paths)
    write_outputs(run, "test", 1, OUTPUTS, examples, data)
    found = read_outputs(outputs_path(run, "test"))
    assert (found.split, found.names) == ("test", ("cat/1.png", "cat/in/2.png", "dog/\udcff.png"))
    assert not found.rows.size


def test_any_numpy_reads_it_without_pickle(path: Path) -> None:
    with np.load(path, allow_pickle=False) as archive:
        assert str(archive["split"]) == "val" and archive["class_names"].tolist() == ["no", "ye\u0301s"]
        assert archive["values"].dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": np.int64(2)}, "format: this version reads 1, got 2"),
        ({"rows": None}, "has no rows"),
        ({"split": np.str_("train")}, "split: should be val or test, got 'train'"),
        ({"task": np.str_("ranking")}, "task: should be classification or regression, got 'ranking'"),
        ({"epoch": np.float64(1)}, "epoch: should be a whole number"),
        ({"targets": np.array([0, 1, 2])}, "targets: run from 0 to 2, and there are 2 classes"),
        ({"targets": np.array([0.0, 1.0, 1.0])}, "targets: should be one number an example"),
        ({"targets": np.array([], dtype=np.int64)}, "targets: should be one number an example"),
        ({"values": np.ones((3, 3), np.float32)}, r"values: should be \(3, 2\) numbers"),
        ({"values": np.array([["a", "b"]] * 3)}, r"values: should be \(3, 2\) numbers"),
        ({"class_names": np.array([1, 2])}, "class_names: should hold texts"),
        ({"rows": np.array([1, 2])}, "rows: should be one an example"),
        ({"names": np.array(["a"])}, "names: should be one an example"),
    ],
)
def test_what_does_not_fit_is_told(path: Path, changes: dict[str, Any], said: str) -> None:
    rewritten(path, **changes)
    with pytest.raises(RunError, match=rf"outputs_val\.npz: {said}.*; delete it, and train again"):
        read_outputs(path)


def test_objects_are_refused(path: Path) -> None:
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(path, allow_pickle=True, **{**arrays, "names": np.array([{}, [], print], dtype=object)})
    with pytest.raises(RunError, match="is no NumPy archive, or a damaged one"):
        read_outputs(path)


def test_a_header_that_promises_terabytes_takes_no_memory(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    values = parts["values.npy"]
    assert b"(3, 2)" in values
    parts["values.npy"] = values.replace(b"(3, 2), }       ", b"(3000000000, 2)}")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(RunError, match=r"a damaged one \(values is not as long as it says\)"):
        read_outputs(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_is_told_or_harmless(path: Path, data: st.DataObject) -> None:
    content = path.read_bytes()
    try:
        at = data.draw(st.integers(0, len(content) - 1))
        damaged = bytearray(content[: data.draw(st.sampled_from([at, len(content)]))])
        if at < len(damaged):
            damaged[at] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(damaged)
        try:
            assert len(read_outputs(path)) == 3
        except RunError as error:
            assert "outputs_val.npz" in str(error)
    finally:
        path.write_bytes(content)


def test_a_run_writes_those_of_its_best_epoch(make_config: MakeConfig, run: RunDir) -> None:
    config = make_config("mlp classification")
    splits = load_data(config)
    result = train(config, splits, run)
    export(config, splits, run, "best")
    found = read_outputs(outputs_path(run, "val"))
    assert found.epoch == result.best_epoch
    accuracy = (found.values.argmax(axis=1) == found.targets).mean()
    assert accuracy == pytest.approx(result.best_metrics["val_acc"])
    assert not outputs_path(run, "test").exists(), "the test split is not opened"
    kinds = [line.split(",") for line in Path(config.data.path).read_text().splitlines()]
    column = kinds[0].index("kind")
    rows = [found.class_names.index(kinds[row][column]) for row in found.rows]
    assert rows == found.targets.tolist(), "row n is the n-th line after the header"


def test_opening_the_test_split_writes_its_outputs(make_config: MakeConfig, run: RunDir) -> None:
    config = make_config("mlp regression")
    splits = load_data(config)
    result = train(config, splits, run)
    metrics = evaluate_test(config, splits, run, "last")
    found = read_outputs(outputs_path(run, "test"))
    assert (found.task, found.epoch, found.class_names) == ("regression", result.last_epoch, ())
    rmse = np.sqrt(np.mean((found.values - found.targets) ** 2))
    assert rmse == pytest.approx(metrics["test_rmse"], rel=1e-5)

"""The data floor as a whole: its tables, its cache, and what it imports."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from mlframework import data
from mlframework.config.docstrings import description
from mlframework.data import DATASETS, DataConfig, ImageFolderConfig, TableConfig, clear_cache, load_splits
from mlframework.data.samples import SAMPLES, main, write_breast_cancer, write_diabetes


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    clear_cache()
    yield
    clear_cache()


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were loaded, in order."""
    seen: list[str] = []
    original = TableConfig.load

    def counted(self: TableConfig) -> Any:
        seen.append(self.path)
        return original(self)

    monkeypatch.setattr(TableConfig, "load", counted)
    return seen


def cancer(folder: Path, **settings: Any) -> TableConfig:
    path = folder / "cancer.csv"
    if not path.exists():
        write_breast_cancer(path)
    return TableConfig(type="table", path=str(path), target="diagnosis", **settings)


def test_the_type_decides_which_config_is_read() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(DataConfig)
    extra = {"image_folder": {}, "table": {"target": "y"}, "interactions": {}}
    for name, kind in DATASETS.items():
        assert type(adapter.validate_python({"type": name, "path": "x", **extra[name]})) is kind
    with pytest.raises(ValidationError, match="'image_folder', 'table', 'interactions'"):
        adapter.validate_python({"type": "video", "path": "x"})


def test_every_field_has_a_description() -> None:
    for kind in (*DATASETS.values(), data.SplitConfig):
        for name in kind.model_fields:
            assert description(kind, name).endswith("."), f"{kind.__name__}.{name}"


def test_splits_come_by_the_fractions_and_the_seed(tmp_path: Path) -> None:
    splits = load_splits(cancer(tmp_path, split={"val_fraction": 0.1, "test_fraction": 0.3}), 7)
    assert [len(splits.train), len(splits.val), len(splits.test)] == [341, 57, 171]
    other = load_splits(cancer(tmp_path, split={"val_fraction": 0.1, "test_fraction": 0.3}), 8)
    assert not np.array_equal(splits.val.numeric, other.val.numeric)


def test_the_same_data_is_loaded_once(tmp_path: Path, loads: list[str]) -> None:
    first = load_splits(cancer(tmp_path), 1)
    assert load_splits(cancer(tmp_path), 1).train is first.train
    half = load_splits(cancer(tmp_path, fraction=0.5), 1)
    assert len(half.train) == round(len(first.train) / 2)
    assert half.val is first.val
    assert half.test is first.test
    assert len(loads) == 1
    load_splits(cancer(tmp_path), 2)
    assert len(loads) == 2


def test_augment_does_not_load_images_again(digits_folder: Path) -> None:
    def config(augment: str, size: int = 8) -> ImageFolderConfig:
        return ImageFolderConfig(type="image_folder", path=str(digits_folder), image_size=size, augment=augment)

    first = load_splits(config("none"), 1)
    assert load_splits(config("light"), 1).train is first.train
    assert load_splits(config("none", 9), 1).train.pixels.shape[-1] == 9


def test_the_last_two_are_kept(tmp_path: Path, loads: list[str]) -> None:
    for seed in (1, 2, 1, 3, 1):
        load_splits(cancer(tmp_path), seed)
    assert len(loads) == 3
    load_splits(cancer(tmp_path), 2)
    assert len(loads) == 4


def test_data_that_has_changed_is_loaded_again(tmp_path: Path, loads: list[str]) -> None:
    config = cancer(tmp_path)
    before = len(load_splits(config, 1).train)
    lines = Path(config.path).read_text().splitlines(keepends=True)
    Path(config.path).write_text("".join(lines[:401]))
    os.utime(config.path, ns=(1, 1))
    assert len(load_splits(config, 1).train) < before
    assert len(loads) == 2


def test_images_that_are_added_are_loaded(tmp_path: Path, digits_folder: Path) -> None:
    for digit in ("0", "1"):
        (tmp_path / digit).mkdir()
        for file in sorted((digits_folder / digit).iterdir())[:5]:
            (tmp_path / digit / file.name).write_bytes(file.read_bytes())
    config = ImageFolderConfig(type="image_folder", path=str(tmp_path), image_size=8)
    assert sum(len(part) for part in vars(load_splits(config, 1)).values()) == 10
    (tmp_path / "1" / "new.png").write_bytes(next((digits_folder / "1").iterdir()).read_bytes())
    os.utime(tmp_path / "1", ns=(2, 2))
    assert sum(len(part) for part in vars(load_splits(config, 1)).values()) == 11


def test_nothing_heavy_is_imported_before_data_is_loaded() -> None:
    heavy = "{'torch', 'torchvision', 'polars', 'sklearn', 'PIL', 'rich', 'scipy', 'pandas'}"
    script = (
        "import sys, mlframework.data, mlframework.data.augment\n"
        "mlframework.data.TableConfig(type='table', path='x', target='y')\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_samples_are_the_known_data_sets(tmp_path: Path, digits_folder: Path) -> None:
    assert len(list(digits_folder.glob("*/*.png"))) == 1797
    assert sorted(folder.name for folder in digits_folder.iterdir()) == list("0123456789")
    loaded = cancer(tmp_path).load()
    assert len(loaded.examples) == 569
    assert loaded.examples.numeric.shape[1] == 30
    assert loaded.class_names == ("benign", "malignant")
    assert np.bincount(loaded.examples.targets).tolist() == [357, 212]
    diabetes = TableConfig(type="table", path=str(write_diabetes(tmp_path / "d.csv")), target="progression").load()
    assert diabetes.examples.schema.task == "regression"
    assert (diabetes.examples.targets.min(), diabetes.examples.targets.max()) == (25, 346)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_written_from_the_command_line(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / name
    main([name, str(path)])
    assert path.exists()
    assert capsys.readouterr().out == f"wrote {path}\n"

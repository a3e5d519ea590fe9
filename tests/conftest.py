"""Fixtures that every test may use."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from mlframework.config.decode import decode
from mlframework.config.override import apply
from mlframework.config.yaml import Document
from mlframework.data.samples import write_breast_cancer, write_diabetes, write_digits
from mlframework.experiment import ExperimentConfig

# The commands set it, too: waiting threads that spin slow parallel tests down tenfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A first example may import scikit-learn or torch: that takes longer than any deadline. CI draws the same examples.
settings.register_profile("mlframework", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("mlframework")

Tree = dict[str, Any]
MakeConfig = Callable[..., ExperimentConfig]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a GPU or the internet, unless `-m gpu` or `-m network` asks for it."""
    for item in items:
        for marker in ("gpu", "network"):
            if item.get_closest_marker(marker) is not None and marker not in config.getoption("-m"):
                item.add_marker(pytest.mark.skip(reason=f"only with -m {marker}"))


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's 1,797 handwritten digits as a folder of images; not to be written into."""
    return write_digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="session")
def few_digits(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first twelve of each digit; not to be written into."""
    folder = tmp_path_factory.mktemp("few_digits")
    for digit in sorted(digits_folder.iterdir()):
        (folder / digit.name).mkdir()
        for path in sorted(digit.iterdir())[:12]:
            shutil.copy(path, folder / digit.name)
    return folder


@pytest.fixture(scope="session")
def breast_cancer_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """569 tumours, 30 numeric columns, the target `diagnosis` of two classes."""
    return write_breast_cancer(tmp_path_factory.mktemp("breast_cancer") / "breast_cancer.csv")


@pytest.fixture(scope="session")
def diabetes_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """442 patients, 10 numeric columns, the target `progression` from 25 to 346."""
    return write_diabetes(tmp_path_factory.mktemp("diabetes") / "diabetes.csv")


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tree]:
    """A config tree for each family of models, on data in which the answer is planted.

    Tables: the class, and the value (in hundreds), follow from `x0` and `colour`. Images: the class is the third of the
    picture that is bright.
    """
    folder = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(0)
    lines = ["x0,x1,colour,kind,value"]
    for x0, x1, red in zip(rng.normal(size=240), rng.normal(size=240), rng.random(240) < 0.5, strict=True):
        score = x0 + (0.8 if red else -0.8)
        kind, colour = "high" if score > 0 else "low", "red" if red else "blue"
        lines.append(f"{x0:.5f},{x1:.5f},{colour},{kind},{300 + 100 * score:.4f}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for third, name in enumerate(("left", "middle", "right")):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(0, 120, (24, 24, 3), dtype=np.uint8)
            pixels[:, 8 * third : 8 * third + 8] += 120
            Image.fromarray(pixels).save(folder / "images" / name / f"{number}.png")
    table = {"type": "table", "path": str(folder / "table.csv")}
    images = {"type": "image_folder", "path": str(folder / "images"), "image_size": 32}
    mlp = {"architecture": "mlp", "hidden_size": 16}
    common = {"seed": 7, "device": "cpu", "optimizer": {"type": "sgd", "lr": 0.05}}
    training = {"num_epochs": 4, "batch_size": 16, "num_threads": 1}
    return {
        "mlp classification": {
            **common, "data": {**table, "target": "kind", "drop": ["value"]}, "model": mlp, "training": training,
        },
        "mlp regression": {
            **common, "data": {**table, "target": "value", "drop": ["kind"]}, "model": mlp, "training": training,
        },
        "image classifier": {
            **common, "data": images, "model": {"architecture": "shufflenet_v2_x0_5"}, "training": training,
        },
    }  # fmt: skip


@pytest.fixture(scope="session")
def make_config(planted: dict[str, Tree]) -> MakeConfig:
    """Decodes the config of a family, or of a tree, with settings changed by dotted key."""

    def make(base: str | Tree, **changes: Any) -> ExperimentConfig:
        tree, _ = apply(ExperimentConfig, planted[base] if isinstance(base, str) else base, changes)
        return decode(ExperimentConfig, Document(tree, "test"))

    return make

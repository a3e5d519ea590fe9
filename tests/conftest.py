"""Fixtures that every test may use."""

import os
import shutil
import signal
import threading
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
from mlframework.data.interaction_examples import Catalogue, InteractionExamples
from mlframework.data.samples import write_breast_cancer, write_diabetes, write_digits
from mlframework.experiment import ExperimentConfig

# The commands set it, too: waiting threads that spin slow parallel tests down tenfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A job in the background ignores SIGINT, and so would every command that a test ends as Ctrl-C does.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A first example may import scikit-learn or torch: that takes longer than any deadline. CI draws the same examples.
settings.register_profile("mlframework", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("mlframework")

Tree = dict[str, Any]
MakeConfig = Callable[..., ExperimentConfig]
MakeExamples = Callable[..., InteractionExamples]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores: many tests wait, for a server to start, a lease to run out, or a process to end."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a GPU or the internet, unless `-m gpu` or `-m network` asks for it."""
    for item in items:
        for marker in ("gpu", "network"):
            if item.get_closest_marker(marker) is not None and marker not in config.getoption("-m"):
                item.add_marker(pytest.mark.skip(reason=f"only with -m {marker}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the counts that tests have recorded: how many rounds, kills, mutated files, and what came of them."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "counts" and getattr(report, "when", "") == "call":
                    terminalreporter.write_line(f"{report.nodeid}: {value}")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the present one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def every_epoch_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a checkpoint at each epoch, as where epochs take longer than `PACE`."""
    monkeypatch.setattr("mlframework.training.checkpoint.PACE", 0.0)


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


GROUPS = ("blues", "jazz", "polka")


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tree]:
    """A config tree for each family of models, on data in which the answer is planted.

    Tables: the class, and the value (in hundreds), follow from `x0` and `colour`. Images: the class is the third of the
    picture that is bright. Interactions: there are three groups of users and items, and users keep to their own.
    """
    folder = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(0)
    _write_table(folder / "table.csv", rng)
    _write_images(folder / "images", rng)
    _write_log(folder, rng)
    _write_ratings(folder / "ratings.csv", rng)
    table = {"type": "table", "path": str(folder / "table.csv")}
    kinds, values = {**table, "target": "kind", "drop": ["value"]}, {**table, "target": "value", "drop": ["kind"]}
    images = {"type": "image_folder", "path": str(folder / "images"), "image_size": 32}
    log = {"type": "interactions", "path": str(folder / "log.csv")}
    features = {f"{side}_features": {"path": str(folder / f"{side}s.csv")} for side in ("user", "item")}
    ratings = {"type": "interactions", "path": str(folder / "ratings.csv"), "rating_column": "rating"}
    mlp, towers = {"architecture": "mlp", "hidden_size": 16}, {"architecture": "two_tower", "embedding_dim": 8}
    machine = {"embedding_dim": 4, "init_std": 0.1}
    common = {"seed": 7, "device": "cpu"}
    sgd = {"training": {"num_epochs": 4, "batch_size": 16, "num_threads": 1}, "optimizer": {"type": "sgd", "lr": 0.05}}
    adam = {**sgd, "optimizer": {"type": "adam", "lr": 0.05}}
    iterations = {"training": {"num_epochs": 4, "num_threads": 1}, "metric": "val_ndcg_at_10"}
    steps = {**adam, "training": {**sgd["training"], "batch_size": 64}, "metric": "val_ndcg_at_10"}
    return {
        "mlp classification": {**common, **sgd, "data": kinds, "model": mlp},
        "mlp regression": {**common, **sgd, "data": values, "model": mlp},
        "image classifier": {**common, **sgd, "data": images, "model": {"architecture": "shufflenet_v2_x0_5"}},
        "small cnn": {**common, **sgd, "data": images, "model": {"architecture": "small_cnn", "channels": 4}},
        "fm classification": {**common, **adam, "data": kinds, "model": {"architecture": "fm", **machine}},
        "fm regression": {
            **common, **adam, "data": {**ratings, "task": "regression"}, "model": {"architecture": "fm", **machine},
        },
        "ffm classification": {
            **common, **adam, "data": {**ratings, "task": "classification", "min_rating": 4},
            "model": {"architecture": "ffm", **machine},
        },
        "als": {**common, **iterations, "data": log, "model": {"architecture": "als", "factors": 8}},
        "bpr": {**common, **iterations, "data": log, "model": {"architecture": "bpr", "factors": 8, "lr": 0.3}},
        "two_tower": {**common, **steps, "data": log, "model": towers},
        "two_tower with features": {**common, **steps, "data": {**log, **features}, "model": towers},
    }  # fmt: skip


def _write_table(path: Path, rng: np.random.Generator) -> None:
    lines = ["x0,x1,colour,kind,value"]
    for x0, x1, red in zip(rng.normal(size=240), rng.normal(size=240), rng.random(240) < 0.5, strict=True):
        score = x0 + (0.8 if red else -0.8)
        kind, colour = "high" if score > 0 else "low", "red" if red else "blue"
        lines.append(f"{x0:.5f},{x1:.5f},{colour},{kind},{300 + 100 * score:.4f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_images(folder: Path, rng: np.random.Generator) -> None:
    for third, name in enumerate(("left", "middle", "right")):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(0, 120, (24, 24, 3), dtype=np.uint8)
            pixels[:, 8 * third : 8 * third + 8] += 120
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def _write_log(folder: Path, rng: np.random.Generator) -> None:
    """Write log.csv, users.csv and items.csv: 180 users have 9 of their group's 15 items each, and one of the others'.

    Users are text, items numbers; user i and item j belong to the groups i % 3 and j % 3.
    """
    lines = ["user_id,item_id"]
    for user in range(180):
        mine = np.arange(user % 3, 45, 3)
        others = np.setdiff1d(np.arange(45), mine)
        lines += [f"u{user:03},{100 + item}" for item in (*rng.choice(mine, 9, replace=False), rng.choice(others))]
    (folder / "log.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    users = [f"u{user:03},{GROUPS[user % 3]},{rng.normal():.4f}" for user in range(180)]
    (folder / "users.csv").write_text("\n".join(["user_id,likes,age", *users]) + "\n", encoding="utf-8")
    items = [f"{100 + item},{GROUPS[item % 3]},{rng.normal():.4f}" for item in range(45)]
    (folder / "items.csv").write_text("\n".join(["item_id,genre,length", *items]) + "\n", encoding="utf-8")


def _write_ratings(path: Path, rng: np.random.Generator) -> None:
    """Write 1,200 ratings: 4 or 5 where user and item are of the same group, else 1 or 2."""
    lines = ["user_id,item_id,rating"]
    for user in range(60):
        for item in rng.choice(30, 20, replace=False):
            lines.append(f"u{user:02},{item},{rng.integers(4, 6) if user % 3 == item % 3 else rng.integers(1, 3)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def make_config(planted: dict[str, Tree]) -> MakeConfig:
    """Decodes the config of a family, or of a tree, with settings changed by dotted key."""

    def make(base: str | Tree, **changes: Any) -> ExperimentConfig:
        tree, _ = apply(ExperimentConfig, planted[base] if isinstance(base, str) else base, changes)
        return decode(ExperimentConfig, Document(tree, "test"))

    return make


@pytest.fixture(scope="session")
def make_examples() -> MakeExamples:
    """Makes interactions out of a matrix (n_users, n_items), of which those above 0 are interactions of that weight."""

    def make(matrix: Any, users: Any = None, items: Any = None) -> InteractionExamples:
        matrix = np.asarray(matrix)
        of_users, of_items = (np.asarray(codes, dtype=np.int32) for codes in np.nonzero(matrix))
        catalogue = Catalogue(
            user_column="user_id",
            item_column="item_id",
            users=tuple(range(len(matrix))) if users is None else tuple(users),
            items=tuple(range(matrix.shape[1])) if items is None else tuple(items),
            user_features=None,
            item_features=None,
            task="ranking",
            target="",
            class_names=None,
        )
        return InteractionExamples(catalogue, of_users, of_items, matrix[of_users, of_items].astype(np.float32))

    return make

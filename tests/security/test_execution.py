"""Files of strangers are read without executing anything: checkpoints, weights, artifacts, states in a storage, YAML."""

import io
import json
import pickle
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mlframework
from mlframework.data.image_files import decode_image
from mlframework.errors import DataError, MlframeworkError, RunError, StorageError
from mlframework.search.samplers import cma_state
from support.fuzzing import run_here
from support.searches import LR, run_search, write_config

Attack = Callable[[Any], bytes]


def _pickle(evil: Any) -> bytes:
    return pickle.dumps(evil)


def _torch_file(evil: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save({"format": 1, "identity": evil, "history": "[]", "learner": {}}, buffer)
    return buffer.getvalue()


def _old_torch_file(evil: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save({"learner": evil}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def _objects(evil: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([evil], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def _archive(evil: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, tree=np.array([evil], dtype=object), array0=np.array([evil], dtype=object))
    return buffer.getvalue()


ATTACKS: list[Attack] = [_pickle, _torch_file, _old_torch_file, _objects, _archive]


def test_the_attacks_are_attacks(evil: Any, tmp_path: Path) -> None:
    """Read in the way that is to be avoided, they do make the file."""
    target = tmp_path / "executed"
    for attack in ATTACKS:
        buffer = io.BytesIO(attack(evil))
        if attack in (_torch_file, _old_torch_file):
            torch.load(buffer, weights_only=False)
        elif attack is _pickle:
            pickle.load(buffer)
        elif attack is _objects:
            np.load(buffer, allow_pickle=True)
        else:
            np.load(buffer, allow_pickle=True)["tree"]
        assert target.exists(), attack.__name__
        target.unlink()


@pytest.fixture(scope="module")
def runs(planted: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a torch model, and one of another."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("mlp classification", "als"):
            tree = {**planted[name], "name": name.split()[0], "tracking": {"tensorboard": False}}
            mlframework.train(tree, num_epochs=1)
    return folder / "runs"


@pytest.mark.parametrize("name", ["mlp", "als"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_checkpoint(here: Path, runs: Path, evil: Any, name: str, attack: Attack) -> None:
    """A run that goes on from a crafted checkpoint says that it can't, and keeps it for its owner to look at."""
    run = here / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_bytes((runs / next(runs.glob(f"{name}*")) / "config.yaml").read_bytes())
    checkpoint = run / "checkpoints" / "last.pt"
    checkpoint.write_bytes(attack(evil))
    end = run_here(["ml-train", "--resume", str(run)])
    assert (end.code, "cannot be read as a checkpoint" in end.err) == (2, True), end
    assert str(checkpoint) in end.err


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_weights_that_a_config_names(here: Path, world: Path, evil: Any, attack: Attack) -> None:
    (here / "data").symlink_to(world / "data")
    (here / "weights.pth").write_bytes(attack(evil))
    (here / "config.yaml").write_text(
        "data: {type: image_folder, path: data/digits, image_size: 32}\n"
        "model: {architecture: shufflenet_v2_x0_5, pretrained: weights.pth}\ntraining: {num_epochs: 1}\n"
    )
    end = run_here(["ml-train", "--config", "config.yaml"])
    assert (end.code, "weights.pth: is not a file of weights" in end.err) == (2, True), end
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


@pytest.mark.parametrize(
    ("name", "file"),
    [("mlp", "model.safetensors"), ("mlp", "model_meta.json"), ("als", "user_vecs.npy"), ("als", "model_meta.json")],
)
def test_an_artifact(here: Path, runs: Path, evil: Any, name: str, file: str) -> None:
    """A predictor is made of nothing but numbers and text; what holds anything else is refused."""

    run = Path(shutil.copytree(next(runs.glob(f"{name}*")), here / "run"))
    mlframework.load(run)
    content = (run / "artifacts" / file).read_bytes()
    endless = b'{"a":' * 100_000
    for bad in (*(attack(evil) for attack in ATTACKS), b"", content[: len(content) // 2], endless, b"{}", b"[]"):
        (run / "artifacts" / file).write_bytes(bad)
        with pytest.raises(RunError):
            mlframework.load(run)


@pytest.mark.parametrize("value", [None, 10**12, -1, "../../x", [], {}, [None]])
def test_a_description_that_does_not_fit_its_artifact(here: Path, runs: Path, value: Any) -> None:

    for name in ("mlp", "als"):
        run = Path(shutil.copytree(next(runs.glob(f"{name}*")), here / name))
        path = run / "artifacts" / "model_meta.json"
        meta = json.loads(path.read_text())
        for key in ("schema", "encoder", "n_outputs") if name == "mlp" else ("users", "items"):
            path.write_text(json.dumps({**meta, key: value}))
            with pytest.raises(MlframeworkError):
                mlframework.load(run)


def test_a_state_of_cma_es_in_the_storage(here: Path, evil: Any) -> None:
    """Optuna's CMA-ES keeps its state by pickle in the storage; who can write there must not run programs here."""
    space = {"optimizer.lr": LR, "optimizer.momentum": {"type": "uniform", "low": 0.5, "high": 0.9}}
    changes = {
        "search_space": space, "search.sampler": {"type": "CmaEsSampler"}, "search.n_trials": 9, "training.num_epochs": 1,
    }  # fmt: skip
    _, end = run_search(changes)
    assert end.why == "done"
    assert run_search({**changes, "search.n_trials": 11}, resume=True)[1].why == "done"  # its own state is read
    database = sqlite3.connect("studies.db")
    crafted = json.dumps(pickle.dumps(evil).hex())
    sql = "UPDATE trial_system_attributes SET value_json = ? WHERE key LIKE 'cma:%optimizer%'"
    assert database.execute(sql, (crafted,)).rowcount > 0
    database.commit()
    database.close()
    with pytest.raises(StorageError, match=r"not its own \(posix.system"):
        run_search({**changes, "search.n_trials": 13}, resume=True)


def test_every_name_that_a_state_may_have_is_harmless() -> None:
    """Each is the optimizer, an array or a random generator, or makes one."""
    modules = {module.split(".")[0] for module, _ in cma_state._NAMES}
    assert modules == {"cmaes", "numpy"}
    with pytest.raises(StorageError, match=r"builtins.eval"):
        cma_state._StatePickle.loads(b"cbuiltins\neval\n(V1+1\ntR.")
    for junk in (b"", b"\x80", b"(" * 100, pickle.dumps([1])[:-1]):
        with pytest.raises(StorageError):
            cma_state._StatePickle.loads(junk)


def test_yaml_tags_and_expressions(here: Path) -> None:
    """A config names no objects, and a constraint is no Python."""
    write_config()
    text = Path("config.yaml").read_text()
    attacks = {
        text.replace("name: tiny", "name: !!python/object/apply:os.system [touch ../executed]"): "no tags",
        text + "  constraints: [\"__import__('os').system('touch ../executed') <= 1\"]\n": "constraints",
        text + '  constraints: ["().__class__.__base__.__subclasses__() <= 1"]\n': "constraints",
        text + '  constraints: ["9 ** 9 ** 9 ** 9 <= 1"]\n': "constraints",
    }
    for attack, said in attacks.items():
        Path("config.yaml").write_text(attack)
        for command in ("ml-train", "ml-search"):
            end = run_here([command, "--config", "config.yaml"])
            assert (end.code, said in end.err) == (2, True), (attack, end)


def test_an_image_that_is_a_program_for_ghostscript(tmp_path: Path) -> None:
    """Pillow finds out by the content what a file is; PostScript would be run by Ghostscript."""
    path = tmp_path / "innocent.png"
    Image.new("RGB", (20, 20)).save(path, "EPS")
    with Image.open(path) as image:
        assert image.format == "EPS"
    with pytest.raises(DataError, match="not an image"):
        decode_image(path, 8)

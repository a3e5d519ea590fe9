"""What every family of models must do, whatever it is made of: one suite for all of them."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mlframework
from mlframework.config import schema
from mlframework.data import load_splits
from mlframework.errors import CheckpointError, ConfigError, TrainingError
from mlframework.experiment import ExperimentConfig, build_learner, export, load_data, start_run, train
from mlframework.learners.arrays import ArrayCodec
from mlframework.learners.base import Codec, Learner
from mlframework.learners.torch_codec import TorchCodec
from mlframework.metrics import METRICS, key_of
from mlframework.models import MODELS
from mlframework.optim import OPTIMIZERS
from mlframework.runs import RunDir
from mlframework.schedules import SCHEDULERS

MakeConfig = Callable[..., ExperimentConfig]

FAMILIES = {
    "mlp classification": "mlp",
    "mlp regression": "mlp",
    "image classifier": "shufflenet_v2_x0_5",
    "small cnn": "small_cnn",
    "fm classification": "fm",
    "fm regression": "fm",
    "ffm classification": "ffm",
    "als": "als",
    "bpr": "bpr",
    "two_tower": "two_tower",
    "two_tower with features": "two_tower",
}
"""Each family of the fixture `planted`, with its architecture."""
RECOMMENDERS = [family for family in FAMILIES if family.split()[0] in ("als", "bpr", "two_tower")]
OTHERS = [family for family in FAMILIES if family not in RECOMMENDERS]
IMAGES = ("image classifier", "small cnn")
WITHOUT_STEPS = ("als", "bpr")
STEP_KEYS = ("module", "optimizer", "schedule", "rng", "rng_order")
REGRESSIONS = ("mlp regression", "fm regression")
ALIKE = ("small cnn", "fm regression", "two_tower with features")
"""Families whose steps are those of another one here: they go through the suite, but not with every optimizer."""
VARIANTS: dict[str, dict[str, Any]] = {
    **{f"optimizer {name}": {"optimizer.type": name} for name in OPTIMIZERS},
    **{f"scheduler {name}": {"scheduler.type": name} for name in SCHEDULERS},
    "fused steps": {"optimizer.fused": True},
    "step after warm-up": {"scheduler.type": "step", "scheduler.warmup_epochs": 2, "scheduler.step_size": 1},
    "plateau at once": {"scheduler.type": "plateau", "scheduler.patience": 0, "optimizer.lr": 1e-7},
    "dropout": {"model.dropout": 0.5},
    "accumulation": {"training.accumulation_steps": 3},
    "clipping": {"training.gradient_clipping": 0.1},
    "mixed precision": {"training.trainer_type": "mixed_precision"},
}
ONLY_SOME: dict[str, dict[str, Any]] = {
    "batch norm": {"model.batch_norm": True},
    "augmentation light": {"data.augment": "light"},
    "augmentation standard": {"data.augment": "standard"},
    "images from disk": {"data.cache": "none", "data.augment": "light"},
    "label smoothing and class weights": {"training.label_smoothing": 0.1, "training.class_weights": "balanced"},
    "penalty": {"model.l1": 1e-4, "model.l2": 1e-3},
    "alpha": {"model.alpha": 5.0, "model.regularization": 0.1},
    "exact solver": {"model.solver": "cholesky"},
    "unverified negatives": {"model.verify_negative": False},
    "sampled softmax": {"model.loss": "sampled_softmax", "model.n_negatives": 4},
    "pairwise loss": {"model.loss": "bpr", "model.n_negatives": 2},
    "no log-q": {"model.log_q_correction": False},
    "dot product": {"model.similarity": "dot"},
    "temperature": {"model.temperature": 0.5},
    "deep towers": {
        "model.similarity": "cosine",
        "model.hidden_layers": 2,
        "model.hidden_size": 8,
        "model.dropout": 0.3,
    },
}


def suits(family: str, changes: Mapping[str, Any]) -> bool:
    """Whether a family has all of these settings, and a use for them."""
    model = MODELS[FAMILIES[family]]
    if any(schema.excluder(dict.fromkeys(model.excludes, ""), key) is not None for key in changes):
        return False
    if any(key.startswith("model.") and key.partition(".")[2] not in model.model_fields for key in changes):
        return False
    if any(key.startswith("data.") for key in changes):
        return family == "image classifier"  # the other one gets its images as it does
    return "training.class_weights" not in changes or family not in REGRESSIONS


def wanted(family: str, changes: Mapping[str, Any]) -> bool:
    """Whether a family is tried with these settings."""
    of_steps = any(key.startswith(("optimizer.", "scheduler.")) for key in changes)
    return suits(family, changes) and not (family in ALIKE and of_steps)


CASES = [(f, name) for f in FAMILIES for name, changes in {**VARIANTS, **ONLY_SOME}.items() if wanted(f, changes)]
CASES += [(family, "as it is") for family in (*ALIKE, *WITHOUT_STEPS)]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def config(family: str, make_config: MakeConfig) -> ExperimentConfig:
    return make_config(family)


def fresh(config: ExperimentConfig) -> Learner:
    return build_learner(config, load_data(config))


def said(learner: Learner, split: str) -> list[np.ndarray[Any, Any]]:
    """Return what a learner says of a split: of its examples, or of what its users are recommended."""
    outputs, report = learner.outputs(split), learner.ranking(split)
    assert (outputs is None) != (report is None)
    if outputs is not None:
        return [outputs.targets, outputs.values]
    assert report is not None
    return [report.recall_at, report.popularity_recall_at, report.recommended, report.interactions]


def same(one: list[np.ndarray[Any, Any]], other: list[np.ndarray[Any, Any]]) -> bool:
    return all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))


def task_of(config: ExperimentConfig, learner: Learner) -> Any:
    outputs = learner.outputs("val")
    return "ranking" if outputs is None else outputs.task


def epochs(learner: Learner, n: int) -> list[dict[str, float]]:
    """Train as the loop does, and return what each epoch said."""
    return [{**learner.train_epoch(), **{f"val_{k}": v for k, v in learner.evaluate("val").items()}} for _ in range(n)]


def assert_same(one: Any, other: Any, where: str = "state") -> None:
    """Bit for bit."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other), where
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype and np.array_equal(one, other), where
    elif isinstance(one, Mapping):
        assert list(one) == list(other), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_same(left, right, f"{where}[{number}]")
    else:
        assert one == other, where


def test_every_family_is_in_this_suite(make_config: MakeConfig) -> None:
    assert {type(make_config(family).model) for family in FAMILIES} == set(MODELS.values())
    assert all(make_config(family).model.architecture == name for family, name in FAMILIES.items())


def test_every_model_of_one_kind_goes_through_each_of_its_settings() -> None:
    """The variants are filtered by what a family can use: nothing that should run may have fallen through."""
    chosen = {name for family, name in CASES if FAMILIES[family] in ("als", "bpr")}
    assert chosen == {"as it is", "alpha", "exact solver", "unverified negatives"}
    towers = {name for family, name in CASES if family == "two_tower"}
    assert towers >= {*VARIANTS, "sampled softmax", "pairwise loss", "no log-q", "dot product", "deep towers"}
    assert {name for _, name in CASES} == {*VARIANTS, *ONLY_SOME, "as it is"}


def test_an_epoch_returns_finite_metrics_that_the_table_knows(config: ExperimentConfig) -> None:
    learner = fresh(config)
    trained = learner.train_epoch()
    known = {*METRICS[task_of(config, learner)], "loss"}
    for found in (trained, learner.evaluate("val"), learner.evaluate("test")):
        assert found and {key_of(name)[0] for name in found} <= known
        assert all(type(value) is float and np.isfinite(value) for value in found.values())
    assert "loss" in trained


def test_it_says_how_many_examples_and_how_long_gradients_an_epoch_had(config: ExperimentConfig, family: str) -> None:
    learner, splits = fresh(config), load_data(config)
    assert learner.n_examples == len(splits.train)
    assert learner.gradient_norm() is None
    learner.train_epoch()
    norm = learner.gradient_norm()
    assert (norm is None) == (family in WITHOUT_STEPS)
    if norm is not None:
        assert np.isfinite(norm.largest) and 0 < norm.mean <= norm.largest


def test_the_vectors_of_the_items_are_what_is_exported(config: ExperimentConfig, family: str, tmp_path: Path) -> None:
    learner = usable(family, config)
    vectors = learner.item_vectors()
    assert (vectors is None) == (config.data.type != "interactions")
    if vectors is not None:
        learner.export(tmp_path)
        n_factors = json.loads((tmp_path / "model_meta.json").read_text())["n_factors"]
        assert np.array_equal(vectors, np.load(tmp_path / "item_vecs.npy")[:, :n_factors])
        assert vectors.shape[1] == n_factors and vectors.std() > 0


def test_one_seed_gives_one_training_and_another_seed_another(config: ExperimentConfig) -> None:
    one = fresh(config)
    first = epochs(one, 2)
    two = fresh(config)
    assert epochs(two, 2) == first
    assert_same(one.state_dict(), two.state_dict())
    # The split is the same one: only the learner is seeded anew.
    other = build_learner(config.model_copy(update={"seed": config.seed + 1}), load_splits(config.data, config.seed))
    assert epochs(other, 2) != first


@pytest.mark.parametrize(("family", "name"), CASES, ids=lambda value: value.replace(" ", "_"))
def test_a_learner_goes_on_from_its_state_as_if_nothing_had_happened(
    family: str, name: str, make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(family, **{**VARIANTS, **ONLY_SOME, "as it is": {}}[name])
    undisturbed = fresh(config)
    expected = epochs(undisturbed, 4)
    stopped = fresh(config)
    epochs(stopped, 2)
    (tmp_path / "state").write_bytes(stopped.codec.encode(stopped.state_dict()))
    del stopped
    resumed = fresh(config)
    resumed.load_state_dict(resumed.codec.load(tmp_path / "state"))
    assert epochs(resumed, 2) == expected[2:]
    assert_same(resumed.state_dict(), undisturbed.state_dict())
    assert same(said(resumed, "test"), said(undisturbed, "test"))


def test_a_state_given_to_two_learners_makes_them_twins_that_do_not_disturb_each_other(
    config: ExperimentConfig,
) -> None:
    giver = fresh(config)
    epochs(giver, 1)
    state = giver.state_dict()
    one, two = fresh(config), fresh(config)
    one.load_state_dict(state)
    expected = epochs(one, 2)
    two.load_state_dict(state)
    assert epochs(two, 2) == expected
    giver.load_state_dict(state)
    assert epochs(giver, 2) == expected


def test_evaluating_changes_nothing_in_the_training(family: str, make_config: MakeConfig) -> None:
    steps = {**VARIANTS["plateau at once"], "model.dropout": 0.2}
    config = make_config(family, **(steps if suits(family, {"optimizer.type": "sgd"}) else {}))
    quiet = fresh(config)
    expected = epochs(quiet, 3)
    if family in OTHERS:  # a ranking has no val loss: the plateau goes by the training loss
        assert quiet.learning_rate() < config.optimizer.lr  # so that a second look at the val loss would count
    watched = fresh(config)
    found = []
    for number in range(3):
        if number or family not in WITHOUT_STEPS:
            watched.evaluate("test")
        found += epochs(watched, 1)
        said(watched, "test")
        watched.evaluate("test")
        watched.evaluate("val")
    assert found == expected
    assert_same(watched.state_dict(), quiet.state_dict())


@pytest.mark.parametrize("family", OTHERS)
def test_outputs_are_of_every_example_in_its_order(config: ExperimentConfig) -> None:
    learner, splits = fresh(config), load_data(config)
    epochs(learner, 1)
    for name, part in (("val", splits.val), ("test", splits.test)):
        outputs = learner.outputs(name)
        assert np.array_equal(outputs.targets, part.targets)
        if outputs.class_names is None:
            assert outputs.task == "regression" and outputs.values.shape == (len(part),)
        else:
            assert outputs.values.shape == (len(part), len(outputs.class_names))
            assert np.allclose(outputs.values.sum(axis=1), 1, atol=1e-6) and outputs.values.min() >= 0
        assert learner.ranking(name) is None


@pytest.mark.parametrize("family", RECOMMENDERS)
def test_a_ranking_is_of_every_user_of_the_split(config: ExperimentConfig) -> None:
    learner, splits = fresh(config), load_data(config)
    epochs(learner, 1)
    for name, part in (("val", splits.val), ("test", splits.test)):
        report = learner.ranking(name)
        n_users = len(np.intersect1d(part.users, splits.train.users))
        assert (report.k, report.n_users) == (10, n_users)
        assert report.recommended.sum() == 10 * n_users
        assert np.array_equal(report.interactions, np.bincount(splits.train.items, minlength=45))
        for curve in (report.recall_at, report.popularity_recall_at):
            assert curve.shape == (45,) and np.all(np.diff(curve) >= 0) and curve[-1] == 1
        assert learner.outputs(name) is None


def usable(family: str, config: ExperimentConfig) -> Learner:
    """Return a learner that can be asked: what has no steps has no factors before its first epoch."""
    learner = fresh(config)
    if family in WITHOUT_STEPS:
        learner.train_epoch()
    return learner


def test_what_is_said_is_of_now(family: str, config: ExperimentConfig) -> None:
    learner = usable(family, config)
    before = said(learner, "val")
    state = usable(family, config).state_dict()
    learner.train_epoch()
    assert not same(said(learner, "val"), before)
    learner.load_state_dict(state)
    assert same(said(learner, "val"), before)


@pytest.mark.parametrize("family", OTHERS)
def test_the_training_split_has_no_outputs(config: ExperimentConfig) -> None:
    """It comes in random order: what it said would not fit its targets, and asking would change the training."""
    learner = fresh(config)
    with pytest.raises(ValueError, match="train comes in random order"):
        learner.outputs("train")


def test_metrics_are_those_of_what_is_said(config: ExperimentConfig) -> None:
    learner = fresh(config)
    learner.train_epoch()
    outputs, found = learner.outputs("val"), learner.evaluate("val")
    if outputs is None:
        report = learner.ranking("val")
        assert found["recall_at_10"] == pytest.approx(report.recall_at[9], abs=1e-12)
    else:
        table = METRICS[outputs.task]
        assert found == {name: table[name].compute(outputs.targets, outputs.values) for name in found}


@pytest.mark.parametrize("family", RECOMMENDERS)
def test_the_metrics_that_are_asked_for_are_computed(family: str, make_config: MakeConfig) -> None:
    learner = fresh(make_config(family, metric="val_recall_at_45", metrics=["val_map_at_3", "test_ndcg_at_7"]))
    learner.train_epoch()
    usual = {"precision_at_10", "recall_at_10", "ndcg_at_10", "map_at_10", "mrr"}
    assert set(learner.evaluate("val")) == {*usual, "recall_at_45", "map_at_3"}
    assert set(learner.evaluate("test")) == {*usual, "recall_at_45", "map_at_3", "ndcg_at_7"}
    with pytest.raises(TrainingError, match=r"val_recall_at_46: there are 45 items, fewer than 46; .*val_recall_at_10"):
        fresh(make_config(family, metric="val_recall_at_46"))


@pytest.mark.parametrize("family", OTHERS)
def test_it_learns_what_is_planted(family: str, make_config: MakeConfig) -> None:
    # The smallest net is the quickest, but sixty images teach it little.
    larger = {"model.architecture": "resnet18", "optimizer.lr": 0.003, "training.batch_size": 8}
    # The ratings' noise leaves an R2 of 0.9 to who knows the groups, and a rating of each user and item is seen but once.
    floors = {"mlp regression": 0.95, "fm regression": 0.7}
    score, floor = ("val_r2", floors[family]) if family in REGRESSIONS else ("val_acc", 0.9)
    changes = {"metrics": [score], **(larger if family == "image classifier" else {})}
    found = epochs(fresh(make_config(family, **changes)), 5)
    assert min(epoch["loss"] for epoch in found) < found[0]["loss"] / 2
    assert max(epoch[score] for epoch in found) >= floor


@pytest.mark.parametrize("family", RECOMMENDERS)
def test_it_learns_the_planted_taste(family: str, make_config: MakeConfig) -> None:
    """Each model finds twice as much of what is held out as recommending the most popular items does.

    All items are about equally popular, so popularity knows nothing: 10 of the 40 items or so that a user has not seen
    hold a quarter of what is held out. Who knows the groups ranks the user's own first: 10 or so, of which nine in ten
    of the held-out items are. That would be three and a half times as much; twice leaves room for what 5 epochs miss.
    """
    learner = fresh(make_config(family))
    found = epochs(learner, 5)
    assert min(epoch["loss"] for epoch in found) < found[0]["loss"]
    for split in ("val", "test"):
        report = learner.ranking(split)
        assert 0.15 < report.popularity_recall_at[9] < 0.35
        assert report.recall_at[9] >= 2 * report.popularity_recall_at[9]


def test_the_codec_gives_back_what_it_was_given(config: ExperimentConfig, tmp_path: Path) -> None:
    learner = fresh(config)
    epochs(learner, 1)
    (tmp_path / "state").write_bytes(learner.codec.encode(learner.state_dict()))
    assert_same(learner.codec.load(tmp_path / "state"), dict(learner.state_dict()))


def test_a_file_that_is_no_state_is_refused_by_name(config: ExperimentConfig, tmp_path: Path) -> None:
    learner = fresh(config)
    path = tmp_path / "last.pt"
    path.write_bytes(learner.codec.encode(learner.state_dict()))
    whole = path.read_bytes()
    contents = [whole[:n] for n in (0, 1, 100, len(whole) // 2, len(whole) - 1)]
    contents += [b"\0" * 1000, b"PK\x03\x04" + b"x" * 500, b"\x80\x04garbage.", b"name: digits\n", whole[500:]]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"last\.pt"):
            learner.codec.load(path)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"last\.pt"):
        learner.codec.load(path)


HEADS = [
    b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04\x95", b"PK\x05\x06", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x01\x00\x10\x00{'descr'",
]  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(head=st.sampled_from(HEADS), tail=st.binary())
@pytest.mark.parametrize("codec", [TorchCodec(), ArrayCodec()], ids=["torch", "arrays"])
def test_no_bytes_at_all_make_a_codec_raise_anything_else(
    codec: Codec, head: bytes, tail: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(head + tail)
    with pytest.raises(CheckpointError, match=r"last\.pt"):
        codec.load(path)


def test_every_codec_is_among_those(config: ExperimentConfig) -> None:
    assert type(fresh(config).codec) in (TorchCodec, ArrayCodec)


@pytest.fixture(scope="module")
def mlp_learner(make_config: MakeConfig) -> Learner:
    return fresh(make_config("mlp classification"))


def test_a_checkpoint_cannot_run_code(mlp_learner: Learner, tmp_path: Path) -> None:
    torch.save({"learner": Path}, tmp_path / "last.pt")
    with pytest.raises(CheckpointError):
        mlp_learner.codec.load(tmp_path / "last.pt")


def test_a_torch_file_of_something_else_is_refused(mlp_learner: Learner, tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of mlframework"):
        mlp_learner.codec.load(tmp_path / "last.pt")


def test_the_state_of_another_learner_is_refused(family: str, make_config: MakeConfig) -> None:
    learner = fresh(make_config(family))
    learner.train_epoch()
    whole = dict(learner.state_dict())
    widths = {"mlp": "hidden_size", "als": "factors", "bpr": "factors", "small_cnn": "channels"}
    width = f"model.{widths.get(FAMILIES[family], 'embedding_dim')}"
    wider = {"model.architecture": "squeezenet1_1"} if family == "image classifier" else {width: 9}
    other = fresh(make_config(family, **wider))
    other.train_epoch()
    foreign = [other.state_dict(), {}, {"weights": torch.zeros(3)}]
    # Checkpoints of former versions have no `splitting`, and are taken.
    needed = [key for key in whole if key != "splitting"]
    foreign += [{key: value for key, value in whole.items() if key != missing} for missing in needed]
    if family in WITHOUT_STEPS:
        foreign += [{**whole, key: whole[key].astype(np.float64)} for key in ("user_factors", "item_factors")]
    keys = ("user_factors", "item_factors", "rng") if family in WITHOUT_STEPS else STEP_KEYS
    foreign += [{**whole, key: "?"} for key in keys]
    for state in foreign:
        with pytest.raises(CheckpointError, match="of another model"):
            learner.load_state_dict(state)


def trained(family: str, make_config: MakeConfig, tree: Mapping[str, Any], folder: Path) -> tuple[RunDir, Learner]:
    """Train and export a run; return it, and a learner with its last state."""
    config, run = make_config(family), RunDir(folder / "run")
    splits = load_data(config)
    start_run(run, tree)
    train(config, splits.without_test(), run)
    export(config, splits, run, "last")
    learner = fresh(config)
    learner.load_state_dict(learner.codec.load(run.checkpoints / "last.pt")["learner"])
    return run, learner


@pytest.mark.parametrize("family", OTHERS)
def test_what_is_exported_predicts_what_the_learner_says(
    family: str, make_config: MakeConfig, planted: dict[str, Any], tmp_path: Path
) -> None:
    config = make_config(family)
    splits = load_data(config)
    run, learner = trained(family, make_config, planted[family], tmp_path)
    outputs = learner.outputs("test")
    predictor = mlframework.load(run.path)
    if family in IMAGES:
        predictions = predictor.predict(list(splits.test.paths))
    else:
        every = predictor.predict(config.data.path)
        # The file is predicted whole; the rows of the test split are found by what stands in them.
        examples = config.data.load().examples
        predictions = [every[row] for row in rows_within(examples, splits.test)]
    assert len(predictions) == len(outputs.targets)
    if outputs.class_names is None:
        assert np.allclose([p.value for p in predictions], outputs.values, rtol=1e-5)
        assert all(p.probabilities == {} for p in predictions)
    else:
        found = np.array([[p.probabilities[name] for name in outputs.class_names] for p in predictions])
        assert np.allclose(found, outputs.values, atol=1e-5)
        assert [p.value for p in predictions] == [outputs.class_names[i] for i in outputs.values.argmax(axis=1)]


def rows_within(examples: Any, part: Any) -> list[int]:
    """Return the row of each example of a part, by its numbers, or by its user and item."""

    def keys(some: Any) -> list[tuple[float, ...]]:
        ids = some.numeric if hasattr(some, "numeric") else np.stack([some.users, some.items], axis=1)
        return [tuple(row) for row in ids.tolist()]

    places = {key: row for row, key in enumerate(keys(examples))}
    return [places[key] for key in keys(part)]


SAY = """
import json, sys
import mlframework
predictor = mlframework.load(sys.argv[1])
seen, free = (predictor.recommend(predictor.users, 10, exclude_seen=seen) for seen in (True, False))
said = [[[each.item, each.score] for each in items] for found in (seen, free) for items in found]
print(json.dumps({"said": said, "torch": "torch" in sys.modules}))
"""


@pytest.mark.parametrize("family", RECOMMENDERS)
def test_what_is_exported_recommends_what_the_learner_says_in_a_new_process_too(
    family: str, make_config: MakeConfig, planted: dict[str, Any], tmp_path: Path
) -> None:
    run, learner = trained(family, make_config, planted[family], tmp_path)
    users, items = (np.load(run.artifacts / f"{side}_vecs.npy") for side in ("user", "item"))
    assert users.dtype == items.dtype == np.float32
    learner.export(tmp_path)  # of a learner that was given the state: the same vectors
    assert np.array_equal(np.load(tmp_path / "user_vecs.npy"), users)
    splits = load_data(make_config(family))
    scores = (users @ items.T).astype(np.float64)
    masked = scores.copy()
    masked[splits.train.users, splits.train.items] = -np.inf
    predictor = mlframework.load(run.path)
    assert (predictor.users, predictor.items) == (splits.train.catalogue.users, splits.train.catalogue.items)
    for exclude_seen, matrix in ((True, masked), (False, scores)):
        found = predictor.recommend(predictor.users, 10, exclude_seen=exclude_seen)
        for row, recommended in zip(matrix, found, strict=True):
            best = np.argsort(-row, kind="stable")[:10]
            # Two products of the same vectors may differ in the last digit, and so may the order of what ties there.
            places = [predictor.items.index(each.item) for each in recommended]
            assert np.allclose(row[places], row[best], rtol=1e-5, atol=1e-6)
            assert np.allclose([each.score for each in recommended], row[best], rtol=1e-5, atol=1e-6)
    counts = np.zeros(len(items), dtype=int)
    report = learner.ranking("val")
    for user in np.intersect1d(splits.val.users, splits.train.users):
        for each in predictor.recommend(predictor.users[user], 10)[0]:
            counts[predictor.items.index(each.item)] += 1
    assert np.array_equal(counts, report.recommended)
    new = subprocess.run([sys.executable, "-c", SAY, str(run.path)], capture_output=True, text=True, check=True)
    seen, free = (predictor.recommend(predictor.users, 10, exclude_seen=seen) for seen in (True, False))
    expected = [[[each.item, each.score] for each in items] for found in (seen, free) for items in found]
    assert json.loads(new.stdout) == {"said": expected, "torch": False}


def test_it_counts_what_it_learns_and_knows_its_learning_rate(family: str, config: ExperimentConfig) -> None:
    learner = fresh(config)
    assert learner.n_parameters > 0
    if family in WITHOUT_STEPS:
        learner.train_epoch()
        state = learner.state_dict()
        numbers = state["user_factors"].size + state["item_factors"].size
        # The column of BPR's users that the items' biases are multiplied by is always 1.
        assert learner.n_parameters == numbers - (180 if family == "bpr" else 0)
        assert learner.learning_rate() == getattr(config.model, "lr", None)
    else:
        weights = [t for t in learner.state_dict()["module"].values() if t.is_floating_point()]
        assert learner.n_parameters <= sum(t.numel() for t in weights)
        assert learner.learning_rate() == config.optimizer.lr


def test_it_tells_of_its_batches(family: str, make_config: MakeConfig) -> None:
    without = family in WITHOUT_STEPS
    for changes in ({},) if without else ({}, {"training.accumulation_steps": 3}):
        learner = fresh(make_config(family, **changes))
        told: list[tuple[int, int]] = []
        learner.on_batch = lambda done, total, told=told: told.append((done, total))
        learner.train_epoch()
        done = [n for n, _ in told]
        assert done == sorted(done) and told[-1][0] == told[-1][1]
        assert told == [(1, 1)] if without else changes or len(told) > 1


def test_a_metric_of_the_other_task_is_said_before_any_training(family: str, make_config: MakeConfig) -> None:
    other = "val_rmse" if family not in REGRESSIONS and family in OTHERS else "val_acc"
    task = "ranking" if family in RECOMMENDERS else "regression" if family in REGRESSIONS else "classification"
    with pytest.raises((TrainingError, ConfigError), match=f"{other} has no meaning in a {task}"):
        fresh(make_config(family, metric=other))
    with pytest.raises((TrainingError, ConfigError), match=other):
        fresh(make_config(family, metrics=[other]))


@pytest.mark.parametrize("family", RECOMMENDERS)
def test_a_refit_needs_no_val(family: str, make_config: MakeConfig) -> None:
    config = make_config(family)
    splits = load_data(config).without_test().refit()
    learner = build_learner(config, splits)
    assert splits.val is None and np.isfinite(learner.train_epoch()["loss"])


@pytest.mark.parametrize("family", ["als", "bpr"])
def test_a_gpu_is_refused_by_what_runs_on_the_cpu(family: str, make_config: MakeConfig) -> None:
    with pytest.raises(TrainingError, match=f"device: cuda: {family} is trained on the CPU; use auto or cpu"):
        fresh(make_config(family, device="cuda"))

"""What every family of models must do, whatever it is made of: one suite for all of them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mlframework
from mlframework.data import load_splits
from mlframework.errors import CheckpointError, ConfigError, TrainingError
from mlframework.experiment import ExperimentConfig, build_learner, export, load_data, start_run, train
from mlframework.learners.base import Learner, Outputs
from mlframework.metrics import METRICS
from mlframework.models import MODELS
from mlframework.optim import OPTIMIZERS, SCHEDULERS
from mlframework.runs import RunDir

MakeConfig = Callable[..., ExperimentConfig]

FAMILIES = ["mlp classification", "mlp regression", "image classifier"]
VARIANTS: dict[str, dict[str, Any]] = {
    **{f"optimizer {name}": {"optimizer.type": name} for name in OPTIMIZERS},
    **{f"scheduler {name}": {"scheduler.type": name} for name in SCHEDULERS},
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
}


def suits(family: str, changes: Mapping[str, Any]) -> bool:
    """Whether a family has all of these settings."""
    keys = " ".join(changes)
    if "batch_norm" in keys:
        return family.startswith("mlp")
    if "data." in keys:
        return family == "image classifier"
    return "class_weights" not in keys or family != "mlp regression"


CASES = [(f, name) for f in FAMILIES for name, changes in {**VARIANTS, **ONLY_SOME}.items() if suits(f, changes)]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def config(family: str, make_config: MakeConfig) -> ExperimentConfig:
    return make_config(family)


def fresh(config: ExperimentConfig) -> Learner:
    return build_learner(config, load_data(config))


def epochs(learner: Learner, n: int) -> list[dict[str, float]]:
    """Train as the loop does, and return what each epoch said."""
    return [{**learner.train_epoch(), **{f"val_{k}": v for k, v in learner.evaluate("val").items()}} for _ in range(n)]


def assert_same(one: Any, other: Any, where: str = "state") -> None:
    """Bit for bit."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other), where
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


def same_state(one: Learner, other: Learner) -> bool:
    try:
        assert_same(one.state_dict(), other.state_dict())
    except AssertionError:
        return False
    return True


def test_every_family_is_in_this_suite(make_config: MakeConfig) -> None:
    assert {type(make_config(family).model) for family in FAMILIES} == set(MODELS.values())


def test_an_epoch_returns_finite_metrics_that_the_table_knows(config: ExperimentConfig) -> None:
    learner = fresh(config)
    task = learner.outputs("val").task
    for found in (learner.train_epoch(), learner.evaluate("val"), learner.evaluate("test")):
        assert "loss" in found and set(found) <= set(METRICS[task])
        assert all(type(value) is float and np.isfinite(value) for value in found.values())


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
    config = make_config(family, **{**VARIANTS, **ONLY_SOME}[name])
    undisturbed = fresh(config)
    expected = epochs(undisturbed, 4)
    stopped = fresh(config)
    epochs(stopped, 2)
    stopped.codec.dump(stopped.state_dict(), tmp_path / "state")
    del stopped
    resumed = fresh(config)
    resumed.load_state_dict(resumed.codec.load(tmp_path / "state"))
    assert epochs(resumed, 2) == expected[2:]
    assert_same(resumed.state_dict(), undisturbed.state_dict())
    assert np.array_equal(resumed.outputs("test").values, undisturbed.outputs("test").values)


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
    config = make_config(family, **VARIANTS["plateau at once"], **{"model.dropout": 0.2})
    quiet = fresh(config)
    expected = epochs(quiet, 3)
    assert quiet.learning_rate() < config.optimizer.lr  # so that a second look at the val loss would count
    watched = fresh(config)
    found = []
    for _ in range(3):
        watched.evaluate("test")
        found += epochs(watched, 1)
        watched.outputs("test")
        watched.evaluate("test")
        watched.evaluate("val")
    assert found == expected
    assert_same(watched.state_dict(), quiet.state_dict())


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


def test_the_outputs_are_those_of_now(config: ExperimentConfig) -> None:
    learner = fresh(config)
    before = learner.outputs("val").values
    state = fresh(config).state_dict()
    learner.train_epoch()
    after = learner.outputs("val").values
    assert not np.array_equal(before, after)
    learner.load_state_dict(state)
    assert np.array_equal(learner.outputs("val").values, before)


def test_the_training_split_has_no_outputs(config: ExperimentConfig) -> None:
    """It comes in random order: what it said would not fit its targets, and asking would change the training."""
    learner = fresh(config)
    with pytest.raises(ValueError, match="train comes augmented and in random order"):
        learner.outputs("train")


def test_metrics_are_those_of_the_outputs(config: ExperimentConfig) -> None:
    learner = fresh(config)
    learner.train_epoch()
    outputs: Outputs = learner.outputs("val")
    found = learner.evaluate("val")
    table = METRICS[outputs.task]
    assert found == {name: table[name].compute(outputs.targets, outputs.values) for name in found}


def test_it_learns_what_is_planted(family: str, make_config: MakeConfig) -> None:
    # The smallest net is the quickest, but sixty images teach it little.
    larger = {"model.architecture": "resnet18", "optimizer.lr": 0.003, "training.batch_size": 8}
    score, floor = ("val_r2", 0.95) if family == "mlp regression" else ("val_acc", 0.9)
    changes = {"metrics": [score], **(larger if family == "image classifier" else {})}
    found = epochs(fresh(make_config(family, **changes)), 5)
    assert min(epoch["loss"] for epoch in found) < found[0]["loss"] / 2
    assert max(epoch[score] for epoch in found) >= floor


def test_the_codec_gives_back_what_it_was_given(config: ExperimentConfig, tmp_path: Path) -> None:
    learner = fresh(config)
    epochs(learner, 1)
    learner.codec.dump(learner.state_dict(), tmp_path / "state")
    assert_same(learner.codec.load(tmp_path / "state"), dict(learner.state_dict()))


def test_a_file_that_is_no_state_is_refused_by_name(config: ExperimentConfig, tmp_path: Path) -> None:
    learner = fresh(config)
    path = tmp_path / "last.pt"
    learner.codec.dump(learner.state_dict(), path)
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


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(head=st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04\x95", b"PK\x05\x06"]), tail=st.binary())
def test_no_bytes_at_all_make_the_codec_raise_anything_else(
    head: bytes, tail: bytes, tmp_path: Path, mlp_learner: Learner
) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(head + tail)
    with pytest.raises(CheckpointError):
        mlp_learner.codec.load(path)


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
    whole = dict(learner.state_dict())
    wider = {"model.hidden_size": 8} if family.startswith("mlp") else {"model.architecture": "squeezenet1_1"}
    foreign = [fresh(make_config(family, **wider)).state_dict(), {}, {"weights": torch.zeros(3)}]
    foreign += [{key: value for key, value in whole.items() if key != missing} for missing in whole]
    foreign += [{**whole, key: "?"} for key in ("module", "optimizer", "schedule", "rng", "rng_order")]
    for state in foreign:
        with pytest.raises(CheckpointError, match="of another model or optimizer"):
            learner.load_state_dict(state)


def test_what_is_exported_predicts_what_the_learner_says(
    family: str, make_config: MakeConfig, planted: dict[str, Any], tmp_path: Path
) -> None:
    config, run = make_config(family), RunDir(tmp_path / "run")
    splits = load_data(config)
    start_run(run, planted[family])
    train(config, splits.without_test(), run)
    export(config, splits, run, "last")
    learner = fresh(config)
    learner.load_state_dict(learner.codec.load(run.checkpoints / "last.pt")["learner"])
    outputs = learner.outputs("test")
    predictor = mlframework.load(run.path)
    if family == "image classifier":
        predictions = predictor.predict(list(splits.test.paths))
    else:
        every = predictor.predict(config.data.path)
        # The table is predicted whole; the rows of the test split are found by their numbers.
        whole = config.data.load().examples.numeric
        predictions = [every[int(np.flatnonzero((whole == row).all(axis=1))[0])] for row in splits.test.numeric]
    assert len(predictions) == len(outputs.targets)
    if outputs.class_names is None:
        assert np.allclose([p.value for p in predictions], outputs.values, rtol=1e-5)
        assert all(p.probabilities == {} for p in predictions)
    else:
        found = np.array([[p.probabilities[name] for name in outputs.class_names] for p in predictions])
        assert np.allclose(found, outputs.values, atol=1e-5)
        assert [p.value for p in predictions] == [outputs.class_names[i] for i in outputs.values.argmax(axis=1)]


def test_it_counts_what_it_learns_and_knows_its_learning_rate(config: ExperimentConfig) -> None:
    learner = fresh(config)
    weights = [t for t in learner.state_dict()["module"].values() if t.is_floating_point()]
    assert 0 < learner.n_parameters <= sum(t.numel() for t in weights)
    assert learner.learning_rate() == config.optimizer.lr


def test_it_tells_of_its_batches(family: str, make_config: MakeConfig) -> None:
    for steps in (1, 3):
        learner = fresh(make_config(family, **{"training.accumulation_steps": steps}))
        told: list[tuple[int, int]] = []
        learner.on_batch = lambda done, total, told=told: told.append((done, total))
        learner.train_epoch()
        done = [n for n, _ in told]
        assert done == sorted(done) and told[-1][0] == told[-1][1]


def test_a_metric_of_the_other_task_is_said_before_any_training(family: str, make_config: MakeConfig) -> None:
    other = "val_acc" if family == "mlp regression" else "val_rmse"
    with pytest.raises((TrainingError, ConfigError), match=f"{other} has no meaning in a (classification|regression)"):
        fresh(make_config(family, metric=other))
    with pytest.raises((TrainingError, ConfigError), match=other):
        fresh(make_config(family, metrics=[other]))

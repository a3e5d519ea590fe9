"""Three ranks, of which this process is the first: they must do what one process does, and survive what goes wrong."""

import copy
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlframework.errors import TrainingError
from mlframework.experiment import ExperimentConfig, build_learner, load_data, start_run, train
from mlframework.learners import sending
from mlframework.learners import team as team_module
from mlframework.learners.base import Learner
from mlframework.learners.ranks import RankError
from mlframework.learners.team import LedLearner, _leader
from mlframework.runs import RunDir
from mlframework.training.callbacks import TIMES
from mlframework.training.lr_finder import Sweep, find_lr
from support.ranks import Team, team_of
from support.searches import run_search

MakeConfig = Callable[..., ExperimentConfig]
DISTRIBUTED = {"training.trainer_type": "distributed"}

CASES: list[tuple[str, dict[str, Any]]] = [
    # Of 144 training rows in batches of 71 the last batch has two: a rank has none of them.
    ("mlp classification", {"training.batch_size": 71, "model.batch_norm": True, "training.class_weights": "balanced"}),
    ("mlp classification", {"training.batch_size": 71, "model.batch_norm": True, "training.accumulation_steps": 2}),
    ("mlp regression", {"training.batch_size": 13, "training.gradient_clipping": 0.1, "scheduler.type": "plateau"}),
    ("fm classification", {"model.l1": 1e-4, "model.l2": 1e-3, "scheduler.type": "one_cycle"}),
    ("two_tower", {}),
]
MORE: list[tuple[str, dict[str, Any]]] = [
    ("mlp regression", {"training.batch_size": 1}),
    ("fm regression", {"training.batch_size": 128}),
    ("ffm classification", {}),
    ("two_tower with features", {"model.hidden_layers": 1, "model.hidden_size": 8}),
]


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    with team_of(3) as found:
        yield found


def learner_of(config: ExperimentConfig) -> Learner:
    return build_learner(config, load_data(config).without_test())


def epochs(learner: Learner, n: int) -> list[float]:
    """Train, and return all metrics of all epochs."""
    return [
        value
        for _ in range(n)
        for found in (learner.train_epoch(), learner.evaluate("val"))
        for value in found.values()
    ]


@pytest.mark.parametrize(
    ("family", "changes"), [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE)]
)
def test_ranks_train_as_one_process_does(
    family: str, changes: dict[str, Any], team: Team, make_config: MakeConfig
) -> None:
    alone = learner_of(make_config(family, **changes))
    with team.leading():
        led = learner_of(make_config(family, **changes, **DISTRIBUTED))
        assert epochs(led, 2) == pytest.approx(epochs(alone, 2), rel=1e-3 if "features" in family else 2e-5, abs=1e-6)
        norms = [learner.gradient_norm() for learner in (led, alone)]
        assert led.n_examples == alone.n_examples and None not in norms
        found, expected = ((norm.mean, norm.largest) for norm in norms if norm is not None)
        assert found == pytest.approx(expected, rel=1e-2 if "features" in family else 1e-3)
    ours, theirs = led.state_dict(), alone.state_dict()
    assert ours.keys() == theirs.keys() and ours["module"].keys() == theirs["module"].keys()
    assert torch.equal(ours["rng_order"], theirs["rng_order"])


def test_a_split_is_evaluated_in_its_order_on_the_same_weights(team: Team, make_config: MakeConfig) -> None:
    # 48 rows in evaluation batches of 20: the ranks have one batch each, the last one of 8.
    alone = learner_of(make_config("mlp classification", **{"training.batch_size": 5}))
    alone.train_epoch()
    with team.leading():
        led = learner_of(make_config("mlp classification", **{"training.batch_size": 5}, **DISTRIBUTED))
        led.load_state_dict(alone.state_dict())
        found, expected = led.outputs("val"), alone.outputs("val")
        assert found is not None and expected is not None
        assert np.array_equal(found.targets, expected.targets) and np.array_equal(found.values, expected.values)
        assert led.evaluate("val") == alone.evaluate("val")


def test_a_split_of_fewer_batches_than_ranks_is_evaluated(team: Team, make_config: MakeConfig) -> None:
    alone = learner_of(make_config("mlp regression", **{"training.batch_size": 64}))
    with team.leading():
        led = learner_of(make_config("mlp regression", **{"training.batch_size": 64}, **DISTRIBUTED))
        assert led.evaluate("val") == alone.evaluate("val")


def trained(config: ExperimentConfig, run: RunDir) -> list[dict[str, float]]:
    """Train, or go on, and return the metrics of each epoch."""
    if not run.config.is_file():
        start_run(run, config.model_dump())
    train(config, load_data(config).without_test(), run)
    records = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [{name: value for name, value in record.items() if name not in TIMES} for record in records]


def four_epochs(make_config: MakeConfig, **changes: Any) -> ExperimentConfig:
    settings = {"training.num_epochs": 4, "tracking.tensorboard": False, "metric": "val_acc", **changes}
    return make_config("mlp classification", **settings)


class _Stop:
    """Ends a training after an epoch, as a signal does."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def on_start(self, learner: Learner, history: Any) -> None: ...

    def on_epoch(self, learner: Learner, history: Any) -> None:
        if len(history.records) == self._epoch:
            raise KeyboardInterrupt

    def on_end(self, learner: Learner, history: Any, status: str) -> None: ...


def stopped(config: ExperimentConfig, run: RunDir, epoch: int) -> None:
    start_run(run, config.model_dump())
    with pytest.raises(KeyboardInterrupt):
        train(config, load_data(config).without_test(), run, [_Stop(epoch)])


@pytest.mark.parametrize("first", ["standard", "distributed"])
def test_one_process_goes_on_for_several_and_several_for_one(
    first: str, team: Team, make_config: MakeConfig, tmp_path: Path
) -> None:
    kinds = {name: four_epochs(make_config, **{"training.trainer_type": name}) for name in ("standard", "distributed")}
    second = "distributed" if first == "standard" else "standard"
    expected = trained(kinds["standard"], RunDir(tmp_path / "whole"))

    def under(kind: str, work: Callable[[], Any]) -> Any:
        if kind == "standard":
            return work()
        with team.leading():
            return work()

    run = RunDir(tmp_path / "parts")
    under(first, lambda: stopped(kinds[first], run, 2))
    state = torch.load(run.checkpoints / "last.pt", weights_only=True)
    assert not [name for name in state["learner"]["module"] if name.startswith("module.")]
    found = under(second, lambda: trained(kinds[second], run))
    assert [record["epoch"] for record in found] == [1, 2, 3, 4]
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_a_resumed_training_of_several_ranks_is_the_same_bit_for_bit(
    team: Team, make_config: MakeConfig, tmp_path: Path
) -> None:
    config = four_epochs(make_config, **DISTRIBUTED, **{"model.dropout": 0.3})
    with team.leading():
        whole = trained(config, RunDir(tmp_path / "whole"))
        stopped(config, RunDir(tmp_path / "parts"), 2)
        assert trained(config, RunDir(tmp_path / "parts")) == whole


def test_dropout_is_another_one_on_each_rank_and_in_each_epoch(team: Team, make_config: MakeConfig) -> None:
    """With a learning rate of 0, only dropout tells epochs from one another."""
    changes = {"model.dropout": 0.5, "optimizer.lr": 1e-30, "training.batch_size": 144}
    with team.leading():
        led = learner_of(make_config("mlp classification", **changes, **DISTRIBUTED))
        losses = [led.train_epoch()["loss"] for _ in range(3)]
    assert len(set(losses)) == 3


@pytest.mark.slow
def test_the_learning_rate_finder_finds_the_same(team: Team, make_config: MakeConfig) -> None:
    sweep = Sweep(num_steps=30)
    expected = find_lr(learner_of(make_config("mlp classification")), sweep)
    with team.leading():
        led = learner_of(make_config("mlp classification", **DISTRIBUTED))
        before = copy.deepcopy(led.state_dict()["module"])
        found = find_lr(led, sweep)
        assert all(torch.equal(before[name], value) for name, value in led.state_dict()["module"].items())
        # The followers are where they were, too: what follows is what would have been without the sweep.
        after = epochs(led, 1)
    assert after == pytest.approx(epochs(learner_of(make_config("mlp classification")), 1), rel=1e-5)
    assert found.losses == pytest.approx(expected.losses, rel=1e-3)


def test_a_search_is_the_same_and_one_process_goes_on_with_it(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    changes = {
        "search.n_trials": 6,
        "search.pruner": {"type": "MedianPruner", "n_startup_trials": 2, "n_warmup_steps": 1},
    }
    _, expected = run_search(changes | {"search.study_name": "alone"})
    with team.leading():
        _, end = run_search(changes | DISTRIBUTED)
    assert [record.state for record in end.records] == [record.state for record in expected.records]
    assert {"pruned", "complete"} <= {record.state for record in end.records}
    for one, other in zip(end.records, expected.records, strict=True):
        assert one.params == other.params and one.value == pytest.approx(other.value, rel=1e-4)
    _, end = run_search(changes, resume=True, add_trials=1)
    assert len(end.records) == 7 and end.records[6].state in ("complete", "pruned")


def test_ranks_that_fail_alone_fail_the_training_and_not_the_next_one(team: Team, make_config: MakeConfig) -> None:
    config = make_config("mlp classification", **DISTRIBUTED)
    with team.leading():
        learner = learner_of(config)
        assert isinstance(learner, LedLearner)

        def own() -> None:
            # The others are given an order that they don't know; this rank waits for them in a sum.
            torch.distributed.all_reduce(torch.ones(1))

        with pytest.raises(RuntimeError, match="rank 1: order 'dance'"):
            _leader().do("dance", own)
        assert epochs(learner_of(config), 1)


def test_a_model_that_no_rank_can_train_is_said_once_and_the_next_one_trains(
    team: Team, make_config: MakeConfig
) -> None:
    config = make_config("mlp classification", **DISTRIBUTED, **{"training.class_weights": [1.0]})
    with team.leading():
        with pytest.raises(TrainingError, match=r"^training.class_weights has 1 weights"):
            learner_of(config)
        assert epochs(learner_of(make_config("mlp classification", **DISTRIBUTED)), 1)


def test_a_leader_that_fails_alone_does_not_leave_the_others_waiting(team: Team, make_config: MakeConfig) -> None:
    config = make_config("mlp classification", **DISTRIBUTED)

    def own() -> None:
        raise ZeroDivisionError("the leader's own")

    with team.leading():
        learner_of(config)
        with pytest.raises(ZeroDivisionError, match="own"):
            _leader().do("outputs val", own)
        assert epochs(learner_of(config), 1)


def test_a_learner_before_the_newest_one_is_refused(team: Team, make_config: MakeConfig) -> None:
    config = make_config("mlp classification", **DISTRIBUTED)
    with team.leading():
        former, newest = learner_of(config), learner_of(config)
        with pytest.raises(RuntimeError, match="built another learner since"):
            former.train_epoch()
        assert newest.train_epoch()["loss"] > 0


def test_the_data_is_sent_once(team: Team, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    broadcast = sending._broadcast
    monkeypatch.setattr(sending, "_broadcast", lambda tensor: (sizes.append(tensor.nbytes), broadcast(tensor))[1])
    config = make_config("mlp classification", **DISTRIBUTED)
    splits = load_data(config).without_test()
    with team.leading():
        build_learner(
            make_config("mlp regression", **DISTRIBUTED), load_data(make_config("mlp regression")).without_test()
        )
        sent = []
        for seed in (1, 2):
            sizes.clear()
            build_learner(config.model_copy(update={"seed": seed}), splits)
            sent.append(sum(sizes))
    train_split = splits.train
    data = train_split.numeric.nbytes + train_split.categorical.nbytes + train_split.targets.nbytes
    assert sent[0] - sent[1] >= data > 0


def test_the_last_of_this_team_is_killed_and_said_to_be_gone(
    team: Team, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test here: the team cannot be used after it."""
    # torchrun would end this process at once.
    monkeypatch.setattr(team_module, "_GRACE", 1.0)
    monkeypatch.setattr(team_module, "PATIENCE", timedelta(seconds=1))
    with team.leading():
        led = learner_of(make_config("mlp classification", **DISTRIBUTED))
        led.train_epoch()
        team.followers[1].kill()
        with pytest.raises(RankError, match="rank 2 of this training does not answer"):
            for _ in range(1000):
                led.train_epoch()

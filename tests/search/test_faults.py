"""Faults of trials: what is tried again and from where, what is a fault of memory, and when a search is given up."""

import csv
import gc
import json
import multiprocessing
import os
import signal
import statistics
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from mlframework import Tuner, Uniform, search
from mlframework.errors import Terminated, TrainingError
from mlframework.models.mlp import Mlp
from mlframework.search import cgroup
from mlframework.search.attempts import ATTEMPTS
from mlframework.search.cgroup import OomKills
from mlframework.search.failed_trials import grouped
from mlframework.search.loop import SearchEnd
from mlframework.search.pruners import PRUNERS
from mlframework.search.results import TrialRecord
from mlframework.search.start import load as _load
from mlframework.search.study import OpenStudy
from mlframework.search.training_run import LoadSplits
from support.dying import PATIENCE, Death, count, die_in
from support.searches import Watched, open_search, run_search, tree, write_table

pytestmark = pytest.mark.usefixtures("here")

FIRST = {"search.n_trials": 1}


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A control group of this process, whose count of kills can be written."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/jobs/7\n")
    (tmp_path / "cgroup/jobs/7").mkdir(parents=True)
    monkeypatch.setattr(cgroup, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(cgroup, "_ROOT", tmp_path / "cgroup")
    events = tmp_path / "cgroup/jobs/7/memory.events"
    count(events, 0)
    return events


def attempts(study: OpenStudy, number: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = study.trials()[number].user_attrs[ATTEMPTS]
    return found


def one(end: SearchEnd) -> TrialRecord:
    (record,) = end.records
    return record


class Breaking(Watched):
    """Raises errors, one each time that a trial comes to an epoch."""

    def __init__(self, epoch: int, *errors: BaseException) -> None:
        self.errors, self.epochs_seen = list(errors), 0

        def on_epoch(_number: int, now: int, _value: float) -> None:
            if now == epoch and self.errors:
                raise self.errors.pop(0)

        super().__init__(on_epoch)


# Errors that nobody expected


def test_a_passing_error_costs_neither_the_trial_nor_its_epochs() -> None:
    undisturbed, _ = run_search({**FIRST, "search.study_name": "undisturbed", "model.dropout": 0.3})
    watcher = Breaking(2, OSError("the file server hiccuped"))
    study, end = run_search({**FIRST, "model.dropout": 0.3}, watcher=watcher)
    wanted = TrialRecord.of(undisturbed.trials()[0])
    assert (one(end).state, one(end).value, one(end).params) == ("complete", wanted.value, wanted.params)
    assert (one(end).metrics, one(end).fault) == (wanted.metrics, None), "to the last digit"
    assert [epoch for _, epoch, _ in watcher.epochs] == [1, 2, 2, 3], "from its last checkpoint"
    assert len(watcher.started) == 1, "in place"
    assert watcher.heard == ["trial 0: OSError: the file server hiccuped; it is tried again from its last checkpoint"]
    assert [entry.get("fault") for entry in attempts(study)] == ["OSError: the file server hiccuped", None]
    assert "file server" in (study.spec.folder.trial(0).path / "error.txt").read_text()


@pytest.mark.parametrize(
    ("retries", "errors", "tries", "reason"),
    [
        (2, [ValueError("a"), ValueError("a"), ValueError("a")], 2, "ValueError: a"),
        (9, [ValueError("a"), ValueError("b"), KeyError("a"), ValueError("b")], 4, "ValueError: b"),
        (2, [ValueError("a"), ValueError("b"), ValueError("c"), ValueError("d")], 3, "ValueError: c"),
        (0, [ValueError("a")], 1, "ValueError: a"),
    ],
    ids=["the same at once", "the same later", "different ones", "none"],
)
def test_the_same_fault_twice_or_too_many_fail_the_trial(
    retries: int, errors: list[Exception], tries: int, reason: str
) -> None:
    watcher = Breaking(2, *errors)
    study, end = run_search({**FIRST, "search.retries": retries}, watcher=watcher)
    assert (one(end).state, one(end).reason, one(end).fault) == ("failed", reason, "error")
    assert len(errors) - len(watcher.errors) == tries == len(attempts(study))
    assert study.trials()[0].state.name == "FAIL"


def test_what_the_settings_explain_is_final() -> None:
    watcher = Breaking(2, TrainingError("a smaller lr may help"), ValueError("never reached"))
    study, end = run_search(FIRST, watcher=watcher)
    assert (one(end).state, one(end).reason, one(end).fault) == ("failed", "a smaller lr may help", "settings")
    assert len(watcher.errors) == 1 == len(attempts(study))
    assert not (study.spec.folder.trial(0).path / "error.txt").exists()


def test_errors_count_over_processes() -> None:
    """A trial that was tried once before its owner was stopped has not got all its tries back."""
    with pytest.raises(KeyboardInterrupt):
        run_search(FIRST, watcher=Breaking(2, ValueError("a"), KeyboardInterrupt()))
    _, end = run_search(FIRST, resume=True, watcher=Breaking(2, ValueError("a"), ValueError("b")))
    assert (one(end).state, one(end).reason) == ("failed", "ValueError: a"), "seen before"


# Deaths


def dying(changes: dict[str, Any], epoch: int | None, kills: int | None = None) -> None:
    """Search until a kill -9 at an epoch of trial 0; None: before it has trained any."""
    die_in(Path.cwd(), changes, Death(0, epoch, kills))


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("group")
def test_a_trial_that_comes_further_is_never_held_to_have_failed(kills: int) -> None:
    changes = {**FIRST, "training.num_epochs": kills + 1, "model.dropout": 0.3}
    for epoch in range(1, kills + 1):
        dying(changes, epoch)
    study, end = run_search(changes, resume=True)
    _, undisturbed = run_search({**changes, "search.study_name": "undisturbed"})
    assert (one(end).state, one(end).value) == ("complete", one(undisturbed).value)
    assert one(end).epochs == kills + 1 and len(attempts(study)) == min(kills + 1, 20)


@pytest.mark.usefixtures("group")
def test_deaths_at_one_place_fail_the_trial_and_the_search_goes_on() -> None:
    changes = {"search.n_trials": 2}
    dying(changes, 2)
    for _ in range(3):
        dying(changes, None)
    study, end = run_search(changes, resume=True)
    first, second = end.records
    assert (first.state, first.fault, second.state) == ("failed", "death", "complete")
    assert str(first.reason).startswith("its process died 3 times in a row after step 2:")
    # The death at epoch 2 won an epoch since its attempt began, so the three after it are those that count.
    assert [entry.get("won") for entry in attempts(study)] == [True, False, False, False]


@pytest.mark.slow
@pytest.mark.usefixtures("group")
def test_one_death_is_one_too_many_without_retries() -> None:
    changes = {**FIRST, "search.retries": 0}
    dying(changes, 1)
    dying(changes, None)
    _, end = run_search(changes, resume=True)
    assert (one(end).fault, one(end).epochs) == ("death", 1), "the first one had won an epoch"


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, Terminated])
def test_being_stopped_in_order_is_no_fault(interruption: type[BaseException]) -> None:
    for _ in range(5):

        def stop(config: Any) -> Any:
            raise interruption

        with pytest.raises(interruption):
            run_search(FIRST, resume=True, load=stop)
    study, end = run_search(FIRST, resume=True)
    assert one(end).state == "complete"
    assert [entry.get("end") for entry in attempts(study)] == ["released"] * 5 + [None]


def tune(deadly: bool) -> Any:
    def climb(params: dict[str, Any], report: Callable[[int, float], None]) -> float:
        for step in range(1, 4):
            report(step, params["x"] * step)
            if deadly and step == 2:
                os.kill(os.getpid(), signal.SIGKILL)
        return float(params["x"])

    tuner = Tuner(climb, space={"x": Uniform(0, 1)}, storage="sqlite:///t.db", resume=True)
    return tuner.optimize("RandomSampler", n_trials=2)


def test_a_function_that_kills_its_process_fails_in_the_end(group: Path) -> None:
    """A function has no checkpoint: it reports the same steps again and dies at the same one."""
    for _ in range(5):  # the first death has won a step, and the second one that which was not written then
        process = multiprocessing.get_context("fork").Process(target=tune, args=(True,))
        process.start()
        process.join(PATIENCE)
        assert process.exitcode == -signal.SIGKILL
    failed, complete = tune(False).history
    assert (failed.state, failed.fault, complete.state) == ("failed", "death", "complete")


# Memory: killed by the system


def test_a_process_that_the_system_killed_ran_out_of_memory(group: Path) -> None:
    dying({"search.n_trials": 2}, 2, kills=1)
    _, end = run_search({"search.n_trials": 2}, resume=True)
    first, second = end.records
    assert (first.state, first.fault, second.state) == ("failed", "out_of_memory", "complete")
    assert str(first.reason).startswith("out of memory: the system killed its process for want of memory after step 2")
    assert "a smaller training.batch_size may help" in str(first.reason)


@pytest.mark.slow
def test_a_kill_that_was_counted_is_held_against_one_trial_only(group: Path) -> None:
    """The worker of one trial is killed by the system, then that of another one, which began before, by somebody."""
    changes = {"search.n_trials": 3}
    die_in(Path.cwd(), changes, Death(trial=0, epoch=2, during=Death(trial=1, epoch=1, kills=1)))
    _, end = run_search(changes, resume=True)
    assert [record.fault for record in end.records].count("out_of_memory") == 1
    assert [record.state for record in end.records].count("complete") == 2


def test_where_kills_cannot_be_read_a_second_death_at_one_place_is_of_memory(group: Path) -> None:
    group.unlink()
    dying(FIRST, None)
    dying(FIRST, None)
    _, end = run_search(FIRST, resume=True)
    assert one(end).fault == "out_of_memory"
    assert str(one(end).reason).startswith("out of memory: its process died twice before its first report, as one does")


def test_only_the_count_of_the_same_group_says_anything(group: Path) -> None:
    found = OomKills.now()
    assert found is not None and found.again() == found
    group.parent.rename(group.parent.with_name("gone"))
    group.parent.mkdir()
    count(group, 9)
    assert found.again() is None, "another group of that path"
    found = OomKills.now()
    assert found is not None and found.again() == found
    boot = cgroup._PROC / "sys/kernel/random"
    boot.mkdir(parents=True)
    (boot / "boot_id").write_text("another\n")
    assert found.again() is None, "after a reboot all counts begin anew"


def test_the_count_of_both_versions_of_control_groups(group: Path) -> None:
    count(group, 4)
    found = OomKills.now()
    assert found is not None and (found.count, found.file) == (4, str(group))
    count(group, 6)
    again = found.again()
    assert again is not None and again.count == 6
    proc, root = cgroup._PROC / "self/cgroup", cgroup._ROOT
    proc.write_text("5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n0::/\n")
    assert OomKills.now() is None
    # Within a container the group is the root of what can be seen.
    (root / "memory").mkdir()
    (root / "memory/memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    inner = OomKills.now()
    assert inner is not None and inner.count == 2
    (root / "memory/docker/ab").mkdir(parents=True)
    (root / "memory/docker/ab/memory.oom_control").write_text("oom_kill 3\n")
    outer = OomKills.now()
    assert outer is not None and outer.count == 3 and not outer.is_of(inner)


# Memory: within the process


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Any]]:
    """Models of 7 units and more run out of memory in their first step; returns what these held."""
    held: list[weakref.ref[Any]] = []
    build = Mlp.build

    def refuse(module: Any, inputs: Any) -> None:
        if module.training and len(inputs[0]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has none.")

    def building(self: Mlp, *arguments: Any) -> Any:
        module = build(self, *arguments)
        if self.hidden_size >= 7:
            module.register_forward_pre_hook(refuse)
            held.append(weakref.ref(module))
        return module

    monkeypatch.setattr(Mlp, "build", building)
    return held


SIZES = {"model.hidden_size": {"type": "categorical", "choices": [4, 7, 8]}}
GRID = {"search.n_trials": 3, "search_space": SIZES, "search.sampler": {"type": "GridSampler"}}


def test_a_trial_that_runs_out_of_memory_is_a_category_of_its_own(short: list[weakref.ref[Any]]) -> None:
    gc.disable()
    try:
        freed = []

        def started(number: int, *_: Any) -> None:
            freed.append([each() is None for each in short])

        watcher = Watched()
        watcher.trial_started = started  # type: ignore[method-assign]
        study, end = run_search(GRID, watcher=watcher)
    finally:
        gc.enable()
    assert short and all(all(each) for each in freed), "the memory is free before the next trial starts"
    by_size = {record.params["model.hidden_size"]: record for record in end.records}
    assert len(end.records) == 3, "they are trials of the study, and are not drawn again"
    assert by_size[4].state == "complete"
    for size in (7, 8):
        record = by_size[size]
        assert (record.state, record.fault, record.value) == ("failed", "out_of_memory", None)
        assert record.reason == (
            "out of memory: Tried to allocate 2.00 GiB; a smaller training.batch_size may help, or "
            "training.on_oom: accumulate"
        )
        assert len(attempts(study, record.number)) == 1, "the same would happen again"
        told = study.trials()[record.number]
        assert (told.state.name, told.constraints) == ("PRUNED", {"memory": 1.0}), "samplers are told of a bad place"
        assert "Tried to allocate" in (study.spec.folder.trial(record.number).path / "error.txt").read_text()
    written = json.loads(study.spec.folder.results.read_text())["trials"]
    assert sorted(str(trial["fault"]) for trial in written) == ["None", "out_of_memory", "out_of_memory"]
    with study.spec.folder.trials.open() as file:
        assert sorted(row["fault"] for row in csv.DictReader(file)) == ["", "out_of_memory", "out_of_memory"]
    (line,) = grouped(end.records)
    numbers = ", ".join(str(record.number) for record in end.records if record.state == "failed")
    assert line == (
        f"2 x out of memory: trials {numbers}; a smaller training.batch_size may help, or training.on_oom: accumulate"
    )


@pytest.mark.usefixtures("short")
def test_a_trial_that_accumulates_comes_to_its_end() -> None:
    with pytest.warns(UserWarning, match="from here on at most 2 go through the model at once"):
        _, end = run_search({**GRID, "training.on_oom": "accumulate"})
    assert [record.state for record in end.records] == ["complete"] * 3


@pytest.mark.filterwarnings("error:The constraint value is ignored")
def test_a_death_between_the_word_and_the_end_is_made_good(
    monkeypatch: pytest.MonkeyPatch, short: list[weakref.ref[Any]]
) -> None:
    """The owner is cut short when the trial's fault is written, and the trial is not ended yet."""
    tell = optuna.Study.tell

    def interrupted(*arguments: Any, **named: Any) -> Any:
        if named["state"].name == "PRUNED":
            raise KeyboardInterrupt
        return tell(*arguments, **named)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(optuna.Study, "tell", interrupted)
        run_search(GRID)
    built = len(short)  # of one trial
    _, end = run_search(GRID, resume=True)
    assert sorted(record.state for record in end.records) == ["complete", "failed", "failed"]
    assert len(short) == 2 * built, "what was settled is not tried again"


@pytest.mark.usefixtures("short")
def test_what_has_the_parameters_of_one_that_ran_out_of_memory_failed_as_well() -> None:
    changes = {
        **GRID,
        "search.on_duplicate": "reuse",
        "search.sampler": {"type": "RandomSampler"},
        "search.n_trials": 6,
        "search_space": {"model.hidden_size": {"type": "categorical", "choices": [7, 8]}},
        "search.max_consecutive_failures": None,
    }
    _, end = run_search(changes)
    assert [(record.state, record.fault) for record in end.records] == [("failed", "out_of_memory")] * 6
    assert sum(record.same_as is not None for record in end.records) == 4


def share_beyond(error: type[Exception], seed: int) -> float:
    """Return how many of the last 20 of 40 trials lie where a function fails: above 0.5, where it would be at its best."""

    def rising(params: dict[str, Any]) -> float:
        if params["x"] > 0.5:
            raise error("no")
        return float(params["x"])

    tuner = Tuner(rising, space={"x": Uniform(0, 1)}, seed=seed)
    history = tuner.optimize("TPESampler", n_trials=40).history
    assert all(record.state == ("failed" if record.params["x"] > 0.5 else "complete") for record in history)
    return statistics.mean(record.params["x"] > 0.5 for record in history[20:])


@pytest.mark.parametrize("seeds", [[0], pytest.param([0, 1, 2, 3], marks=pytest.mark.slow)])
def test_tpe_draws_fewer_where_memory_ran_out(seeds: list[int]) -> None:
    """Of other failures it learns nothing, and draws beyond the edge again and again."""
    told = [share_beyond(MemoryError, seed) for seed in seeds]
    ignored = [share_beyond(ValueError, seed) for seed in seeds]
    assert statistics.mean(told) < 0.6 * statistics.mean(ignored), (told, ignored)


@pytest.mark.parametrize(
    "algorithm",
    [
        "TPESampler",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in (
                "HyperoptSampler",
                "CmaEsSampler",
                "NSGAIISampler",
                "GPSampler",
                "QMCSampler",
                "BoTorchSampler",
            )
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_every_kind_of_sampler_goes_on_after_shortages_of_memory(algorithm: str) -> None:
    def rising(params: dict[str, Any], report: Callable[[int, float], None]) -> float:
        report(1, 10.0)  # better than all, had it come to its end
        if params["x"] > 0.5:
            raise MemoryError
        return float(params["x"] + params["y"])

    tuner = Tuner(rising, space={"x": Uniform(0, 1), "y": Uniform(0, 1)})
    found = tuner.optimize({"type": algorithm}, n_trials=14, pruner="none")
    assert {record.state for record in found.history} == {"complete", "failed"} and len(found.history) == 14
    assert found.best_score < 2


@pytest.mark.parametrize("name", [name for name in PRUNERS if name != "none"])
def test_pruners_decide_as_if_they_had_not_been_told(name: str) -> None:
    """What ran out of memory after excellent reports makes no other trial look bad, beyond what it has really reported."""
    from pydantic import TypeAdapter

    from mlframework.search.pruners import PrunerConfig

    settings: dict[str, Any] = {"type": name}
    if name == "ThresholdPruner":
        settings["lower"] = 0.0
    if name == "PatientPruner":
        settings["wrapped"] = {"type": "MedianPruner", "n_startup_trials": 2, "n_warmup_steps": 0}
    pruner = TypeAdapter[Any](PrunerConfig).validate_python(settings)

    def decisions(state: str) -> list[bool]:
        study = optuna.create_study(direction="maximize", study_name="x", pruner=pruner.build(8))
        for number in range(12):
            trial = study.ask()
            for step in range(1, 4):
                trial.report(0.9 if number % 2 else 0.5 + 0.01 * number, step)
                trial.should_prune()
            if number % 2 == 0:
                study.tell(trial, 0.5)
                continue
            if state == "PRUNED":
                with warnings.catch_warnings(action="ignore"):
                    trial.set_constraint("memory", 1.0)
            study.tell(trial, state=optuna.trial.TrialState[state])
        last, found = study.ask(), []
        for step in range(1, 9):
            last.report(0.55, step)
            found.append(last.should_prune())
        return found

    assert decisions("PRUNED") == decisions("FAIL")


# A search that can't work


def failing_load(fails: Callable[[int], bool]) -> LoadSplits:
    """Return a loader that fails for some trials, by how often it was called."""
    calls = iter(range(1000))

    def load(config: Any) -> Any:
        if fails(next(calls)):
            raise TrainingError(f"no luck at epoch {next(calls)}")
        return _load(config)

    return load


def n_trials() -> int:
    return len(json.loads(Path("runs/optuna_studies/tiny_optimization/results.json").read_text())["trials"])


def test_a_search_ends_when_trial_after_trial_fails() -> None:
    with pytest.raises(TrainingError) as raised:
        run_search({"search.n_trials": 20}, load=failing_load(lambda _: True))
    lines = str(raised.value).splitlines()
    assert lines[0] == "the search ends: the last 5 trials of 'tiny_optimization' failed, one after the other:"
    assert lines[1] == "  5 x no luck at epoch 1: trials 0, 1, 2, 3, 4"
    assert "--resume" in lines[2] and "search.max_consecutive_failures: null" in lines[2]
    assert n_trials() == 5, "what is there is written"
    # What was wrong is mended: it goes on, and what failed before is not counted again.
    _, end = run_search({"search.n_trials": 9}, resume=True, load=failing_load(lambda call: call == 0))
    assert [record.state for record in end.records] == ["failed"] * 6 + ["complete"] * 3


def test_a_trial_that_works_begins_the_count_anew() -> None:
    _, end = run_search(
        {"search.n_trials": 9, "search.max_consecutive_failures": 2}, load=failing_load(lambda call: call % 3 == 0)
    )
    assert [record.state for record in end.records] == ["failed", "complete"] * 4 + ["failed"]


def test_failures_to_the_end_are_no_reason_to_end_a_search_that_is_done() -> None:
    _, end = run_search(
        {"search.n_trials": 4, "search.max_consecutive_failures": 2}, load=failing_load(lambda n: n > 1)
    )
    assert end.why == "done" and [record.state for record in end.records] == [
        "complete",
        "complete",
        "failed",
        "failed",
    ]


def test_null_goes_on_whatever_fails() -> None:
    changes = {"search.n_trials": 7, "search.max_consecutive_failures": None}
    _, end = run_search(changes, load=failing_load(lambda _: True))
    assert [record.state for record in end.records] == ["failed"] * 7


def test_the_failures_of_other_workers_count() -> None:
    """Each worker of a search that can't work ends, also one that has seen only the last failure itself."""
    changes = {"search.n_trials": 20, "search.max_consecutive_failures": 3}
    study = open_search(changes)

    def load(config: Any) -> Any:
        # While this worker's trial 0 is being trained, another one joins, and fails at three others.
        with suppress(TrainingError):
            run_search(changes, resume=True, load=failing_load(lambda _: True))
        raise TrainingError("no luck here")

    from mlframework.search.loop import search as loop

    with pytest.raises(
        TrainingError, match=r"the last 3 trials .*\n  2 x no luck at epoch \d: trials 2, 3\n  trial 0: no"
    ):
        loop(study, load, Watched())
    assert n_trials() == 4


def test_draws_that_were_made_again_are_no_failures() -> None:
    """Infeasible ones are told as pruned and duplicates as failed; neither begins the count anew or adds to it."""
    changes: dict[str, Any] = {
        "search.n_trials": 10,
        "search.max_consecutive_failures": 3,
        "search_space": {"model.hidden_size": {"type": "int", "low": 1, "high": 40}},
        "search.constraints": ["model.hidden_size <= 12"],
    }
    with pytest.raises(TrainingError, match="the last 3 trials"):
        run_search(changes, load=failing_load(lambda _: True))
    states = [
        trial["state"]
        for trial in json.loads(Path("runs/optuna_studies/tiny_optimization/results.json").read_text())["trials"]
    ]
    assert states.count("failed") == 3 and "infeasible" in states


def test_from_python_the_search_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlframework.search import start

    write_table(Path("table.csv"))
    calls = failing_load(lambda call: call > 0)  # the first one is to see whether there is data
    monkeypatch.setattr(start, "load", calls)
    with pytest.raises(TrainingError, match=r"the last 4 trials(.|\n)*4 x no luck"):
        search(tree({"search.n_trials": 20, "search.max_consecutive_failures": 4}))


def test_a_tuner_goes_on_and_calls_its_function_once_a_trial() -> None:
    calls: list[float] = []

    def unlucky(params: dict[str, Any]) -> float:
        calls.append(params["x"])
        if len(calls) < 9:
            raise ValueError("boom")
        return 1.0

    found = Tuner(unlucky, space={"x": Uniform(0, 1)}).optimize("RandomSampler", n_trials=9)
    assert len(calls) == 9 and found.best_score == 1.0
    assert {record.fault for record in found.history} == {"error", None}


# What is said of failures


def failed(number: int, reason: str, fault: str = "settings") -> TrialRecord:
    return TrialRecord(number, "failed", None, {}, None, 0, 1.0, reason, {}, fault=fault)


def test_failures_are_grouped_by_their_reasons() -> None:
    records = [
        failed(1, "train_loss is nan at epoch 3; a smaller lr may help"),
        failed(4, "out of memory: 2 GiB; a smaller batch may help", "out_of_memory"),
        failed(5, "train_loss is inf at epoch 7; a smaller lr may help"),
        failed(7, "out of memory: can't allocate 3 bytes; a smaller batch may help", "out_of_memory"),
        failed(8, "ValueError: [boom]", "error"),
        failed(9, "out of memory: MemoryError", "out_of_memory"),
    ]
    assert grouped(records) == [
        "3 x out of memory: trials 4, 7, 9; a smaller batch may help",
        "2 x train_loss is nan at epoch 3; a smaller lr may help: trials 1, 5",
        "trial 8: ValueError: [boom]",
    ]
    (line,) = grouped(failed(number, "the same") for number in range(14))
    assert line == "14 x the same: trials 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."
    many = grouped(failed(number, f"reason {chr(97 + number)}") for number in range(14))
    assert len(many) == 11 and many[-1] == "4 x other reasons: results.json has them"
    assert grouped([]) == []


def test_a_file_of_a_former_version_has_no_fault() -> None:
    assert TrialRecord(0, "failed", None, {}, None, 0, 1.0, "why", {}).fault is None


@pytest.fixture(autouse=True)
def no_children() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []

"""How a database's trials are read: as Optuna reads them, in fewer steps."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event

from mlframework.search import reads
from mlframework.search.reads import read_trials

NUMBER = st.floats(allow_nan=False)
PARAMS: Mapping[str, Any] = {
    "lr": (FloatDistribution(1e-5, 1.0, log=True), st.floats(1e-5, 1.0)),
    "layers": (IntDistribution(1, 8), st.integers(1, 8)),
    "type": (CategoricalDistribution(("a", None, True, 2.5)), st.sampled_from(("a", None, True, 2.5))),
}
ATTRIBUTES = st.dictionaries(
    st.text("ab:é", min_size=1, max_size=4), st.lists(NUMBER) | st.text() | st.none(), max_size=3
)


@st.composite
def trials(draw: st.DrawFn) -> FrozenTrial:
    state = draw(st.sampled_from(list(TrialState)))
    values = draw(st.lists(NUMBER, min_size=2, max_size=2)) if state == TrialState.COMPLETE else None
    params = {name: draw(PARAMS[name][1]) for name in draw(st.permutations(list(PARAMS)))[: draw(st.integers(0, 3))]}
    return optuna.create_trial(
        state=state, values=values, params=params, distributions={name: PARAMS[name][0] for name in params},
        user_attrs=draw(ATTRIBUTES), system_attrs=draw(ATTRIBUTES),
        intermediate_values=draw(st.dictionaries(st.integers(0, 50), st.floats(), max_size=4)),
    )  # fmt: skip


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[RDBStorage]:
    """Make one, far from Greenwich: what is stored in UTC is read in local time."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    yield (made := RDBStorage("sqlite:///:memory:"))
    made.engine.dispose()
    monkeypatch.undo()
    time.tzset()


def filled(storage: RDBStorage, given_trials: list[FrozenTrial]) -> int:
    made = [storage.create_new_study([optuna.study.StudyDirection.MINIMIZE] * 2) for _ in range(2)]
    for trial in given_trials:
        for study in made:  # the other study's trials lie between
            storage.create_new_trial(study, trial)
    return made[0]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(given_trials=st.lists(trials(), max_size=5), data=st.data())
def test_trials_are_those_that_optuna_reads(
    storage: RDBStorage, given_trials: list[FrozenTrial], data: st.DataObject
) -> None:
    study = filled(storage, given_trials)
    ids = [trial._trial_id for trial in storage._get_trials(study, None, set(), -1)]
    some = set(data.draw(st.lists(st.sampled_from(ids)))) if ids else set()
    newest = data.draw(st.sampled_from([0, *ids, 10**6]))
    expected = [
        each
        for each in storage._get_trials(study, None, set(), -1)
        if each._trial_id in some or each._trial_id > newest
    ]
    found = read_trials(storage, study, some, newest)
    assert [repr(each) for each in found] == [repr(each) for each in expected], "repr, since nan is not nan"
    assert [list(each.params) for each in found] == [list(each.params) for each in expected], "in their order"


def test_many_are_read_by_optuna(storage: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "_FEW", 3)
    reads._statements.cache_clear()
    study = filled(storage, [optuna.create_trial(state=TrialState.RUNNING) for _ in range(6)])
    everything = storage.get_all_trials(study)
    ids = [trial._trial_id for trial in everything]
    try:
        assert [each.number for each in read_trials(storage, study, set(), -1)] == [0, 1, 2, 3, 4, 5]
        assert [each.number for each in read_trials(storage, study, set(ids[:5]), ids[-1])] == [0, 1, 2, 3, 4]
        assert [each.number for each in read_trials(storage, study, {ids[0]}, ids[4])] == [0, 5]
    finally:
        reads._statements.cache_clear()


def test_a_look_that_finds_nothing_is_one_statement(storage: RDBStorage) -> None:
    study = filled(storage, [optuna.create_trial(state=TrialState.COMPLETE, values=[1.0, 2.0])] * 3)
    newest = storage.get_all_trials(study)[-1]._trial_id
    statements: list[str] = []
    event.listen(storage.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert read_trials(storage, study, set(), newest) == ()
    assert len(statements) == 1
    assert len(read_trials(storage, study, {newest}, newest)) == 1
    assert len(statements) == 1 + 6


def test_a_study_that_was_deleted_is_told_of(storage: RDBStorage) -> None:
    study = filled(storage, [optuna.create_trial(state=TrialState.RUNNING)])
    [trial] = storage.get_all_trials(study)
    storage.delete_study(study)
    with pytest.raises(KeyError):
        read_trials(storage, study, {trial._trial_id}, trial._trial_id)

"""kill -9 at random moments of a search with three workers: nothing is lost, nothing is done twice."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.postgres import NewDatabase
from support.rounds import Rounds

Record = Callable[[str, object], None]
N_ROUNDS = int(os.environ.get("MLFRAMEWORK_ROUNDS", "50"))


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def test_a_few_rounds(kind: str, here: Path, request: pytest.FixtureRequest, record_property: Record) -> None:
    rounds = Rounds(url_of(kind, request), n_trials=6, seed=1)
    rounds.run(2)
    rounds.check()
    record_property("counts", str(rounds.counts))
    assert rounds.counts.rounds == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_many_rounds(kind: str, here: Path, request: pytest.FixtureRequest, record_property: Record) -> None:
    rounds = Rounds(url_of(kind, request), n_trials=4 * N_ROUNDS, seed=2)
    rounds.run(N_ROUNDS)
    rounds.check()
    record_property("counts", str(rounds.counts))
    assert rounds.counts.rounds == N_ROUNDS


def url_of(kind: str, request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty storage."""
    if kind == "sqlite":
        return "sqlite:///studies.db"
    new_database: NewDatabase = request.getfixturevalue("postgres")
    return new_database()

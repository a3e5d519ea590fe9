"""Waiting for a database: for nothing else, and not for ever."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError, PendingRollbackError

from mlframework.errors import StorageError
from mlframework.search.patience import Patience, is_away


class DriverError(Exception):
    """What a driver raises."""

    def __init__(self, text: str, sqlstate: str | None = None) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


def failure(text: str, sqlstate: str | None = None) -> OperationalError:
    """Return what SQLAlchemy makes of it."""
    return OperationalError("SELECT 1", {}, DriverError(text, sqlstate))


def failing(times: int, error: Exception, value: Any = 7) -> Callable[[], Any]:
    """Return an operation that fails so often before it returns."""
    left = [error] * times

    def operation() -> Any:
        if left:
            raise left.pop()
        return value

    return operation


@pytest.mark.parametrize(
    "error",
    [
        failure("connection to server at 127.0.0.1, port 5432 failed: Connection refused"),
        failure("the database system is starting up", "57P03"),
        failure("terminating connection due to administrator command", "57P01"),
        failure("FATAL: sorry, too many clients already", "53300"),
        failure("could not serialize access", "40001"),
        failure("could not translate host name to address: Temporary failure in name resolution"),
        failure("database is locked"),
        PendingRollbackError("Can't reconnect until invalid transaction is rolled back.", code="8s2b"),
    ],
)
def test_what_passes_is_waited_for(error: Exception) -> None:
    assert is_away(error)
    assert Patience(30, "db")(failing(3, error)) == 7


@pytest.mark.parametrize(
    "error",
    [
        failure('FATAL: password authentication failed for user "me"'),
        failure('FATAL: database "nowhere" does not exist', "3D000"),
        failure("database or disk is full"),
        failure("permission denied for table trials", "42501"),
        failure("attempt to write a readonly database"),
        IntegrityError("INSERT", {}, DriverError("UNIQUE constraint failed", "23505")),
        ValueError("connection refused"),
        PendingRollbackError("rolled back due to a previous exception during flush", code="7s2a"),
    ],
)
def test_what_does_not_pass_is_raised_at_once(error: Exception) -> None:
    assert not is_away(error)
    with pytest.raises(type(error)):
        Patience(30, "db")(failing(1, error))


def test_the_cause_is_looked_at() -> None:
    error = RuntimeError("An exception is raised during the commit.")
    error.__cause__ = failure("server closed the connection unexpectedly")
    assert is_away(error)
    assert not is_away(RuntimeError("connection refused"))


def test_patience_has_an_end_and_says_what_to_do() -> None:
    with pytest.raises(
        StorageError, match=r"db has not answered for 0\.3 s; what is finished is kept: go on with --resume"
    ):
        Patience(0.3, "db")(failing(1000, failure("Connection refused")))


def test_no_patience_raises_what_came() -> None:
    with pytest.raises(OperationalError):
        Patience(0, "db")(failing(1, failure("Connection refused")))


def test_who_is_to_end_waits_no_more() -> None:
    patience = Patience(300, "db")
    patience.hurry()
    with pytest.raises(OperationalError):
        patience(failing(1, failure("Connection refused")))


def test_only_a_long_outage_is_spoken_of() -> None:
    said: list[str] = []
    patience = Patience(30, "db")
    patience.say = said.append
    patience(failing(2, failure("Connection refused")))
    assert said == []
    patience(failing(6, failure("Connection refused")))
    assert said == ["db does not answer: waiting for it, up to 30 s"]


def test_an_outage_is_remembered_for_a_while() -> None:
    patience = Patience(30, "db")
    assert not patience.outage_within(1000)
    patience(failing(1, failure("Connection refused")))
    assert patience.outage_within(1000)
    time.sleep(0.02)
    assert not patience.outage_within(0.01)

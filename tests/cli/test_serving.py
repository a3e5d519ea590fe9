"""Serving pages: which port is taken, and how serving ends."""

import argparse
import signal
import socket
from collections.abc import Iterator

import pytest

from mlframework.cli.serving import HOST, free_port, port_number, stay
from mlframework.errors import ConfigError, Terminated


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which somebody listens."""
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        yield int(other.getsockname()[1])


def test_a_port_that_is_taken_is_passed_over(taken: int) -> None:
    port = free_port(None, taken)
    assert port != taken
    with socket.socket() as mine:
        mine.bind((HOST, port))


def test_the_usual_port_is_used_where_it_is_free(taken: int) -> None:
    free = free_port(None, taken)
    assert free_port(None, free) == free_port(free, taken) == free


def test_a_port_that_was_asked_for_and_is_taken_is_refused(taken: int) -> None:
    with pytest.raises(
        ConfigError, match=rf"ml-visualise: --port: {taken} at 127.0.0.1 can't be used: address already"
    ):
        free_port(taken, 6006)


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", "", "8 0"])
def test_a_port_is_a_number_up_to_65535(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="a port is a number from 1 to 65535"):
        port_number(text)
    assert port_number("65535") == 65535


def test_ctrl_c_is_how_serving_ends(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> None:
    # Whoever starts the tests in the background may have it ignored.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, former))

    def serves() -> bool:
        signal.raise_signal(signal.SIGINT)
        return True

    assert stay("pages", "http://127.0.0.1:1/", serves)
    assert capsys.readouterr().out == "pages: http://127.0.0.1:1/ (to end it: Ctrl-C)\n\nended\n"


def test_it_ends_when_what_serves_is_gone() -> None:
    assert not stay("pages", "http://127.0.0.1:1/", lambda: False)


def test_a_termination_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    def serves() -> bool:
        raise Terminated

    with pytest.raises(Terminated):
        stay("pages", "http://127.0.0.1:1/", serves)
    assert "ended" not in capsys.readouterr().out

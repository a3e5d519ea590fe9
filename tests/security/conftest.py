"""Makes tests/support importable, and attacks that show whether they were carried out."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))

from support.fuzzing import write_world
from support.postgres import postgres

__all__ = ["postgres"]


class Evil:
    """What makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, (f"touch {self._target}",)


@pytest.fixture
def evil(tmp_path: Path) -> Evil:
    """An object that makes the file `executed` when it is unpickled; a test that ends with that file there has failed."""
    return Evil(tmp_path / "executed")


@pytest.fixture(autouse=True)
def nothing_is_executed(tmp_path: Path) -> Iterator[None]:
    """After each test: no attack has made its file."""
    yield
    assert not (tmp_path / "executed").exists(), "the attack was executed"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the present one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    return folder


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small data of every kind; not to be written into."""
    return write_world(tmp_path_factory.mktemp("world"))

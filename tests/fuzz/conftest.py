"""Makes tests/support importable, and makes fuzzers."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))

from support.fuzzing import Fuzzer, write_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small data of every kind; not to be written into."""
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def fuzzer(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Fuzzer]:
    """A fuzzer; no weights are downloaded, and no variable of this machine is written down."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("COLUMNS", "200")
    return Fuzzer(world, tmp_path)

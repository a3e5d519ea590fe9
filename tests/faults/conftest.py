"""Makes tests/support importable, and gives a folder to search in."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))

from support.postgres import postgres

__all__ = ["here", "postgres"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the present one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path

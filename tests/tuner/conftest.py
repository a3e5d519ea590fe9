"""Makes tests/support importable, and gives an empty folder."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the present one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path

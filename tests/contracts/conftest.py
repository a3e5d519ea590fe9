"""Makes tests/support importable, and gives the real storages that the contracts are tested on."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))

from support.postgres import NewDatabase, postgres

__all__ = ["postgres", "postgres_database", "storage_url"]


@pytest.fixture(scope="session")
def postgres_database(postgres: NewDatabase) -> str:
    """A database that tests share: making one and Optuna's tables in it takes longer than most of them."""
    return postgres()


@pytest.fixture(params=["sqlite", "journal", "postgres"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a storage of each kind; there may be other studies in it."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_database"))
    return f"{request.param}:///{tmp_path / 'studies.db'}"

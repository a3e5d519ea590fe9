"""Makes tests/support importable, and gives the real storages that the contracts are tested on."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from mlframework.search.ledgers import open_ledger
from mlframework.search.proxy import StorageProxy
from mlframework.search.storage import open_storage, patient

sys.path.append(str(Path(__file__).parents[1]))

from support.postgres import NewDatabase, postgres

__all__ = ["postgres", "postgres_database", "storage_url"]


@pytest.fixture(scope="session")
def postgres_database(postgres: NewDatabase) -> str:
    """A database that tests share: making one and Optuna's tables in it takes longer than most of them."""
    return postgres()


@contextmanager
def proxy(url: str) -> Iterator[str]:
    """Serve a storage as --storage-proxy does, and return the URL of the proxy."""
    storage = patient(open_storage(url), url, 10)
    served = StorageProxy(storage, "127.0.0.1", lambda study_id: open_ledger(storage, study_id))
    try:
        yield served.url
    finally:
        served.close()


SLOW = pytest.param("postgres-proxy", marks=pytest.mark.slow)


@pytest.fixture(params=["sqlite", "journal", "postgres", "sqlite-proxy", SLOW])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a storage of each kind; there may be other studies in it."""
    kind, _, proxied = request.param.partition("-")
    is_server = kind == "postgres"
    url = str(request.getfixturevalue("postgres_database")) if is_server else f"{kind}:///{tmp_path / 'studies.db'}"
    with proxy(url) if proxied else nullcontext(url) as address:
        yield address

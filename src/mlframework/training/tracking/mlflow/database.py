"""A database file of MLflow's: made whole, or not at all.

MLflow makes the tables of a new SQLite file one by one, through all the versions that it ever had, which takes seconds.
A process that ends in the middle would leave a file that MLflow can neither use nor go on making.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def file_of(uri: str) -> Path | None:
    """Return the file of a SQLite address; None for a server, or for what is no plain file."""
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    name = make_url(uri).database
    return None if not name or name == ":memory:" or name.startswith("file:") else Path(name)


def make_file(path: Path) -> None:
    """Make a database unless it is there: under another name, which is changed once all tables are in it."""
    from mlflow import MlflowClient

    with _alone(path):
        if path.exists() and path.stat().st_size:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
            uri = f"sqlite:///{Path(folder).resolve()}/new.db"
            MlflowClient(uri, uri).search_experiments(max_results=1)
            os.replace(Path(folder, "new.db"), path)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes of this machine away meanwhile."""
    name = hashlib.sha256(f"{os.getuid()} {path.resolve()}".encode()).hexdigest()[:16]
    handle = os.open(Path(tempfile.gettempdir()) / f"mlframework-mlflow-{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

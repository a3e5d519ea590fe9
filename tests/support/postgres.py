"""A throw-away PostgreSQL server, for the tests that need a real one."""

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

NewDatabase = Callable[[], str]


def server_programs() -> Path | None:
    """Return the folder of initdb and pg_ctl, or None where no server is installed."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(found) if (folder / "initdb").exists()), None)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres() -> Iterator[NewDatabase]:
    """Starts a server; the value makes an empty database and returns its URL."""
    programs = server_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed")
    psycopg = pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    # The server refuses to run as root, and pytest's own folders are closed to other users.
    as_root = os.geteuid() == 0
    user = ["runuser", "-u", "postgres", "--"] if as_root else []
    folder = Path(tempfile.mkdtemp(prefix="mlframework-postgres-"))
    if as_root:
        shutil.chown(folder, "postgres", "postgres")
    data, port = folder / "data", free_port()

    def run(*command: str) -> None:
        with (folder / "log").open("a") as log:
            subprocess.run([*user, *command], check=True, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/")

    control = (str(programs / "pg_ctl"), "-D", str(data))
    try:
        run(str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8")
        options = f"-c listen_addresses=127.0.0.1 -c fsync=off -p {port} -k {folder}"
        run(*control, "-w", "-l", str(data / "server.log"), "-o", options, "start")
        with psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", autocommit=True) as connection:

            def new_database() -> str:
                name = f"d{uuid.uuid4().hex[:12]}"
                connection.execute(f"CREATE DATABASE {name}")
                return f"postgresql://postgres@127.0.0.1:{port}/{name}"

            yield new_database
        run(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)

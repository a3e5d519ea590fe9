"""A throw-away PostgreSQL server, for the tests that need a real one."""

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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


class Server:
    """A server of this machine, that can be stopped and started."""

    def __init__(self, programs: Path, folder: Path) -> None:
        # The server refuses to run as root, and pytest's own folders are closed to other users.
        as_root = os.geteuid() == 0
        self._user = ["runuser", "-u", "postgres", "--"] if as_root else []
        if as_root:
            shutil.chown(folder, "postgres", "postgres")
        self._folder, self._data, self._port = folder, folder / "data", free_port()
        self._control = (str(programs / "pg_ctl"), "-D", str(self._data))
        self._run(
            str(programs / "initdb"), "-D", str(self._data), "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8"
        )

    def start(self) -> None:
        """Start it; it answers from then on."""
        options = f"-c listen_addresses=127.0.0.1 -c fsync=off -p {self._port} -k {self._folder}"
        self._run(*self._control, "-w", "-l", str(self._data / "server.log"), "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: `fast` tells the clients, `immediate` is as good as a crash."""
        self._run(*self._control, "-m", mode, "stop")

    def new_database(self) -> str:
        """Make an empty database, and return its URL."""
        import psycopg

        name = f"d{uuid.uuid4().hex[:12]}"
        with psycopg.connect(f"postgresql://postgres@127.0.0.1:{self._port}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://postgres@127.0.0.1:{self._port}/{name}"

    def _run(self, *command: str) -> None:
        with (self._folder / "log").open("a") as log:
            subprocess.run(
                [*self._user, *command], check=True, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/"
            )


@contextmanager
def running_server() -> Iterator[Server]:
    """Start a server, and stop it at the end; skips where there is none."""
    programs = server_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed")
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    folder = Path(tempfile.mkdtemp(prefix="mlframework-postgres-"))
    try:
        server = Server(programs, folder)
        server.start()
        try:
            yield server
        finally:
            with suppress(subprocess.CalledProcessError):  # a test may have stopped it
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[NewDatabase]:
    """Starts a server; the value makes an empty database and returns its URL."""
    with running_server() as server:
        yield server.new_database

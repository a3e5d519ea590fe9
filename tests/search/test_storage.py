"""Storages: how URLs are shown, what bad ones get, and that several processes may start at once."""

import os
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from mlframework.errors import MissingExtraError, StorageError
from mlframework.search.storage import file_of, masked, open_storage, translated
from support.postgres import NewDatabase, free_port


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///studies.db", "sqlite:///studies.db"),
        ("journal:///studies.log", "journal:///studies.log"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql+psycopg://me:secret@host:5432/db", "postgresql+psycopg://me:***@host:5432/db"),
        ("postgresql://me:se@cr:et@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:se/cret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://:secret@host/db", "postgresql://:***@host/db"),
        ("postgresql://me:${DB_PASSWORD}@host/db", "postgresql://me:${DB_PASSWORD}@host/db"),
        ("postgresql://me:${DB_PASSWORD}secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:secret${DB_PASSWORD}@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host/db?user=me&password=secret", "postgresql://host/db?user=me&password=***"),
        ("postgresql://host/db?password=secret&user=me", "postgresql://host/db?password=***&user=me"),
        ("postgresql://host/db?password=${DB_PASSWORD}", "postgresql://host/db?password=${DB_PASSWORD}"),
        ("postgresql://me:secret@host/db?application_name=a@b", "postgresql://me:***@host/db?application_name=a@b"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_the_file_of_a_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDER", "/data")
    assert file_of("sqlite:///studies.db") == Path("studies.db")
    assert file_of("sqlite:////data/studies.db?timeout=5") == Path("/data/studies.db")
    assert file_of("journal:///${FOLDER}/studies.log") == Path("/data/studies.log")
    assert file_of("postgresql://host/db") is None


def test_variables_come_from_the_environment(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIES_FILE", "mine.db")
    open_storage("sqlite:///${STUDIES_FILE}")
    assert (here / "mine.db").is_file()
    monkeypatch.delenv("STUDIES_FILE")
    with pytest.raises(StorageError, match=r"\$\{STUDIES_FILE\}: the environment variable STUDIES_FILE is not set"):
        open_storage("sqlite:///${STUDIES_FILE}")


@pytest.mark.parametrize("url", ["postgresql://me:***@host/db", "postgresql://host/db?password=***"])
def test_a_masked_password_cannot_be_opened(url: str) -> None:
    with pytest.raises(StorageError, match=r"the password was not recorded; give the storage with --storage"):
        open_storage(url)


@pytest.mark.parametrize("url", ["studies.db", "sqlite//studies.db", "journal://studies.log", "nosuch:///x", ""])
def test_what_is_no_storage_is_told_what_would_be_one(here: Path, url: str) -> None:
    with pytest.raises(
        StorageError, match=r"is no storage; write sqlite:///file\.db, journal:///file\.log or postgres"
    ):
        open_storage(url)
    assert not list(here.iterdir())


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_folder_that_is_not_there(here: Path, kind: str) -> None:
    with pytest.raises(StorageError, match=rf"{kind}:///nowhere/studies\.db.*(folder|does not exist)"):
        open_storage(f"{kind}:///nowhere/studies.db")
    assert not list(here.iterdir())


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
@pytest.mark.parametrize("content", [b"name,age\nann,7\n", bytes(range(256)) * 20, b"[1, 2]\n[3]\n"])
def test_a_file_that_is_no_storage_is_refused_and_left_alone(here: Path, kind: str, content: bytes) -> None:
    (here / "data.csv").write_bytes(content)
    with pytest.raises(StorageError, match=r"data\.csv.*(is no SQLite database|is no journal).*name another"):
        open_storage(f"{kind}:///data.csv")
    assert (here / "data.csv").read_bytes() == content


def test_a_folder_is_no_storage(here: Path) -> None:
    (here / "studies").mkdir()
    for kind in ("sqlite", "journal"):
        with pytest.raises(StorageError, match=f"{kind}:///studies cannot be used"):
            open_storage(f"{kind}:///studies")


def test_a_database_that_cannot_be_written(here: Path) -> None:
    optuna.create_study(study_name="s", storage=open_storage("sqlite:///studies.db"))
    url = f"sqlite:///file:{here}/studies.db?mode=ro&uri=true"
    with pytest.raises(StorageError, match=r"cannot be used: attempt to write a readonly database; make it writable"):
        storage = open_storage(url)
        with translated(url):
            optuna.create_study(study_name="t", storage=storage)


def test_a_server_that_does_not_answer() -> None:
    port = free_port()
    with pytest.raises(StorageError, match=r"refused.*does the database server run, and is the port right\?") as error:
        open_storage(f"postgresql://me:secret@127.0.0.1:{port}/db")
    assert "secret" not in str(error.value)
    assert f"postgresql://me:***@127.0.0.1:{port}/db" in str(error.value)


def test_a_database_that_the_server_does_not_have(postgres: NewDatabase) -> None:
    url = postgres().rpartition("/")[0] + "/nosuch"
    with pytest.raises(StorageError, match=r'database "nosuch" does not exist'):
        open_storage(url)


def test_a_driver_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r'psycopg.*pip install "mlframework\[postgres\]"'):
        open_storage("postgresql://me@127.0.0.1/db")
    with pytest.raises(
        StorageError, match=r"its driver is not installed.*tested with sqlite:///, journal:/// and postgresql://"
    ):
        open_storage("mysql://me:secret@127.0.0.1/db")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_takes_the_psycopg_driver(postgres: NewDatabase, scheme: str) -> None:
    storage = open_storage(postgres().replace("postgresql", scheme, 1))
    assert isinstance(storage, optuna.storages.RDBStorage)
    assert storage.engine.driver == "psycopg"
    study = optuna.create_study(study_name="s", storage=storage)
    assert [study.study_name for study in storage.get_all_studies()] == [study.study_name]


def test_sqlite_writes_ahead_so_that_readers_do_not_wait_for_writers(here: Path) -> None:
    storage = open_storage("sqlite:///studies.db")
    assert isinstance(storage, optuna.storages.RDBStorage)
    with storage.engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(sqlalchemy.text("PRAGMA synchronous")).scalar() == 1
    optuna.create_study(study_name="s", storage=storage)
    with storage.engine.begin() as writer:
        writer.execute(sqlalchemy.text("INSERT INTO studies (study_name) VALUES ('another')"))
        assert [study.study_name for study in open_storage("sqlite:///studies.db").get_all_studies()] == ["s"]


OPENING = """
import multiprocessing, os, sys, optuna
from mlframework.search.ledgers import open_ledger
from mlframework.search.storage import open_storage
optuna.logging.set_verbosity(optuna.logging.ERROR)
barrier = multiprocessing.get_context("fork").Barrier(4)
for _ in range(3):
    if os.fork() == 0:
        break
for url in sys.argv[1:]:
    barrier.wait(60)
    storage = open_storage(url)
    study = optuna.create_study(study_name="s", storage=storage, load_if_exists=True)
    ledger = open_ledger(storage, study._study_id)
    os.write(1, f"{url} {study.study_name} {len(ledger.read())}\\n".encode())
"""


def test_four_processes_open_a_fresh_storage_at_once(here: Path, postgres: NewDatabase) -> None:
    urls = [f"{kind}:///{number}.{kind}" for number in range(3) for kind in ("sqlite", "journal")]
    urls += [postgres(), postgres()]
    # Children of one process: so that they meet at the storage, and not at their imports.
    done = subprocess.run([sys.executable, "-c", OPENING, *urls], capture_output=True, text=True, check=False)
    assert sorted(done.stdout.splitlines()) == sorted(f"{url} s 0" for url in urls for _ in range(4)), done.stderr
    for url in urls:
        assert [study.study_name for study in open_storage(url).get_all_studies()] == ["s"]


def test_a_journal_that_a_kill_cut_short_loses_its_last_line_only(tmp_path: Path) -> None:
    path = tmp_path / "studies.log"
    optuna.create_study(study_name="one", storage=open_storage(f"journal:///{path}"))
    whole = path.read_bytes()
    optuna.create_study(study_name="two", storage=open_storage(f"journal:///{path}"))
    os.truncate(path, len(path.read_bytes()) - 5)
    names = [study.study_name for study in open_storage(f"journal:///{path}").get_all_studies()]
    assert "one" in names
    assert path.read_bytes().startswith(whole) and path.read_bytes().endswith(b"\n")


def test_nothing_is_written_into_a_file_that_is_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "notes.log"
    path.write_text("buy milk")
    with pytest.raises(StorageError, match="is no journal of a study"):
        open_storage(f"journal:///{path}")
    assert path.read_text() == "buy milk"

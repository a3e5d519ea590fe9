"""A password of a storage is in nothing that is shown and in nothing that is written, whatever goes wrong."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from mlframework.config.secrets import masked
from mlframework.search.storage import open_storage
from support.fuzzing import End, run_here
from support.postgres import NewDatabase
from support.searches import LR, write_config, write_table

PASSWORD = "s3cr3t/w:rd@%x"
MARK = "s3cr3t"
"""What every way of writing the password has in it."""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:s3cr3t@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:s3/cr?3t@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p@s3cr3t@h/d", "postgresql://u:***@h/d"),
        ("postgresql://al@ice:s3cr3t@h/d", "postgresql://al@ice:***@h/d"),
        ("postgresql://:s3cr3t@h", "postgresql://:***@h"),
        ("postgresql://h/d?user=u&password=s3cr3t&x=1", "postgresql://h/d?user=u&password=***&x=1"),
        ("postgresql://h/d?sslpassword=s3cr3t", "postgresql://h/d?sslpassword=***"),
        ("postgres//u:s3cr3t@h/d", "postgres//u:***@h/d"),
        ("u:s3cr3t@h", "u:***@h"),
        ("--search.storage=postgresql://u:s3cr3t@h/d", "--search.storage=postgresql://u:***@h/d"),
        ("postgresql://u:${DB_PASSWORD}@h/d", "postgresql://u:${DB_PASSWORD}@h/d"),
        ("postgresql://h/d?password=${PW}", "postgresql://h/d?password=${PW}"),
        ("sqlite:///studies.db", "sqlite:///studies.db"),
        ("postgresql://h:5432/d", "postgresql://h:5432/d"),
        ("journal:///C:/x.log", "journal:///C:/x.log"),
    ],
)
def test_what_is_shown_of_an_address(url: str, shown: str) -> None:
    assert masked(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cr3t@127.0.0.1:1/d", "postgresql://u:s3cr3t@127.0.0.1:port/d", "postgresql://u:p@s3cr3t@127.0.0.1:1/d",
        "postgresql://u:s3cr3t%zz@127.0.0.1:1/d", "postgresql://127.0.0.1:1/d?user=u&password=s3cr3t",
        "postgresql://u:s3cr3t@nowhere.invalid/d", "mysql://u:s3cr3t@h/d", "postgresql+foo://u:s3cr3t@h/d", "u:s3cr3t@h",
        "postgres//u:s3cr3t@h/d", "postgresql://u:s3cr3t@127.0.0.1:1/d?sslpassword=s3cr3t&bad=1", "postgresql://u:s3cr3t@[::1",
    ],
)  # fmt: skip
def test_an_address_that_does_not_work(here: Path, url: str) -> None:
    """A refused connection, a host that is none, a port that is no number, a driver that is not there."""
    write_config()
    end = run_here(["ml-search", "--config", "config.yaml", "--storage", url])
    assert end.code == 2, end
    assert MARK not in end.out + end.err
    write_config({"search.storage": url})
    for line in (
        ["ml-search", "--config", "config.yaml", "--print-config"],
        ["ml-train", "--config", "config.yaml", "--print-config"],
    ):
        end = run_here(line)
        assert (end.code, MARK in end.out + end.err) == (0, False), end


@pytest.fixture
def database(postgres: NewDatabase) -> Iterator[str]:
    """A PostgreSQL database whose user has to say the password, as its URL."""
    import psycopg

    url = postgres()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE alice LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        (rules,) = connection.execute("SHOW hba_file").fetchone() or ("",)
        before = Path(rules).read_text()
        Path(rules).write_text(f"host all alice 127.0.0.1/32 scram-sha-256\n{before}")
        connection.execute("SELECT pg_reload_conf()")
        yield url.replace("postgres@", f"alice:{quote(PASSWORD, safe='')}@")
        connection.execute("REASSIGN OWNED BY alice TO postgres")
    Path(rules).write_text(before)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP OWNED BY alice")
        connection.execute("DROP ROLE alice")


def said(*words: str) -> End:
    end = run_here(list(words))
    assert MARK not in end.out + end.err, end
    return end


@pytest.mark.parametrize("written", ["in the URL", pytest.param("as a variable", marks=pytest.mark.slow)])
def test_a_whole_search(here: Path, database: str, written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Searched, resumed, compared, confirmed, refitted, diagnosed, drawn, failed: every file and every line is looked at."""
    # The password's own signs are written as a URL has them.
    monkeypatch.setenv("DB_PASSWORD", quote(PASSWORD, safe=""))
    url = database if written == "in the URL" else re.sub(r":[^:@]*@", ":${DB_PASSWORD}@", database)
    write_table(Path("table.csv"))
    Path("history.csv").write_text("optimizer.lr,value\n0.01,0.6\n")
    changes = {
        "search.storage": url, "search.n_trials": 2, "search.confirm": {"top_k": 1, "seeds": 2}, "tracking.tensorboard": True,
        "training.num_epochs": 1, "search_space": {"optimizer.lr": LR}, "search.warm_start": [{"path": "history.csv"}],
    }  # fmt: skip
    write_config(changes)
    search = ("ml-search", "--config", "config.yaml")
    assert said(*search, "--refit").code == 0
    assert said(*search, "--resume", "--n-trials", "3").code == 0
    assert said(*search).code == 2  # it exists
    assert said("ml-train", "--config", "config.yaml", "--mode", "final", f"--search.storage={url}").code == 0
    compare = ("--compare", "RandomSampler", "TPESampler", "--seeds", "2", "--n-trials", "1")
    assert said(*search, "--storage", url, "--study-name", "both", *compare).code == 0
    assert said("ml-search", "--diagnose", "tiny_optimization", "--storage", url).code == 0
    draw = ("ml-visualise", "--mode", "search", "--study-name", "tiny_optimization", "--format", "html")
    assert said(*draw, "--storage", url, "--plot-type", "slice").code == 0
    assert said(*draw, "--plot-type", "slice").code == (2 if written == "in the URL" else 0)
    # The histories of another study stand in the study's own storage, with the address of the other one.
    write_config(
        {
            **changes,
            "search.study_name": "taught",
            "search.warm_start": [{"study": "tiny_optimization", "storage": url}],
        }
    )
    assert said(*search).code == 0
    # The database fails in the middle: a column that is gone.
    import psycopg

    with psycopg.connect(database, autocommit=True) as connection:
        rows = connection.execute("SELECT value_json FROM study_user_attributes").fetchall()
        assert MARK not in json.dumps(rows)
        connection.execute("ALTER TABLE trials DROP COLUMN state CASCADE")
    assert said(*search, "--resume").code == 2
    wrong = database.replace(quote(PASSWORD, safe=""), f"{MARK}wrong")
    end = said(*search, "--resume", "--storage", wrong)
    assert (end.code, "check user and password" in end.err) == (2, True), end
    Path("config.yaml").unlink()  # what the user wrote may have it
    written_files = [Path(folder) / name for folder, _, names in os.walk(".") for name in names]
    assert len(written_files) > 50
    assert [str(path) for path in written_files if MARK.encode() in path.read_bytes()] == []
    ledgers = [path.read_text() for path in written_files if path.name == "test_ledger.jsonl"]
    assert any("alice:***@" in text or "${DB_PASSWORD}" in text for text in ledgers)


def test_a_variable_in_a_path_is_not_written_down(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither into the copy of the config, nor among TensorBoard's hyperparameters, nor into the artifact."""
    Path(MARK).mkdir()
    write_table(Path(MARK, "table.csv"))
    monkeypatch.setenv("PLACE", MARK)
    changes = {"data.path": "${PLACE}/table.csv", "tracking.tensorboard": True, "training.num_epochs": 1}
    write_config(changes)
    assert run_here(["ml-train", "--config", "config.yaml"]).code == 0
    assert run_here(["ml-search", "--config", "config.yaml", "--n-trials", "1"]).code == 0
    files = [path for path in Path("runs").rglob("*") if path.is_file()]
    assert any("tfevents" in path.name and b"${PLACE}" in path.read_bytes() for path in files)
    assert [str(path) for path in files if MARK.encode() in path.read_bytes()] == []


def test_the_error_of_an_address_says_what_to_do() -> None:
    with pytest.raises(Exception, match="%40"):
        open_storage("postgresql://u:a@b@h/d")

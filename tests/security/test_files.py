"""Files of strangers that are too much: bombs, pipes, links without end, names that lead out, signs that a terminal obeys."""

import gzip
import os
import stat
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import optuna
import polars as pl
import pytest
from PIL import Image, PngImagePlugin
from rich.table import Table

import mlframework
from mlframework import machine
from mlframework.cli import console
from mlframework.config import yaml
from mlframework.data.image_files import MAX_PIXELS, decode_image, scan_image_folder
from mlframework.data.table_file import read_frame
from mlframework.errors import ConfigError, DataError, StorageError, StudyError, TrainingError
from mlframework.learners.size import sized
from mlframework.runs import read_json, replacing, write_json
from mlframework.search.lookup import find_study
from mlframework.search.started import STARTED_WITH
from mlframework.search.storage import open_storage
from support.fuzzing import run_here
from support.searches import run_search, write_config, write_table

MEMORY = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]) * 2**20,) * 2)
from mlframework.errors import MlframeworkError
try:
    {code}
except MlframeworkError as error:
    print(error)
else:
    print("it was read")
"""


def with_memory(megabytes: int, code: str) -> str:
    """Run code in a process that may have so much memory; returns what it said."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY.format(code=code), str(megabytes)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


# Configs


def _laughs() -> str:
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_laughs(), "expands to more than 100000 values"),
        ("a: &a [*a]", "nested more than 50 levels"),
        ("[" * 100_000, "nested more than 50 levels"),
        ("{a: " * 20_000, "nested more than 50 levels"),
        ("\n".join(" " * n + "a:" for n in range(500)), "nested more than 50 levels"),
        ("name: " + "a" * 2_000_000, "larger than 1 MiB"),
        ("# x\n" * 400_000, "larger than 1 MiB"),
        ("seed: " + "9" * 100_000, "more digits than can be read"),
        ("name: x\0", "U+0000 cannot stand in a config"),
        ("name: \x1b[31m", "U+001B cannot stand in a config"),
        (b"name: \xff\xfe", "is not a text file"),
        ("name: x".encode("utf-16"), "is not a text file"),
    ],
    ids=range(12),
)  # fmt: skip
def test_a_config_that_is_no_config(here: Path, content: str | bytes, said: str) -> None:
    Path("bad.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=r"^bad\.yaml") as error:
        yaml.read("bad.yaml")
    assert said in str(error.value)


def test_a_config_with_a_mark_at_its_start_or_from_a_pipe(here: Path) -> None:
    Path("bom.yaml").write_bytes(b"\xef\xbb\xbfname: x\r\nseed: 1\r\n")
    assert yaml.read("bom.yaml").tree == {"name": "x", "seed": 1}
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        yaml.read("/dev/zero")


def test_the_memory_that_a_bad_config_takes() -> None:
    """A file without end, and aliases in aliases, are refused by a process that may have 400 megabytes."""
    code = "from mlframework.config import yaml; yaml.parse({!r})"
    assert "expands to more" in with_memory(400, code.format(_laughs()))
    assert "larger than" in with_memory(400, "from mlframework.config import yaml; yaml.read('/dev/zero')")


# Images


def _png(path: Path, width: int, height: int, data: bytes = b"") -> Path:
    """Write a PNG that says that it is so large, with as little in it as is given."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packed = zlib.compress(data)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b""))
    return path


def test_an_image_that_says_that_it_is_huge(tmp_path: Path) -> None:
    """Refused by what it says, before a byte of it is unpacked; a large photo is read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for width, height in ((50_000, 50_000), (12_000, 12_000), (2**31 - 1, 2**31 - 1)):
            with pytest.raises(DataError, match="pixels") as error:
                decode_image(_png(tmp_path / "bomb.png", width, height), 8)
            assert "bomb.png" in str(error.value)
            assert "replace or delete it" in str(error.value)
    assert 9000 * 9000 < MAX_PIXELS < 12_000 * 12_000


def test_images_that_are_broken_or_odd(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50, 3), dtype=np.uint8)).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:-500])
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "a" * 5_000_000, zip=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "text.png", pnginfo=text)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "loop.png").symlink_to("loop.png")
    for name, said in (("cut", "truncated"), ("text", "too large"), ("pipe", "a pipe or a device"),
                       ("zero", "a pipe or a device"), ("loop", "symbolic links"), ("none", "no such file")):  # fmt: skip
        with pytest.raises(DataError, match=f"{name}.png: cannot be read as an image .*{said}"):
            decode_image(tmp_path / f"{name}.png", 8)
    frames = [Image.new("L", (8, 8), grey) for grey in (0, 100, 200)]
    frames[0].save(tmp_path / "many.gif", save_all=True, append_images=frames[1:])
    assert decode_image(tmp_path / "many.gif", 8).max() == 0  # the first


def test_links_in_a_folder_of_images(tmp_path: Path) -> None:
    """Links to files and folders elsewhere are followed, as data sets are put together so; one to a folder above has no end."""
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "data" / name / "1.png")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Image.new("RGB", (8, 8)).save(elsewhere / "2.png")
    os.mkfifo(tmp_path / "data" / "cat" / "pipe.png")
    (tmp_path / "data" / "cat" / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "data" / "cat" / "more").symlink_to(elsewhere)
    assert len(scan_image_folder(tmp_path / "data").files) == 3
    (tmp_path / "data" / "dog" / "up").symlink_to(tmp_path / "data" / "dog")
    with pytest.raises(DataError, match="up: is a link to a folder that it lies in"):
        scan_image_folder(tmp_path / "data")


def test_more_pixels_than_the_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{number}.png")
    config = {
        "data": {"type": "image_folder", "path": str(tmp_path), "image_size": 2048}, "model": {"architecture": "resnet18"},
    }  # fmt: skip
    monkeypatch.setattr("mlframework.data.images.free_memory", lambda: 50_000_000)
    with pytest.raises(DataError, match=r"need 0.1 GB, which the memory does not hold"):
        mlframework.train(config)


# Tables


def test_pipes_and_devices_for_tables(here: Path) -> None:
    os.mkfifo("pipe.csv")
    Path("zero.csv").symlink_to("/dev/zero")
    Path("loop.csv").symlink_to("loop.csv")
    for name, said in (
        ("pipe.csv", "a pipe or a device"),
        ("zero.csv", "a pipe or a device"),
        ("loop.csv", "no such file"),
    ):
        end = run_here(["ml-init-config", name, "--yes"])
        assert (end.code, said in end.err) == (2, True), end


def test_bombs_of_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some bytes that unpack to a thousand times as many, and some that say that a value stands in millions of rows."""
    with gzip.open(tmp_path / "bomb.csv.gz", "wb") as file:
        file.write(b"a,b\n" + b"1,2\n" * 5_000_000)
    pl.select(pl.repeat(1, 20_000_000, dtype=pl.Int8).alias("a")).write_parquet(tmp_path / "bomb.parquet")
    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 100_000
    monkeypatch.setattr("mlframework.data.table_file.free_memory", lambda: 150_000_000)
    for name in ("bomb.csv.gz", "bomb.parquet"):
        with pytest.raises(DataError, match=f"{name}: holds more than fits into memory"):
            read_frame(tmp_path / name)
    monkeypatch.setattr("mlframework.data.table_file.free_memory", lambda: 500_000_000)
    assert read_frame(tmp_path / "bomb.csv.gz").shape == (5_000_000, 2)


def test_a_header_of_many_columns(tmp_path: Path) -> None:
    """It took time by the square of their number: minutes for these."""
    n = 20_000
    header, row = ",".join(f"c{i}" for i in range(n)), ",".join("1" for _ in range(n))
    (tmp_path / "wide.csv").write_text(f"{header}\n{row}\n")
    assert read_frame(tmp_path / "wide.csv").shape == (1, n)


def test_a_model_that_does_not_fit(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not made: the kernel would kill a process that takes all memory, without a word."""
    write_config()
    for key, value in (("hidden_size", 10**6), ("hidden_size", 10**9), ("hidden_size", 10**20)):
        end = run_here(["ml-train", "--config", "config.yaml", f"--{key}={value}", "--hidden_layers", "3"])
        assert (end.code, "model.hidden_size" in end.err) == (2, True), end
        assert not list(Path("runs").iterdir())
    from torch import nn

    monkeypatch.setattr(machine, "free_memory", lambda: 1080)
    assert sized(lambda: nn.Linear(8, 10), "x").out_features == 10  # 90 numbers of four bytes, three times
    with pytest.raises(TrainingError, match=r"a model of 99 weights takes .* make x smaller"):
        sized(lambda: nn.Linear(8, 11), "x")


def test_the_free_memory_of_this_machine() -> None:
    free = machine.free_memory()
    assert free is not None
    assert 2**20 < free < 2**50


# Names


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", "x'; DROP TABLE studies; --", "", "x\0y", "a" * 300, ".x"])
def test_a_name_is_no_path(here: Path, name: str) -> None:
    """Whatever a study or a run is called, nothing is written outside the folders that are for it."""
    write_config()
    before = {path for path in here.parent.rglob("*") if "runs" not in path.parts}
    for line in (
        ["ml-search", "--config", "config.yaml", f"--study-name={name}", "--n-trials", "1"],
        ["ml-visualise", "--mode", "search", f"--study-name={name}", "--storage", "sqlite:///studies.db"],
        ["ml-search", f"--diagnose={name}"],
        ["ml-init-config", "table.csv", "--yes", f"--name={name}"],
    ):
        assert run_here(line).code == 2, line
    assert {path for path in here.parent.rglob("*") if "runs" not in path.parts} == before
    assert not list(Path("runs").rglob("*"))


def test_a_study_of_a_stranger(here: Path) -> None:
    """Made elsewhere, with a name that leads out of the folder, or signs in it that a terminal obeys."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for name in ("../../../out", "red\x1b[31m", "two\nlines"):
        study = optuna.create_study(study_name=name, storage="sqlite:///strange.db")
        study.optimize(lambda trial: trial.suggest_float("../../x", 0, 1), n_trials=2)
    with pytest.raises(StudyError, match="leads out of"):
        find_study("../../../out", "sqlite:///strange.db")
    end = run_here(["ml-visualise", "--mode", "search", "--study-name", "none", "--storage", "sqlite:///strange.db"])
    assert "\x1b" not in end.err
    assert r"'two\nlines'" in end.err
    assert end.err.count("\n") == 1


def test_a_study_whose_records_are_damaged(here: Path) -> None:
    """Those in the storage, and those in the study's folder."""
    study, _ = run_search({"search.n_trials": 1, "training.num_epochs": 1})
    diagnose, draw = ["ml-search", "--diagnose", "tiny_optimization"], ["ml-visualise", "--mode", "search"]
    draw += ["--study-name", "tiny_optimization", "--format", "html", "--plot-type", "slice"]
    whole = study.study.user_attrs[STARTED_WITH]
    for record in ("[]", "5", "{", "null", '{"objectives": 5}', '{"metric": {}}', 7, None, "[" * 100_000):
        study.study.set_user_attr(STARTED_WITH, record)
        for line in (diagnose, draw, ["ml-search", "--config", "config.yaml", "--resume"]):
            end = run_here(line)
            assert (end.code, "damaged" in end.err) == (2, True), (record, line, end)
    study.study.set_user_attr(STARTED_WITH, whole)
    path = study.spec.folder.study
    written = read_json(path)
    for change in ({"storage": 5}, {"storage": ["x"]}, {"metric": {}}, {"prefer": [1]}):
        write_json(path, {**written, **change})
        end = run_here(draw)
        assert (end.code, "study.json: is damaged" in end.err) == (2, True), (change, end)


def test_names_that_a_terminal_would_obey(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names of files, classes and columns are the data's; what is shown of them has no sign that moves or colours anything."""
    for name in ("cat\x1b[31m", "dog\x1b]0;title\x07"):
        Path("data", name).mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (8, 8)).save(Path("data", name, f"{number}.png"))
        Path("data", name, "broken\x1b[2J.png").write_bytes(b"x")
    write_table(Path("table.csv"))
    lines = Path("table.csv").read_text().replace("kind", "kind\x1b[1m", 1).replace("yes", "yes\x1b[5m")
    Path("table.csv").write_text(lines)
    for line in (["data"], ["table.csv", "--output", "t.yaml"], ["nowhere\x1b[31m"]):
        end = run_here(["ml-init-config", *line, "--yes"])
        assert "\x1b" not in end.out + end.err
        assert "\x07" not in end.out + end.err
        assert "␛" in end.out + end.err
    table = Table("a\x1b[31m")
    table.add_row("b\u202e\x9b\x08")
    console.out().print(table)
    assert not set("\x1b\u202e\x9b\x08") & set(capsys.readouterr().out)


# What is made


def test_nothing_that_is_made_may_be_written_to_by_everybody(here: Path) -> None:
    """Whatever the umask: folders, configs, checkpoints, events, databases, journals, plots."""
    before = os.umask(0)
    try:
        write_table(Path("table.csv"))
        Path("table.csv").chmod(0o644)
        lines = [
            "ml-init-config table.csv --yes --optuna --target kind --output made/by/table.yaml",
            "ml-search --config made/by/table.yaml --n-trials 1 --num_epochs 1 --refit --storage sqlite:///of.db",
            "ml-search --config made/by/table.yaml --n-trials 1 --num_epochs 1 --study-name j --storage journal:///of.log",
            "ml-visualise --mode search --study-name table_optimization --format html --plot-type slice",
        ]
        for line in lines:
            os.umask(0)
            end = run_here(line.split())
            assert end.code == 0, end
        os.umask(0)
        mlframework.search(
            "made/by/table.yaml", n_trials=1, num_epochs=1, study_name="face", storage="journal:///f.log"
        )
        mlframework.train("made/by/table.yaml", num_epochs=1)
    finally:
        os.umask(before)
    made = [path for path in here.rglob("*") if not path.is_symlink()]
    assert {path.suffix for path in made} >= {
        ".yaml",
        ".json",
        ".jsonl",
        ".pt",
        ".db",
        ".log",
        ".html",
        ".csv",
        ".safetensors",
    }
    assert [str(path) for path in made if path.stat().st_mode & stat.S_IWOTH] == []


def test_a_draft_is_nobody_elses(tmp_path: Path) -> None:
    with replacing(tmp_path / "x") as draft:
        assert draft.stat().st_mode & 0o077 == 0


def test_a_storage_that_is_no_database(here: Path) -> None:
    for url in ("sqlite:////etc/passwd", "journal:////etc/passwd", "postgresql://h:port/d", "ftp://x", ""):
        with pytest.raises(StorageError):
            open_storage(url)

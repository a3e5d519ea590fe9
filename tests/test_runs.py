"""Run folders: nothing is overwritten, nothing is half written, and a failure says what to do."""

import errno
import json
import math
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlframework.errors import RunError
from mlframework.runs import (
    RunDir,
    append_line,
    read_json,
    replacing,
    run_name,
    write_json,
    write_lines,
    write_text,
    writing,
)


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def limited(size: int, body: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process whose files may not grow above `size` bytes, as on a disk that is full."""
    code = f"""
        import resource
        from pathlib import Path
        from mlframework.errors import RunError
        from mlframework.runs import append_line, write_json, write_text
        resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code) + textwrap.dedent(body)],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_run_folder_is_never_overwritten(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "runs"
    paths = [RunDir.create(root, "digits").path for _ in range(3)]
    assert paths == [root / "digits", root / "digits-2", root / "digits-3"]
    (root / "digits-2").rmdir()
    assert RunDir.create(root, "digits").path == root / "digits-2"


def test_a_file_of_that_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "digits").write_text("mine", encoding="utf-8")
    assert RunDir.create(tmp_path, "digits").path == tmp_path / "digits-2"
    assert (tmp_path / "digits").read_text(encoding="utf-8") == "mine"


def test_runs_that_start_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: RunDir.create(tmp_path, "digits").path, range(24)))
    assert len(set(paths)) == 24


def test_what_lies_where(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert {
        path.relative_to(tmp_path).as_posix()
        for path in (run.config, run.metrics, run.result, run.environment, run.test_ledger, run.checkpoints, run.artifacts)
    } == {
        "config.yaml", "metrics.jsonl", "result.json", "environment.json", "test_ledger.jsonl", "checkpoints", "artifacts",
    }  # fmt: skip


def test_opening_a_run(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_text(RunDir.create(tmp_path, name).config, "name: x\n")
    assert RunDir.open(tmp_path / "a").path == tmp_path / "a"
    with pytest.raises(RunError, match=r"c: there is no such run; runs there: .*a, .*b"):
        RunDir.open(tmp_path / "c")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"empty: has no config\.yaml, it is not a run folder; runs there"):
        RunDir.open(tmp_path / "empty")
    with pytest.raises(RunError, match=r"there is no such run$"):
        RunDir.open(tmp_path / "nowhere" / "x")


def test_a_run_that_has_not_ended_has_no_result(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "a")
    assert run.read_result() is None
    write_json(run.result, {"value": 0.5})
    assert run.read_result() == {"value": 0.5}


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ({}, "digits"),
        ({"optimizer.lr": 0.01, "training.batch_size": 64}, "digits_lr-0.01_batch_size-64"),
        ({"optimizer.lr": 1e-05}, "digits_lr-1e-05"),
        ({"data.path": "../a b/ü"}, "digits_path-..-a-b--"),
        ({"training.early_stopping": None}, "digits_early_stopping-None"),
    ],
)
def test_run_names_show_what_was_overridden(overrides: dict[str, object], name: str) -> None:
    assert run_name("digits", overrides) == name


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_a_run_name_is_one_short_plain_file_name(overrides: dict[str, object]) -> None:
    name = run_name("digits", overrides)
    assert len(name.encode()) <= 120
    assert all(character.isascii() and (character.isalnum() or character in "._-") for character in name)
    assert name.startswith("digits")


def test_replacing_shows_old_or_new_and_never_half(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "f.txt"
    write_text(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("new", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "old"
        assert temporary.parent == path.parent  # a rename across file systems would be no rename
    assert path.read_text(encoding="utf-8") == "new"
    assert os.listdir(path.parent) == ["f.txt"]


@pytest.mark.parametrize("failure", [ValueError("x"), KeyboardInterrupt(), RunError("x"), SystemExit(1)])
def test_a_failure_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "f.txt"
    write_text(path, "old")
    with pytest.raises(type(failure)), replacing(path) as temporary:
        temporary.write_text("half of the n", encoding="utf-8")
        raise failure
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["f.txt"]


def test_a_failure_while_writing_json_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["f.json"]


def test_written_files_have_the_usual_permissions(tmp_path: Path) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("x", encoding="utf-8")
    write_text(tmp_path / "ours.txt", "x")
    append_line(tmp_path / "lines.jsonl", {})
    for name in ("ours.txt", "lines.jsonl"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("mine", encoding="utf-8")
    in_the_way = "cannot be written: a file stands where a folder is needed; move it away"
    for attempt in (
        lambda: RunDir.create(tmp_path / "runs", "digits"),
        lambda: RunDir.create(tmp_path / "runs" / "deep", "digits"),
        lambda: write_text(tmp_path / "runs" / "f.txt", "x"),
        lambda: append_line(tmp_path / "runs" / "f.jsonl", {}),
    ):
        with pytest.raises(RunError, match=in_the_way):
            attempt()
    assert (tmp_path / "runs").read_text(encoding="utf-8") == "mine"


def test_a_folder_in_the_way_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "f.txt").mkdir()
    with pytest.raises(RunError, match=r"f\.txt: cannot be written"):
        write_text(tmp_path / "f.txt", "x")
    assert os.listdir(tmp_path) == ["f.txt"]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Give root's right to write anywhere up for a while."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_folder_that_is_read_only() -> None:
    # Not in tmp_path, which only its owner may enter.
    with TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        refused = "you may not write there; run in a folder that you can write to, or mend its permissions"
        with as_nobody():
            for attempt in (
                lambda: RunDir.create(Path(folder), "digits"),
                lambda: write_text(Path(folder, "f.txt"), "x"),
                lambda: append_line(Path(folder, "f.jsonl"), {}),
            ):
                with pytest.raises(RunError, match=refused):
                    attempt()
        assert os.listdir(folder) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_device() -> None:
    with pytest.raises(RunError, match="/dev/full: cannot be written: the disk is full; make room"):
        append_line(Path("/dev/full"), {"epoch": 1})


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "the disk is full; make room, then go on with --resume"),
        (errno.EDQUOT, "the disk quota is used up; make room"),
        (errno.EROFS, "the file system is read-only; run in a folder that you can write to"),
        (errno.EACCES, "you may not write there"),
        (errno.EPERM, "you may not write there"),
        (errno.EFBIG, "the file would be larger than this system allows"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_each_failure_says_what_to_do(number: int, remedy: str) -> None:
    with pytest.raises(RunError) as found, writing(Path("runs/x")):
        raise OSError(number, os.strerror(number))
    assert str(found.value).startswith(f"runs/x: cannot be written: {remedy}")


def test_other_failures_pass_through() -> None:
    with pytest.raises(ValueError, match="mine"), writing(Path("x")):
        raise ValueError("mine")


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "f.json", {"old": True})
    body = """
        try:
            write_json(Path("f.json"), {"new": "x" * 10_000})
        except RunError as error:
            print(error)
    """
    ended = limited(1000, body, tmp_path)
    assert ended.stdout.startswith("f.json: cannot be written: "), ended.stderr
    assert read_json(tmp_path / "f.json") == {"old": True}
    assert os.listdir(tmp_path) == ["f.json"]


def test_a_line_that_does_not_fit_is_not_half_written(tmp_path: Path) -> None:
    body = """
        append_line(Path("m.jsonl"), {"epoch": 1})
        try:
            append_line(Path("m.jsonl"), {"epoch": 2, "text": "x" * 200})
        except RunError as error:
            print(error)
        append_line(Path("m.jsonl"), {"epoch": 3})
    """
    ended = limited(100, body, tmp_path)
    assert ended.stdout.startswith("m.jsonl: cannot be written: the file would be larger than this system allows"), (
        ended
    )
    assert lines_of(tmp_path / "m.jsonl") == [{"epoch": 1}, {"epoch": 3}]


def test_what_is_not_a_number_is_null(tmp_path: Path) -> None:
    record = {"a": math.nan, "b": [math.inf, 1.5], "c": {"d": -math.inf, "e": (math.nan, 0.0)}, "f": np.float64("nan")}
    wanted = {"a": None, "b": [None, 1.5], "c": {"d": None, "e": [None, 0.0]}, "f": None}
    write_json(tmp_path / "f.json", record)
    append_line(tmp_path / "f.jsonl", record)
    write_lines(tmp_path / "g.jsonl", [record, record])
    assert read_json(tmp_path / "f.json") == wanted
    assert lines_of(tmp_path / "f.jsonl") == [wanted]
    assert lines_of(tmp_path / "g.jsonl") == [wanted, wanted]


def test_lines_are_added_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    for epoch in range(3):
        append_line(path, {"epoch": epoch, "text": "zwei\nZeilen, ü"})
    assert [line["epoch"] for line in lines_of(path)] == [0, 1, 2]
    assert path.read_bytes().endswith(b"\n")


def test_the_bytes_are_on_the_disk_before_the_file_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut leaves an empty file of that name. The cut itself can't be had here; the order can."""
    calls: list[str] = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("sync"), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda old, new: (calls.append(f"rename to {Path(new).name}"), rename(old, new)))
    write_text(tmp_path / "f.txt", "one")
    with replacing(tmp_path / "f.txt", former=tmp_path / "g.txt") as temporary:
        temporary.write_text("two")
    assert calls == ["sync", "rename to f.txt", "sync", "rename to g.txt", "rename to f.txt"]
    assert [(tmp_path / name).read_text() for name in ("f.txt", "g.txt")] == ["two", "one"]


def test_a_line_does_not_bring_back_a_folder_that_was_removed(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"m\.jsonl: cannot be written: its folder was removed meanwhile; go on with --resume"
    ):
        append_line(tmp_path / "gone" / "m.jsonl", {"epoch": 1})
    assert not (tmp_path / "gone").exists()


def test_lines_of_several_writers_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: append_line(path, {"n": number, "text": "x" * 5000}), range(80)))
    assert sorted(line["n"] for line in lines_of(path)) == list(range(80))


def test_no_lines_are_an_empty_file(tmp_path: Path) -> None:
    write_lines(tmp_path / "m.jsonl", [])
    assert (tmp_path / "m.jsonl").read_bytes() == b""


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_json_is_read_back(tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.json"
    write_json(path, value)
    assert read_json(path) == value


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "there is no such file"),
        (b"", "is damaged"),
        (b'{"a": 1', "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b"[1]", "should hold a JSON object, got list"),
        (b"3", "should hold a JSON object, got int"),
    ],
)
def test_json_that_cannot_be_read(tmp_path: Path, content: bytes | None, what: str) -> None:
    path = tmp_path / "f.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError) as found:
        read_json(path)
    assert str(found.value).startswith(f"{path}: {what}")


def test_a_folder_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be read"):
        read_json(tmp_path)

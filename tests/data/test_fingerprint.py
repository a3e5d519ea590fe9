"""The fingerprint of data: it changes with every byte, and with nothing else."""

import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlframework.data import ImageFolderConfig, InteractionsConfig, TableConfig, fingerprint
from mlframework.data.fingerprint import Fingerprint
from mlframework.errors import DataError

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CONTENT = st.binary(min_size=1, max_size=200)
NAME = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=6)
FILES = st.dictionaries(st.tuples(st.sampled_from("ab"), NAME), CONTENT, min_size=2, max_size=8).filter(
    lambda files: (
        {folder for folder, _ in files} == {"a", "b"} and len({(f, n.lower()) for f, n in files}) == len(files)
    )
)


def of_table(path: Path) -> Fingerprint:
    return fingerprint.fingerprint(TableConfig(type="table", path=str(path), target="y"))


def of_images(path: Path) -> Fingerprint:
    return fingerprint.fingerprint(ImageFolderConfig(type="image_folder", path=str(path)))


def write_images(root: Path, files: Mapping[tuple[str, str], bytes], order: int = 0) -> Path:
    """Write the files in an order drawn by `order`, so that a folder lists them in another one."""
    shutil.rmtree(root, ignore_errors=True)
    names = sorted(files)
    random.Random(order).shuffle(names)
    for folder, name in names:
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / f"{name}.png").write_bytes(files[folder, name])
    return root


@QUICK
@given(content=CONTENT, data=st.data())
def test_any_other_byte_of_a_table_changes_it(tmp_path: Path, content: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(content) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[at]))
    then, now = tmp_path / "then.csv", tmp_path / "now.csv"
    then.write_bytes(content)
    now.write_bytes(content[:at] + bytes([other]) + content[at + 1 :])
    assert of_table(then).digest != of_table(now).digest
    assert len(of_table(then).changes(of_table(now))) == 1
    now.write_bytes(content)
    os.utime(now, ns=(1, 1))  # when it was written has no say
    assert of_table(then).digest == of_table(now).digest
    assert of_table(then).changes(of_table(now)) == []


@QUICK
@given(files=FILES, order=st.integers(0, 1000), data=st.data())
def test_any_other_byte_or_name_of_images_changes_it_and_their_order_does_not(
    tmp_path: Path, files: dict[tuple[str, str], bytes], order: int, data: st.DataObject
) -> None:
    then = of_images(write_images(tmp_path / "then", files))
    assert of_images(write_images(tmp_path / "elsewhere", files, order)).digest == then.digest
    key = data.draw(st.sampled_from(sorted(files)))
    byte = bytes([files[key][0] ^ data.draw(st.integers(1, 255))])
    changed = {**files, key: byte + files[key][1:]}
    assert of_images(write_images(tmp_path / "changed", changed)).digest != then.digest
    renamed = {(folder, f"{name}_" if (folder, name) == key else name): c for (folder, name), c in files.items()}
    assert of_images(write_images(tmp_path / "renamed", renamed)).digest != then.digest
    moved = {("c" if (folder, name) == key else folder, name): content for (folder, name), content in files.items()}
    if {folder for folder, _ in moved} == {"a", "b", "c"}:
        now = of_images(write_images(tmp_path / "moved", moved))
        assert now.digest != then.digest
        assert "2 classes then, 3 classes now" in then.changes(now)[0]


def test_bytes_that_move_from_one_image_to_the_next_change_it(tmp_path: Path) -> None:
    then = {("a", "1"): b"xy", ("a", "2"): b"z", ("b", "1"): b"w"}
    now = {("a", "1"): b"x", ("a", "2"): b"yz", ("b", "1"): b"w"}
    assert (
        of_images(write_images(tmp_path / "then", then)).digest != of_images(write_images(tmp_path / "now", now)).digest
    )


def test_what_is_no_image_and_when_it_was_written_have_no_say(tmp_path: Path) -> None:
    files = {("a", "1"): b"x", ("b", "1"): b"y"}
    then = of_images(write_images(tmp_path / "then", files))
    now = write_images(tmp_path / "now", files)
    (now / "a" / ".DS_Store").write_bytes(b"\0")
    (now / "a" / "notes.txt").write_text("none")
    for path in now.rglob("*"):
        os.utime(path, ns=(1, 1))
    assert of_images(now).digest == then.digest


def test_a_folder_that_is_too_large_to_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {("a", "1"): b"xx", ("b", "1"): b"yy"}
    other = {("a", "1"): b"xz", ("b", "1"): b"yy"}
    longer = {("a", "1"): b"xxx", ("b", "1"): b"yy"}
    whole = of_images(write_images(tmp_path / "whole", files))
    assert whole.sources[0].covers == "content"
    monkeypatch.setattr(fingerprint, "CONTENT_UP_TO", 3)
    sizes = of_images(write_images(tmp_path / "sizes", files))
    assert sizes.sources[0].covers == "names and sizes"
    assert of_images(write_images(tmp_path / "other", other)).digest == sizes.digest
    assert of_images(write_images(tmp_path / "longer", longer)).digest != sizes.digest


def test_it_tells_in_words_what_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("x,y\n" + "1,2\n" * 569)
    then = of_table(path)
    path.write_text("x,y\n" + "1,2\n" * 559 + "1,2")
    assert then.changes(of_table(path)) == [
        f"data.path: {path}: 570 lines then, 561 lines now; 2,280 bytes then, 2,243 bytes now"
    ]
    path.write_text("x,y\n" + "1,3\n" * 569)
    assert then.changes(of_table(path)) == [
        f"data.path: {path}: other content, though it has 570 lines, 2,280 bytes as then"
    ]


def test_a_parquet_file_has_rows_and_a_compressed_one_bytes(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pl.DataFrame({"x": [1, 2, 3], "y": [1, 2, 3]}).write_parquet(path)
    assert of_table(path).sources[0].described() == f"3 rows, {path.stat().st_size:,} bytes"
    (tmp_path / "table.csv.gz").write_bytes(b"\x1f\x8b...")
    assert of_table(tmp_path / "table.csv.gz").sources[0].described() == "5 bytes"


def test_a_log_and_its_feature_tables_are_told_apart(tmp_path: Path) -> None:
    for name in ("log", "users", "items"):
        (tmp_path / f"{name}.csv").write_text(f"{name}\n")
    both = {
        "user_features": {"path": str(tmp_path / "users.csv")},
        "item_features": {"path": str(tmp_path / "items.csv")},
    }
    log = {"type": "interactions", "path": str(tmp_path / "log.csv")}
    then = fingerprint.fingerprint(InteractionsConfig.model_validate({**log, **both}))
    assert [source.setting for source in then.sources] == [
        "data.path", "data.user_features.path", "data.item_features.path",
    ]  # fmt: skip
    swapped = {"user_features": both["item_features"], "item_features": both["user_features"]}
    now = fingerprint.fingerprint(InteractionsConfig.model_validate({**log, **swapped}))
    assert now.digest != then.digest
    assert len(then.changes(now)) == 2
    without = fingerprint.fingerprint(InteractionsConfig.model_validate(log))
    assert then.changes(without)[0] == f"data.user_features.path: {tmp_path}/users.csv then, nothing now"
    assert without.changes(then)[0] == f"data.user_features.path: nothing then, {tmp_path}/users.csv now"


def test_it_is_written_and_read_again(tmp_path: Path) -> None:
    files = {("a", "1"): b"x", ("b", "1"): b"y"}
    written = of_images(write_images(tmp_path / "images", files))
    assert Fingerprint.from_dict(written.to_dict()) == written


def test_a_record_that_is_damaged_is_said_to_be() -> None:
    source = {"setting": "data.path", "path": "x", "digest": "y", "covers": "content", "counts": {"lines": 1}}
    assert Fingerprint.from_dict({"sources": [source]}).sources[0].described() == "1 lines"
    for damaged in ({}, {"sources": 3}, {"sources": [{}]}, {"sources": [{**source, "counts": {"lines": "many"}}]}):
        with pytest.raises(DataError, match="is damaged"):
            Fingerprint.from_dict(damaged)


def test_data_that_is_not_there_is_said_as_loading_says_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no such file; correct data\.path"):
        of_table(tmp_path / "table.csv")
    with pytest.raises(DataError, match=r"there is no such folder; correct data\.path"):
        of_images(tmp_path / "images")
    (tmp_path / "table.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        of_table(tmp_path / "table.parquet")

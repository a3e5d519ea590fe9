"""What ml-init-config finds out about data, and what it refuses because training would."""

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlframework.data.inspect import inspect_image_folder, inspect_table
from mlframework.errors import DataError


def write_images(folder: Path, counts: dict[str, int], size: tuple[int, int] = (20, 10), mode: str = "RGB") -> Path:
    """Write images of noise in class folders."""
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
            Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(folder / name / f"{number}.png")
    return folder


def write_csv(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_counts_measures_and_sees_colour(tmp_path: Path) -> None:
    facts = inspect_image_folder(write_images(tmp_path, {"cat": 7, "dog": 4}))
    assert facts.class_counts == {"cat": 7, "dog": 4}
    assert (facts.n_images, facts.width, facts.height) == (11, 20, 10)
    assert not facts.grey
    assert facts.splits == () and facts.unreadable == ()


def test_grey_images_are_grey_also_when_saved_in_colour(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 4, "b": 4}, mode="L")
    assert inspect_image_folder(tmp_path).grey
    for path in tmp_path.glob("*/*.png"):
        Image.open(path).convert("RGB").save(path)
    assert inspect_image_folder(tmp_path).grey


def test_given_splits_are_named_and_all_images_counted(tmp_path: Path) -> None:
    write_images(tmp_path / "train", {"a": 2, "b": 3})
    write_images(tmp_path / "val", {"a": 1, "b": 1})
    facts = inspect_image_folder(tmp_path)
    assert facts.splits == ("train", "val")
    assert facts.class_counts == {"a": 3, "b": 4}


def test_large_folder_is_sampled_across_all_classes(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 150}, size=(8, 8), mode="L")
    write_images(tmp_path, {"b": 150}, size=(8, 8), mode="RGB")
    facts = inspect_image_folder(tmp_path)
    assert facts.n_images == 300
    assert not facts.grey  # a sample of the first hundred would have seen grey ones only


def test_unreadable_images_are_left_out_and_named(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 30, "b": 30})
    (tmp_path / "b" / "broken.png").write_bytes(b"no image")
    facts = inspect_image_folder(tmp_path)
    assert facts.unreadable == (str(Path("b") / "broken.png"),)
    assert facts.class_counts == {"a": 30, "b": 30}


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "empty"),
        ({"a": 5}, "only one class, 'a'"),
        ({"a": 5, "b": 1}, r"at least 3 readable images for training, validation and test.*: b \(1\); add images"),
        ({"a": 5, "b": 0}, "no images in b"),
    ],
)
def test_folders_that_cannot_be_split(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        inspect_image_folder(write_images(tmp_path, counts))


def test_images_directly_in_the_folder(tmp_path: Path) -> None:
    write_images(tmp_path, {".": 3})
    with pytest.raises(DataError, match="images lie directly in it"):
        inspect_image_folder(tmp_path)


def test_folder_of_a_table_names_the_table(tmp_path: Path) -> None:
    write_csv(tmp_path / "houses.csv", "a,b", ["1,2"])
    with pytest.raises(DataError, match=r"name that: .*houses\.csv"):
        inspect_image_folder(tmp_path)


def test_too_many_unreadable_images(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "a" / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 11 sampled images cannot be read: a.broken\.png .*; mend or delete"):
        inspect_image_folder(tmp_path)


def numbers(n: int) -> list[float]:
    rng = random.Random(0)
    return [round(rng.random() * 100, 3) for _ in range(n)]


def test_classes_in_the_last_column(tmp_path: Path) -> None:
    rows = [f"{i + 1},{x},{'red' if i % 3 else 'blue'},{'yes' if x > 50 else 'no'}" for i, x in enumerate(numbers(60))]
    facts = inspect_table(write_csv(tmp_path / "t.csv", "id,size,colour,bought", rows))
    assert (facts.target, facts.task) == ("bought", "classification")
    assert facts.target_reason == "it is the last column that can be one"
    assert (facts.numeric, facts.categorical) == (("size",), ("colour",))
    assert facts.dropped == {"id": "row numbers"}
    assert sum(facts.class_counts.values()) == facts.n_rows == 60
    assert list(facts.class_counts) == ["no", "yes"]


def test_a_telling_name_beats_the_last_column(tmp_path: Path) -> None:
    rows = [f"{i % 2},{x}" for i, x in enumerate(numbers(30))]
    facts = inspect_table(write_csv(tmp_path / "t.csv", "Label,size", rows))
    assert (facts.target, facts.target_reason) == ("Label", "its name says so")


def test_a_useless_last_column_is_not_guessed(tmp_path: Path) -> None:
    rows = [f"{x},{x * 2 + 1},always,2024-01-{i % 28 + 1:02d},name{i}" for i, x in enumerate(numbers(40))]
    facts = inspect_table(write_csv(tmp_path / "t.csv", "a,price,unit,day,who", rows))
    assert facts.target == "price"
    assert facts.task == "regression" and facts.class_counts == {}
    assert facts.dropped == {"unit": "always always", "day": "dates", "who": "every value different"}


def test_text_that_hardly_repeats_is_dropped(tmp_path: Path) -> None:
    rows = [f"name{i if i else 1},{x},{i % 2}" for i, x in enumerate(numbers(40))]
    facts = inspect_table(write_csv(tmp_path / "t.csv", "who,size,class", rows))
    assert facts.dropped == {"who": "39 different values in 40 rows"}


def test_a_column_of_numbers_with_a_stray_text_is_dropped_with_what_to_mend(tmp_path: Path) -> None:
    rows = [f"{x if i != 4 else 'abc'},{x},{i % 2}" for i, x in enumerate(numbers(40))]
    facts = inspect_table(write_csv(tmp_path / "t.csv", "weight,size,class", rows))
    assert facts.dropped == {
        "weight": "1 of its 40 values is no number, such as 'abc' in data row 5; mend the file to use it"
    }


def test_rows_without_a_target_are_counted(tmp_path: Path) -> None:
    rows = [f"{x},{x * 2 if i % 4 else ''}" for i, x in enumerate(numbers(40))]
    facts = inspect_table(write_csv(tmp_path / "t.csv", "a,b", rows), "b")
    assert (facts.n_rows, facts.n_without_target) == (30, 10)


@pytest.mark.parametrize(
    ("header", "rows", "target", "message"),
    [
        ("a,b", ["1.5,2.5"], None, "none of its 2 columns has two different values"),
        ("a,b", ["1.5,2.5"], "b", r"1 row with a value of the target 'b' cannot be cut into train, val and test"),
        ("a,b", ["1.5,x", "2.5,x", "3,x", "4,x"], "b", "only one class, 'x'"),
        ("a,b", ["1,x", "2,y", "4,x", "8,x"], "b", r"fewer than 3 rows.*: y \(1\)"),
        ("a,bee", ["1,2", "3,5"], "be", r"unknown target column 'be'; did you mean 'bee'\?"),
        ("a,b", [f"{i * i},2024-01-0{i}" for i in range(1, 8)], "b", "holds dates, which no model here predicts"),
        (
            "5.1,3.5,setosa",
            ["4.9,3.0,setosa", "6.3,3.3,virginica", "5,3,setosa"],
            None,
            "the first line looks like data",
        ),
        ("5.1,3.5", ["4.9,3.0", "6.3,3.3", "5,3"], None, "the first line looks like data"),
        ("red,round", ["red,round", "red,flat", "blue,round"], None, "the first line looks like data"),
        ("a,b", ["1,1e300", "2,5.5", "3,6.5", "4.5,7"], "b", "infinite or beyond 3e38"),
        ("a,b", ["7,1.5", "7,2.5", "7,3.5", "7,4.5"], "b", "no column is left"),
    ],
)
def test_tables_that_cannot_be_trained_with(
    tmp_path: Path, header: str, rows: list[str], target: str | None, message: str
) -> None:
    path = write_csv(tmp_path / "t.csv", header, rows)
    with pytest.raises(DataError, match=message):
        inspect_table(path, target)


def test_years_may_head_columns(tmp_path: Path) -> None:
    rows = [f"land{i % 5},{x},{x + 1}" for i, x in enumerate(numbers(30))]
    assert inspect_table(write_csv(tmp_path / "t.csv", "country,2019,2020", rows)).target == "2020"


def test_binary_file(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(bytes(range(256)) * 4)
    with pytest.raises(DataError, match="not UTF-8 text"):
        inspect_table(path)


def test_a_few_rare_classes_are_let_through(tmp_path: Path) -> None:
    rows = [f"{x},{'abc'[i % 3]}" for i, x in enumerate(numbers(60))] + ["1.5,rare"]
    facts = inspect_table(write_csv(tmp_path / "t.csv", "size,kind", rows))
    assert facts.class_counts["rare"] == 1

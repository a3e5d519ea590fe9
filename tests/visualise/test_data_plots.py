"""What a training sees: planted duplicates are found, none is found where none is, and the numbers are right."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mlframework.data import (
    ImageExamples,
    ImageFolderConfig,
    InteractionsConfig,
    LazyPixels,
    Splits,
    TableExamples,
    TableSchema,
    load_splits,
)
from mlframework.data.augment import augmentation
from mlframework.experiment import load_data
from mlframework.visualise.data_plots import balance, columns, images, interactions, leakage
from mlframework.visualise.data_plots.page import inspect, write_inspection
from support.browser import DRAWN, chromium, opened

NAN = float("nan")


def pictures(*values: int, prefix: str, target: int = 0) -> ImageExamples:
    """One image of a single grey for each value."""
    pixels = np.stack([np.full((3, 8, 8), value, dtype=np.uint8) for value in values])
    names = tuple(f"{prefix}{value}.png" for value in values)
    return ImageExamples(pixels, np.full(len(values), target, dtype=np.int64), ("a", "b"), names)


def test_planted_images_are_found_in_every_two_splits() -> None:
    splits = Splits(
        pictures(1, 2, 3, 3, prefix="t"), pictures(3, 9, prefix="v", target=1), pictures(1, 2, 9, 50, prefix="x")
    )
    found = leakage.of_images(splits)
    told = [(leak.seen, leak.judged, leak.count, leak.of, leak.otherwise, leak.pairs) for leak in found.leaks]
    assert told == [
        ("train", "val", 1, 2, 1, (("t3.png", "v3.png"),)),
        ("train", "test", 2, 4, 0, (("t1.png", "x1.png"), ("t2.png", "x2.png"))),
        ("val", "test", 1, 4, 1, (("v9.png", "x9.png"),)),
    ]
    assert found.repeated == {"train": 1, "val": 0}  # and nothing of the test split
    said = leakage.sentences(found)
    assert said[0].startswith("1 of the 2 images of val (50.0%) show exactly what an image of train shows")
    assert "the target differs in 1 of them" in said[0]


def test_no_image_is_found_where_none_stands_twice() -> None:
    found = leakage.of_images(Splits(pictures(1, 2, prefix="t"), pictures(3, prefix="v"), None))
    assert not found.found
    assert leakage.sentences(found) == []


def test_images_that_are_read_when_they_are_needed_are_compared_too(tmp_path: Path) -> None:
    parts = []
    for name, values in (("t", (1, 2)), ("v", (2,))):
        paths = []
        for value in values:
            path = tmp_path / f"{name}{value}.png"
            Image.new("RGB", (20, 20), (value, value, value)).save(path)
            paths.append(str(path))
        lazy = LazyPixels(tuple(paths), 8)
        parts.append(ImageExamples(lazy, np.zeros(len(paths), dtype=np.int64), ("a",), tuple(paths)))
    [leak] = leakage.of_images(Splits(parts[0], parts[1], None)).leaks
    assert [Path(each).name for each in leak.pairs[0]] == ["t2.png", "v2.png"]


SCHEMA = TableSchema(("x", "y"), ("c",), {"c": ("p", "q")}, "target", "classification", ("no", "yes"))


def rows(*cells: tuple[float, float, int, int], groups: list[int] | None = None) -> TableExamples:
    return TableExamples(
        SCHEMA,
        np.array([cell[:2] for cell in cells], dtype=np.float32),
        np.array([cell[2:3] for cell in cells], dtype=np.int32),
        np.array([cell[3] for cell in cells], dtype=np.int64),
        None if groups is None else np.array(groups, dtype=np.int64),
    )


def test_rows_are_equal_where_all_features_are_missing_values_and_signs_of_zero_included() -> None:
    train = rows((1, NAN, 0, 0), (0.0, 2, -1, 1), (5, 5, 1, 1))
    odd_nan = np.array([0x7FC00001], dtype=np.uint32).view(np.float32)[0]
    val = rows((1, odd_nan, 0, 1), (-0.0, 2, -1, 1), (5, 5, 0, 1), (5, 4, 1, 1))
    [leak] = leakage.of_tables(Splits(train, val, None)).leaks
    assert (leak.count, leak.of, leak.otherwise, leak.pairs) == (2, 4, 1, ())


def test_groups_that_were_cut_apart_are_counted() -> None:
    train = rows((1, 1, 0, 0), (2, 2, 0, 0), groups=[1, 2])
    val = rows((3, 3, 0, 0), (4, 4, 0, 0), (5, 5, 0, 0), groups=[2, 2, 3])
    test = rows((6, 6, 0, 0), groups=[4])
    found = leakage.of_tables(Splits(train, val, test))
    assert (found.leaks, found.groups) == ((), (("train", "val", 1, 2),))
    assert leakage.sentences(found)[0].startswith("1 of the 2 groups of val are in train, too")


def test_pairs_of_user_and_item_are_looked_for(make_examples: Any) -> None:
    train = make_examples([[1, 1, 0], [0, 1, 0]])
    val = make_examples([[0, 0, 1], [0, 1, 1]])
    [leak] = leakage.of_interactions(Splits(train, val, None)).leaks
    assert (leak.seen, leak.judged, leak.count, leak.of) == ("train", "val", 1, 3)


def test_splits_of_a_log_share_nothing_whatever_repeats_in_it(make_config: Any) -> None:
    splits = load_data(make_config("als"))
    assert leakage.of_interactions(splits).leaks == ()


def test_classes_are_counted_in_each_split() -> None:
    data = balance.class_balance({"train": np.array([0, 0, 0, 1]), "val": np.array([1])}, ["a", "b", "c"])
    assert data.counts == {"train": (3, 1, 0), "val": (0, 1, 0)}
    assert data.ratio is None  # c has none
    figure = balance.draw_balance(data)
    assert list(figure.data[0].y) == [0.75, 0.25, 0.0]


def test_few_whole_numbers_have_a_bin_each_and_shares_add_up() -> None:
    data = balance.spread("stars", {"train": np.array([1, 5, 5, 3.0]), "val": np.array([2.0, np.nan])})
    assert data.edges == (0.5, 1.5, 2.5, 3.5, 4.5, 5.5)
    assert data.shares == {"train": (0.25, 0.0, 0.25, 0.0, 0.5), "val": (0.0, 1.0, 0.0, 0.0, 0.0)}
    fine = balance.spread("x", {"train": np.linspace(0, 1, 100)})
    assert sum(fine.shares["train"]) == pytest.approx(1)


def table(n: int = 400) -> TableExamples:
    """x gives the class away, y is noise with a fifth missing, c goes with the class in three of four rows."""
    rng = np.random.default_rng(1)
    target = np.arange(n) % 2
    numeric = np.stack([target.astype(float), rng.normal(size=n)], axis=1).astype(np.float32)
    numeric[: n // 5, 1] = np.nan
    codes = np.where(rng.random(n) < 0.75, target, 1 - target).astype(np.int32)[:, None]
    return TableExamples(SCHEMA, numeric, codes, target.astype(np.int64))


def test_columns_are_described_and_those_that_say_most_come_first() -> None:
    found = {column.name: column for column in columns.describe(table(), None)}
    assert next(iter(found)) == "x"
    assert found["x"].association == pytest.approx(1)
    assert 0.4 < (found["c"].association or 0) < 0.6
    assert (found["y"].association or 0) < 0.12
    assert found["y"].missing == pytest.approx(0.2)
    assert (found["x"].distinct, found["c"].distinct, found["c"].missing_val) == (2, 2, None)
    assert [said.split(" ")[0] for said in columns.giveaways(list(found.values()))] == ["x"]


def test_categories_that_are_different_in_every_row_say_nothing() -> None:
    train = table(60)
    schema = TableSchema((), ("c",), {"c": tuple(f"{n:02}" for n in range(60))}, "t", "classification", ("no", "yes"))
    every = TableExamples(
        schema, np.empty((60, 0), dtype=np.float32), np.arange(60, dtype=np.int32)[:, None], train.targets
    )
    assert columns.describe(every, None)[0].association is None


def test_many_categories_that_say_nothing_are_not_taken_to_say_something() -> None:
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 40, (200, 1)).astype(np.int32)
    words = {"c": tuple(f"{n:02}" for n in range(40))}
    for names, targets in ((("no", "yes"), rng.integers(0, 2, 200)), (None, rng.normal(size=200).astype(np.float32))):
        schema = TableSchema((), ("c",), words, "t", "classification" if names else "regression", names)
        noise = TableExamples(schema, np.empty((200, 0), dtype=np.float32), codes, targets)
        # Uncorrected it would be the root of 39 / 199, 0.44.
        assert (columns.describe(noise, None)[0].association or 0) < 0.2


def test_correlation_stands_for_numbers_and_is_absolute() -> None:
    schema = TableSchema(("x", "still"), (), {}, "t", "regression", None)
    x = np.arange(50, dtype=np.float32)
    train = TableExamples(
        schema, np.stack([x, np.ones(50)], axis=1).astype(np.float32), np.empty((50, 0), np.int32), -2 * x
    )
    assert [column.association for column in columns.describe(train, None)] == [pytest.approx(1), None]


def test_distributions_are_shares_of_each_class() -> None:
    train = table()
    found = {each.column: each for each in columns.distributions(train, columns.describe(train, None))}
    assert found["c"].labels in (("p", "q"), ("q", "p"))
    assert set(found["x"].shares) == {"no", "yes"}
    assert found["x"].shares["no"][0] == 1.0 and found["x"].shares["yes"][0] == 0.0
    assert all(sum(shares) == pytest.approx(1) for each in found.values() for shares in each.shares.values())
    assert len(columns.draw(list(found.values())).data) == 6


def test_the_long_tail_of_a_log(make_examples: Any) -> None:
    matrix = np.zeros((10, 20), dtype=int)
    matrix[0, :9] = 1
    matrix[1:4, 0] = 1
    train, val = make_examples(matrix), make_examples(np.eye(10, 20, k=9, dtype=int))
    log = interactions.describe(Splits(train, val, None))
    assert log.users.counts == (9, 1, 1, 1, 0, 0, 0, 0, 0, 0)
    assert log.users.top_share == pytest.approx(9 / 12)
    assert (log.users.without, log.items.without) == (6, 11)
    assert log.density == pytest.approx(22 / 200)
    assert log.strangers == (6, 10)
    assert log.new_items == (10, 10)


def test_times_are_ranges_and_what_overlaps_is_counted() -> None:
    data = interactions.times_of({"train": np.array([1.0, 2, 7]), "val": np.array([5.0, 6]), "test": np.array([8.0])})
    assert data is not None
    assert data.ranges == {"train": ("1", "7"), "val": ("5", "6"), "test": ("8", "8")}
    assert (data.after_val, data.of_train, data.is_date) == (1, 3, False)
    assert set(data.counts) == {"train", "val"}
    days = np.array(["2024-01-31", "2024-02-01", "NaT"], dtype="datetime64[us]")
    dated = interactions.times_of({"train": days, "val": days[:1]})
    assert dated is not None and dated.ranges["train"] == ("2024-01-31 00:00:00", "2024-02-01 00:00:00")


@pytest.mark.parametrize("strategy", ["time", "random"])
def test_the_times_of_a_log_are_read_once(tmp_path: Path, strategy: str) -> None:
    log = tmp_path / "log.csv"
    lines = [f"u{n % 5},i{n % 7},{1000 + (n * 11) % 35}" for n in range(35)]
    log.write_text("\n".join(["user_id,item_id,at", *lines]))
    config = InteractionsConfig.model_validate(
        {"type": "interactions", "path": str(log), "time_column": "at", "split": {"strategy": strategy}}
    )
    splits = load_splits(config, 0)
    log.unlink()  # what is read again from here on is not there
    found = interactions.times(splits)
    assert found is not None and found.of_train == len(splits.train)
    for name, part in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        users = [int(part.catalogue.users[code][1:]) for code in part.users]
        items = [int(part.catalogue.items[code][1:]) for code in part.items]
        pairs = list(zip(users, items, strict=True))
        true = [1000 + (n * 11) % 35 for n in range(35) if (n % 5, n % 7) in pairs]
        assert found.ranges[name] == (str(min(true)), str(max(true)))
    both = splits.refit().train
    assert sorted(both.time.tolist()) == sorted([*splits.train.time.tolist(), *splits.val.time.tolist()])


def test_a_log_without_times_has_none(make_examples: Any) -> None:
    assert interactions.times(Splits(make_examples(np.eye(3, dtype=int)), None, None)) is None


def test_samples_are_of_different_classes_and_augmented_as_training_does(few_digits: Path) -> None:
    import torch

    config = ImageFolderConfig(type="image_folder", path=str(few_digits), image_size=16, augment="light")
    train = config.load().examples
    before = torch.get_rng_state()
    found = images.samples(train, config, 7, 10)
    assert torch.equal(before, torch.get_rng_state())
    assert [each.target for each in found] == [str(digit) for digit in range(10)]
    change = augmentation("light", 16)
    assert change is not None
    torch.manual_seed(7)
    expected = change(torch.from_numpy(np.stack([each.original for each in found])))
    assert np.array_equal(expected.numpy(), np.stack([each.augmented[0] for each in found]))
    assert found[0].augmented.shape == (images.DRAWS, 3, 16, 16)
    torch.set_rng_state(before)


def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    paths = []
    for name, size in (("a", (30, 20)), ("b", (30, 20)), ("c", (5, 9))):
        Image.new("L", size).save(tmp_path / f"{name}.png")
        paths.append(str(tmp_path / f"{name}.png"))
    assert images.sizes(tuple(paths)).counts == {(30, 20): 2, (5, 9): 1}


def test_of_the_test_split_nothing_but_counts_is_in_an_inspection(make_config: Any) -> None:
    config = make_config("mlp regression")
    splits = load_data(config)
    found = inspect(config, splits, [], None)
    spread = found.charts["target"].data
    assert set(spread.shares) == {"train", "val"}
    other = Splits(splits.train, splits.val, splits.test.take(np.arange(len(splits.test))[::-1]))
    other.test.numeric[:] += 1e6
    again = inspect(config, other, [], None)
    assert again.charts["columns"].data == found.charts["columns"].data
    assert again.tables == found.tables


def test_the_page_of_each_kind_of_data_opens_without_an_error(make_config: Any, tmp_path: Path) -> None:
    with chromium() as browser:
        for name in ("mlp classification", "image classifier", "two_tower with features"):
            config = make_config(name)
            found = inspect(config, load_data(config), ["<b>careful</b>"], 4)
            written = write_inspection(found, tmp_path / name, ["html"])
            with opened(browser, written.paths[0].as_uri()) as seen:
                seen.page.wait_for_selector(DRAWN)
                assert seen.page.locator(".js-plotly-plot .main-svg").count()
                said = seen.page.inner_text("body")
                assert "<b>careful</b>" in said and "The test split is a vault" in said
                assert f"{found.n['train']:,} train" in said
                assert seen.page.locator(".row img").count() == (4 if name == "image classifier" else 0)
                assert (seen.errors, seen.requests, seen.serious()) == ([], [], [])

"""Images that look nearly the same: planted copies are found, and different ones that are alike are not."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from mlframework.data import ImageExamples, Splits
from mlframework.experiment import ExperimentConfig, load_data
from mlframework.visualise.data_plots import leakage, near
from mlframework.visualise.data_plots.page import inspect, write_inspection


def photo(seed: int) -> Image.Image:
    """Blobs of colour and a grain, as a photo has."""
    rng = np.random.default_rng(seed)
    blobs = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)).resize((96, 96), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 6, (96, 96, 3))
    return Image.fromarray(np.clip(np.asarray(blobs) * 0.8 + 25 + grain, 0, 255).astype(np.uint8))


def compressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(buffer).convert("RGB")


def examples(images: list[Image.Image], prefix: str, target: int = 0) -> ImageExamples:
    pixels = np.stack([np.asarray(each.resize((64, 64))).transpose(2, 0, 1) for each in images])
    names = tuple(f"{prefix}{number}" for number in range(len(images)))
    return ImageExamples(pixels, np.full(len(images), target, dtype=np.int64), ("a", "b"), names)


def pixels_of(part: ImageExamples) -> NDArray[np.uint8]:
    return np.asarray(part.pixels[np.arange(len(part))])


PHOTOS = [photo(seed) for seed in range(12)]


@pytest.mark.parametrize(
    "change",
    [
        compressed,
        lambda image: image.resize((32, 32)),
        lambda image: ImageEnhance.Brightness(image).enhance(0.9),
        lambda image: ImageEnhance.Contrast(image).enhance(0.8),
        lambda image: image.crop((1, 1, 95, 95)),
    ],
    ids=["jpeg", "smaller", "darker", "paler", "trimmed"],
)
def test_copies_are_found_and_nothing_else(change: Callable[[Image.Image], Image.Image]) -> None:
    val = examples([photo(100), *(change(each) for each in PHOTOS[3:6])], "v", target=1)
    found = leakage.of_images(Splits(examples(PHOTOS, "t"), val, None))
    assert found.leaks == ()
    [one] = found.near
    assert (one.seen, one.judged, one.count, one.of, one.otherwise) == ("train", "val", 3, 4, 3)
    assert set(one.pairs) == {("t3", "v1"), ("t4", "v2"), ("t5", "v3")}
    for (seen, judged), pictures in zip(one.pairs, one.pictures, strict=True):
        assert np.array_equal(pictures[0], pixels_of(examples(PHOTOS, "t"))[int(seen[1:])])
        assert np.array_equal(pictures[1], pixels_of(val)[int(judged[1:])])
    [said] = leakage.sentences(found)
    assert said.startswith("3 of the 4 images of val (75.0%) look nearly the same as an image of train")
    assert said.endswith("the target differs in 3 of them.")


def test_what_is_exactly_the_same_is_not_told_twice() -> None:
    found = leakage.of_images(Splits(examples(PHOTOS, "t"), examples(PHOTOS[:2], "v"), examples([photo(7)], "x")))
    assert [(leak.judged, leak.count) for leak in found.leaks] == [("val", 2), ("test", 1)]
    assert found.near == ()


def test_turned_over_and_flat_images_are_not_taken_for_copies() -> None:
    turned = [each.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for each in PHOTOS]
    flat = [Image.new("RGB", (96, 96), (value, value, value)) for value in (100, 101)]
    found = leakage.of_images(Splits(examples([*PHOTOS, flat[0]], "t"), examples([*turned, flat[1]], "v"), None))
    assert not found.found


def test_colours_count() -> None:
    shape = np.zeros((96, 96, 3), dtype=np.uint8)
    shape[20:70, 30:60, 0] = 200
    red, blue = Image.fromarray(shape), Image.fromarray(shape[:, :, ::-1].copy())
    assert not leakage.of_images(Splits(examples([red], "t"), examples([blue], "v"), None)).found


def test_digits_that_are_written_alike_are_no_copies() -> None:
    from sklearn.datasets import load_digits

    images = [Image.fromarray((each * 15).astype(np.uint8)).convert("RGB") for each in load_digits().images]
    whole = examples(images, "d")
    rows = np.random.default_rng(0).permutation(len(images))
    parts = {"train": whole.take(rows[:1200]), "val": whole.take(rows[1200:])}
    looks = {name: near.look(pixels_of(part)) for name, part in parts.items()}
    assert near.near(("train", "val"), parts, looks, np.empty(0, dtype=np.int64)) is None
    # By their hashes alone hundreds would be.
    bits = [looks[name].bits[:, 0] for name in ("train", "val")]
    assert (np.bitwise_count(bits[0][:, None] ^ bits[1][None]) <= 2).any(axis=0).sum() > 100


def test_of_very_large_splits_a_part_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "MOST_PAIRS", len(PHOTOS) * 4)
    val = examples([compressed(each) for each in PHOTOS], "v")
    [found] = leakage.of_images(Splits(examples(PHOTOS, "t"), val, None)).near
    assert (found.count, found.of) == (4, 4)
    assert set(found.pairs) == {("t0", "v0"), ("t3", "v3"), ("t7", "v7"), ("t11", "v11")}


def test_cells_are_the_means_of_what_they_cover() -> None:
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    assert near._shrunk(image, 3, 2).tolist() == [[[0.5, 2.5], [4.5, 6.5], [8.5, 10.5]]]
    assert near._shrunk(image, 2, 4)[0, 0].tolist() == pytest.approx([(2 * n + (n + 4)) / 3 for n in range(4)])


def test_the_page_shows_them_side_by_side(tmp_path: Path) -> None:
    for split, names in (("train", range(6)), ("val", range(3, 5))):
        for number in names:
            image = PHOTOS[number] if split == "train" else compressed(PHOTOS[number])
            folder = tmp_path / "data" / split / "ab"[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f"{number}.png")
    config = ExperimentConfig.model_validate(
        {"name": "photos", "data": {"type": "image_folder", "path": str(tmp_path / "data"), "image_size": 32},
         "model": {"architecture": "resnet18"}}
    )  # fmt: skip
    found = inspect(config, load_data(config), [], None)
    assert any("look nearly the same" in each for each in found.all_warnings)
    text = write_inspection(found, tmp_path, ["html"]).paths[0].read_text()
    assert "Nearly the same in train and val:" in text
    for number in (3, 4):
        assert text.count(f'alt="train: {tmp_path}/data/train/{"ab"[number % 2]}/{number}.png"') == 1
        assert text.count(f'alt="val: {tmp_path}/data/val/{"ab"[number % 2]}/{number}.png"') == 1

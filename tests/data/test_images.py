"""Folders of images: what is loaded, what is skipped, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from mlframework.data import images
from mlframework.data.augment import AUGMENTATIONS
from mlframework.data.image_files import decode_image
from mlframework.data.images import ImageExamples, ImageFolderConfig, LazyPixels
from mlframework.errors import DataError


def folder_config(path: Path, **settings: Any) -> ImageFolderConfig:
    return ImageFolderConfig(type="image_folder", path=str(path), **{"image_size": 8, **settings})


def shades(root: Path, counts: dict[str, int]) -> Path:
    """Write a folder where the i-th image of a class is of the shade i."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (8, 8), i).save(root / name / f"{i:03d}.png")
    return root


def test_the_digits_load_with_their_classes(digits_folder: Path) -> None:
    loaded = folder_config(digits_folder).load()
    examples = loaded.examples
    assert len(examples) == 1797
    assert examples.class_names == tuple("0123456789") == loaded.class_names
    assert isinstance(examples.pixels, np.ndarray)
    assert examples.pixels.shape == (1797, 3, 8, 8)
    assert examples.pixels.dtype == np.uint8
    assert examples.targets.dtype == np.int64
    assert loaded.stratify is not None
    assert loaded.given is None
    row = 1234
    assert Path(examples.paths[row]).parent.name == str(examples.targets[row])
    np.testing.assert_array_equal(examples.pixels[row], decode_image(examples.paths[row], 8))


def test_both_caches_give_the_same_pixels_and_the_size_is_used(digits_folder: Path) -> None:
    rows = np.array([5, 1700, 3, 5])
    memory = folder_config(digits_folder, image_size=12).load().examples
    lazy = folder_config(digits_folder, image_size=12, cache="none").load().examples
    assert isinstance(lazy.pixels, LazyPixels)
    assert len(lazy.pixels) == len(memory.pixels) == 1797
    assert lazy.pixels[rows].shape == (4, 3, 12, 12)
    np.testing.assert_array_equal(lazy.pixels[rows], memory.pixels[rows])
    np.testing.assert_array_equal(lazy.take(rows).pixels[np.array([1, 3])], memory.pixels[rows[[1, 3]]])


@given(a=st.lists(st.integers(0, 9)), b=st.lists(st.integers(0, 9)))
def test_take_and_concat_keep_pixels_targets_and_paths_together(a: list[int], b: list[int]) -> None:
    ten = np.arange(10)
    pixels = np.broadcast_to(ten[:, None, None, None], (10, 3, 2, 2)).astype(np.uint8)
    paths = tuple(f"{i}.png" for i in range(10))
    for all_pixels in (pixels, LazyPixels(paths, 2)):
        whole = ImageExamples(all_pixels, ten % 3, ("x", "y", "z"), paths)
        both = whole.take(np.array(a, dtype=np.int64)).concat(whole.take(np.array(b, dtype=np.int64)))
        assert len(both) == len(both.pixels) == len(a) + len(b)
        assert both.paths == tuple(f"{i}.png" for i in a + b)
        assert both.targets.tolist() == [i % 3 for i in a + b]
        if isinstance(both.pixels, LazyPixels):
            assert both.pixels.paths == both.paths
        else:
            assert both.pixels[:, 0, 0, 0].tolist() == a + b


def test_examples_that_do_not_belong_together_are_not_put_together() -> None:
    rows = np.zeros(1, dtype=np.int64)
    memory = ImageExamples(np.zeros((1, 3, 2, 2), dtype=np.uint8), rows, ("a", "b"), ("x",))
    lazy = ImageExamples(LazyPixels(("x",), 2), rows, ("a", "b"), ("x",))
    with pytest.raises(ValueError, match="different classes"):
        memory.concat(ImageExamples(memory.pixels, rows, ("a", "c"), ("x",)))
    with pytest.raises(ValueError, match="different sizes: 2, 3"):
        lazy.concat(ImageExamples(LazyPixels(("x",), 3), rows, ("a", "b"), ("x",)))
    with pytest.raises(TypeError, match="kept in memory"):
        memory.concat(lazy)


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_unreadable_images_are_skipped_and_named(tmp_path: Path, cache: str) -> None:
    root = shades(tmp_path / "d", {"a": 20, "b": 20})
    (root / "a" / "003.png").write_bytes(b"junk")
    message = r"1 of 40 images cannot be read and are skipped: a/003\.png \(not an image, or empty\)"
    with pytest.warns(UserWarning, match=message):
        examples = folder_config(root, cache=cache).load().examples
    assert len(examples) == len(examples.pixels) == 39
    assert not any(path.endswith("a/003.png") for path in examples.paths)
    shade = examples.pixels[np.arange(39)][:, 0, 0, 0].tolist()
    assert shade == [i for i in range(20) if i != 3] + list(range(20))


def test_too_many_unreadable_images_are_an_error_and_the_share_can_be_raised(tmp_path: Path) -> None:
    root = shades(tmp_path / "d", {"a": 10, "b": 10})
    for i in range(7):
        (root / "b" / f"{i:03d}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"7 of 20 images cannot be read.* and 2 more; mend or delete them, or raise"):
        folder_config(root).load()
    with pytest.warns(UserWarning, match="7 of 20"):
        assert len(folder_config(root, max_unreadable_fraction=0.35).load().examples) == 13


def test_a_class_too_small_to_split_is_named(tmp_path: Path) -> None:
    root = shades(tmp_path / "d", {"a": 5, "b": 1})
    with pytest.raises(DataError, match=r"at least 2 readable images.*: b \(1\); add images"):
        folder_config(root).load()


def test_split_folders_become_the_given_rows(tmp_path: Path) -> None:
    root = tmp_path / "d"
    shades(root / "train", {"a": 1, "b": 3})
    shades(root / "val", {"a": 2, "b": 1})
    loaded = folder_config(root).load()
    assert loaded.given is not None
    assert {name: rows.tolist() for name, rows in loaded.given.items()} == {"train": [0, 1, 2, 3], "val": [4, 5, 6]}
    assert loaded.examples.targets.tolist() == [0, 1, 1, 1, 0, 0, 1]


def test_a_file_that_goes_away_while_training_is_named(tmp_path: Path) -> None:
    root = shades(tmp_path / "d", {"a": 3, "b": 3})
    examples = folder_config(root, cache="none").load().examples
    (root / "a" / "001.png").unlink()
    with pytest.raises(DataError, match=r"001\.png: could be read when the training began.*no such file"):
        examples.pixels[np.array([1])]


def test_images_that_do_not_fit_into_memory_are_refused(digits_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(images, "decode_images", no_memory)
    with pytest.raises(DataError, match=r"1797 images of 500 x 500 pixels need 1\.3 GB.*set data.cache to none"):
        folder_config(digits_folder, image_size=500).load()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 7}, "greater than or equal to 8"),
        ({"image_size": 4096}, "less than or equal to 2048"),
        ({"fraction": 0.0}, "greater than 0"),
        ({"augment": "heavy"}, "'none', 'light' or 'standard'"),
        ({"split": {"strategy": "time"}}, "no time to split by; set split.strategy to stratified or random"),
        ({"image_sise": 8}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        folder_config(Path("x"), **settings)


def test_the_config_names_every_augmentation() -> None:
    for name in AUGMENTATIONS:
        assert folder_config(Path("x"), augment=name).augment == name

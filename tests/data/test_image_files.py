"""Decoding: every kind of file gives the pixels that a person would see."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mlframework.data.image_files import decode_image, decode_images, scan_image_folder
from mlframework.errors import DataError

SIDE = 16


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def plain(pixels: np.ndarray[Any, Any]) -> list[int]:
    """The colour of a picture that has only one."""
    colours = pixels.reshape(3, -1)
    assert np.ptp(colours, axis=1).max() == 0
    return [int(value) for value in colours[:, 0]]


def test_rgb_keeps_its_pixels_channels_first(tmp_path: Path) -> None:
    values = np.random.RandomState(0).randint(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    pixels = decode_image(saved(tmp_path / "a.png", Image.fromarray(values)), SIDE)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (3, SIDE, SIDE)
    np.testing.assert_array_equal(pixels, values.transpose(2, 0, 1))


def test_grey_is_the_same_in_all_channels(tmp_path: Path) -> None:
    values = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
    pixels = decode_image(saved(tmp_path / "a.png", Image.fromarray(values)), SIDE)
    np.testing.assert_array_equal(pixels, np.stack([values] * 3))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path: Path, name: str) -> None:
    values = np.linspace(0, 65535, SIDE * SIDE + 44).round().astype(np.uint16)[-SIDE * SIDE :].reshape(SIDE, SIDE)
    values[0, 0] = 0
    pixels = decode_image(saved(tmp_path / name, Image.fromarray(values)), SIDE)
    np.testing.assert_array_equal(pixels[0], np.round(values / 257))
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_16_bit_pnm_is_scaled(tmp_path: Path) -> None:
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5\n8 8\n65535\n" + np.full((8, 8), 128 * 257, dtype=">u2").tobytes())
    assert plain(decode_image(path, 8)) == [128, 128, 128]


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (SIDE, SIDE), (255, 0, 0, 0))
    assert plain(decode_image(saved(tmp_path / "clear.png", clear), SIDE)) == [255, 255, 255]
    half = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 128))
    assert plain(decode_image(saved(tmp_path / "half.png", half), SIDE)) == [127, 127, 127]
    grey = Image.new("LA", (SIDE, SIDE), (0, 0))
    assert plain(decode_image(saved(tmp_path / "grey.png", grey), SIDE)) == [255, 255, 255]


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    image = Image.new("P", (SIDE, SIDE), 1)
    image.putpalette([255, 0, 0, 10, 20, 30])
    assert plain(decode_image(saved(tmp_path / "a.png", image), SIDE)) == [10, 20, 30]
    assert plain(decode_image(saved(tmp_path / "clear.png", image, transparency=1), SIDE)) == [255, 255, 255]
    assert plain(decode_image(saved(tmp_path / "other.png", image, transparency=0), SIDE)) == [10, 20, 30]


def test_a_colour_named_as_transparent_is_white(tmp_path: Path) -> None:
    image = Image.new("RGB", (SIDE, SIDE), (1, 2, 3))
    assert plain(decode_image(saved(tmp_path / "a.png", image, transparency=(1, 2, 3)), SIDE)) == [255, 255, 255]


def test_black_and_white_is_0_and_255(tmp_path: Path) -> None:
    assert plain(decode_image(saved(tmp_path / "a.png", Image.new("1", (SIDE, SIDE), 1)), SIDE)) == [255, 255, 255]


def test_a_cmyk_jpeg_is_not_a_negative(tmp_path: Path) -> None:
    red = Image.new("CMYK", (SIDE, SIDE), (0, 255, 255, 0))
    pixels = decode_image(saved(tmp_path / "a.jpg", red, quality=100), SIDE)
    np.testing.assert_allclose(pixels.mean(axis=(1, 2)), [255, 0, 0], atol=4)


@pytest.mark.parametrize("name", ["a.webp", "a.bmp", "a.gif", "a.ppm", "a.jpg"])
def test_other_formats_are_read(tmp_path: Path, name: str) -> None:
    image = Image.new("RGB", (SIDE, SIDE), (200, 100, 50))
    pixels = decode_image(saved(tmp_path / name, image), SIDE)
    np.testing.assert_allclose(pixels.mean(axis=(1, 2)), [200, 100, 50], atol=4)


def test_the_orientation_that_the_camera_wrote_is_used(tmp_path: Path) -> None:
    values = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    values[: SIDE // 2] = 255
    image = Image.fromarray(values)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees clockwise: the top goes to the right
    pixels = decode_image(saved(tmp_path / "a.png", image, exif=exif), SIDE)
    assert pixels[:, :, SIDE // 2 :].min() == 255
    assert pixels[:, :, : SIDE // 2].max() == 0


def test_shrinking_averages_instead_of_picking_pixels(tmp_path: Path) -> None:
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    pixels = decode_image(saved(tmp_path / "a.png", Image.fromarray(board.astype(np.uint8))), 8)
    assert 120 < pixels.min() <= pixels.max() < 135


def test_a_large_jpeg_decoded_at_a_fraction_shows_the_same(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, 512), (512, 1)).astype(np.uint8)
    image = Image.fromarray(np.stack([ramp] * 3, axis=2))
    path = saved(tmp_path / "a.jpg", image, quality=95)
    whole = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    np.testing.assert_allclose(decode_image(path, 16).astype(int), whole.astype(int), atol=3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "not an image, or empty"), (b"hello", "not an image, or empty"), (None, "truncated")],
)
def test_a_broken_file_is_named_with_its_reason(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "a.png"
    noise = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8)
    saved(path, Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[:4000] if content is None else content)
    with pytest.raises(DataError, match=rf"a\.png: cannot be read as an image \({reason}\); replace or delete it"):
        decode_image(path, SIDE)


def test_a_file_that_is_not_there_and_pixels_without_a_range_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        decode_image(tmp_path / "a.png", SIDE)
    floats = saved(tmp_path / "a.tif", Image.fromarray(np.ones((8, 8), dtype=np.float32)))
    with pytest.raises(DataError, match="floating-point pixels; save it with 8 or 16 bits"):
        decode_image(floats, SIDE)
    large = saved(tmp_path / "b.tif", Image.fromarray(np.full((8, 8), 70000, dtype=np.int32)))
    with pytest.raises(DataError, match="32-bit pixels"):
        decode_image(large, SIDE)


def test_many_files_come_in_the_order_asked_for(tmp_path: Path) -> None:
    paths = [str(saved(tmp_path / f"{i}.png", Image.new("L", (8, 8), i))) for i in range(40)]
    (tmp_path / "7.png").write_bytes(b"")
    pixels, unreadable = decode_images(paths, 8)
    assert unreadable == {7: "not an image, or empty"}
    assert [int(pixels[i, 0, 0, 0]) for i in range(40) if i != 7] == [i for i in range(40) if i != 7]


def folder_of(root: Path, *files: str) -> Path:
    root.mkdir(exist_ok=True)
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.endswith("/"):
            path.mkdir()
        else:
            Image.new("L", (8, 8)).save(path)
    return root


def test_classes_are_sorted_and_what_is_no_image_is_passed_over(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "d", "b/2.png", "b/1.PNG", "a/deep/x.png", "a/y.jpg", ".hidden/z.png", "a/.z.png")
    (root / "a" / "notes.txt").write_text("no image")
    (root / "readme.md").write_text("no class")
    (root / "__MACOSX").mkdir()
    found = scan_image_folder(root)
    assert found.class_names == ("a", "b")
    names = [(Path(file.path).name, file.target, file.split) for file in found.files]
    assert names == [("y.jpg", 0, None), ("x.png", 0, None), ("1.PNG", 1, None), ("2.png", 1, None)]


def test_split_folders_are_found_and_a_class_may_be_called_train(tmp_path: Path) -> None:
    splits = scan_image_folder(
        folder_of(tmp_path / "a", "train/x/1.png", "train/y/1.png", "test/x/1.png", "test/y/2.png")
    )
    assert splits.class_names == ("x", "y")
    assert [file.split for file in splits.files] == ["train", "train", "test", "test"]
    vehicles = scan_image_folder(folder_of(tmp_path / "b", "train/1.png", "bus/1.png"))
    assert vehicles.class_names == ("bus", "train")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "empty, no class folders"),
        (("a.png", "b.png"), "images lie directly in it; put them in one folder a class"),
        (("a/1.png",), "only one class, 'a'.*add a folder for each other class"),
        (("all/a/1.png", "all/b/1.png"), r"only one class, 'all'.*did you mean .*all\?"),
        (("a/1.png", "b/", "c/"), "no images in b, c; add images"),
        (("a/", "b/"), "no images in its folders a, b; what can be read: .*png"),
        (("val/a/1.png", "val/b/1.png"), "there is val but no train folder"),
        (("train/a/1.png", "train/b/1.png", "valid/a/1.png"), "there is valid, which is no split"),
        (
            ("train/a/1.png", "train/b/1.png", "val/a/1.png", "val/c/1.png"),
            r"val: its classes are not those of .*train \(missing: b; extra: c\)",
        ),
        (("train/a/1.png", "train/b/1.png", "val/a/", "val/b/"), "val: no images in it"),
        (("train/a/1.png", "train/b/"), "train: no images in b"),
    ],
)
def test_a_folder_that_is_laid_out_otherwise_is_refused(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        scan_image_folder(folder_of(tmp_path / "d", *files))


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no such folder; correct data\.path"):
        scan_image_folder(tmp_path / "none")
    file = tmp_path / "file.png"
    file.write_bytes(b"")
    with pytest.raises(DataError, match="is a file, not a folder"):
        scan_image_folder(file)

"""The pictures of docs/images: each has what makes it, and stands on the page whose commands do."""

import re
import shlex
from pathlib import Path

import picture_kinds
import pictures
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
TYPED = {name: maker for name, maker in pictures.PICTURES.items() if isinstance(maker, picture_kinds.Typed)}


def shown_on() -> dict[str, set[Path]]:
    """Return the pages that show each picture, by its file's name."""
    found: dict[str, set[Path]] = {}
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for name in re.findall(r"!\[[^\]]*\]\([^)]*images/([^)/]+)\)", page.read_text(encoding="utf-8")):
            found.setdefault(name, set()).add(page)
    return found


def test_every_picture_has_what_makes_it_and_a_page_that_shows_it() -> None:
    there = {path.name for path in IMAGES.iterdir()}
    assert there == {f"{name}.png" for name in pictures.PICTURES} | pictures.BY_HAND
    assert there == set(shown_on())


def test_every_picture_says_in_words_what_is_on_it() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for words in re.findall(r"!\[([^\]]*)\]", page.read_text(encoding="utf-8")):
            assert len(words) > 20, f"{page.name}: {words!r}"


@pytest.mark.parametrize("name", TYPED)
def test_a_picture_comes_from_the_commands_of_its_page(name: str) -> None:
    maker = TYPED[name]
    assert ROOT / "docs" / maker.page in shown_on()[f"{name}.png"] or maker.page == "getting-started/images.md"
    typed = [f"{shlex.join(words)}\n" for words in maker.commands()]
    for needle in maker.needles:
        assert any(needle in line for line in typed), f"docs/{maker.page} has no command with {needle!r}"
    draws = ("ml-visualise", "--find-lr", "--compare")
    assert any(each in line for line in typed for each in draws)


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*.png")), ids=lambda path: path.stem)
def test_a_picture_is_of_a_pages_size(path: Path) -> None:
    with Image.open(path) as picture:
        assert 600 <= picture.width <= 1600
    assert path.stat().st_size < 250_000


@pytest.mark.slow
def test_a_picture_is_made(tmp_path: Path) -> None:
    """The cheapest; twice the same."""
    place = picture_kinds.Place.prepared(tmp_path / "place")
    for name in ("a", "b"):
        pictures.PICTURES["lr_finder"](place, tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as made, Image.open(IMAGES / "lr_finder.png") as kept:
        assert made.size == kept.size
        assert len(made.convert("RGB").getcolors(1 << 20)) > 10


def test_a_screenshot_is_taken(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<meta name='color-scheme' content='light dark'><h1 id='x'>Here</h1>")
    picture_kinds.screenshot(page.as_uri(), tmp_path / "shot.png", size=(640, 480), dark=True, wait="#x")
    with Image.open(tmp_path / "shot.png") as shot:
        assert shot.size == (640, 480)
        assert shot.convert("L").getpixel((600, 400)) < 100

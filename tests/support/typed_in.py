"""What a page says to do to files: new ones, and edits."""

from pathlib import Path

from support.reader import blocks


def typed_in(page: Path, root: Path) -> None:
    """Do to a copy of the repository what a page says to do to files."""
    for block in blocks(page):
        what, _, name = (block["comment"] or "").partition(": ")
        if what == "new file":
            (root / name).write_text(block["text"], encoding="utf-8")
        elif what == "append to":
            with (root / name).open("a", encoding="utf-8") as file:
                file.write(f"\n\n{block['text']}")
        elif what == "edit":
            (root / name).write_text(edited((root / name).read_text(encoding="utf-8"), block["text"]), encoding="utf-8")


def edited(text: str, diff: str) -> str:
    """Return a text after a diff whose lines must stand in it once."""
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    assert text.count(before) == 1, f"the page edits what is not there, or there more than once:\n{before}"
    return text.replace(before, after)

"""Config lines with comments: whatever the values, they are read back as they were."""

from hypothesis import given
from hypothesis import strategies as st

from mlframework.config import yaml
from mlframework.config.commented import COMMENT_COLUMN, Item, Section, Setting, render

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = SCALARS | TEXT | st.lists(SCALARS | TEXT) | st.dictionaries(TEXT, SCALARS | TEXT)


@given(VALUES, TEXT)
def test_every_value_is_read_back(value: object, comment: str) -> None:
    lines = (Setting("a", value, comment), Section("b", comment, (Item(value, comment), Item(1, "one"))))
    tree = yaml.parse(render(lines)).tree
    assert tree == {"a": value, "b": [value, 1]}
    assert type(tree["a"]) is type(value)


def test_comments_stand_in_a_column() -> None:
    text = render([Setting("lr", 1e-5, "rate"), Section("model", "what", (Setting("dropout", 0.1, "share"),))])
    assert text.splitlines() == [
        "lr: 1.0e-05".ljust(COMMENT_COLUMN) + "# rate",
        "model:".ljust(COMMENT_COLUMN) + "# what",
        "  dropout: 0.1".ljust(COMMENT_COLUMN) + "# share",
    ]


def test_words_that_readers_take_for_something_else_are_quoted() -> None:
    for text in ("yes", "1e-5", "null", "123", "a: b", "x #y", ""):
        assert render([Setting("k", text, "c")]).startswith(f'k: "{text}"')

"""Docstrings of settings, which are read late."""

from mlframework.config.base import Config
from mlframework.config.docstrings import description, docstrings


class Base(Config):
    """A section."""

    first: int = 1
    """The first
    of them."""
    second: int = 2
    "The second."
    third: int = 3


class Derived(Base):
    """A section of that."""

    second: int = 20
    third: int = 30
    """The third."""

    @property
    def sum(self) -> int:
        """No setting."""
        return self.second + self.third


def test_each_setting_has_the_text_below_it() -> None:
    assert docstrings(Base) == {"first": "The first\nof them.", "second": "The second."}
    assert description(Base, "third") == ""


def test_what_a_class_inherits_has_its_text_there() -> None:
    assert docstrings(Derived) == {"first": "The first\nof them.", "second": "The second.", "third": "The third."}


def test_a_class_in_a_function_has_them_too() -> None:
    class Local(Config):
        """A section."""

        text: str = """
at the left margin"""
        """What it holds."""

    assert docstrings(Local) == {"text": "What it holds."}


def test_a_class_without_a_source_has_none() -> None:
    made = type("Made", (Config,), {"__annotations__": {"size": int}, "__module__": "nowhere"})
    assert docstrings(made) == {}

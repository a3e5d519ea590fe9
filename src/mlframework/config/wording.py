"""How a setting is called where it was given: as an option of a command, or as an argument of a call in Python."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """The words in which is told what is wrong with an override.

    Attributes:
        place: where the overrides stand.
        is_python: whether they are arguments of a call.
        own: what the call takes besides settings, such as `progress`: it may have been meant.
    """

    place: str
    is_python: bool = False
    own: Collection[str] = ()

    def given(self, name: str) -> str:
        """Return what was written: `--lr`, or in Python `lr`."""
        return name if self.is_python else f"--{name}"

    def to_write(self, name: str) -> str:
        """Return what is to be written: `--optimizer.lr`, or in Python `**{'optimizer.lr': ...}`."""
        if not self.is_python:
            return f"--{name}"
        return f"{name}=..." if name.isidentifier() else f"**{{{name!r}: ...}}"

    @property
    def unknown(self) -> str:
        """What is said of a name that nothing has."""
        return "unknown argument or setting" if self.is_python else "unknown option or setting"

    @property
    def listing(self) -> str:
        """What shows all settings."""
        return "load_config(...) shows the settings" if self.is_python else "--print-config lists the settings"


COMMAND_LINE = Wording("command line")
PYTHON = Wording("argument", is_python=True)

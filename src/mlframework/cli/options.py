"""Command lines: argparse for a command's own options, and every setting of the config as an override."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from mlframework.errors import ConfigError, Problem

OVERRIDES_HELP = (
    "Any setting of the config is an option: by its dotted key (--optimizer.lr 0.01), or by its last part where that "
    "is unique (--lr 0.01 --batch_size 64). --print-config shows them all."
)


class _ShowVersion(argparse.Action):
    """Like argparse's own, but for asking for the version only where it is shown."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib.metadata import version

        sys.stdout.write(f"{parser.prog} {version('mlframework')}\n")
        parser.exit()


class Parser(argparse.ArgumentParser):
    """An argument parser that takes no abbreviations, so that a setting is never mistaken for an option."""

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(prog=prog, description=description, epilog=epilog, allow_abbrev=False)
        self.add_argument(
            "--version", action=_ShowVersion, nargs=0, help="show the version and exit",
            dest=argparse.SUPPRESS, default=argparse.SUPPRESS,
        )  # fmt: skip

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line.

        Raises:
            ConfigError: always.
        """
        raise ConfigError([Problem(self.prog, "", f"{message}; {self.prog} --help lists the options")])


def parse_overrides(extra: Sequence[str]) -> dict[str, str]:
    """Read the options that the parser did not know as overrides: `--lr 0.01`, `--optimizer.lr=0.01`.

    Raises:
        ConfigError: an option without a value, or a value without an option.
    """
    found: dict[str, str] = {}
    problems: list[Problem] = []
    rest = list(extra)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word == "--":
            problems.append(Problem(word, "", "is no option; settings are given as --key value"))
            continue
        name, equals, value = word[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                problems.append(Problem(word, "", "needs a value: --key value"))
                continue
            value = rest.pop(0)
        found[name.replace("-", "_")] = value
    if problems:
        raise ConfigError(problems)
    return found


def positive_int(text: str) -> int:
    """Read a whole number above 0, for argparse."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{value} is not above 0")
    return value


def positive_float(text: str) -> float:
    """Read a number above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value

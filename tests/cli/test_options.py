"""The command line: a command's own options, and every setting of the config beside them."""

import argparse
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlframework
from mlframework.cli.options import Parser, parse_overrides, positive_float, positive_int
from mlframework.errors import ConfigError

WORD = st.text("abcxyz_.019", min_size=1, max_size=8).filter(lambda text: not text.startswith("-"))


@given(
    settings=st.dictionaries(WORD, st.text("abc019.- []", min_size=1).filter(lambda text: not text.startswith("--")))
)
def test_both_spellings_give_the_setting(settings: dict[str, str]) -> None:
    apart = [word for key, value in settings.items() for word in (f"--{key}", value)]
    assert parse_overrides(apart) == settings
    assert parse_overrides([f"--{key}={value}" for key, value in settings.items()]) == settings


def test_a_value_may_be_negative_empty_or_hold_an_equals_sign() -> None:
    assert parse_overrides(["--a", "-1", "--b=", "--c=x=y"]) == {"a": "-1", "b": "", "c": "x=y"}


@pytest.mark.parametrize("command", ["ml-init-config", "ml-train", "ml-search", "ml-visualise"])
def test_a_command_says_its_version(command: str) -> None:
    done = subprocess.run([Path(sys.executable).with_name(command), "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{command} {version('mlframework')}\n"), done.stderr
    assert mlframework.__version__ == version("mlframework")


def test_dashes_in_a_name_are_underscores() -> None:
    assert parse_overrides(["--batch-size", "8", "--name", "a-b"]) == {"batch_size": "8", "name": "a-b"}


def test_all_problems_are_said_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        parse_overrides(["0.1", "--lr", "--seed", "1", "--", "--last"])
    assert [problem.place for problem in raised.value.problems] == ["0.1", "--lr", "--", "--last"]


def test_settings_pass_a_parser_by_and_are_not_taken_for_an_abbreviation() -> None:
    parser = Parser("ml-x", "X.")
    parser.add_argument("--mode")
    arguments, extra = parser.parse_known_args(["--mod", "1", "--mode", "m", "--lr", "-0.5", "--seed=3"])
    assert arguments.mode == "m" and parse_overrides(extra) == {"mod": "1", "lr": "-0.5", "seed": "3"}


def test_a_wrong_command_line_is_an_error_of_the_users() -> None:
    parser = Parser("ml-x", "X.")
    parser.add_argument("--n", type=positive_int)
    with pytest.raises(ConfigError, match=r"ml-x: argument --n: 0 is not above 0; ml-x --help lists the options"):
        parser.parse_known_args(["--n", "0"])


@pytest.mark.parametrize("text", ["0", "-3", "1.5", "x", ""])
def test_no_whole_number_above_0(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        positive_int(text)


@pytest.mark.parametrize("text", ["0", "-3", "x", "", "nan"])
def test_no_number_above_0(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        positive_float(text)


def test_numbers_above_0() -> None:
    assert positive_int("12") == 12 and positive_float("1e-3") == 0.001

"""A reader who types what stands on a page, in its order, and looks whether it comes out as shown."""

import importlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from mlframework.cli import console
from mlframework.data import samples

_BLOCK = re.compile(
    r"^(?:<!-- (?P<comment>.*?) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_NUMBER = re.compile(r"\d[\d,]*(\.\d+)?(e[-+]?\d+)?")
PATIENCE = 900  # seconds


@dataclass(frozen=True)
class Step:
    """What is typed: a block of bash or Python, and what the page says comes out; empty where it says nothing."""

    language: str
    text: str
    shown: str


def blocks(page: Path) -> list[re.Match[str]]:
    """Return the fenced blocks of a page: `language`, `text`, and the `comment` before each, None where there is none."""
    return list(_BLOCK.finditer(page.read_text(encoding="utf-8")))


def steps(page: Path) -> Iterator[Step]:
    """Yield what a page has to be typed: blocks of bash and Python, unless a comment says that they are files.

    A block of text behind one is its output, unless a comment says what else it is.
    """
    found = blocks(page)
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block["language"] in ("bash", "python") and block["comment"] in (None, "run"):
            output = after is not None and after["language"] == "text" and after["comment"] is None
            yield Step(block["language"], block["text"], after["text"] if after is not None and output else "")


def commands(text: str) -> list[list[str]]:
    """Return the commands of a block, each as its words."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def is_as_shown(shown: str, printed: str) -> str | None:
    """Return the first line that is shown and was not printed in its place; None where all were.

    Numbers may be others, `...` may be any text, and more may have been printed than is shown.
    """
    remaining = [_shape(line) for line in printed.splitlines()]
    for line in shown.splitlines():
        start, dots, _ = _shape(line).partition("...")
        if not start:
            continue
        while remaining and not (remaining[0].startswith(start.rstrip()) if dots else remaining[0] == start):
            remaining.pop(0)
        if not remaining:
            return line
        remaining.pop(0)
    return None


def _shape(line: str) -> str:
    return " ".join(_NUMBER.sub("#", line).removesuffix(" *").split())


@dataclass
class InProcess:
    """Types into this process, which has imported torch already; `change` may change a command first, or leave nothing of it."""

    monkeypatch: pytest.MonkeyPatch
    change: Callable[[list[str]], list[str]] = list
    names: dict[str, Any] = field(default_factory=dict)

    def type(self, step: Step, exits: int = 0) -> str:
        """Run a step, whose commands end with this exit code, and return what it printed. Servers are passed over."""
        printed = StringIO()
        with redirect_stdout(printed), redirect_stderr(printed), warnings.catch_warnings():
            if step.language == "python":
                exec(compile(step.text, "page", "exec"), self.names)
            else:
                for words in commands(step.text):
                    changed = self.change(words)
                    if changed and words[0] != "tensorboard":
                        self._run(changed, exits)
        return printed.getvalue()

    def _run(self, words: list[str], exits: int) -> None:
        name, *arguments = words
        if name == "python" and arguments[:2] == ["-m", "mlframework.data.samples"]:
            samples.main(arguments[2:])
            return
        self.monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as end:
            importlib.import_module(f"mlframework.cli.{name.removeprefix('ml-').replace('-', '_')}").main()
        assert (end.value.code or 0) == exits, shlex.join(words)


@contextmanager
def in_process(folder: Path, change: Callable[[list[str]], list[str]] = list) -> Iterator[InProcess]:
    """Sit down in a folder, and leave this process as it was."""
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
        monkeypatch.setattr(console, "_resume_hint", [])
        yield InProcess(monkeypatch, change)
    signal.signal(signal.SIGTERM, handler)


@dataclass
class Shell:
    """Types into a shell: the installed commands, a process each, as a reader does."""

    folder: Path

    def type(self, step: Step) -> str:
        """Run a step, and return what it printed. A server is looked at once it answers, and ended."""
        if step.language == "python":
            return self._run([sys.executable, "-c", step.text])
        if commands(step.text)[0][0] == "tensorboard":
            return self._serve(commands(step.text)[0])
        return self._run(["bash", "-e", "-c", step.text])

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "80"}

    def _run(self, words: list[str]) -> str:
        ended = subprocess.run(
            words, cwd=self.folder, env=self._environment(), stdin=subprocess.DEVNULL, text=True, timeout=PATIENCE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout
        return ended.stdout

    def _serve(self, words: list[str]) -> str:
        said = self.folder.parent / "server.txt"
        with said.open("wb") as file:
            server = subprocess.Popen(words, cwd=self.folder, env=self._environment(), stdout=file, stderr=file)
        try:
            end = time.monotonic() + PATIENCE
            while (address := re.search(r"http://\S+", said.read_text())) is None:
                assert server.poll() is None and time.monotonic() < end, said.read_text()
                time.sleep(0.2)
            with urllib.request.urlopen(address[0], timeout=PATIENCE) as page:
                assert b"TensorBoard" in page.read()
        finally:
            server.terminate()
            server.wait()
        return said.read_text()


def follow(page: Path, typist: InProcess | Shell) -> str:
    """Type a whole page; every output has to be as shown. Returns all that was printed."""
    whole = ""
    for step in steps(page):
        printed = typist.type(step)
        missing = is_as_shown(step.shown, printed)
        assert missing is None, f"{page.name} shows what was not printed: {missing!r}\n{step.text}\n{printed}"
        whole += printed
    return whole

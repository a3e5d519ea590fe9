"""A harness for fuzzing: runs the commands in this process on tiny data, and looks at what they leave behind."""

import contextlib
import io
import json
import os
import re
import resource
import shutil
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mlframework.cli import init_config, search, train, visualise
from mlframework.config import yaml
from support.searches import write_table

COMMANDS: dict[str, Callable[[], None]] = {
    "ml-train": train.main,
    "ml-search": search.main,
    "ml-init-config": init_config.main,
    "ml-visualise": visualise.main,
}
BUSY, WAITING = 25, 240
"""Seconds of computing, and of the clock, after which a command is said to hang: ten times what any of them takes here. A
machine that others use as well may let it wait for long."""
CONFIGS = Path(__file__).parents[2] / "configs"
MOST = {
    "num_epochs": 20, "repeats": 3, "n_folds": 5, "seeds": 3, "top_k": 5, "n_ei_candidates": 30, "population_size": 30,
    "warmup_epochs": 20, "image_size": 64,
}  # fmt: skip
"""Settings that say how much is to be done: a large number is no mistake there, and training with it is not waited for."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Hang(BaseException):
    """A command did not end."""


@dataclass
class Tally:
    """What happened: how often each exit was seen, and how many examples there were."""

    examples: int = 0
    commands: int = 0
    exits: Counter[str] = field(default_factory=Counter)

    def line(self, what: str) -> str:
        """Return the counts in one line."""
        exits = ", ".join(f"{name} {count}" for name, count in sorted(self.exits.items()))
        return f"{self.examples} {what}, {self.commands} commands: {exits}; tracebacks 0, hangs 0, half-written 0"


@dataclass(frozen=True)
class End:
    """How a command ended."""

    code: int
    out: str
    err: str


def write_world(folder: Path) -> Path:
    """Write small data under the names that the configs of configs/ have, so that they run as they are."""
    rng = np.random.default_rng(5)
    data = folder / "data"
    data.mkdir(parents=True)
    write_table(data / "table.csv")
    header, *rows = (data / "table.csv").read_text().splitlines()
    (data / "breast_cancer.csv").write_text("\n".join([header.replace("kind", "diagnosis"), *rows]) + "\n")
    lines = [f"{a:.4f},{b:.4f},{3 * a - b:.4f}" for a, b in rng.normal(size=(60, 2))]
    (data / "diabetes.csv").write_text("\n".join(["age,bmi,progression", *lines]) + "\n")
    for digit in range(3):
        (data / "digits" / str(digit)).mkdir(parents=True)
        for number in range(8):
            pixels = rng.integers(0, 255, (10, 10), dtype=np.uint8)
            Image.fromarray(pixels).save(data / "digits" / str(digit) / f"{number}.png")
    ratings = ["user_id,item_id,rating,timestamp"]
    for user in range(30):
        for when, item in enumerate(rng.choice(25, 12, replace=False)):
            rating = 5 - 2 * ((user + item) % 2) + rng.integers(0, 1)
            ratings.append(f"{user},{item},{rating},{1_000_000 + 1000 * user + when}")
    (data / "ratings.csv").write_text("\n".join(ratings) + "\n")
    users = [f"{user},{'fm'[user % 2]},{20 + user}" for user in range(30)]
    (data / "users.csv").write_text("\n".join(["user_id,gender,age", *users]) + "\n")
    items = [f"{item},{'abc'[item % 3]}" for item in range(25)]
    (data / "items.csv").write_text("\n".join(["item_id,genre", *items]) + "\n")
    return folder


def config_texts() -> list[str]:
    """Return the example configs without their comments, and as short as fuzzing needs them."""
    texts = []
    for path in sorted(CONFIGS.glob("*.yaml")):
        lines = [re.sub(r"\s+#.*|^#.*", "", line) for line in path.read_text(encoding="utf-8").splitlines()]
        text = "\n".join(line for line in lines if line.strip())
        text = re.sub(r"num_epochs: \d+", "num_epochs: 1", text).replace("resnet18", "shufflenet_v2_x0_5")
        text = re.sub(r"(num_epochs: \{type: categorical, choices: )\[[^]]*\]", r"\1[1, 2]", text)
        text = re.sub(r"(num_epochs: \{type: int, low: )\d+, high: \d+", r"\g<1>1, high: 2", text)
        texts.append(text + "\n")
    return texts


class Fuzzer:
    """Runs commands in fresh folders, and judges them.

    Args:
        world: what `write_world` wrote.
        root: where the folders are made.
    """

    def __init__(self, world: Path, root: Path) -> None:
        self._world, self._root = world, root
        self.tally = Tally()
        self._memory_at_start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """Go into a fresh folder with the data in it; what is left there is judged at the end, and removed."""
        here, before = self._root / f"{self.tally.examples:05}", Path.cwd()
        here.mkdir()
        (here / "data").symlink_to(self._world / "data")
        self.tally.examples += 1
        os.chdir(here)
        try:
            yield here
            assert not list(self._root.rglob("PWNED")), "something was executed"
            self._judge_files(here)
        finally:
            os.chdir(before)
            shutil.rmtree(here)

    def run(self, command: str, *options: str) -> End:
        """Run a command, and judge how it ended: done, or one message; never a traceback, never a hang."""
        end = run_here([command, *options])
        self.tally.commands += 1
        self.tally.exits[f"exit {end.code}"] += 1
        shown = f"{command} {' '.join(options)}\nexit {end.code}\n{end.out}\n{end.err}"
        assert end.code in (0, 2), shown
        assert "Traceback" not in end.out + end.err, shown
        assert end.code == 0 or end.err.strip(), f"no message: {shown}"
        assert not _CONTROL.search(end.out + end.err), f"control characters: {shown!r}"
        if end.code == 2:
            self._judge_failed_start()
        return end

    def grown(self) -> float:
        """Return by how many GiB the most memory that this process ever had has grown."""
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self._memory_at_start) / 2**20

    @staticmethod
    def _judge_failed_start() -> None:
        """What ends with exit 2 leaves no run behind, but one whose first epoch is saved."""
        for run in Path("runs").glob("*"):
            if run.name != "optuna_studies":
                assert next(run.rglob("last.pt"), None) is not None, f"{run} is left behind: {sorted(run.rglob('*'))}"
        for study in Path("runs/optuna_studies").glob("*"):
            assert (study / "study.json").is_file(), f"{study} is left behind: {sorted(study.rglob('*'))}"

    @staticmethod
    def _judge_files(here: Path) -> None:
        """Every file is whole, and there are no temporary ones."""
        for path in here.rglob("*"):
            if path.is_symlink() or path.is_dir():
                continue
            assert not path.name.startswith("."), f"{path} is left behind"
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".jsonl":
                for line in path.read_text(encoding="utf-8").splitlines():
                    json.loads(line)
            elif path.suffix == ".yaml" and path.parent != here:
                yaml.read(path)
        for run in (here / "runs").glob("*"):
            assert run.name == "optuna_studies" or (run / "config.yaml").is_file(), f"{run} has no config.yaml"


def is_short(printed: str) -> bool:
    """Whether a config that --print-config showed asks for little enough to be waited for."""

    def walk(node: Any, name: str) -> Iterator[bool]:
        if isinstance(node, dict):
            for key, value in node.items():
                yield from walk(value, str(key).split(".")[-1] if key not in ("low", "high", "choices") else name)
        elif isinstance(node, list):
            for value in node:
                yield from walk(value, name)
        elif isinstance(node, int | float) and name in MOST:
            yield node <= MOST[name]

    return all(walk(yaml.parse(printed).tree, ""))


def run_here(words: Sequence[str]) -> End:
    """Run a command in this process and in the present folder."""
    out, err = io.StringIO(), io.StringIO()
    argv, show, terminate = sys.argv, warnings.showwarning, signal.getsignal(signal.SIGTERM)
    watches = {number: signal.signal(number, _hang) for number in (signal.SIGALRM, signal.SIGPROF)}
    signal.setitimer(signal.ITIMER_PROF, BUSY)
    signal.setitimer(signal.ITIMER_REAL, WAITING)
    sys.argv = list(words)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            COMMANDS[words[0]]()
    except Hang:
        pytest.fail(f"a hang: {' '.join(words)}\n{out.getvalue()}\n{err.getvalue()}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in watches.items():
            signal.signal(number, handler)
        signal.signal(signal.SIGTERM, terminate)
        sys.argv, warnings.showwarning = argv, show
    return End(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def _hang(_signal: int, _frame: object) -> None:
    raise Hang

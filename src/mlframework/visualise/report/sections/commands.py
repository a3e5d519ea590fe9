"""The commands that reproduce what was found, and that go on from here."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from mlframework.learners.ranks import torchrun
from mlframework.visualise.report.source import Source
from mlframework.visualise.report.ties import is_at_bound, no_better

_CONFIG = "CONFIG.yaml"


@dataclass(frozen=True)
class Command:
    """One command: what it does, and its text."""

    does: str
    text: str


@dataclass(frozen=True)
class CommandsData:
    """What the section shows: commands by what they are for, and a remark where one has to be completed."""

    reproduce: Sequence[Command]
    go_on: Sequence[Command]
    remark: str


def compute(source: Source) -> CommandsData:
    """Collect the commands that fit the study: one of a Tuner has no config to train."""
    view, folder = source.view, source.folder
    config = source.began.get("config") or {}
    reproduce: list[Command] = []
    best = source.chosen
    if config and best is not None:
        start = torchrun(config)
        train = f"{start}ml-train --config {shlex.quote(str(folder.best_config))}"
        reproduce = [
            Command("Train the best configuration as the search did", train),
            Command("Train it for good, on training and validation data, and test it once", f"{train} --mode final"),
            Command(
                f"Train trial {best.number} again and see whether it comes to the same value",
                f"{start}ml-train --replay {shlex.quote(f'{view.name}/{best.number}')}",
            ),
        ]
    name = shlex.quote(view.name)
    look = f"ml-visualise --mode search --study-name {name}"
    go_on = [Command("Draw this page anew", f"{look} --report"), Command("Draw every chart as a file", look)]
    if not config:
        return CommandsData(
            reproduce, go_on, "The study's trials are calls of a function: to go on, call the tuner again."
        )
    command = source.command or f"ml-search --config {_CONFIG} --resume --study-name {name}"
    more = [Command("Go on with the search, or finish it", command)]
    remarks = [] if source.command else [f"Put the search's own config in place of {_CONFIG}."]
    if view.goal.is_single and best is not None and is_at_bound(view.metric, best.value):
        remarks.append(f"{no_better(view.metric)}: further trials would find nothing better.")
    else:
        more.append(Command("Search 50 trials more", f"{_without_total(command)} --add-trials 50"))
    more.append(Command("Ask what was wrong, and for the next search", f"ml-search --diagnose {name}"))
    return CommandsData(reproduce, [*more, *go_on], " ".join(remarks))


def _without_total(command: str) -> str:
    """Return a command without the total of trials, beside which none can be added."""
    words = shlex.split(command)
    while "--n-trials" in words:
        at = words.index("--n-trials")
        del words[at : at + 2]
    return shlex.join(words)

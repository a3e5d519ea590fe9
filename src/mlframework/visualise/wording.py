"""The words in and around the search plots: subtitles, hover texts, and why a plot cannot be drawn."""

import html
import re
from typing import TYPE_CHECKING

from mlframework.errors import PlotError
from mlframework.search.interrupted import INTERRUPTED
from mlframework.visualise.study_view import StudyView, is_feasible, last_value

if TYPE_CHECKING:
    import optuna

_DECIMAL = re.compile(r"-?(\d+\.\d+)(e[+-]?\d+)?")
_NUMBERS = re.compile(r"\[?-?\d[\d.e+\-, ]*\]?")  # one, or a list of them


def short(value: object) -> str:
    """Write a value in few characters: numbers in four digits (1e-5, not 1e-05), everything else as it is."""
    if isinstance(value, float):
        return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    return str(value)


def six_digits(text: str) -> str:
    """Write the numbers of a setting in six significant digits, to be looked at: 0.136778; other text stays as it is."""
    if _NUMBERS.fullmatch(text) is None:
        return text

    def shorter(found: re.Match[str]) -> str:
        n_digits = len(found[1].replace(".", "").lstrip("0"))
        return f"{float(found[0]):.6g}" if n_digits > 6 else found[0]  # 0.10 may be a version

    return _DECIMAL.sub(shorter, text)


def count_of(number: int, noun: str) -> str:
    """Write "1 trial", "2 trials"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def standing(view: StudyView) -> str:
    """Say how many trials there are and what became of them: "12 trials: 7 complete, 4 pruned, 1 failed"."""
    parts = ", ".join(f"{count} {word}" for word, count in view.counts.items())
    return f"{count_of(len(view.trials), 'trial')}: {parts}" if parts else "0 trials"


def subtitle(view: StudyView, *notes: str) -> str:
    """Say which study is seen, the counts, the best trial, and whatever else the reader must know."""
    parts = [view.name, standing(view)]
    if view.best is not None:
        parts.append(f"best {view.metric} {short(view.best.value)} (trial {view.best.number})")
    parts.extend(note for note in notes if note)
    return html.escape(" · ".join(parts), quote=False)


def hover(view: StudyView, trial: "optuna.trial.FrozenTrial") -> str:
    """Return what the mouse shows of a trial: number, what became of it, value, every parameter. Lines by `<br>`."""
    state = {"COMPLETE": "complete", "PRUNED": "pruned", "RUNNING": "running"}.get(trial.state.name, "")
    if trial.number in view.interrupted_numbers:
        state = INTERRUPTED
    if not is_feasible(trial):
        state += ", breaks a constraint"
    value = last_value(trial)
    lines = [f"<b>trial {trial.number}</b> {state}"]
    if value is not None:
        of = "" if trial.state.name == "COMPLETE" else ", its last report"
        lines.append(f"{view.metric} = <b>{short(value)}</b>{of}")
    lines.extend(f"{view.labels.get(key, key)} = {short(given)}" for key, given in trial.params.items())
    return "<br>".join(_escaped(line) for line in lines)


def _escaped(line: str) -> str:
    """Escape what would be markup, but for our own <b>."""
    kept = html.escape(line, quote=False)
    return kept.replace("&lt;b&gt;", "<b>").replace("&lt;/b&gt;", "</b>")


def too_few(view: StudyView, needs: str, has: str) -> PlotError:
    """Return the error of a plot for which the study has not enough, with what to do."""
    if not view.complete and view.pruned:
        remedy = "every finished trial was pruned: raise the pruner's n_warmup_steps or n_startup_trials"
    elif not view.complete and view.counts.get("failed"):
        remedy = "look at why the trials failed, then search on with ml-search --resume"
    else:
        remedy = "search on with ml-search --resume"
    return PlotError(f"needs {needs}; the study has {has} ({standing(view)}): {remedy}")

"""What a confirmation is: the best trials trained again with other seeds, what that says of them, and the pick.

The best of many trials is partly lucky: of two configs that are equally good, the one with the luckier seed won. So the
value that a trial had in the search is left out here, and all trials are judged by the same further seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from mlframework.config.base import Config
from mlframework.errors import RunError
from mlframework.metrics import Direction
from mlframework.runs import FORMAT, read_json, write_json
from mlframework.search.statistics import (
    SIGNIFICANT,
    Interval,
    fewest_pairs,
    holm,
    mean_interval,
    paired_t,
    signed_rank,
    smallest_p,
)

_ENOUGH_SEEDS = 5  # from which on the t-test goes without a warning


class Confirm(Config):
    """Train the best trials again with further seeds when the search is done, and pick by their means."""

    top_k: Annotated[int, Field(ge=1)] = 3
    """How many of the best trials are trained again."""
    seeds: Annotated[int, Field(ge=2)] = 5
    """With how many further seeds each; the split stays the study's."""


@dataclass(frozen=True)
class Retraining:
    """A trial's config, trained with another seed.

    Attributes:
        seed: it was trained with.
        state: complete or failed.
        value: the best epoch's metric; None where it failed.
        best_epoch: None where it failed.
        seconds: of training.
        reason: why it failed.
    """

    seed: int
    state: str
    value: float | None
    best_epoch: int | None
    seconds: float
    reason: str | None


@dataclass(frozen=True)
class Against:
    """A trial compared with the picked one, over the seeds that both were trained with.

    Attributes:
        difference: the trial's mean minus the picked one's.
        t_p: of the paired t-test.
        t_p_holm: corrected for the number of trials that are compared.
        wilcoxon_p: of the signed-rank test, exact.
        wilcoxon_p_holm: corrected likewise.
    """

    difference: float
    t_p: float
    t_p_holm: float
    wilcoxon_p: float
    wilcoxon_p_holm: float


@dataclass(frozen=True)
class Candidate:
    """One of the best trials.

    Attributes:
        number: of the trial.
        search_value: its value in the search, which counts for nothing here.
        trainings: one a seed, in the order of the seeds.
        interval: mean and confidence interval of those that are complete; None where none is.
        against: its comparison with the picked trial; None for that one, and where a training failed.
    """

    number: int
    search_value: float
    trainings: tuple[Retraining, ...]
    interval: Interval | None
    against: Against | None

    @property
    def values(self) -> list[float]:
        """Values of the complete trainings."""
        return [training.value for training in self.trainings if training.value is not None]

    @property
    def failed(self) -> int:
        """How many trainings failed."""
        return len(self.trainings) - len(self.values)

    @property
    def seconds(self) -> float:
        """What its trainings cost."""
        return sum(training.seconds for training in self.trainings)


@dataclass(frozen=True)
class Confirmation:
    """What further seeds say of the best trials.

    Attributes:
        metric: what they are judged by.
        direction: which direction of it is better.
        top_k: how many trials were asked for; there may be fewer.
        seeds: that each was trained with.
        candidates: the trials, the best in the search first.
        pick: number of the one with the best mean; None where each had a training that failed.
    """

    metric: str
    direction: Direction
    top_k: int
    seeds: tuple[int, ...]
    candidates: tuple[Candidate, ...]
    pick: int | None

    @property
    def picked(self) -> Candidate | None:
        """The picked trial."""
        return next((each for each in self.candidates if each.number == self.pick), None)


def conclude(
    metric: str,
    direction: Direction,
    top_k: int,
    seeds: Sequence[int],
    trained: Sequence[tuple[int, float, Sequence[Retraining]]],
) -> Confirmation:
    """Compare trials by their trainings: (number, value in the search, one training a seed), the best first."""
    candidates = [Candidate(n, value, tuple(runs), _interval(runs), None) for n, value, runs in trained]
    whole = [each for each in candidates if not each.failed]
    sign = -1.0 if direction == "maximize" else 1.0
    # The first of equals is the one that was better in the search.
    best = min(whole, key=lambda each: sign * _mean(each), default=None)
    others = [each for each in whole if each is not best]
    compared: dict[int, Against] = {}
    if best is not None and others:
        t = [paired_t(each.values, best.values) for each in others]
        ranks = [signed_rank(each.values, best.values) for each in others]
        for each, *p in zip(others, t, holm(t), ranks, holm(ranks), strict=True):
            compared[each.number] = Against(_mean(each) - _mean(best), *map(float, p))
    return Confirmation(
        metric=metric,
        direction=direction,
        top_k=top_k,
        seeds=tuple(seeds),
        candidates=tuple(
            Candidate(each.number, each.search_value, each.trainings, each.interval, compared.get(each.number))
            for each in candidates
        ),
        pick=best.number if best is not None else None,
    )


def _interval(trainings: Sequence[Retraining]) -> Interval | None:
    values = [training.value for training in trainings if training.value is not None]
    return mean_interval(values) if values else None


def _mean(candidate: Candidate) -> float:
    assert candidate.interval is not None  # every training is complete, and there are at least two
    return candidate.interval.mean


def verdicts(confirmation: Confirmation) -> list[str]:
    """Say in plain sentences what can be said, and what cannot."""
    found = []
    n = len(confirmation.seeds)
    for each in confirmation.candidates:
        if each.failed:
            reason = next(training.reason for training in each.trainings if training.state == "failed")
            found.append(f"trial {each.number} is not picked: {each.failed} of its {n} trainings failed: {reason}")
        elif each.against is not None:
            p = f"p = {each.against.t_p_holm:.2g}"
            if each.against.t_p_holm <= SIGNIFICANT:
                found.append(f"trial {confirmation.pick} is better than trial {each.number}: {p}")
            else:
                found.append(
                    f"trial {confirmation.pick} and trial {each.number} cannot be told apart at {n} seeds: {p}"
                )
    n_tests = sum(each.against is not None for each in confirmation.candidates)
    if n_tests and n < fewest_pairs(n_tests):
        found.append(
            f"p is the paired t-test's, after Holm; the signed-rank test cannot be significant with {n} seeds (its smallest "
            f"p is {smallest_p(n):.3g}), it takes {fewest_pairs(n_tests)}"
        )
    elif n_tests:
        found.append("p is the paired t-test's, after Holm")
    if n_tests and n < _ENOUGH_SEEDS:
        freedom = f"{n - 1} degree{'s' if n > 2 else ''} of freedom"
        found.append(
            f"take {_ENOUGH_SEEDS} seeds or more: with {n} the t-test has {freedom}, and trusts that the differences are "
            "normally distributed, which so few cannot show"
        )
    return found


def folder_of_trainings(study: Path) -> Path:
    """Return where the trainings of a study's confirmation lie."""
    return study / "confirm"


def _file(study: Path) -> Path:
    return study / "confirm.json"


def write_confirmation(study: Path, confirmation: Confirmation) -> None:
    """Write confirm.json into a study's folder."""
    content = asdict(confirmation)
    for raw, each in zip(content["candidates"], confirmation.candidates, strict=True):
        raw.update(failed=each.failed, seconds=round(each.seconds, 3))
    write_json(_file(study), {"format": FORMAT, **content, "verdicts": verdicts(confirmation)})


def read_confirmation(study: Path) -> Confirmation | None:
    """Return what confirm.json holds, or None for a study that was not confirmed.

    Raises:
        RunError: it is damaged.
    """
    path = _file(study)
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        return Confirmation(
            metric=content["metric"],
            direction=content["direction"],
            top_k=int(content["top_k"]),
            seeds=tuple(content["seeds"]),
            candidates=tuple(_candidate(raw) for raw in content["candidates"]),
            pick=content["pick"],
        )
    except (RunError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: is damaged; delete it, then confirm anew by ml-search --resume") from error


def _candidate(raw: Mapping[str, Any]) -> Candidate:
    return Candidate(
        number=raw["number"],
        search_value=raw["search_value"],
        trainings=tuple(Retraining(**training) for training in raw["trainings"]),
        interval=Interval(**raw["interval"]) if raw["interval"] is not None else None,
        against=Against(**raw["against"]) if raw["against"] is not None else None,
    )

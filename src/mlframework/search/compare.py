"""What a comparison of samplers is: best-so-far curves on equal budgets, ranks over seeds, and what can be said of them.

Every sampler searches the same space once a seed. The seed is that of its suggestions: all trainings of all studies have
the config's seed, so that nothing but the suggestions differs. The seeds are the blocks of the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from mlframework.metrics import Direction
from mlframework.search.statistics import (
    SIGNIFICANT,
    Friedman,
    Interval,
    Pair,
    all_pairs,
    block_ranks,
    fewest_pairs,
    friedman,
    mean_interval,
    smallest_p,
)

if TYPE_CHECKING:
    from mlframework.search.results import TrialRecord
    from mlframework.search.statistics import Floats

BASELINE = "RandomSampler"
ENDED = ("complete", "pruned", "failed")


@dataclass(frozen=True)
class Curve:
    """One study of a comparison.

    Attributes:
        sampler: what suggested.
        seed: of its suggestions.
        study: its name.
        best_so_far: after each trial the best complete one's value, None before there is one. A trial that failed or was
            pruned leaves it as it was; so do trials that a space of few combinations does not have.
        trials: how many it had.
        complete: how many of them are complete.
        best_trial: number of the best one, or None.
        seconds: of all its trials, what the sampler took included.
    """

    sampler: str
    seed: int
    study: str
    best_so_far: tuple[float | None, ...]
    trials: int
    complete: int
    best_trial: int | None
    seconds: float

    @property
    def final(self) -> float | None:
        """The best value in the end."""
        return self.best_so_far[-1]


@dataclass(frozen=True)
class Band:
    """The curves of one sampler together, by trial; None until each seed that has a complete trial has had one.

    Attributes:
        mean: over the seeds.
        low: their lower quartile.
        high: their upper quartile.
    """

    mean: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


@dataclass(frozen=True)
class Contender:
    """What a sampler reached.

    Attributes:
        sampler: its name.
        curves: one a seed, in the order of the seeds.
        final: mean and confidence interval of the best values of the seeds that have one; None where none has.
        mean_rank: over the seeds, 1 for the best.
        band: its curves together.
        reached: for each seed, after how many trials it was as good as the random search of that seed in the end; None
            where it never was. None altogether where no random search was compared.
    """

    sampler: str
    curves: tuple[Curve, ...]
    final: Interval | None
    mean_rank: float
    band: Band
    reached: tuple[int | None, ...] | None

    @property
    def seconds(self) -> float:
        """Of all its trials."""
        return sum(curve.seconds for curve in self.curves)

    @property
    def median_reached(self) -> float | None:
        """Median of `reached` where more than half of the seeds reached it."""
        known = sorted(each for each in self.reached or () if each is not None)
        if not self.reached or 2 * len(known) <= len(self.reached):
            return None
        return float(median([*known, *[float("inf")] * (len(self.reached) - len(known))]))


@dataclass(frozen=True)
class Comparison:
    """Samplers on equal budgets.

    Attributes:
        name: of the comparison, and of its folder.
        metric: what they searched for.
        direction: which direction of it is better.
        n_trials: trials a study.
        seeds: of the suggestions.
        contenders: in the order they were named.
        ranks: (n_seeds, n_samplers).
        friedman: the test of all together; None for two samplers.
        pairs: the signed-rank test of every two, by their places in `contenders`.
    """

    name: str
    metric: str
    direction: Direction
    n_trials: int
    seeds: tuple[int, ...]
    contenders: tuple[Contender, ...]
    ranks: Floats
    friedman: Friedman | None
    pairs: tuple[Pair, ...]


def curve_of(
    sampler: str, seed: int, study: str, records: Sequence[TrialRecord], direction: Direction, n_trials: int
) -> Curve:
    """Return the curve of a study's first `n_trials` trials that count."""
    ended = [record for record in records if record.state in ENDED][:n_trials]
    better = max if direction == "maximize" else min
    best: float | None = None
    best_trial: int | None = None
    so_far: list[float | None] = []
    for record in ended:
        value = record.value if record.state == "complete" else None
        if value is not None and (best is None or better(value, best) != best):
            best, best_trial = value, record.number
        so_far.append(best)
    return Curve(
        sampler=sampler,
        seed=seed,
        study=study,
        best_so_far=(*so_far, *[best] * (n_trials - len(so_far))),
        trials=len(ended),
        complete=sum(record.state == "complete" for record in ended),
        best_trial=best_trial,
        seconds=round(sum(record.seconds or 0.0 for record in records), 3),
    )


def conclude(name: str, metric: str, direction: Direction, curves: Sequence[Sequence[Curve]]) -> Comparison:
    """Compare samplers by their curves: for each sampler one a seed, the same seeds in the same order."""
    seeds = tuple(curve.seed for curve in curves[0])
    badness = _badness(np.array([[_number(c.final) for c in each] for each in curves]).T, direction)
    ranks = block_ranks(badness)
    random = next((each for each in curves if each[0].sampler == BASELINE), None)
    contenders = [
        Contender(
            sampler=each[0].sampler,
            curves=tuple(each),
            final=_interval(each),
            mean_rank=float(ranks[:, place].mean()),
            band=_band(each),
            reached=tuple(_reached(one, two, direction) for one, two in zip(each, random, strict=True))
            if random is not None
            else None,
        )
        for place, each in enumerate(curves)
    ]
    return Comparison(
        name=name,
        metric=metric,
        direction=direction,
        n_trials=len(curves[0][0].best_so_far),
        seeds=seeds,
        contenders=tuple(contenders),
        ranks=ranks,
        friedman=friedman(badness) if len(curves) > 2 else None,
        pairs=tuple(all_pairs(badness)),
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _badness(finals: Floats, direction: Direction) -> Floats:
    """Return the values turned so that small is good; a study without any is worse than all, and further than any two."""
    badness = -finals if direction == "maximize" else finals.copy()
    known = badness[~np.isnan(badness)]
    worst = float(known.max() + (known.max() - known.min()) + 1.0) if len(known) else 0.0
    return np.asarray(np.where(np.isnan(badness), worst, badness), dtype=np.float64)


def _interval(curves: Sequence[Curve]) -> Interval | None:
    values = [curve.final for curve in curves if curve.final is not None]
    return mean_interval(values) if values else None


def _band(curves: Sequence[Curve]) -> Band:
    known = np.array([[_number(value) for value in curve.best_so_far] for curve in curves if curve.final is not None])
    n_trials = len(curves[0].best_so_far)
    if not len(known):
        none = (None,) * n_trials
        return Band(none, none, none)
    there = ~np.isnan(known).any(axis=0)
    low, high = np.quantile(known, (0.25, 0.75), axis=0)
    columns = (
        tuple(float(v) if ok else None for v, ok in zip(row, there, strict=True))
        for row in (known.mean(axis=0), low, high)
    )
    return Band(*columns)


def _reached(curve: Curve, random: Curve, direction: Direction) -> int | None:
    if random.final is None:
        return None
    for place, value in enumerate(curve.best_so_far, 1):
        if value is not None and (value >= random.final if direction == "maximize" else value <= random.final):
            return place
    return None


def verdicts(comparison: Comparison) -> list[str]:
    """Say in plain sentences what can be said, and what cannot."""
    n, names = len(comparison.seeds), [each.sampler for each in comparison.contenders]
    found = []
    for each in comparison.contenders:
        without = [str(curve.seed) for curve in each.curves if curve.final is None]
        if without:
            found.append(
                f"{each.sampler}, seed {', '.join(without)}: no trial came to its end; ranked last, and in no mean"
            )
    test = comparison.friedman
    if test is not None:
        said = "the samplers differ" if test.p <= SIGNIFICANT else "no significant difference between the samplers"
        found.append(f"{said} (Friedman's test over {n} seeds: chi-squared {test.statistic:.3g}, p = {test.p:.2g})")
    sure = [pair for pair in comparison.pairs if pair.p_holm <= SIGNIFICANT]
    for pair in sure:
        better, worse = sorted((pair.first, pair.second), key=lambda place: comparison.contenders[place].mean_rank)
        found.append(f"{names[better]} is better than {names[worse]}: p = {pair.p_holm:.2g}")
    few = n < fewest_pairs(len(comparison.pairs))
    holm = ", after Holm" if len(comparison.pairs) > 1 else ""
    if few:
        found.append(
            f"with {n} seeds no pair can be significant: the signed-rank test's smallest p is {smallest_p(n):.3g}"
            f"{f' before Holm for {len(comparison.pairs)} pairs' if holm else ''}; it takes "
            f"{fewest_pairs(len(comparison.pairs))} seeds"
        )
    elif not sure:
        least = min(comparison.pairs, key=lambda pair: pair.p_holm)
        found.append(
            f"no two samplers can be told apart at {n} seeds: the smallest p is {least.p_holm:.2g} (signed-rank test{holm})"
        )
    return found

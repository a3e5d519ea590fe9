"""What a comparison leaves: compare.json with all that was found, compare.csv with the curves."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlframework.runs import FORMAT, write_json, write_text
from mlframework.search.compare import Comparison, Contender, verdicts


def write_comparison(folder: Path, comparison: Comparison, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Write compare.json and compare.csv.

    Args:
        folder: of the comparison.
        comparison: what was found.
        settings: of each sampler, by its name.
    """
    names = [each.sampler for each in comparison.contenders]
    content = {
        "format": FORMAT,
        "name": comparison.name,
        "metric": comparison.metric,
        "direction": comparison.direction,
        "n_trials": comparison.n_trials,
        "seeds": list(comparison.seeds),
        "samplers": [_as_dict(each, settings[each.sampler]) for each in comparison.contenders],
        "friedman": comparison.friedman.__dict__ if comparison.friedman is not None else None,
        "pairs": [
            {"first": names[pair.first], "second": names[pair.second], "p": pair.p, "p_holm": pair.p_holm}
            for pair in comparison.pairs
        ],
        "verdicts": verdicts(comparison),
    }
    write_json(folder / "compare.json", content)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["sampler", "seed", "trial", "best_so_far"])
    for each in comparison.contenders:
        for curve in each.curves:
            writer.writerows([each.sampler, curve.seed, place, best] for place, best in enumerate(curve.best_so_far, 1))
    write_text(folder / "compare.csv", buffer.getvalue())


def _as_dict(each: Contender, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "sampler": each.sampler,
        "settings": dict(settings),
        "final": each.final.__dict__ if each.final is not None else None,
        "mean_rank": each.mean_rank,
        "seconds": round(each.seconds, 3),
        "reached_random": list(each.reached) if each.reached is not None else None,
        "curve": {key: list(values) for key, values in each.band.__dict__.items()},
        "studies": [
            {"seed": curve.seed, "study": curve.study, "trials": curve.trials, "complete": curve.complete,
             "best_value": curve.final, "best_trial": curve.best_trial, "seconds": curve.seconds}
            for curve in each.curves
        ],
    }  # fmt: skip

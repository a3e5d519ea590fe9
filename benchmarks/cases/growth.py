"""A study of 2,000 trials on SQLite: what the storage takes of a trial, the last hundred by the first hundred.

The trials are calls of a function that does nothing, so that most of the time is the search's own.
"""

from typing import Any

from common import Clock, main, quick

N_TRIALS, AT_FIRST, SOME = quick(2000, 60), quick(10, 5), quick(100, 20)
LEDGER = ("claim", "bind", "renew", "release", "pending")


def prepare() -> dict[str, Any]:
    """Prepare nothing."""
    return {}


def ours() -> dict[str, Any]:
    """Search with a Tuner; every call of the study's storage and of the places' ledger is counted."""
    import time
    from itertools import pairwise
    from statistics import mean

    import mlframework
    from mlframework.search.lease import Leases
    from mlframework.search.mirror import Mirror
    from mlframework.search.patience import Patience

    storage = Clock()
    for owner, names in ((Mirror, vars(Mirror)), (Patience, ("__call__",))):
        for name in names:
            if name == "__call__" or not name.startswith("_"):
                storage.watch(owner, name)
    for name in LEDGER:
        storage.watch(Leases, name)
    taken: list[tuple[float, float]] = []

    def function(params: Any) -> float:
        taken.append((storage.seconds, time.perf_counter()))
        return float((params["x"] - 0.3) ** 2 + params["y"])

    space = {"x": mlframework.Uniform(0.0, 1.0), "y": mlframework.Uniform(0.0, 1.0)}
    tuner = mlframework.Tuner(function, maximize=False, seed=42, space=space, storage="sqlite:///studies.db")
    tuner.optimize("RandomSampler", N_TRIALS)
    spent = [[later[each] - one[each] for one, later in pairwise(taken)] for each in (0, 1)]
    (first, last), (whole_first, whole_last) = (
        (mean(each[AT_FIRST : AT_FIRST + SOME]), mean(each[-SOME:])) for each in spent
    )
    return {
        "growth": last / first,
        "first_ms": 1000 * first,
        "last_ms": 1000 * last,
        "whole_first_ms": 1000 * whole_first,
        "whole_last_ms": 1000 * whole_last,
        "trials": len(taken),
    }


if __name__ == "__main__":
    main(prepare=prepare, ours=ours)

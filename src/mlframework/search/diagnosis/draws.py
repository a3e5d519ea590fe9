"""What became of the draws: how many were in vain, whether the space is used up, whether the sampler ever learnt."""

from __future__ import annotations

from mlframework.search.diagnosis.case import Case
from mlframework.search.diagnosis.findings import Change, Finding
from mlframework.search.feasibility import combinations
from mlframework.search.samplers import GridSampler

INFEASIBLE, DUPLICATE = 0.5, 0.25
"""Share of all draws from which on draws in vain are worth a word."""
_FEWEST = 5


def look_at_draws(case: Case) -> list[Finding]:
    """Say what of the draws was in vain, and whether the sampler learnt from the others."""
    return [*_in_vain(case), *_used_up(case), *_only_random(case)]


def _in_vain(case: Case) -> list[Finding]:
    n_draws = sum(record.state not in ("running", "waiting") for record in case.records)
    found = []
    infeasible = sum(record.state == "infeasible" for record in case.records)
    if infeasible >= _FEWEST and infeasible / n_draws >= INFEASIBLE:
        texts = "; ".join(each.text for each in case.space.constraints)
        says = f"{infeasible} of {n_draws} draws broke a constraint ({texts})"
        remedy = "narrow the ranges to what the constraints keep, so that the sampler has less to learn of them"
        found.append(Finding("draws", says, remedy, {"infeasible": infeasible, "draws": n_draws}))
    twice = sum(record.state == "duplicate" or record.same_as is not None for record in case.records)
    if twice >= _FEWEST and twice / n_draws >= DUPLICATE:
        says = (
            f"{twice} of {n_draws} draws had been trained already: the space has few points, or the sampler has settled"
        )
        remedy = "widen the space, end the search here, or set on_duplicate: replicate to see how much a seed changes"
        found.append(Finding("draws", says, remedy, {"duplicates": twice, "draws": n_draws}))
    return found


def _used_up(case: Case) -> list[Finding]:
    cells = combinations(case.space)
    tried = {tuple(sorted(record.params.items(), key=lambda item: item[0])) for record in case.counted}
    if cells is None or len(tried) < len(cells):
        return []
    says = f"all {len(cells)} combinations of the space have been tried"
    remedy = "search wider ranges or further parameters; more trials of this space would find nothing new"
    return [Finding("draws", says, remedy, {"combinations": len(cells)})]


def _only_random(case: Case) -> list[Finding]:
    if not case.is_recorded or isinstance(case.sampler, GridSampler):
        return []
    random = case.sampler.traits(case.space.parameters).random_trials
    n = len(case.counted)
    # A sampler learns from imported trials, too; and of trials that all failed there is nothing to learn.
    learnt_from = n + sum(record.state == "imported" for record in case.records)
    if not random or not case.ranked or learnt_from > random:
        return []
    says = f"{case.sampler.type} learns after {random} random trials, and the study has {n}: all of it was random"
    wanted = 3 * random
    changes = []
    if case.n_trials < wanted:
        changes.append(Change("search", "n_trials", "", wanted, case.n_trials, f"the first {random} trials are random"))
    return [Finding("draws", says, f"run more trials: {wanted} or so (--resume --n-trials {wanted})",
                    {"random": random, "trials": n}, changes)]  # fmt: skip

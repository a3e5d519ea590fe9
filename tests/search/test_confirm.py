"""Confirmation: the best trials trained again with further seeds, the pick, and what becomes of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mlframework.config import yaml
from mlframework.errors import ConfigError, RunError
from mlframework.metrics import Direction
from mlframework.search.confirm import Confirm, Confirmation, Retraining, conclude, read_confirmation, verdicts
from mlframework.search.confirming import confirm, further_seeds
from mlframework.search.lease import owner_of_this_process
from mlframework.search.loop import write_outputs
from mlframework.search.read import read_config
from mlframework.search.results import TrialRecord, candidates, pick
from mlframework.search.start import load as _load
from mlframework.search.statistics import mean_interval, paired_t, signed_rank
from mlframework.search.study import OpenStudy
from support.searches import LR, open_search, run_search, write_config

pytestmark = pytest.mark.usefixtures("here")
FOLDER = Path("runs/optuna_studies/tiny_optimization")


class Seen:
    """A watcher that remembers which trainings were made and which were only told of."""

    def __init__(self) -> None:
        self.started: list[tuple[int, int, int, int]] = []
        self.epochs: list[int] = []
        self.ended: list[tuple[int, Retraining]] = []

    def training_started(self, number: int, seed: int, place: int, total: int, num_epochs: int) -> None:
        self.started.append((number, seed, place, total))

    def epoch_ended(self, epoch: int, value: float) -> None:
        self.epochs.append(epoch)

    def training_ended(self, number: int, training: Retraining) -> None:
        self.ended.append((number, training))


def runs(*values: float | None) -> list[Retraining]:
    return [
        Retraining(4 + place, "failed" if value is None else "complete", value, None if value is None else 1, 2.0,
                   "it burst" if value is None else None)
        for place, value in enumerate(values)
    ]  # fmt: skip


def concluded(trained: Mapping[int, list[Retraining]], direction: Direction = "maximize") -> Confirmation:
    n = len(next(iter(trained.values())))
    rows = [(number, 1.0 - number / 100, trainings) for number, trainings in trained.items()]
    return conclude("val_acc", direction, len(trained), range(4, 4 + n), rows)


def confirmed(study: OpenStudy, top_k: int = 2, seeds: int = 2) -> tuple[Confirmation, Seen]:
    seen = Seen()
    found = confirm(study, Confirm(top_k=top_k, seeds=seeds), _load, seen)
    assert found is not None
    return found, seen


def results() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / "results.json").read_text())
    return content


# What is concluded from trainings


def test_the_best_mean_is_picked_and_the_value_in_the_search_does_not_count() -> None:
    found = concluded({1: runs(0.7, 0.8), 5: runs(0.9, 0.8), 3: runs(0.2, 0.1)})
    assert found.pick == 5 and found.picked is found.candidates[1]
    assert [each.number for each in found.candidates] == [1, 5, 3]
    assert found.candidates[0].interval == mean_interval([0.7, 0.8])
    assert concluded({1: runs(0.7, 0.8), 5: runs(0.9, 0.8), 3: runs(0.2, 0.1)}, "minimize").pick == 3


def test_of_equal_means_the_better_one_in_the_search_is_picked() -> None:
    assert concluded({8: runs(0.5, 0.5), 2: runs(0.5, 0.5)}).pick == 8
    assert concluded({8: runs(0.0, 0.0), 2: runs(-1.0, -1.0)}).pick == 8


def test_each_is_compared_with_the_picked_one_by_paired_tests() -> None:
    best, near, far = (0.90, 0.92, 0.95, 0.91, 0.93), (0.91, 0.90, 0.94, 0.91, 0.92), (0.50, 0.55, 0.51, 0.60, 0.52)
    found = concluded({0: runs(*near), 1: runs(*best), 2: runs(*far)})
    one, none, two = (each.against for each in found.candidates)
    assert none is None and one is not None and two is not None
    assert one.difference == pytest.approx(sum(near) / 5 - sum(best) / 5)
    assert one.t_p == paired_t(near, best) and one.wilcoxon_p == signed_rank(near, best)
    # Holm: the smaller of two p-values is doubled, the larger stays.
    assert two.t_p_holm == pytest.approx(2 * two.t_p) and one.t_p_holm == pytest.approx(one.t_p)
    said = verdicts(found)
    assert said[0] == f"trial 1 and trial 0 cannot be told apart at 5 seeds: p = {one.t_p:.2g}"
    assert said[1] == f"trial 1 is better than trial 2: p = {two.t_p_holm:.2g}"
    assert "signed-rank test cannot be significant with 5 seeds (its smallest p is 0.0625), it takes 7" in said[2]


def test_enough_seeds_leave_out_the_remark_on_the_signed_rank_test() -> None:
    values = tuple(0.9 + place / 100 for place in range(8))
    said = verdicts(concluded({0: runs(*values), 1: runs(*(value - 0.3 for value in values))}))
    assert said[-1] == "p is the paired t-test's, after Holm"


def test_few_seeds_come_with_a_caution() -> None:
    def said(n: int, *others: int) -> list[str]:
        return verdicts(
            concluded({trial: runs(*(0.9 - trial / 3 + place / 100 for place in range(n))) for trial in (0, *others)})
        )

    assert said(2, 1)[-1] == (
        "take 5 seeds or more: with 2 the t-test has 1 degree of freedom, and trusts that the differences are normally "
        "distributed, which so few cannot show"
    )
    assert "with 4 the t-test has 3 degrees of freedom" in said(4, 1)[-1]
    assert not any("of freedom" in line for line in said(5, 1))
    assert said(2) == [], "where nothing is compared there is nothing to be careful about"


def test_a_trial_with_a_failed_training_is_never_picked() -> None:
    found = concluded({0: runs(0.99, None, 0.99), 1: runs(0.1, 0.2, 0.1)})
    assert found.pick == 1 and found.candidates[0].against is None and found.candidates[0].failed == 1
    assert found.candidates[0].interval == mean_interval([0.99, 0.99])
    assert verdicts(found) == ["trial 0 is not picked: 1 of its 3 trainings failed: it burst"]
    none = concluded({0: runs(None, None), 1: runs(0.5, None)})
    assert none.pick is None and none.candidates[0].interval is None


# Of a study


def test_the_best_trials_are_trained_again_with_further_seeds_and_the_same_split() -> None:
    study, end = run_search({"search.n_trials": 4})
    found, seen = confirmed(study, top_k=2, seeds=3)
    best = [each.number for each in sorted(end.records, key=lambda record: record.value or 0.0)[:2]]
    assert [each.number for each in found.candidates] == best and found.seeds == (4, 5, 6)
    assert seen.started == [(best[row], 4 + column, 3 * row + column + 1, 6) for row in (0, 1) for column in range(3)]
    for number, training in seen.ended:
        folder = FOLDER / f"confirm/trial_{number:04d}_seed_{training.seed}"
        tree = yaml.read(folder / "config.yaml").tree
        assert (tree["seed"], tree["data"]["split"]["seed"]) == (training.seed, 3)
        assert tree["optimizer"]["lr"] == end.records[number].params["optimizer.lr"]
        assert json.loads((folder / "result.json").read_text())["value"] == training.value
        assert not list(folder.glob("checkpoints/*.pt"))
    # The config that is left is the trial's own, with the study's seed.
    assert yaml.read(FOLDER / "best_config.yaml").tree == yaml.read(FOLDER / f"trial_{found.pick:04d}/config.yaml").tree


def test_what_is_finished_is_not_trained_again() -> None:
    study, _ = run_search()
    first, _ = confirmed(study)
    again, seen = confirmed(study)
    assert again == first and seen.started == [] and len(seen.ended) == 4
    more, seen = confirmed(study, seeds=3)
    assert [seed for _, seed, _, _ in seen.started] == [6, 6] and more.seeds == (4, 5, 6)


def test_a_training_that_was_interrupted_goes_on() -> None:
    study, _ = run_search()

    class Impatient(Seen):
        def epoch_ended(self, epoch: int, value: float) -> None:
            super().epoch_ended(epoch, value)
            if len(self.ended) == 1 and epoch == 2:
                raise KeyboardInterrupt

    cut = Impatient()
    with pytest.raises(KeyboardInterrupt):
        confirm(study, Confirm(top_k=2, seeds=2), _load, cut)
    assert read_confirmation(FOLDER) is None and len(cut.ended) == 1
    _, seen = confirmed(study)
    assert len(seen.started) == 3
    # The epochs before the interruption are not trained again: its last epoch is reported anew.
    assert seen.epochs == [2, 3, 1, 2, 3, 1, 2, 3]
    whole = read_confirmation(FOLDER)
    assert whole is not None and whole.candidates[0].trainings[1].value is not None


def test_folds_are_confirmed_by_folds() -> None:
    study, _ = run_search(
        {"search.n_trials": 2, "search.cross_validation": {"enabled": True, "n_folds": 2}, "training.num_epochs": 2}
    )
    found, _ = confirmed(study)
    folder = FOLDER / f"confirm/trial_{found.pick:04d}_seed_4"
    values = [json.loads((folder / f"fold_{n}/result.json").read_text())["value"] for n in (1, 2)]
    assert found.picked is not None and found.picked.trainings[0].value == pytest.approx(sum(values) / 2)


def test_replicates_are_confirmed_once_and_with_seeds_of_their_own() -> None:
    study, end = run_search({
        "search.n_trials": 4, "search.on_duplicate": "replicate",
        "search_space": {"optimizer.lr": {"type": "categorical", "choices": [0.05, 0.01]}},
    })  # fmt: skip
    best = candidates(study.spec, end.records, 3)
    assert len({record.params["optimizer.lr"] for record in best}) == len(best) <= 2
    used = {record.seed for record in best if record.seed is not None} | {3}
    assert used.isdisjoint(further_seeds(study.spec, best, 4))


def test_repeats_are_confirmed_with_seeds_that_no_repeat_had() -> None:
    study, end = run_search({"search.n_trials": 2, "search.repeats": 2, "training.num_epochs": 2})
    assert further_seeds(study.spec, end.records, 3) == [5, 7, 9], "the search's repeats had the seeds 3 and 4"
    found, _ = confirmed(study)
    folder = FOLDER / f"confirm/trial_{found.pick:04d}_seed_7"
    values = [json.loads((folder / f"repeat_{n}/result.json").read_text())["value"] for n in (1, 2)]
    assert found.picked is not None and found.picked.trainings[1].value == pytest.approx(sum(values) / 2)


def test_a_failed_training_is_recorded_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    study, end = run_search()
    best = candidates(study.spec, end.records, 2)

    def load(config: Any) -> Any:
        if config.seed == 5 and config.optimizer.lr == best[0].params["optimizer.lr"]:
            raise MemoryError("no room")
        return _load(config)

    found = confirm(study, Confirm(top_k=2, seeds=2), load, Seen())
    assert found is not None and found.pick == best[1].number
    failed = found.candidates[0].trainings[1]
    assert failed.state == "failed" and str(failed.reason).startswith("out of memory: no room")
    folder = FOLDER / f"confirm/trial_{best[0].number:04d}_seed_5"
    assert "MemoryError" in (folder / "error.txt").read_text()


# The pick, and the files


def swapped(study: OpenStudy) -> tuple[int, int]:
    """Confirm two trials so that the second one in the search is the picked one; returns the best in the search, and it."""
    first, second = candidates(study.spec, [TrialRecord.of(trial) for trial in study.trials()], 2)
    found, _ = confirmed(study)
    for record, value in ((first, 0.9), (second, 0.1)):  # a loss
        for seed in found.seeds:
            path = FOLDER / f"confirm/trial_{record.number:04d}_seed_{seed}/outcome.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), "value": value + seed / 1000}))
    assert confirmed(study)[0].pick == second.number
    return first.number, second.number


def test_best_config_is_the_picked_ones_and_stays_so() -> None:
    study, _ = run_search({"search.n_trials": 4})
    best, picked = swapped(study)
    for _ in range(2):
        told = results()
        assert (told["best_trial"], told["confirmed"]["trial"], told["confirmed"]["search_best"]) == (
            picked,
            picked,
            best,
        )
        assert told["best_value"] == told["trials"][picked]["value"]
        assert told["confirmed"]["mean"] == pytest.approx(0.1045) and told["confirmed"]["seeds"] == [4, 5]
        assert (
            (FOLDER / "best_config.yaml").read_text().startswith(f"# Best of study tiny_optimization: trial {picked},")
        )
        lr = yaml.read(FOLDER / "best_config.yaml").tree["optimizer"]["lr"]
        assert lr == told["trials"][picked]["params"]["optimizer.lr"]
        assert json.loads((FOLDER / "best_hyperparameters.json").read_text())["mlp"]["optimizer.lr"] == lr
        write_outputs(open_search({"search.n_trials": 4}, resume=True))


def test_a_trial_that_comes_among_the_best_later_ends_the_pick() -> None:
    changes = {"search.n_trials": 2, "search_space": {"optimizer.lr": {**LR, "low": 1e-6}}}
    study, _ = run_search(changes)
    best, picked = swapped(study)
    more, end = run_search({**changes, "search.n_trials": 8}, resume=True)
    now = candidates(more.spec, end.records, 2)
    entered = {record.number for record in now} - {best, picked}
    assert entered, "the test needs a later trial that is better"
    chosen = pick(more.spec, end.records)
    assert chosen is not None and chosen.record == now[0] and chosen.confirmed is None
    assert chosen.outdated is not None and "come among the best 2 since" in chosen.outdated
    told = results()
    assert told["best_trial"] == now[0].number
    assert told["confirmed"]["trial"] is None and told["confirmed"]["outdated"] == chosen.outdated
    again, seen = confirmed(more)
    assert {number for number, *_ in seen.started} == entered, "only the new ones are trained"
    assert results()["confirmed"]["trial"] == again.pick


def test_where_every_trial_has_a_failed_training_the_best_of_the_search_stays() -> None:
    study, end = run_search({"search.n_trials": 2})

    def load(config: Any) -> Any:
        raise MemoryError("no room")

    found = confirm(study, Confirm(top_k=2, seeds=2), load, Seen())
    assert found is not None and found.pick is None
    chosen = pick(study.spec, end.records)
    assert chosen is not None and chosen.record.number == chosen.search_best
    assert results()["confirmed"]["outdated"] == "in each of its trials a training failed"


def test_confirm_json_is_read_as_it_was_written_and_damage_is_said() -> None:
    study, _ = run_search({"search.n_trials": 2})
    found, _ = confirmed(study)
    path = FOLDER / "confirm.json"
    content = json.loads(path.read_text())
    assert content["format"] == 1 and content["verdicts"] == verdicts(found)
    assert read_confirmation(FOLDER) == found
    for damaged in ("{", "[]", json.dumps({"format": 1})):
        path.write_text(damaged)
        with pytest.raises(
            RunError, match=r"confirm\.json: is damaged; delete it, then confirm anew by ml-search --resume"
        ):
            read_confirmation(FOLDER)
    path.unlink()
    outcome = FOLDER / f"confirm/trial_{found.pick:04d}_seed_4/outcome.json"
    outcome.write_text("{}")
    with pytest.raises(RunError, match=r"outcome\.json: is damaged; delete its folder"):
        confirmed(study)


def test_one_process_at_a_time_confirms() -> None:
    study, _ = run_search({"search.n_trials": 2})
    lock = FOLDER / "confirm/lock"
    lock.parent.mkdir()
    lock.write_text(json.dumps({"owner": owner_of_this_process()}))
    assert confirm(study, Confirm(top_k=2, seeds=2), _load, Seen()) is None
    # A process that is dead holds nothing: its number lives, but started at another time.
    host, namespace, pid, _, key = owner_of_this_process().split("|")
    lock.write_text(json.dumps({"owner": "|".join((host, namespace, pid, "1", key))}))
    confirmed(study)
    assert not lock.exists()
    lock.write_text("")
    confirmed(study)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"top_k": 0}, "search.confirm.top_k"),
        ({"seeds": 1}, "search.confirm.seeds"),
        ({"seed": 3}, "did you mean 'seeds'"),
    ],
)
def test_settings_that_confirm_nothing_are_refused(setting: Mapping[str, Any], said: str) -> None:
    path = write_config({"search.confirm": setting})
    with pytest.raises(ConfigError, match=said):
        read_config(str(path), {})

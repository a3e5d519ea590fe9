"""Worker processes of test_ledgers.py: `python ledger_worker.py URL STUDY COUNT N_PLACES`.

COUNT processes, which wait for one another, claim the places of a study, give each a trial and finish it; COUNT 0 is one
process that holds two places, and at the next sign makes a third one's trial and is killed before it binds it. What a
process did it says as a line of JSON, and then it lives on, since the places of the dead are taken over.
"""

import json
import multiprocessing
import os
import signal
import sys

import optuna

from mlframework.search.lease import Leases
from mlframework.search.ledgers import open_ledger
from mlframework.search.mirror import Mirror
from mlframework.search.objective import Outcome, _tell
from mlframework.search.places import open_trial
from mlframework.search.storage import open_storage, patient

url, name, count, n_places = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
optuna.logging.set_verbosity(optuna.logging.ERROR)
barrier = multiprocessing.get_context("fork").Barrier(max(count, 1))
for _ in range(count - 1):  # forked: so the imports are paid for once
    if os.fork() == 0:
        break
storage = open_storage(url)
study = optuna.load_study(study_name=name, storage=Mirror(patient(storage, url, 0)))
leases = Leases(open_ledger(storage, study._study_id), seconds=600)


def say(**news: object) -> None:
    """Write a line of JSON at once, so that the lines of several processes do not mix."""
    os.write(1, (json.dumps(news) + "\n").encode())


def wait() -> None:
    """Wait for a sign, or for the end of the input."""
    os.read(0, 1)


def unfinished() -> set[int]:
    """Return the trials that are not finished."""
    return {trial.number for trial in storage.get_all_trials(study._study_id) if not trial.state.is_finished()}


barrier.wait(60)
if count:
    done = []
    while (lease := leases.claim(n_places, unfinished)) is not None:
        trial = open_trial(study, lease)
        lease = leases.bind(lease, trial.number)
        _tell(study, trial, Outcome("FAIL", reason=f"by {os.getpid()}"))
        done.append((lease.place, lease.token, trial.number))
    say(done=done)
else:
    say(places=[leases.claim(n_places, unfinished).place for _ in range(2)])
    wait()
    lease = leases.claim(n_places, unfinished)
    trial = open_trial(study, lease)
    say(place=lease.place, trial=trial.number)
    os.kill(os.getpid(), signal.SIGKILL)
wait()

"""One worker against two: the same search of digits, each trial on one thread, and what the parent costs.

Run it with `python benchmarks/workers.py`, on a machine with two free cores. It prints the seconds of both searches, from
the start of their commands to the end, their ratio, and the processor time that the parent of two workers takes a trial. It
ends with exit 1 where two workers take more than 0.6 of one's time, or the parent takes 50 ms a trial or more.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

# Before numpy and torch are imported, which read it once.
os.environ["OMP_NUM_THREADS"] = "1"

from rich.console import Console

from mlframework.config import yaml
from mlframework.data.samples import write_digits
from mlframework.search.lines import Silent
from mlframework.search.read import read_config
from mlframework.search.start import open_search
from mlframework.search.workers.crew import job_of, search_with_workers
from mlframework.search.workers.local import LocalLauncher

N_TRIALS = 40
CONFIG = {
    "name": "digits",
    "device": "cpu",
    "data": {"type": "image_folder", "path": "digits", "image_size": 32},
    "model": {"architecture": "shufflenet_v2_x0_5"},
    "training": {"num_epochs": 3, "batch_size": 64, "num_threads": 1},
    "optimizer": {"type": "sgd"},
    "metric": "val_acc",
    "search": {
        "n_trials": N_TRIALS,
        "sampler": {"type": "RandomSampler"},
        "pruner": {"type": "none"},
        "search_space": {"optimizer.lr": {"type": "loguniform", "low": 1e-3, "high": 1e-1}},
    },
}


def searched(n_workers: int) -> tuple[float, float]:
    """Return the seconds of a search, and the parent's processor seconds a trial once the search was opened."""
    shutil.rmtree("runs", ignore_errors=True)
    Path("optuna_studies.db").unlink(missing_ok=True)
    began = time.perf_counter()
    read = read_config("config.yaml", {})
    study = open_search(read, False, 0)
    opened = time.process_time()
    end = search_with_workers(study, job_of(study, read), LocalLauncher(study.spec.folder), n_workers, Silent())
    used = time.process_time() - opened
    states = [record.state for record in end.records]
    assert states == ["complete"] * N_TRIALS, states
    return time.perf_counter() - began, used / N_TRIALS


def main() -> int:
    """Measure, print, and judge."""
    console = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_digits(Path("digits"))
        Path("config.yaml").write_text(yaml.dump(CONFIG))
        # The first search reads what the later ones find in memory.
        open_search(read_config("config.yaml", {}), False, 0)
        one, _ = searched(1)
        two, overhead = searched(2)
    ratio = two / one
    console.print(
        f"{N_TRIALS} trials, one thread each: one worker {one:.1f} s, two workers {two:.1f} s, ratio {ratio:.3f}"
    )
    console.print(f"the parent of two workers: {1000 * overhead:.1f} ms of processor time a trial")
    return 0 if ratio <= 0.6 and overhead < 0.05 else 1


if __name__ == "__main__":
    sys.exit(main())

"""A search of thirty trials of a small MLP, a report every epoch and a MedianPruner, on SQLite: the time of the search.

`ours_two` is the same search with two workers; both tell by one clock how long the search takes, workers included.
"""

from typing import Any

import tiny_mlp
from common import Clock, main, quick, shuffled

N_TRIALS, EPOCHS, BATCH, SEED = quick(30, 8), quick(50, 4), 128, tiny_mlp.SEED
N_STARTUP, N_WARMUP = quick(5, 3), quick(5, 1)
STUDY = "mlp_search"
LRS, SIZES = (1e-4, 1e-1), (8, 64)
CONFIG: dict[str, Any] = {
    **tiny_mlp.CONFIG,
    "model": {"architecture": "mlp", "hidden_layers": 1},
    "training": {"num_epochs": EPOCHS, "batch_size": BATCH, "num_threads": 1},
    "search": {
        "study_name": STUDY,
        "storage": "sqlite:///studies.db",
        "n_trials": N_TRIALS,
        "sampler": {"type": "TPESampler"},
        "pruner": {"type": "MedianPruner", "n_startup_trials": N_STARTUP, "n_warmup_steps": N_WARMUP},
        "search_space": {
            "optimizer.lr": {"type": "loguniform", "low": LRS[0], "high": LRS[1]},
            "model.hidden_size": {"type": "int", "low": SIZES[0], "high": SIZES[1]},
        },
    },
}


def ours(workers: int | None = None) -> dict[str, Any]:
    """Search by the config; what a first trial imports is imported before."""
    import optuna  # noqa: F401
    import torch  # noqa: F401

    import mlframework
    from mlframework.search import loop
    from mlframework.search.workers import launch

    clock, whole = Clock(), Clock()
    clock.watch(loop, "run_trials")
    whole.watch(launch, "search_as")
    _await_imports(launch.Workers)
    study = mlframework.search(CONFIG, workers=workers)
    return {
        "seconds": clock.seconds,
        "whole": whole.seconds,
        "best_value": study.best_value,
        "pruned": [record.number for record in study.trials if record.state == "pruned"],
        "trials": len(study.trials),
    }


def _await_imports(workers: Any) -> None:
    """Let what workers are forked of have imported all before the clock starts, as one process has: fork one, and drop it."""
    import os

    prepare = workers.prepare_for

    def prepare_and_wait(self: Any, read: Any) -> None:
        prepare(self, read)
        if self.nursery is not None:
            with open(os.devnull, "wb") as log:
                idle = self.nursery.start(log, os.environ)
            assert idle is not None and idle.pid
            idle.kill()
            idle.wait()

    workers.prepare_for = prepare_and_wait


def ours_two() -> dict[str, Any]:
    """Search by the config with two workers."""
    return ours(workers=2)


def hand() -> dict[str, Any]:
    """Search as one would by hand with Optuna."""
    import time

    import numpy as np
    import optuna
    import torch

    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    arrays = {name: torch.from_numpy(each) for name, each in np.load("digits.npz").items()}
    # The first one imports torch's compiler, for seconds: not counted here.
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    pruner = optuna.pruners.MedianPruner(N_STARTUP, N_WARMUP)
    started = time.perf_counter()
    study = optuna.create_study(study_name=STUDY, storage=CONFIG["search"]["storage"], pruner=pruner)
    for place in range(N_TRIALS):
        seed = np.random.SeedSequence([SEED, place]).generate_state(1)[0]
        study.sampler = optuna.samplers.TPESampler(seed=int(seed))
        trial = study.ask()
        lr, size = trial.suggest_float("optimizer.lr", *LRS, log=True), trial.suggest_int("model.hidden_size", *SIZES)
        best = float("inf")
        for epoch, val_loss in enumerate(_losses(arrays, lr, size), 1):
            best = min(best, val_loss)
            trial.report(val_loss, epoch)
            # What has trained to its end is not stopped any more.
            if epoch < EPOCHS and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, best)
    seconds = time.perf_counter() - started
    pruned = [trial.number for trial in study.trials if trial.state.name == "PRUNED"]
    return {"seconds": seconds, "best_value": study.best_value, "pruned": pruned, "trials": len(study.trials)}


def _losses(arrays: Any, lr: float, size: int) -> Any:
    """Train, and yield the validation loss of every epoch."""
    import torch
    from torch import nn
    from torch.nn import functional

    x, y, x_val, y_val = (arrays[name] for name in ("x_train", "y_train", "x_val", "y_val"))
    torch.manual_seed(SEED)
    module = nn.Sequential(nn.Linear(x.shape[1], size), nn.ReLU(), nn.Linear(size, 10))
    optimizer = torch.optim.Adam(module.parameters(), lr)
    order = torch.Generator().manual_seed(SEED)
    for _ in range(EPOCHS):
        module.train()
        for rows in shuffled(len(x), BATCH, order):
            loss = functional.cross_entropy(module(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        module.eval()
        with torch.inference_mode():
            raw = module(x_val)
            (raw.argmax(1) == y_val).float().mean().item()
            yield float(functional.cross_entropy(raw, y_val))


if __name__ == "__main__":
    main(prepare=tiny_mlp.prepare, ours=ours, ours_two=ours_two, hand=hand)

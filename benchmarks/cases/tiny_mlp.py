"""A tiny MLP on the 64 features of the digits: batch 32, 20 epochs. What is measured is the fit, validation included."""

from collections.abc import Callable
from typing import Any

from common import Clock, main, shuffled

EPOCHS, BATCH, HIDDEN, LR, SEED = 20, 32, 64, 1e-3, 42
CONFIG = {
    "name": "tiny",
    "device": "cpu",
    "data": {"type": "table", "path": "digits.csv", "target": "digit"},
    "model": {"architecture": "mlp", "hidden_layers": 2, "hidden_size": HIDDEN},
    "training": {"num_epochs": EPOCHS, "batch_size": BATCH, "num_threads": 1},
    "optimizer": {"type": "adam", "lr": LR},
    "metric": "val_loss",
}


def prepare() -> dict[str, Any]:
    """Write the table, and the arrays of its splits as we encode them: so both sides learn from the same numbers."""
    import numpy as np
    from sklearn.datasets import load_digits

    from mlframework import load_config
    from mlframework.data.table_encoder import TableEncoder
    from mlframework.experiment import load_data

    frame = load_digits(as_frame=True)
    table = frame.data.assign(digit=[f"d{each}" for each in frame.target])
    table.to_csv("digits.csv", index=False)
    splits = load_data(load_config(CONFIG))
    encoder = TableEncoder.fit(splits.train)
    parts = {"train": splits.train, "val": splits.val}
    arrays: dict[str, Any] = {f"x_{name}": encoder.transform(part)[0] for name, part in parts.items()}
    np.savez("digits.npz", **arrays, **{f"y_{name}": part.targets for name, part in parts.items()})
    return {}


def ours() -> dict[str, Any]:
    """Train by the config."""
    import mlframework
    from mlframework import experiment

    clock = Clock()
    clock.watch(experiment, "fit")
    run = mlframework.train(CONFIG)
    return {"seconds": clock.seconds, "val_loss": run.result.best_metrics["val_loss"]}


def hand() -> dict[str, Any]:
    """Train as one would by hand: slices of tensors, validated every epoch, the best weights kept."""
    import copy
    import time

    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(1)
    arrays = {name: torch.from_numpy(each) for name, each in np.load("digits.npz").items()}
    x, y, x_val, y_val = (arrays[name] for name in ("x_train", "y_train", "x_val", "y_val"))
    torch.manual_seed(SEED)
    module = nn.Sequential(
        nn.Linear(x.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10)
    )
    optimizer = torch.optim.Adam(module.parameters(), LR)
    order = torch.Generator().manual_seed(SEED)
    started, best, weights = time.perf_counter(), float("inf"), None
    for _ in range(EPOCHS):
        module.train()
        total = torch.zeros(())
        for rows in shuffled(len(x), BATCH, order):
            targets = y[rows]
            loss = functional.cross_entropy(module(x[rows]), targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach() * len(rows)
        module.eval()
        with torch.inference_mode():
            raw = module(x_val)
            val_loss = float(functional.cross_entropy(raw, y_val))
            (raw.argmax(1) == y_val).float().mean().item()
        if val_loss < best:
            best, weights = val_loss, copy.deepcopy(module.state_dict())
    assert weights is not None
    return {"seconds": time.perf_counter() - started, "val_loss": best}


def peer(train: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """Train with another framework, from a loader over the same tensors."""
    import numpy as np
    import torch
    from torch import nn
    from torch.utils.data import TensorDataset

    import peers

    arrays = {name: torch.from_numpy(each) for name, each in np.load("digits.npz").items()}
    train_set, val_set = (TensorDataset(arrays[f"x_{name}"], arrays[f"y_{name}"]) for name in ("train", "val"))
    torch.manual_seed(SEED)
    width = arrays["x_train"].shape[1]
    module = nn.Sequential(
        nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10)
    )
    found = train(peers.Classifier(module, torch.optim.Adam, {"lr": LR}, train_set, val_set, BATCH, EPOCHS))
    return {"seconds": found["fit"], "val_loss": found["val_loss"]}


def skorch() -> dict[str, Any]:
    """Train with skorch."""
    import peers

    return peer(peers.skorch)


def lightning() -> dict[str, Any]:
    """Train with Lightning."""
    import peers

    return peer(peers.lightning)


if __name__ == "__main__":
    main(prepare=prepare, ours=ours, hand=hand, skorch=skorch, lightning=lightning)

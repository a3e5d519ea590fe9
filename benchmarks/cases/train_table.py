"""`ml-train` on a table, one epoch, the whole process from its start to its end."""

from pathlib import Path
from typing import Any

import tiny_mlp
from common import main, ml_train

BATCH, HIDDEN, LR, SEED = tiny_mlp.BATCH, tiny_mlp.HIDDEN, tiny_mlp.LR, tiny_mlp.SEED
TABLE = "digits.csv"


def prepare() -> dict[str, Any]:
    """Write the table and the config of one epoch."""
    from sklearn.datasets import load_digits

    from mlframework.config import yaml

    frame = load_digits(as_frame=True)
    frame.data.assign(digit=[f"d{each}" for each in frame.target]).to_csv(TABLE, index=False)
    tree = {**tiny_mlp.CONFIG, "training": {"num_epochs": 1, "batch_size": BATCH, "num_threads": 1}}
    Path("config.yaml").write_text(yaml.dump(tree))
    return {}


def ours() -> dict[str, Any]:
    """Train by the installed command."""
    return {"val_loss": ml_train("config.yaml")["best_metrics"]["val_loss"]}


def hand() -> dict[str, Any]:
    """Read, split, standardise and train, and write weights and metrics, importing no more than that takes.

    Adam is written out: the first one that torch makes imports its compiler, for seconds.
    """
    import csv
    import json

    import numpy as np
    from sklearn.model_selection import train_test_split

    with Path(TABLE).open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    features = np.array([row[:-1] for row in rows], dtype=np.float32).astype(np.float64)
    features = features[:, np.ptp(features, axis=0) > 0]
    classes, targets = np.unique([row[-1] for row in rows], return_inverse=True)
    n_out = round(0.2 * len(rows))
    rest, _ = train_test_split(np.arange(len(rows)), test_size=n_out, random_state=SEED, stratify=targets)
    rest = np.sort(rest)
    kept, drawn = train_test_split(rest, test_size=n_out, random_state=SEED, stratify=targets[rest])
    in_train, in_val = np.sort(kept), np.sort(drawn)
    constant = np.ptp(features[in_train], axis=0) == 0
    mean, std = features[in_train].mean(0), np.where(constant, 1.0, features[in_train].std(0))
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(1)
    standard = torch.from_numpy(((features - mean) / std).astype(np.float32))
    x, x_val = standard[in_train], standard[in_val]
    y, y_val = (torch.from_numpy(targets[each].astype(np.int64)) for each in (in_train, in_val))
    torch.manual_seed(SEED)
    module = nn.Sequential(
        nn.Linear(x.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, len(classes))
    )
    weights = list(module.parameters())
    means, squares = ([torch.zeros_like(each) for each in weights] for _ in range(2))
    permutation = torch.randperm(len(x), generator=torch.Generator().manual_seed(SEED))
    for step, start in enumerate(range(0, len(x), BATCH), 1):
        taken = permutation[start : start + BATCH]
        loss = functional.cross_entropy(module(x[taken]), y[taken])
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            size, root = LR / (1 - 0.9**step), (1 - 0.999**step) ** 0.5
            for weight, gradient, first, second in zip(weights, gradients, means, squares, strict=True):
                first.lerp_(gradient, 0.1)
                second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
                weight.addcdiv_(first, second.sqrt().div_(root).add_(1e-8), value=-size)
    with torch.inference_mode():
        raw = module.eval()(x_val)
        val_loss = float(functional.cross_entropy(raw, y_val))
        val_acc = float((raw.argmax(1) == y_val).float().mean())
    torch.save(module.state_dict(), "best.pt")
    Path("metrics.json").write_text(json.dumps({"val_loss": val_loss, "val_acc": val_acc}))
    return {"val_loss": val_loss}


if __name__ == "__main__":
    main(prepare=prepare, ours=ours, hand=hand)

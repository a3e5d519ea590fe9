"""A factorization machine on 100,000 ratings, 4 and better against the rest. What is measured is the fit."""

from typing import Any

import ratings
from common import an_epoch, main, quick, shuffled, trained

EPOCHS, BATCH, FACTORS, LR, INIT_STD, SEED = quick(40, 2), 2048, 16, 5e-3, 0.01, 42
CONFIG = {
    "name": "fm",
    "device": "cpu",
    "data": {
        "type": "interactions",
        "path": str(ratings.LOG),
        "task": "classification",
        "rating_column": "rating",
        "min_rating": 4,
        "split": {"val_fraction": 0.1, "test_fraction": 0.1},
    },
    "model": {"architecture": "fm", "embedding_dim": FACTORS, "init_std": INIT_STD},
    "training": {"num_epochs": EPOCHS, "batch_size": BATCH, "num_threads": 1},
    "optimizer": {"type": "adam", "lr": LR},
    "metric": "val_auc",
}


def prepare() -> dict[str, Any]:
    """Write the log, and the arrays of its splits as we encode them: so both sides learn from the same numbers."""
    import numpy as np

    from mlframework import load_config
    from mlframework.data.table_encoder import TableEncoder
    from mlframework.experiment import load_data
    from mlframework.models.fm import as_table

    ratings.write_log()
    splits = load_data(load_config(CONFIG))
    encoder = TableEncoder.fit(as_table(splits.train))
    parts = {"train": splits.train, "val": splits.val}
    arrays: dict[str, Any] = {f"x_{name}": encoder.transform(as_table(part))[1] for name, part in parts.items()}
    targets = {f"y_{name}": part.targets for name, part in parts.items()}
    np.savez("ratings.npz", **arrays, **targets, sizes=np.array(encoder.cardinalities))
    return {}


def ours() -> dict[str, Any]:
    """Train by the config."""
    seconds, metrics = trained(CONFIG)
    return _found(seconds, metrics["val_auc"])


def hand() -> dict[str, Any]:
    """Train as one would by hand: slices of tensors, validated every epoch, the best weights kept."""
    import time

    import numpy as np
    import torch
    from sklearn.metrics import roc_auc_score
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(1)
    arrays = np.load("ratings.npz")
    # One table for users and items; its first row is for what training has not seen.
    n_users = int(arrays["sizes"][0]) - 1
    x, x_val = (
        torch.from_numpy(arrays[name] + (arrays[name] > 0) * np.array([0, n_users])) for name in ("x_train", "x_val")
    )
    y, y_val = (torch.from_numpy(arrays[name]).float() for name in ("y_train", "y_val"))
    torch.manual_seed(SEED)
    bias = nn.Parameter(torch.zeros(1))
    table = nn.Embedding(1 + int((arrays["sizes"] - 1).sum()), 1 + FACTORS, padding_idx=0)
    nn.init.normal_(table.weight, std=INIT_STD)
    with torch.no_grad():
        table.weight[:, 0] = 0
        table.weight[0] = 0

    def score(rows: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = table(rows)
        return bias + found[:, :, 0].sum(1) + (found[:, 0, 1:] * found[:, 1, 1:]).sum(1)

    optimizer = torch.optim.Adam([bias, table.weight], LR)
    order = torch.Generator().manual_seed(SEED)
    ends: list[float] = []
    best, weights = 0.0, None
    for _ in range(EPOCHS):
        total = torch.zeros(())
        for rows in shuffled(len(x), BATCH, order):
            loss = functional.binary_cross_entropy_with_logits(score(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach() * len(rows)
        with torch.inference_mode():
            raw = score(x_val)
            functional.binary_cross_entropy_with_logits(raw, y_val).item()
            val_auc = float(roc_auc_score(y_val.numpy(), raw.numpy()))
        if val_auc > best:
            best, weights = val_auc, (bias.detach().clone(), table.weight.detach().clone())
        ends.append(time.perf_counter())
    assert weights is not None
    return _found(an_epoch(ends), best)


def deepctr() -> dict[str, Any]:
    """Train with deepctr-torch: its DeepFM without the deep part, which has an FM and linear weights."""
    import time

    import numpy as np
    import torch
    from deepctr_torch.callbacks import Callback
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models import DeepFM
    from sklearn.metrics import roc_auc_score

    torch.set_num_threads(1)
    arrays = np.load("ratings.npz")
    columns = [
        SparseFeat(name, int(size), embedding_dim=FACTORS)
        for name, size in zip(("user", "item"), arrays["sizes"], strict=True)
    ]
    inputs, val_inputs = (
        {name: arrays[part][:, place] for place, name in enumerate(("user", "item"))} for part in ("x_train", "x_val")
    )
    ends: list[float] = []
    aucs: list[float] = []

    class Watch(Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            ends.append(time.perf_counter())
            aucs.append(float(logs["val_auc"]))

    model = DeepFM(
        columns, columns, dnn_hidden_units=(), init_std=INIT_STD, seed=SEED, l2_reg_linear=0, l2_reg_embedding=0
    )
    model.compile(torch.optim.Adam(model.parameters(), LR), "binary_crossentropy", metrics=["auc"])
    model.metrics["auc"] = roc_auc_score
    validation = (val_inputs, arrays["y_val"])
    model.fit(inputs, arrays["y_train"], BATCH, EPOCHS, verbose=0, validation_data=validation, callbacks=[Watch()])
    return _found(an_epoch(ends), max(aucs))


def recbole() -> dict[str, Any]:
    """Train with RecBole: its FM and trainer, on the same pairs."""
    import time

    import numpy as np

    import peers_recbole

    arrays = np.load("ratings.npz")
    ends: list[float] = []
    auc = peers_recbole.fit_fm(arrays, BATCH, EPOCHS, FACTORS, LR, SEED, lambda: ends.append(time.perf_counter()))
    return _found(an_epoch(ends), auc)


def _found(seconds: float, auc: float) -> dict[str, Any]:
    return {"seconds": seconds, "val_auc": auc, "data": ratings.kind_of_log()}


if __name__ == "__main__":
    main(prepare=prepare, ours=ours, hand=hand, deepctr=deepctr, recbole=recbole)

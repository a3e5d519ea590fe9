"""A two-tower model with in-batch softmax on 100,000 ratings, batch 256. What is measured is the fit."""

from typing import Any

import ratings
from common import an_epoch, main, quick, shuffled, trained

EPOCHS, BATCH, DIMENSIONS, LR, TEMPERATURE, SEED = quick(5, 2), 256, 64, 3e-3, 0.2, 42
CONFIG = {
    "name": "two_tower",
    "device": "cpu",
    "data": {"type": "interactions", "path": str(ratings.LOG), "split": {"val_fraction": 0.1, "test_fraction": 0.1}},
    "model": {"architecture": "two_tower", "embedding_dim": DIMENSIONS, "temperature": TEMPERATURE},
    "training": {"num_epochs": EPOCHS, "batch_size": BATCH, "num_threads": 1},
    "optimizer": {"type": "adam", "lr": LR},
    "metric": "val_recall_at_10",
}


def prepare() -> dict[str, Any]:
    """Write the log, and the pairs of its splits."""
    import numpy as np

    from mlframework import load_config
    from mlframework.experiment import load_data

    ratings.write_log()
    splits = load_data(load_config(CONFIG))
    catalogue = splits.train.catalogue
    pairs = {"train": splits.train, "val": splits.val}
    arrays: dict[str, Any] = {
        f"{side}_{name}": getattr(part, side).astype(np.int64)
        for name, part in pairs.items()
        for side in ("users", "items")
    }
    np.savez("pairs.npz", **arrays, shape=np.array([len(catalogue.users), len(catalogue.items)]))
    return {}


def ours() -> dict[str, Any]:
    """Train by the config."""
    seconds, metrics = trained(CONFIG)
    return _found(seconds, metrics["val_recall_at_10"])


def hand() -> dict[str, Any]:
    """Train as one would by hand: slices of tensors, ranked for all users every epoch, the best weights kept."""
    import time

    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(1)
    arrays = {name: torch.from_numpy(each) for name, each in np.load("pairs.npz").items()}
    users, items, (n_users, n_items) = arrays["users_train"], arrays["items_train"], arrays["shape"].tolist()
    seen = torch.zeros(n_users, n_items, dtype=torch.bool)
    seen[users, items] = True
    held = torch.zeros(n_users, n_items)
    held[arrays["users_val"], arrays["items_val"]] = 1
    known = seen.any(1) & (held.sum(1) > 0)
    log_q = torch.log(torch.bincount(items, minlength=n_items).clamp(min=1) / len(items))
    torch.manual_seed(SEED)
    towers = []
    for n_rows in (n_users, n_items):
        towers.append(nn.Embedding(n_rows, DIMENSIONS))
        nn.init.normal_(towers[-1].weight, std=0.1)
    of_users, of_items = towers
    optimizer = torch.optim.Adam([of_users.weight, of_items.weight], LR)
    order = torch.Generator().manual_seed(SEED)
    ends: list[float] = []
    best, weights = -1.0, None
    for _ in range(EPOCHS):
        total = torch.zeros(())
        for rows in shuffled(len(users), BATCH, order):
            own, other = users[rows], items[rows]
            left, right = functional.normalize(of_users(own), dim=1), functional.normalize(of_items(other), dim=1)
            logits = left @ right.T / TEMPERATURE - log_q[other]
            same = other[:, None] == other[None, :]
            same.fill_diagonal_(False)
            loss = functional.cross_entropy(logits.masked_fill(same, -torch.inf), torch.arange(len(rows)))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach() * len(rows)
        with torch.inference_mode():
            left, right = functional.normalize(of_users.weight, dim=1), functional.normalize(of_items.weight, dim=1)
            first = (left @ right.T).masked_fill(seen, -torch.inf).topk(10, dim=1).indices
            hits = held.gather(1, first).sum(1)[known]
            recall = (hits / held.sum(1)[known]).double().mean().item()
        if recall > best:
            best, weights = recall, [tower.weight.detach().clone() for tower in towers]
        ends.append(time.perf_counter())
    assert weights is not None
    return _found(an_epoch(ends), best)


def _found(seconds: float, recall: float) -> dict[str, Any]:
    return {"seconds": seconds, "recall_at_10": recall, "data": ratings.kind_of_log()}


if __name__ == "__main__":
    main(prepare=prepare, ours=ours, hand=hand)

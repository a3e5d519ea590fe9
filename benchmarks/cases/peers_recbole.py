"""How RecBole trains a factorization machine on pairs that are split already; run by the peers' environment alone."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SPLITS = {"train": "train", "val": "valid", "test": "test"}


def fit_fm(
    arrays: Mapping[str, Any],
    batch: int,
    epochs: int,
    factors: int,
    lr: float,
    seed: int,
    epoch_ended: Callable[[], None],
) -> float:
    """Train, validating every epoch; returns the best AUC.

    Args:
        arrays: `x_train`, `x_val` (n, 2) users and items, `y_train`, `y_val` (n,) 0 or 1.
        batch: examples of a batch.
        epochs: how many.
        factors: of each user and item.
        lr: learning rate.
        seed: of weights and order.
        epoch_ended: is called after each epoch.
    """
    import numpy as np
    import torch

    _as_it_was(np)
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model.context_aware_recommender.fm import FM
    from recbole.trainer import Trainer
    from recbole.utils import init_seed

    torch.set_num_threads(1)
    _write(arrays)
    settings = {
        "data_path": ".", "benchmark_filename": list(SPLITS.values()), "load_col": {"inter": ["user_id", "item_id", "label"]},
        "LABEL_FIELD": "label", "train_neg_sample_args": None, "eval_args": {"mode": "labeled", "order": "RO"},
        "metrics": ["AUC"], "valid_metric": "AUC", "embedding_size": factors, "learning_rate": lr, "learner": "adam",
        "train_batch_size": batch, "eval_batch_size": 4 * batch, "epochs": epochs, "stopping_step": 10 * epochs,
        "seed": seed, "use_gpu": False, "show_progress": False, "state": "ERROR", "checkpoint_dir": "saved", "worker": 0,
    }  # fmt: skip
    config = Config(model="FM", dataset="pairs", config_dict=settings)
    init_seed(seed, True)
    dataset = create_dataset(config)
    train, val, _ = data_preparation(config, dataset)
    model = FM(config, train.dataset)
    trainer = Trainer(config, model)
    best, _ = trainer.fit(train, val, verbose=False, show_progress=False, callback_fn=lambda *_: epoch_ended())
    return float(best)


def _write(arrays: Mapping[str, Any]) -> None:
    """Write the pairs as RecBole's atomic files; its test split, which is not looked at, is val again."""
    folder = Path("pairs")
    folder.mkdir(exist_ok=True)
    for ours, theirs in SPLITS.items():
        part = "val" if ours == "test" else ours
        rows = zip(arrays[f"x_{part}"].tolist(), arrays[f"y_{part}"].tolist(), strict=True)
        lines = [f"u{user}\ti{item}\t{label}" for (user, item), label in rows]
        path = folder / f"pairs.{theirs}.inter"
        path.write_text("\n".join(["user_id:token\titem_id:token\tlabel:float", *lines]) + "\n")


def _as_it_was(np: Any) -> None:
    """Give numpy the names back that RecBole 1.2.1 knows."""
    names = {"bool": bool, "int": int, "float": float, "float_": float, "complex_": complex, "unicode_": str}
    for name, kind in names.items():
        if not hasattr(np, name):
            setattr(np, name, kind)

"""Real searches over recommenders, on the log with planted taste of tests/conftest.py."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlframework.config import yaml
from mlframework.search.loop import SearchEnd, search
from mlframework.search.read import read_config
from mlframework.search.setup import build_spec
from mlframework.search.start import load as _load
from mlframework.search.storage import open_storage
from mlframework.search.study import OpenStudy, open_study
from support.searches import Watched


def search_log(
    log: Mapping[str, Any],
    model: Mapping[str, Any],
    space: Mapping[str, Any],
    *,
    training: Mapping[str, Any] | None = None,
    watcher: Watched | None = None,
    **settings: Any,
) -> tuple[OpenStudy, SearchEnd]:
    """Search in the present folder, as the command does.

    Args:
        log: the config of the data.
        model: the config of the model.
        space: the search space.
        training: the config of the training; None: three epochs.
        watcher: is told of the trials.
        settings: other settings of the search: `n_trials`, `pruner`.
    """
    tree = {
        "name": "log",
        "seed": 3,
        "device": "cpu",
        "data": dict(log),
        "model": dict(model),
        "training": {"num_epochs": 3, "num_threads": 1, **(training or {})},
        "metric": "val_ndcg_at_10",
        "tracking": {"tensorboard": False},
        "search": {
            "storage": "sqlite:///studies.db",
            "sampler": {"type": "RandomSampler"},
            "pruner": {"type": "none"},
            **settings,
            "search_space": dict(space),
        },
    }
    Path("config.yaml").write_text(yaml.dump(tree), encoding="utf-8")
    read = read_config("config.yaml", {})
    assert read.config.search is not None
    storage = open_storage(read.config.search.storage)
    study = open_study(build_spec(read, storage, 0), storage, False)
    return study, search(study, _load, watcher or Watched())

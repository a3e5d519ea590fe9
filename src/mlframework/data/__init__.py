"""Data: from files to examples, cut into splits. `DATASETS` names the kinds of data.

Nothing here imports torch, polars, PIL or scikit-learn before data is loaded.
"""

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
from pydantic import AfterValidator, Field

from mlframework.config.base import Config
from mlframework.data.image_files import decode_image
from mlframework.data.images import ImageExamples, ImageFolderConfig, LazyPixels
from mlframework.data.interactions import Catalogue, FeatureTable, InteractionExamples, InteractionsConfig
from mlframework.data.splits import Examples, Loaded, SplitConfig, Splits, split
from mlframework.data.table_encoder import TableEncoder
from mlframework.data.table_file import read_frame
from mlframework.data.table_schema import TableExamples, TableSchema, encode_frame
from mlframework.data.tables import TableConfig

__all__ = [
    "DATASETS",
    "Catalogue",
    "DataConfig",
    "Examples",
    "FeatureTable",
    "ImageExamples",
    "ImageFolderConfig",
    "InteractionExamples",
    "InteractionsConfig",
    "LazyPixels",
    "Loaded",
    "SplitConfig",
    "Splits",
    "TableConfig",
    "TableEncoder",
    "TableExamples",
    "TableSchema",
    "clear_cache",
    "decode_image",
    "encode_frame",
    "load_splits",
    "read_frame",
    "split",
]

AnyConfig: TypeAlias = ImageFolderConfig | TableConfig | InteractionsConfig
DATASETS: dict[str, type[Config]] = {
    "image_folder": ImageFolderConfig,
    "table": TableConfig,
    "interactions": InteractionsConfig,
}


def _suits_its_split(config: AnyConfig) -> AnyConfig:
    if config.split.strategy == "leave_one_out" and not isinstance(config, InteractionsConfig):
        raise ValueError(
            f"split.strategy: leave_one_out is for interactions, whose rows have users, not for {config.type}; use random "
            "or stratified"
        )
    return config


DataConfig: TypeAlias = Annotated[AnyConfig, Field(discriminator="type"), AfterValidator(_suits_its_split)]

# What a trial may change without the data having to be loaded again.
NOT_LOADED = {"augment", "fraction"}
KEPT = 2
_cache: "OrderedDict[tuple[Any, ...], tuple[Splits[Any], Any, dict[float, Splits[Any]]]]" = OrderedDict()
_cache_lock = threading.Lock()


def load_splits(config: AnyConfig, seed: int) -> Splits[Any]:
    """Load the data, cut it into splits, and take the `fraction` of train that the config asks for.

    The last two data sets are kept, so that the trials of a search share one: all of the `data:` section but augment
    and fraction tells them apart, with the seed and the times at which the files were changed. Callers share the
    arrays, and must not write into them.

    Raises:
        DataError: the data cannot be used; the message names the file and the remedy.
    """
    changed = tuple(_changed(Path(path)) for path in _paths(config))
    key = (config.model_dump_json(exclude=NOT_LOADED), seed, changed)
    with _cache_lock:
        if key not in _cache:
            while len(_cache) >= KEPT:
                _cache.popitem(last=False)
            loaded: Loaded[Any] = config.load()
            _cache[key] = split(loaded, config.split, seed), loaded.strategy(config.split), {}
        _cache.move_to_end(key)
        splits, strategy, parts = _cache[key]
        if config.fraction not in parts:
            # The last part alone, as each is a copy: the trials of a search have one fraction, few search it.
            parts.clear()
            split_seed = seed if config.split.seed is None else config.split.seed
            groups = splits.train.users.astype(np.int64) if isinstance(splits.train, InteractionExamples) else None
            parts[config.fraction] = splits.subset_train(config.fraction, split_seed, strategy, groups)
        return parts[config.fraction]


def _paths(config: AnyConfig) -> list[str]:
    """Return the files and folders that the data is read from."""
    if not isinstance(config, InteractionsConfig):
        return [config.path]
    tables = (config.user_features, config.item_features)
    return [config.path, *(table.path for table in tables if table is not None)]


def clear_cache() -> None:
    """Forget the data that `load_splits` keeps."""
    with _cache_lock:
        _cache.clear()


def _changed(path: Path) -> tuple[tuple[str, int], ...]:
    """Return when a file, or a folder and the folders of two levels in it, were last changed (ns)."""
    folders = [folder for pattern in ("*/", "*/*/") for folder in sorted(path.glob(pattern))] if path.is_dir() else []
    return tuple((str(each), each.stat().st_mtime_ns) for each in (path, *folders) if each.exists())

"""What a run's model says of each example of a split: `outputs_val.npz` and `outputs_test.npz` in the run's folder.

The format is public (docs/reference/files.md): NumPy's archive, read without pickle, so that a stranger's file is data only.
"""

import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlframework.data import AnyConfig
from mlframework.data.images import ImageExamples
from mlframework.data.interaction_examples import InteractionExamples
from mlframework.errors import RunError
from mlframework.learners.base import Outputs
from mlframework.machine import free_memory
from mlframework.runs import FORMAT, RunDir, replacing

SPLITS = ("val", "test")
_AGAIN = "delete it, and train again to have it written anew"
_KEYS = ("format", "split", "task", "epoch", "targets", "values", "class_names", "rows", "names")


@dataclass(frozen=True)
class SavedOutputs:
    """What the model says of each example of a split, and which example that is.

    Attributes:
        split: val or test.
        epoch: whose weights they are of.
        task: what the values are.
        targets: (n,) int64 classes, or float values.
        values: probabilities (n, n_classes), or values (n,) in the target's unit.
        class_names: in the order of the columns; empty in a regression.
        rows: of a table: (n,) the number of each example's row in the file, from 1, header and blank lines not counted;
            else empty.
        names: of images: (n,) the path below the data's folder; of interactions: user and item; else empty.
    """

    split: str
    epoch: int
    task: Literal["classification", "regression"]
    targets: NDArray[Any]
    values: NDArray[np.floating]
    class_names: tuple[str, ...]
    rows: NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.targets)


def outputs_path(run: RunDir, split: str) -> Path:
    """Return where a run's outputs of a split lie."""
    return run.path / f"outputs_{split}.npz"


def write_outputs(run: RunDir, split: str, epoch: int, outputs: Outputs | None, examples: Any, data: AnyConfig) -> None:
    """Write `outputs_<split>.npz`; nothing for a recommender, which has no output for an example.

    Raises:
        RunError: it cannot be written.
    """
    if outputs is None:
        return
    content = saved(split, epoch, outputs, examples, data)
    arrays: dict[str, Any] = {
        "format": np.int64(FORMAT),
        "split": np.str_(split),
        "task": np.str_(content.task),
        "epoch": np.int64(epoch),
        "targets": content.targets,
        "values": content.values,
        "class_names": np.array(content.class_names, dtype=np.str_),
        "rows": content.rows,
        "names": np.array(content.names, dtype=np.str_),
    }
    with replacing(outputs_path(run, split)) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def saved(split: str, epoch: int, outputs: Outputs, examples: Any, data: AnyConfig) -> SavedOutputs:
    """Return a learner's outputs together with what its examples are called."""
    rows = np.empty(0, dtype=np.int64)
    names: tuple[str, ...] = ()
    if isinstance(examples, ImageExamples):
        names = tuple(os.path.relpath(path, data.path).replace(os.sep, "/") for path in examples.paths)
    elif isinstance(examples, InteractionExamples):
        users, items = examples.catalogue.users, examples.catalogue.items
        pairs = zip(examples.users, examples.items, strict=True)
        names = tuple(f"{users[user]}, {items[item]}" for user, item in pairs)
    elif getattr(examples, "rows", None) is not None:
        rows = examples.rows + 1
    task: Literal["classification", "regression"] = "regression" if outputs.class_names is None else "classification"
    return SavedOutputs(
        split, epoch, task, outputs.targets, outputs.values.astype(np.float32), tuple(outputs.class_names or ()),
        rows, names,
    )  # fmt: skip


def read_outputs(path: Path) -> SavedOutputs:
    """Read outputs that `write_outputs` wrote.

    Raises:
        RunError: the file is damaged, of another format, or larger than the memory; the message has the key.
    """
    try:
        arrays = _arrays(path)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None
    except RunError:
        raise
    except Exception as error:  # noqa: BLE001 - zipfile and NumPy raise whatever the bytes lead them to
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise RunError(f"{path}: is no NumPy archive, or a damaged one ({reason}); {_AGAIN}") from None
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        raise RunError(f"{path}: has no {', '.join(missing)}; {_AGAIN}")
    if arrays["format"].tolist() != FORMAT:
        raise RunError(f"{path}: format: this version reads {FORMAT}, got {arrays['format'].tolist()!r}; {_AGAIN}")
    problem = _wrong(arrays)
    if problem is not None:
        raise RunError(f"{path}: {problem}; {_AGAIN}")
    return SavedOutputs(
        split=str(arrays["split"]),
        epoch=int(arrays["epoch"]),
        task="classification" if str(arrays["task"]) == "classification" else "regression",
        targets=arrays["targets"],
        values=arrays["values"],
        class_names=tuple(arrays["class_names"].tolist()),
        rows=arrays["rows"],
        names=tuple(arrays["names"].tolist()),
    )


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays that are ours, each only where its header says no more than the archive holds."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        parts = {key: archive.getinfo(f"{key}.npy") for key in _KEYS if f"{key}.npy" in archive.namelist()}
        free, n_bytes = free_memory(), sum(part.file_size for part in parts.values())
        # A megabyte of zip may hold a gigabyte of zeros.
        if free is not None and n_bytes > free:
            raise RunError(f"{path}: holds {n_bytes / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB of memory are free")
        for key, part in parts.items():
            with archive.open(part) as file:
                version = np.lib.format.read_magic(file)
                header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, _, dtype = header[version](file)
                # NumPy takes the memory that the header asks for before it looks at what there is.
                if math.prod(shape) * dtype.itemsize != part.file_size - file.tell():
                    raise ValueError(f"{key} is not as long as it says")
            with archive.open(part) as file:
                found[key] = np.lib.format.read_array(file, allow_pickle=False)
    return found


def _wrong(arrays: Mapping[str, NDArray[Any]]) -> str | None:
    """Return what does not fit together, or None."""
    targets, values, class_names = arrays["targets"], arrays["values"], arrays["class_names"]
    n, task = len(targets) if targets.ndim == 1 else 0, str(arrays["task"])
    shapes = {"classification": (n, len(class_names) if class_names.ndim == 1 else 0), "regression": (n,)}
    checks = {
        "split": (str(arrays["split"]) in SPLITS, f"should be val or test, got {str(arrays['split'])!r}"),
        "task": (task in shapes, f"should be classification or regression, got {task!r}"),
        "epoch": (arrays["epoch"].shape == () and arrays["epoch"].dtype.kind == "i", "should be a whole number"),
        "class_names": (class_names.dtype.kind == "U" or not class_names.size, "should hold texts"),
        "targets": (n > 0 and targets.dtype.kind == ("i" if task == "classification" else "f"),
                    f"should be one number an example, got {targets.dtype} {targets.shape}"),
        "values": (values.dtype.kind == "f" and values.shape == shapes.get(task),
                   f"should be {shapes.get(task)} numbers, got {values.dtype} {values.shape}"),
        "rows": (arrays["rows"].dtype.kind == "i" and arrays["rows"].shape in ((n,), (0,)), "should be one an example"),
        "names": (arrays["names"].dtype.kind == "U" and arrays["names"].shape in ((n,), (0,)),
                  "should be one an example"),
    }  # fmt: skip
    for key, (is_right, what) in checks.items():
        if not is_right:
            return f"{key}: {what}"
    if task == "classification" and not (targets.min() >= 0 and targets.max() < len(class_names)):
        return f"targets: run from {targets.min()} to {targets.max()}, and there are {len(class_names)} classes"
    return None

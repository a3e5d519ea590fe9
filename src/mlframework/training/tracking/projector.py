"""The items of a recommender for TensorBoard's projector: their vectors, their names, and what is known about them.

Three files in the run's folder: what the projector looks for, `projector_config.pbtxt`, and in `projector/` the vectors as
float32 (read in a moment; text would take seconds) and a line of text an item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlframework.data.interaction_examples import InteractionExamples
from mlframework.runs import replacing, write_text

MOST_ITEMS = 3000
"""Of more items those with the most interactions are shown: a browser lays out no more of them in a minute."""
CONFIG = "projector_config.pbtxt"
FOLDER = "projector"
_MOST_CATEGORIES, _MOST_COLUMNS = 50, 8


@dataclass(frozen=True)
class Items:
    """The items that are shown, (n,) of each.

    Attributes:
        rows: their places among all items.
        columns: texts by column, the first of which is what they are called.
        total: how many items there are in all.
    """

    rows: NDArray[np.int64]
    columns: Mapping[str, Sequence[str]]
    total: int

    @classmethod
    def of(cls, train: InteractionExamples) -> Items:
        """Choose items by their interactions in training, and say of each what is known."""
        catalogue = train.catalogue
        counts = np.bincount(train.items, minlength=len(catalogue.items))
        rows = np.sort(np.argsort(-counts, kind="stable")[:MOST_ITEMS])
        columns: dict[str, list[str]] = {}
        if catalogue.item_names is not None:
            columns["name"] = [catalogue.item_names[row] for row in rows]
        columns[catalogue.item_column] = [str(catalogue.items[row]) for row in rows]
        columns["interactions"] = [str(counts[row]) for row in rows]
        table = catalogue.item_features
        if table is not None:
            for place, name in enumerate(table.schema.categorical):
                categories = table.schema.vocabulary[name]
                if len(categories) <= _MOST_CATEGORIES and name not in columns and len(columns) < _MOST_COLUMNS:
                    codes = table.categorical[rows, place]
                    columns[name] = [categories[code] if code >= 0 else "" for code in codes]
        return cls(rows, columns, len(catalogue.items))


@dataclass
class Projector:
    """Writes the items of a run.

    Attributes:
        folder: the run's.
        items: what is shown.
    """

    folder: Path
    items: Items
    _is_described: bool = field(default=False, init=False)

    def write(self, vectors: NDArray[np.float32]) -> None:
        """Write the vectors of the items that are shown, (n, d), in the place of those of an earlier epoch.

        Raises:
            RunError: they cannot be written.
        """
        where = self.folder / FOLDER
        with replacing(where / "items.bytes") as temporary:
            temporary.write_bytes(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
        if not self._is_described:
            write_text(where / "items.tsv", _table(self.items.columns))
            write_text(self.folder / CONFIG, _config(vectors.shape))
            self._is_described = True


def _table(columns: Mapping[str, Sequence[str]]) -> str:
    """Return lines of text between tabs, with a header line."""
    rows = zip(*columns.values(), strict=True)
    return "".join("\t".join(map(_in_a_cell, row)) + "\n" for row in [tuple(columns), *rows])


def _in_a_cell(text: str) -> str:
    return " ".join(text.split()) or "-"  # an empty line would be passed over, and all items behind it misnamed


def _config(shape: tuple[int, ...]) -> str:
    return (
        "embeddings {\n"
        '  tensor_name: "items"\n'
        f"  tensor_shape: {shape[0]}\n"
        f"  tensor_shape: {shape[1]}\n"
        f'  tensor_path: "{FOLDER}/items.bytes"\n'
        f'  metadata_path: "{FOLDER}/items.tsv"\n'
        "}\n"
    )

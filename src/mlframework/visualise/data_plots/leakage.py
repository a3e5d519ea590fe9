"""Examples that stand in two splits: what a model has learnt by heart it is then praised for.

Of the test split nothing is looked at but whether its examples stand elsewhere, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlframework.data import ImageExamples, InteractionExamples, Splits, TableExamples
from mlframework.visualise.data_plots.near import Look, Near, look, near, put_together
from mlframework.visualise.data_plots.near import sentence as sentence_on_near

Keys: TypeAlias = NDArray[Any]
"""What tells examples apart, (n,): equal keys, equal examples."""
PAIRS = (("train", "val"), ("train", "test"), ("val", "test"))
NAMED = 20  # of the examples that stand twice, in a leak
_AT_ONCE = 256  # images that are decoded at once
_DIGEST_SIZE = 8  # bytes: of a million examples two have the same by chance once in 37 million times


@dataclass(frozen=True)
class Leak:
    """What two splits share.

    Attributes:
        seen: the split that is learnt from, or selected by.
        judged: the split that is evaluated.
        count: how many examples of `judged` stand in `seen`, too.
        of: how many examples `judged` has.
        otherwise: how many of them have another target there.
        pairs: the first of them: what each is called in `seen`, and in `judged`.
    """

    seen: str
    judged: str
    count: int
    of: int
    otherwise: int
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Leakage:
    """What is known about examples that stand twice.

    Attributes:
        unit: what an example is: "image", "row" or "user-item pair".
        leaks: of each two splits that share an example.
        groups: of each two splits that share groups, how many: (seen, judged, number, of so many).
        repeated: by split, how many of its examples stand in that same split before; not of the test split.
        near: of each two splits in which images look nearly the same.
    """

    unit: str
    leaks: tuple[Leak, ...]
    groups: tuple[tuple[str, str, int, int], ...] = ()
    repeated: Mapping[str, int] | None = None
    near: tuple[Near, ...] = ()

    @property
    def found(self) -> bool:
        """Whether the splits share anything."""
        return bool(self.leaks or self.groups or self.near)


def parts_of(splits: Splits[Any]) -> dict[str, Any]:
    """Return the splits that there are, by name."""
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    return {name: part for name, part in parts.items() if part is not None and len(part)}


def of_images(splits: Splits[ImageExamples]) -> Leakage:
    """Find images whose pixels are the same, or nearly so, at the size at which they are trained on."""
    parts = parts_of(splits)
    read = {name: _read(part) for name, part in parts.items()}
    keys = {name: own for name, (own, _) in read.items()}
    looks = {name: looks for name, (_, looks) in read.items()}
    names = {name: part.paths for name, part in parts.items()}
    found = find("image", keys, {name: part.targets for name, part in parts.items()}, names)
    pairs = [pair for pair in PAIRS if set(pair) <= parts.keys()]
    exact = {pair: np.flatnonzero(np.isin(keys[pair[1]], keys[pair[0]])) for pair in pairs}
    close = [near(pair, parts, looks, exact[pair]) for pair in pairs]
    return replace(found, near=tuple(each for each in close if each is not None))


def of_tables(splits: Splits[TableExamples]) -> Leakage:
    """Find rows whose features are all the same, and groups that were cut apart."""
    parts = parts_of(splits)
    keys = {name: row_keys(part) for name, part in parts.items()}
    targets = {name: part.targets for name, part in parts.items()}
    groups = {name: part.groups for name, part in parts.items() if part.groups is not None}
    found = find("row", keys, targets, {})
    return Leakage(found.unit, found.leaks, tuple(_shared_groups(groups)), found.repeated)


def of_interactions(splits: Splits[InteractionExamples]) -> Leakage:
    """Find pairs of a user and an item that stand in two splits."""
    parts = parts_of(splits)
    n_items = len(splits.train.catalogue.items)
    keys = {name: part.users.astype(np.int64) * n_items + part.items for name, part in parts.items()}
    return find("user-item pair", keys, {name: part.targets for name, part in parts.items()}, {})


def find(
    unit: str, keys: Mapping[str, Keys], targets: Mapping[str, Keys], names: Mapping[str, Sequence[str]]
) -> Leakage:
    """Find what the splits share.

    Args:
        unit: what an example is called.
        keys: by split, train, val and test.
        targets: by split.
        names: by split, what an example is called; where there are none it is counted only.
    """
    leaks = []
    for seen, judged in PAIRS:
        if seen in keys and judged in keys:
            leak = _leak(seen, judged, keys, targets, names)
            leaks += [leak] if leak.count else []
    repeated = {name: len(part) - len(np.unique(part)) for name, part in keys.items() if name != "test"}
    return Leakage(unit, tuple(leaks), repeated=repeated)


def _leak(
    seen: str, judged: str, keys: Mapping[str, Keys], targets: Mapping[str, Keys], names: Mapping[str, Sequence[str]]
) -> Leak:
    # The first of equal ones, in the order of the split.
    known, first = np.unique(keys[seen], return_index=True)
    places = np.minimum(np.searchsorted(known, keys[judged]), len(known) - 1)
    rows = np.flatnonzero(known[places] == keys[judged])
    twins = first[places[rows]]
    named = [(names[seen][twin], names[judged][row]) for row, twin in zip(rows[:NAMED], twins, strict=False) if names]
    otherwise = int((targets[seen][twins] != targets[judged][rows]).sum())
    return Leak(seen, judged, len(rows), len(keys[judged]), otherwise, tuple(named))


def _shared_groups(groups: Mapping[str, NDArray[np.int64]]) -> Iterator[tuple[str, str, int, int]]:
    for seen, judged in PAIRS:
        if seen in groups and judged in groups:
            own = np.unique(groups[judged])
            shared = len(np.intersect1d(np.unique(groups[seen]), own, assume_unique=True))
            if shared:
                yield seen, judged, shared, len(own)


def _read(examples: ImageExamples) -> tuple[Keys, Look]:
    """Return a key of each image's pixels, and what it looks like: each is decoded once."""
    digests, looks = [], []
    for start in range(0, len(examples), _AT_ONCE):
        images = examples.pixels[np.arange(start, min(start + _AT_ONCE, len(examples)))]
        digests += [blake2b(pixels.tobytes(), digest_size=_DIGEST_SIZE).digest() for pixels in images]
        looks.append(look(images))
    return np.frombuffer(b"".join(digests), dtype=np.uint64), put_together(looks)


def row_keys(examples: TableExamples) -> Keys:
    """Return a key of each row's features: missing values are equal to one another, and 0 is to -0."""
    numeric = examples.numeric + np.float32(0)
    numeric[np.isnan(numeric)] = np.nan
    # One form of "not a number": others would have other bytes.
    rows = np.concatenate([numeric.view(np.int32), examples.categorical.astype(np.int32)], axis=1)
    digests = [blake2b(row.tobytes(), digest_size=_DIGEST_SIZE).digest() for row in np.ascontiguousarray(rows)]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def sentences(leakage: Leakage) -> list[str]:
    """Say what the splits share, a sentence each; nothing where they share nothing."""
    said = [_sentence(leakage.unit, leak) for leak in leakage.leaks]
    said += [sentence_on_near(each) for each in leakage.near]
    for seen, judged, shared, total in leakage.groups:
        said.append(
            f"{shared:,} of the {total:,} groups of {judged} are in {seen}, too: rows of one group may tell of one another; "
            "data.split.strategy: group keeps them together."
        )
    return said


def _sentence(unit: str, leak: Leak) -> str:
    share = f"{leak.count:,} of the {leak.of:,} {unit}s of {leak.judged} ({leak.count / leak.of:.1%})"
    what = {
        "image": "show exactly what an image of {seen} shows: take one of each two away",
        "row": "have exactly the features of a row of {seen}: take such rows out, or, where they belong together, name "
        "their data.group_column; with few columns of few values it may be chance",
        "user-item pair": "stand in {seen}, too: take the repetitions out of the log",
    }[unit].format(seen=leak.seen)
    other = f"; the target differs in {leak.otherwise:,} of them" if leak.otherwise else ""
    return f"{share} {what}{other}."

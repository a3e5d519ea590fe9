"""Images that look nearly the same: copies that were saved anew, scaled or brightened, whose pixels are no longer equal.

Two steps. A difference hash (dHash; N. Krawetz, "Kind of Like That", The Hacker Factor Blog, 2013) has a bit for each two
neighbouring cells of a small grey picture: which of them is brighter; here for neighbours in a row and in a column, 128
bits. Few different bits make a candidate. On pictures with much empty ground, as of written digits, hashes of different
examples are often equal, so that a candidate has to pass a second look: the correlation of small pictures in colour.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlframework.data import ImageExamples

MAX_BITS = 12  # of 128: how many may differ
MIN_CORRELATION = 0.995
"""Of scikit-learn's digits one of 1.6 million pairs is as alike as that; hashes alone find thousands."""
PICTURED = 12  # pairs that are shown
_CELLS = 16  # of the small pictures, a side
_MIN_CONTRAST = 4.0  # standard deviation, of 255: nothing can be said of what is flatter
_AT_ONCE = 2_000_000  # pairs that are compared at once
_PIXELS_AT_ONCE = 20_000_000
MOST_PAIRS = 1_000_000_000  # some ten seconds; of larger splits a part is compared

Rows = NDArray[np.int64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Look:
    """What images look like, in few numbers.

    Attributes:
        bits: the hashes, uint64 (n, 2): of neighbours in a row, and in a column.
        small: the small pictures, uint8 (n, 3, 16, 16).
    """

    bits: NDArray[np.uint64]
    small: Pixels


@dataclass(frozen=True)
class Near:
    """What looks nearly the same in two splits.

    Attributes:
        seen: the split that is learnt from, or selected by.
        judged: the split that is evaluated.
        count: how many images of `judged` look nearly like one of `seen`; those with just its pixels left out.
        of: how many of them were compared: all, but of very large splits.
        otherwise: how many of them have another target there.
        pairs: the most alike of them, the most alike first: what each is called in `seen`, and in `judged`.
        pictures: of these pairs, uint8 (3, h, w) each.
    """

    seen: str
    judged: str
    count: int
    of: int
    otherwise: int
    pairs: tuple[tuple[str, str], ...]
    pictures: tuple[tuple[Pixels, Pixels], ...]


def look(pixels: Pixels) -> Look:
    """Look at images, uint8 (n, 3, h, w)."""
    step = max(1, _PIXELS_AT_ONCE // pixels[0].size)
    looks = [_look(pixels[start : start + step].astype(np.float32)) for start in range(0, len(pixels), step)]
    return put_together(looks)


def put_together(looks: Sequence[Look]) -> Look:
    """Return the looks of some images followed by those of others."""
    return Look(np.concatenate([each.bits for each in looks]), np.concatenate([each.small for each in looks]))


def _look(images: NDArray[np.float32]) -> Look:
    grey = images.mean(axis=1)
    beside, below = _shrunk(grey, 8, 9), _shrunk(grey, 9, 8)
    bits = [beside[:, :, 1:] > beside[:, :, :-1], below[:, 1:] > below[:, :-1]]
    hashes = [np.packbits(each.reshape(len(images), 64), axis=1).view(np.uint64) for each in bits]
    return Look(np.concatenate(hashes, axis=1), _shrunk(images, _CELLS, _CELLS).round().astype(np.uint8))


def _shrunk(images: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Return images (..., h, w) at another size, a cell the mean of what it covers."""
    return np.asarray(_cover(images.shape[-2], height) @ images @ _cover(images.shape[-1], width).T, dtype=np.float32)


def _cover(n: int, n_cells: int) -> NDArray[np.float32]:
    """Return which share of a cell each of n pixels in a row covers, (n_cells, n)."""
    edges = np.arange(n_cells + 1)[:, None] * (n / n_cells)
    pixels = np.arange(n)[None]
    overlap = np.minimum(pixels + 1, edges[1:]) - np.maximum(pixels, edges[:-1])
    return np.asarray(np.clip(overlap, 0, None) * (n_cells / n), dtype=np.float32)


def near(
    names: tuple[str, str], parts: Mapping[str, ImageExamples], looks: Mapping[str, Look], exact: Rows
) -> Near | None:
    """Find the images of one split that look nearly like one of another.

    Args:
        names: of the split that is learnt from, and of the one that is judged.
        parts: the images by split.
        looks: what they look like.
        exact: rows of the judged split whose very pixels stand in the other one.

    Returns:
        None where there are none.
    """
    seen, judged = names
    one, two = parts[seen], parts[judged]
    most = max(1, MOST_PAIRS // max(1, len(one)))
    rows = np.unique(np.linspace(0, len(two) - 1, min(len(two), most)).astype(np.int64))
    compared = len(rows)
    twins, rows, alike = _twins(looks[seen], looks[judged], np.setdiff1d(rows, exact))
    if not len(rows):
        return None
    order = np.lexsort((rows, -alike))[:PICTURED]
    pictures = [(one.pixels[twins[at : at + 1]][0], two.pixels[rows[at : at + 1]][0]) for at in order]
    return Near(
        seen, judged, len(rows), compared, int((one.targets[twins] != two.targets[rows]).sum()),
        tuple((one.paths[twins[at]], two.paths[rows[at]]) for at in order), tuple(pictures),
    )  # fmt: skip


def _twins(one: Look, two: Look, rows: Rows) -> tuple[Rows, Rows, NDArray[np.float32]]:
    """Return, of each of these rows of `two` that has a near one, the most alike row of `one`, itself, and how alike."""
    found: list[tuple[Rows, Rows, NDArray[np.float32]]] = []
    step = max(1, _AT_ONCE // max(1, len(one.bits)))
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        apart = np.bitwise_count(one.bits[:, None, 0] ^ two.bits[None, block, 0])
        left, right = np.nonzero(apart <= MAX_BITS)
        apart = apart[left, right] + np.bitwise_count(one.bits[left, 1] ^ two.bits[block[right], 1])
        left, right = left[apart <= MAX_BITS], block[right[apart <= MAX_BITS]]
        alike = np.einsum("ij,ij->i", _centred(one.small[left]), _centred(two.small[right]))
        is_near = alike >= MIN_CORRELATION
        found.append((left[is_near], right[is_near], alike[is_near]))
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    left, right, alike = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.lexsort((left, -alike, right))
    _, best = np.unique(right[order], return_index=True)
    kept = order[best]
    return left[kept], right[kept], alike[kept]


def _centred(small: Pixels) -> NDArray[np.float32]:
    """Return small pictures as vectors of length 1, each colour about its mean; flat ones as 0, like nothing."""
    values = small.astype(np.float32)
    values -= values.mean(axis=(2, 3), keepdims=True)
    flat = values.reshape(len(small), 3 * _CELLS**2)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    least = _MIN_CONTRAST * flat.shape[1] ** 0.5
    return np.where(length >= least, flat / np.maximum(length, 1e-6), 0).astype(np.float32)


def sentence(found: Near) -> str:
    """Say how many there are, and what to do."""
    share = f"{found.count:,} of the {found.of:,} images of {found.judged} ({found.count / found.of:.1%})"
    other = f"; the target differs in {found.otherwise:,} of them" if found.otherwise else ""
    return (
        f"{share} look nearly the same as an image of {found.seen}, as copies do that were saved anew, scaled or "
        f"brightened: look at them, and of two copies take one away{other}."
    )

"""Which interactions of a log are kept: one a user and item, and only those of users and items that have enough."""

import numpy as np

from mlframework.data.splits import Array, Rows
from mlframework.order import stable_order


def merge(users: Rows, items: Rows, time: Array | None) -> tuple[Rows, Rows]:
    """Keep the last interaction of each user with each item.

    Args:
        users: codes of the users, (n,).
        items: codes of the items, (n,).
        time: numbers or dates, (n,): the newest is the last, in a tie the one that comes later; None: the one that
            comes later.

    Returns:
        The rows that are kept, ascending, and how many interactions each stands for, both (m,).
    """
    pairs = users * (int(items.max(initial=0)) + 1) + items
    order = stable_order(pairs) if time is None else np.lexsort((time, pairs))
    first = np.ones(len(order), dtype=bool)
    first[1:] = np.diff(pairs[order]) != 0
    starts = np.flatnonzero(first)
    counts = np.diff(np.append(starts, len(order)))
    last = order[starts + counts - 1]
    stands_for = np.zeros(len(order), np.int64)
    stands_for[last] = counts
    rows = np.flatnonzero(stands_for)
    return rows, stands_for[rows]


def with_enough(users: Rows, items: Rows, min_user: int, min_item: int) -> Rows:
    """Return the rows of the users of `min_user` and the items of `min_item` interactions or more, ascending.

    An item that is left out takes interactions from its users and the other way round, so this goes on until nothing
    changes. What is left is the largest such set: the (k, l)-core of the bipartite graph, whatever the order.
    """
    rows = np.arange(len(users))
    while len(rows):
        per_user, per_item = np.bincount(users[rows]), np.bincount(items[rows])
        enough = (per_user[users[rows]] >= min_user) & (per_item[items[rows]] >= min_item)
        if enough.all():
            break
        rows = rows[enough]
    return rows

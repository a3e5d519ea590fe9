"""What is kept of a log, against references that are slow and plain."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlframework.data.interaction_filters import merge, with_enough

pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=40)


def codes(log: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([user for user, _ in log], dtype=np.int64), np.array([item for _, item in log], dtype=np.int64)


@given(log=pairs, min_user=st.integers(1, 4), min_item=st.integers(1, 4))
def test_the_filter_leaves_what_taking_out_one_by_one_leaves(
    log: list[tuple[int, int]], min_user: int, min_item: int
) -> None:
    left = list(range(len(log)))
    while True:
        users, items = [log[row][0] for row in left], [log[row][1] for row in left]
        poor = [r for r in left if users.count(log[r][0]) < min_user or items.count(log[r][1]) < min_item]
        if not poor:
            break
        left.remove(poor[-1])
    assert with_enough(*codes(log), min_user, min_item).tolist() == left


def test_the_filter_goes_on_until_it_is_stable() -> None:
    # Without user 2 item 3 is poor, without item 3 user 1 is, and so on down the chain.
    log = [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)]
    assert with_enough(*codes(log), 2, 1).tolist() == [0, 1, 2, 3]
    assert with_enough(*codes(log), 2, 2).tolist() == []


@given(log=pairs, data=st.data(), timed=st.booleans())
def test_the_last_of_each_user_and_item_is_kept_and_all_are_counted(
    log: list[tuple[int, int]], data: st.DataObject, timed: bool
) -> None:
    times = data.draw(st.lists(st.integers(0, 3), min_size=len(log), max_size=len(log)))
    last: dict[tuple[int, int], int] = {}
    for row, pair in enumerate(log):
        if pair not in last or not timed or times[row] >= times[last[pair]]:
            last[pair] = row
    rows, counts = merge(*codes(log), np.array(times) if timed else None)
    assert rows.tolist() == sorted(last.values())
    assert counts.tolist() == [log.count(log[row]) for row in rows]

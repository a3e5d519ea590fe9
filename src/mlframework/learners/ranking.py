"""How a recommender is measured, whatever it is made of: by its vectors, for all users at once. No torch here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlframework.data.splits import Splits
from mlframework.errors import TrainingError
from mlframework.learners.base import RankingReport, wanted_metrics
from mlframework.metrics import ALWAYS, compute_ranking, key_of, ranking, ranking_curves

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from mlframework.data.interaction_examples import InteractionExamples

RECOMMENDED = 10
"""How many items are recommended to each user in a report."""
DEEPEST = 100
"""Up to which K a report has recall@K."""


@dataclass(frozen=True)
class Vectors:
    """What a recommender has learnt: the score of an item for a user is the product of their vectors.

    Attributes:
        users: float32 (n_users, d).
        items: float32 (n_items, d).
    """

    users: NDArray[np.float32]
    items: NDArray[np.float32]


class Ranker:
    """Ranks the items for the users of a split, those without the user's training items.

    Args:
        splits: `val` and `test` may be None.
        names: metrics that are asked for, with split; the usual ones are computed besides.

    Raises:
        TrainingError: a metric has no meaning here, or its K is larger than the number of items.
    """

    def __init__(self, splits: "Splits[InteractionExamples]", names: Sequence[str]) -> None:
        self._splits = splits
        self._held_out: dict[str, ranking.HeldOut] = {}
        n_items = len(splits.train.catalogue.items)
        require_items(names, n_items)
        # The usual ones look at ten items: a catalogue of fewer has only those that were asked for.
        asked = wanted_metrics("ranking", names)
        self._wanted: Mapping[str, tuple[str, ...]] = {
            split: tuple(b for b in bases if (key_of(b)[1] or 0) <= n_items or b not in ALWAYS["ranking"])
            for split, bases in asked.items()
        }

    @cached_property
    def train(self) -> "csr_matrix":
        """The training interactions, (n_users, n_items)."""
        return self._splits.train.matrix()

    def measure(self, split: str, vectors: Vectors) -> dict[str, float]:
        """Return the metrics of a split by name without split."""
        wanted = self._wanted[split]
        depth = max((key_of(base)[1] or 1 for base in wanted), default=1)
        held, first = self.held_out(split), "mrr" in wanted
        return compute_ranking(wanted, ranking.rank(vectors.users, vectors.items, held, depth, first=first))

    def report(self, split: str, vectors: Vectors) -> RankingReport:
        """Return what is recommended to the users of a split, and how that compares with the most popular items."""
        held = self.held_out(split)
        n_items = held.n_items
        depth, k = min(DEEPEST, n_items), min(RECOMMENDED, n_items)
        interactions = np.bincount(self.train.indices, minlength=n_items)
        items, _ = ranking.top(vectors.users[held.users], vectors.items, held.seen_indptr, held.seen_items, k)
        everybody = np.ones((len(vectors.users), 1), dtype=np.float32)
        popularity = interactions.astype(np.float32)[:, None]
        own = ranking.rank(vectors.users, vectors.items, held, depth, first=False)
        popular = ranking.rank(everybody, popularity, held, depth, first=False)
        return RankingReport(
            k=k,
            n_users=len(held),
            recall_at=ranking_curves.recall_curve(own),
            precision_at=ranking_curves.precision_curve(own),
            ndcg_at=ranking_curves.ndcg_curve(own),
            popularity_recall_at=ranking_curves.recall_curve(popular),
            popularity_precision_at=ranking_curves.precision_curve(popular),
            popularity_ndcg_at=ranking_curves.ndcg_curve(popular),
            users_by_hits=ranking_curves.users_by_hits(own, k),
            recommended=np.bincount(items[items >= 0], minlength=n_items),
            interactions=interactions,
        )

    def held_out(self, split: str) -> ranking.HeldOut:
        """Return what a split holds out, prepared once.

        Raises:
            TrainingError: nobody in it can be evaluated.
        """
        if split not in self._held_out:
            part: InteractionExamples | None = {"val": self._splits.val, "test": self._splits.test}[split]
            assert part is not None
            try:
                self._held_out[split] = ranking.HeldOut.of(self.train, part.matrix())
            except ValueError as error:
                raise TrainingError(
                    f"{split}: {error}; a larger data.split.{split}_fraction, or another data.split.strategy, may help"
                ) from None
        return self._held_out[split]


def require_items(names: Sequence[str], n_items: int) -> None:
    """Check that no metric looks at more items than there are.

    Raises:
        TrainingError: one does; the message has a smaller K.
    """
    for name in names:
        k = key_of(name.partition("_")[2])[1]
        if k is not None and k > n_items:
            raise TrainingError(
                f"metric: {name}: there are {n_items:,} items, fewer than {k:,}; use a smaller K, such as "
                f"{name.rpartition('_')[0]}_{min(RECOMMENDED, n_items)}"
            )

"""The torch modules, losses and batches of the two-tower model. In the shapes, b is a batch and d the embedding's length."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mlframework.data.batches import Fetch, Rows
from mlframework.models.layers import TabularInput
from mlframework.models.look_up import LookUp

_INITIAL_STD = 0.1
_REDRAWS = 2
"""How often a negative is drawn again that its user has an interaction with."""


class Features(nn.Module):
    """What is known of each user, or of each item, as the input of a tower.

    Args:
        numeric: float32 (n, p), standardised.
        codes: int64 (n, q).
        cardinalities: number of codes of each categorical column.
    """

    def __init__(self, numeric: NDArray[np.float32], codes: NDArray[np.int64], cardinalities: tuple[int, ...]) -> None:
        super().__init__()
        self.table = TabularInput(numeric.shape[1], cardinalities)
        self.width = self.table.width
        # They are data, not weights: checkpoints and artifacts go without them.
        self.register_buffer("numeric", torch.from_numpy(numeric), persistent=False)
        self.register_buffer("codes", torch.from_numpy(codes), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Return (b, width) of rows int64 (b,)."""
        out: Tensor = self.table(self.numeric[rows], self.codes[rows])  # type: ignore[index]
        return out


class Tower(nn.Module):
    """An embedding of each row, beside its features where there are any, through fully connected layers.

    Args:
        n_rows: number of users, or of items.
        embedding_dim: length of the embedding and of what comes out.
        hidden: widths of the hidden layers.
        dropout: of the input of each layer; with no layer, of the embedding.
        features: what is known of each row.
    """

    def __init__(
        self, n_rows: int, embedding_dim: int, hidden: tuple[int, ...], dropout: float, features: Features | None
    ) -> None:
        super().__init__()
        self.embedding = LookUp(n_rows, embedding_dim)
        nn.init.normal_(self.embedding.weight, std=_INITIAL_STD)
        self.features = features
        width = embedding_dim + (0 if features is None else features.width)
        layers: list[nn.Module] = [nn.Dropout(dropout)] if dropout else []
        for size in hidden:
            layers += [nn.Linear(width, size), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
            width = size
        if width != embedding_dim or hidden:
            layers.append(nn.Linear(width, embedding_dim))
        self.layers = nn.Sequential(*layers)

    def forward(self, rows: Tensor) -> Tensor:
        """Return (b, d) of rows int64 (b,)."""
        inputs = self.embedding(rows)
        if self.features is not None:
            inputs = torch.cat([inputs, self.features(rows)], dim=1)
        out: Tensor = self.layers(inputs)
        return out


class TwoTowerModule(nn.Module):
    """A tower for users and one for items; a score is the product of what they return, divided by the temperature."""

    def __init__(self, users: Tower, items: Tower, normalised: bool, temperature: float) -> None:
        super().__init__()
        self.users, self.items = users, items
        self._normalised, self._temperature = normalised, temperature

    def user_vectors(self, rows: Tensor) -> Tensor:
        """Return (b, d), of length 1 where the similarity is the cosine."""
        vectors: Tensor = self.users(rows)
        return functional.normalize(vectors, dim=1) if self._normalised else vectors

    def item_vectors(self, rows: Tensor) -> Tensor:
        """Return (b, d), of length 1 where the similarity is the cosine."""
        vectors: Tensor = self.items(rows)
        return functional.normalize(vectors, dim=1) if self._normalised else vectors

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Return scores: of each user for all items of the batch (b, b), items being (b,); or for its own m, (b, m)."""
        user_vectors = self.user_vectors(users)
        if items.dim() == 1:
            return user_vectors @ self.item_vectors(items).T / self._temperature
        item_vectors = self.item_vectors(items.reshape(-1)).view(*items.shape, -1)
        return torch.einsum("bd,bmd->bm", user_vectors, item_vectors) / self._temperature


def in_batch_softmax(log_q: Tensor | None) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the softmax loss whose negatives are the other items of the batch.

    A popular item is a negative more often than others: its log probability of being in the batch is taken off its score
    (Yi et al., 2019, "Sampling-bias-corrected neural modeling", https://doi.org/10.1145/3298689.3346996).

    Args:
        log_q: float (n_items,) log of each item's share of the training interactions; None for no correction.
    """

    def loss(raw: Tensor, items: Tensor) -> Tensor:
        logits = raw.float()
        if log_q is not None:
            logits = logits - log_q[items]
        # The same item elsewhere in the batch is no negative. The users may be those of the first items only.
        same = items[: len(raw), None] == items[None, :]
        same.fill_diagonal_(False)
        logits = logits.masked_fill(same, -torch.inf)
        return functional.cross_entropy(logits, torch.arange(len(raw), device=raw.device))

    return loss


def sampled_softmax(raw: Tensor, items: Tensor) -> Tensor:
    """Return the softmax loss of scores (b, 1 + n): of the positive item first, then of n uniformly drawn ones."""
    return functional.cross_entropy(raw.float(), torch.zeros_like(items))


def bpr(raw: Tensor, items: Tensor) -> Tensor:
    """Return the pairwise loss of scores (b, 1 + n) (Rendle et al., 2009, https://arxiv.org/abs/1205.2618)."""
    return -functional.logsigmoid(raw[:, :1].float() - raw[:, 1:].float()).mean()


class WithNegatives:
    """Adds uniformly drawn items to batches of users and items, all at once, with torch's global random numbers.

    An item that the user has an interaction with is drawn again, twice at most: what is left of them is noise.

    Args:
        fetch: gives users (b,) and items (b,).
        positives: int64 (n,) `user * n_items + item` of all training interactions.
        n_items: number of items.
        n_negatives: how many are added to each.
        device: where the batches lie.
    """

    def __init__(self, fetch: Fetch, positives: NDArray[np.int64], n_items: int, n_negatives: int, device: str) -> None:
        self._fetch, self._n_items, self._n = fetch, n_items, n_negatives
        self._positives = torch.from_numpy(np.sort(positives)).to(device)

    def __call__(self, rows: Rows) -> tuple[Tensor, ...]:
        """Return users (b,) and items (b, 1 + n), the positive one first."""
        users, items = self._fetch(rows)
        drawn = self._draw(len(users), users.device)
        for _ in range(_REDRAWS):
            keys = users[:, None] * self._n_items + drawn
            places = torch.searchsorted(self._positives, keys).clamp_(max=len(self._positives) - 1)
            drawn = torch.where(self._positives[places] == keys, self._draw(len(users), users.device), drawn)
        return users, torch.cat([items[:, None], drawn], dim=1)

    def _draw(self, n_users: int, device: torch.device) -> Tensor:
        return torch.randint(self._n_items, (n_users, self._n), device=device)

"""Factorization machines as torch modules: scores of pairs of fields, each pair by the product of learnt factors."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional

from mlframework.models.look_up import LookUp
from mlframework.models.pair_score import PairScore


class FieldWeights(nn.Module):
    """The weights of each field's values, and the bias. A field is a numeric or a categorical column.

    The code 0 stands for missing or unseen in training. Its weights, the table's first row, are 0 and stay 0.

    Args:
        numeric_width: number p of numeric columns.
        cardinalities: number of codes of each of the q categorical columns, the 0 for missing included.
        n_scores: number of machines side by side.
        n_factors: number of factors of a value, those of all machines together.
        init_std: standard deviation of the first factors; linear weights and bias begin with 0.
    """

    offsets: Tensor

    def __init__(
        self, numeric_width: int, cardinalities: Sequence[int], n_scores: int, n_factors: int, init_std: float
    ) -> None:
        super().__init__()
        # Linear weights and factors lie side by side: one look-up a batch, and one tensor that the optimizer steps.
        width = n_scores + n_factors
        self.bias = nn.Parameter(torch.zeros(n_scores))
        self.numeric = nn.Parameter(torch.empty(numeric_width, width).normal_(std=init_std))
        self.table = LookUp(1 + sum(cardinality - 1 for cardinality in cardinalities), width, padding_idx=0)
        nn.init.normal_(self.table.weight, std=init_std)
        with torch.no_grad():
            self.numeric[:, :n_scores] = 0
            self.table.weight[:, :n_scores] = 0
            self.table.weight[0] = 0
        before = [0, *accumulate(cardinality - 1 for cardinality in cardinalities)][: len(cardinalities)]
        self.register_buffer("offsets", torch.tensor(before, dtype=torch.int64), persistent=False)

    def look_up(self, codes: Tensor) -> Tensor:
        """Return the weights (b, q, n_scores + n_factors) of codes int64 (b, q): linear ones first, then factors."""
        found: Tensor = self.table((codes + self.offsets) * (codes > 0))
        return found

    def look_up_by_column(self, codes: Tensor) -> Tensor:
        """Return the same weights column by column in memory, too: (q, b, n_scores + n_factors)."""
        by_column = codes.t().contiguous()  # once, and all that follows is one pass through memory
        found: Tensor = self.table((by_column + self.offsets.unsqueeze(1)) * (by_column > 0))
        return found

    def penalty(self, l1: float, l2: float) -> Tensor:
        """Return l1 * sum |w| + l2 * sum w^2, a scalar, over linear weights and factors; the bias goes free."""
        terms = [(strength, of) for strength, of in ((l1, torch.abs), (l2, torch.square)) if strength]
        weights = (self.numeric, self.table.weight)
        return sum((strength * of(w).sum() for strength, of in terms for w in weights), self.bias.new_zeros(()))


class FactorizationMachine(nn.Module):
    """Rendle, "Factorization Machines", ICDM 2010.

    score(x) = bias + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j, where x_i is a numeric column's value, or 1 for the
    category that a row has. The sum over pairs takes O(k n) time (Rendle's lemma 3.1):
    sum_{i<j} <v_i, v_j> x_i x_j = sum_f ((sum_i v_if x_i)^2 - sum_i (v_if x_i)^2) / 2.

    Args:
        numeric_width: number p of numeric columns.
        cardinalities: number of codes of each of the q categorical columns, the 0 for missing included.
        n_outputs: 1 for a regression, else the number of classes: two share one machine, more have one each.
        embedding_dim: number k of factors of a value.
        dropout: share of the k pooled interactions that a training step leaves out (He and Chua, 2017,
            https://arxiv.org/abs/1708.05027).
        init_std: standard deviation of the first factors.
    """

    def __init__(
        self,
        numeric_width: int,
        cardinalities: Sequence[int],
        n_outputs: int,
        embedding_dim: int,
        dropout: float,
        init_std: float,
    ) -> None:
        super().__init__()
        self._n_outputs, self._n_scores = n_outputs, _n_scores(n_outputs)
        self._n_factors = embedding_dim
        self.weights = FieldWeights(
            numeric_width, cardinalities, self._n_scores, self._n_scores * embedding_dim, init_std
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """Return raw outputs (b, n_outputs) of numeric float (b, p) and codes int64 (b, q)."""
        return _outputs(self.score(numeric, codes), self._n_outputs)

    def score(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """Return the score (b, 1) of two classes or of a regression, or one for each of more classes (b, n_outputs)."""
        if not numeric.shape[1] and codes.shape[1] == 2:
            weights = self.weights.look_up_by_column(codes)
            of_pair: Tensor = PairScore.apply(weights, self.weights.bias, self._kept(weights))
            return of_pair
        linear, pooled = self._pooled(numeric, self.weights.look_up(codes))
        interactions: Tensor = self.dropout(pooled.reshape(-1, self._n_scores, self._n_factors)).sum(dim=2)
        return self.weights.bias + linear + interactions

    def _pooled(self, numeric: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        """Return the linear terms (b, n_scores), and the sum of all pairs by factor (b, n_scores * k)."""
        total = self._total(numeric, found)
        with _in_full_precision(numeric.device.type):
            squares = _sum(found.square(), numeric.square(), self.weights.numeric.square())
        n = self._n_scores
        return total[:, :n], (total.square() - squares)[:, n:] / 2

    def user_vectors(self, numeric: Tensor, codes: Tensor, of_user: Tensor) -> Tensor:
        """Return the user's half (m, d) of the score, d = k + 2; see `item_vectors`.

        Args:
            numeric: float (m, p); the item's columns are not read.
            codes: int64 (m, q); the item's columns are not read.
            of_user: bool (p + q,), which columns are the user's, numeric ones first; the others are the item's.

        Raises:
            ValueError: there is a score for each of several classes.
        """
        numeric, codes = _only(numeric, codes, of_user)
        factors = self._total(numeric, self.weights.look_up(codes))[:, self._n_scores :]
        return _user_side(factors, self.score(numeric, codes))

    def item_vectors(self, numeric: Tensor, codes: Tensor, of_user: Tensor) -> Tensor:
        """Return the item's half (n, d) of the score: `user_vectors @ item_vectors.T` is the score (m, n) without dropout.

        Args:
            numeric: float (n, p); the user's columns are not read.
            codes: int64 (n, q); the user's columns are not read.
            of_user: bool (p + q,), which columns are the user's, numeric ones first; the others are the item's.

        Raises:
            ValueError: there is a score for each of several classes.
        """
        numeric, codes = _only(numeric, codes, ~of_user)
        factors = self._total(numeric, self.weights.look_up(codes))[:, self._n_scores :]
        return _item_side(factors, self.score(numeric, codes), self.weights.bias)

    def _kept(self, weights: Tensor) -> Tensor | None:
        """Return by what dropout multiplies the pooled interactions, (b, n_scores, k), or None where it leaves all of them."""
        if not (self.training and self.dropout.p):
            return None
        drawn: Tensor = self.dropout(weights.new_ones(weights.shape[1], self._n_scores, self._n_factors))
        return drawn

    def _total(self, numeric: Tensor, found: Tensor) -> Tensor:
        """Return the sum of the fields' weights, each times its value: (b, n_scores + n_factors)."""
        return _sum(found, numeric, self.weights.numeric)


class FieldAwareFactorizationMachine(nn.Module):
    """Juan et al., "Field-aware Factorization Machines for CTR Prediction", RecSys 2016.

    score(x) = bias + sum_i w_i x_i + sum_{i<j} <v_{i,j}, v_{j,i}> x_i x_j, where v_{i,j} are the factors that the value
    of field i has for field j, and x_i is a numeric column's value, or 1 for the category that a row has. A field has
    one value a row, so there are no factors of a field for itself.

    Args:
        numeric_width: number p of numeric columns.
        cardinalities: number of codes of each of the q categorical columns, the 0 for missing included.
        n_outputs: 1 for a regression, else the number of classes: two share one machine, more have one each.
        embedding_dim: number k of factors that a value has for each other field.
        dropout: share of the pairs of fields that a training step leaves out.
        init_std: standard deviation of the first factors.
    """

    pairs: Tensor

    def __init__(
        self,
        numeric_width: int,
        cardinalities: Sequence[int],
        n_outputs: int,
        embedding_dim: int,
        dropout: float,
        init_std: float,
    ) -> None:
        super().__init__()
        self._n_outputs, self._n_scores = n_outputs, _n_scores(n_outputs)
        self._n_fields = numeric_width + len(cardinalities)
        self._n_factors = embedding_dim
        others = self._n_fields - 1
        self.weights = FieldWeights(
            numeric_width, cardinalities, self._n_scores, others * self._n_scores * embedding_dim, init_std
        )
        self.dropout = nn.Dropout(dropout)
        first, second = torch.triu_indices(self._n_fields, self._n_fields, offset=1)
        left, right = self._places(first, second), self._places(second, first)
        self.register_buffer("pairs", torch.cat([left, right]), persistent=False)

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """Return raw outputs (b, n_outputs) of numeric float (b, p) and codes int64 (b, q)."""
        return _outputs(self.score(numeric, codes), self._n_outputs)

    def score(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """Return the score (b, 1) of two classes or of a regression, or one for each of more classes (b, n_outputs)."""
        weighted = self._weighted(numeric, codes)
        linear = weighted[:, :, : self._n_scores].sum(dim=1)
        left, right = weighted.flatten(1).index_select(1, self.pairs).chunk(2, dim=1)
        n_pairs = self._n_fields * (self._n_fields - 1) // 2
        terms = (left * right).reshape(len(left), n_pairs, self._n_scores, self._n_factors).sum(dim=3)
        interactions: Tensor = self.dropout(terms).sum(dim=1)
        return self.weights.bias + linear + interactions

    def user_vectors(self, numeric: Tensor, codes: Tensor, of_user: Tensor) -> Tensor:
        """Return the user's half (m, d) of the score, d = k * user fields * item fields + 2; see `item_vectors`.

        Args:
            numeric: float (m, p); the item's columns are not read.
            codes: int64 (m, q); the item's columns are not read.
            of_user: bool (p + q,), which columns are the user's, numeric ones first; the others are the item's.

        Raises:
            ValueError: there is a score for each of several classes.
        """
        numeric, codes = _only(numeric, codes, of_user)
        users, items = _across(of_user)
        factors = self._weighted(numeric, codes).flatten(1).index_select(1, self._places(users, items))
        return _user_side(factors, self.score(numeric, codes))

    def item_vectors(self, numeric: Tensor, codes: Tensor, of_user: Tensor) -> Tensor:
        """Return the item's half (n, d) of the score: `user_vectors @ item_vectors.T` is the score (m, n) without dropout.

        Args:
            numeric: float (n, p); the user's columns are not read.
            codes: int64 (n, q); the user's columns are not read.
            of_user: bool (p + q,), which columns are the user's, numeric ones first; the others are the item's.

        Raises:
            ValueError: there is a score for each of several classes.
        """
        numeric, codes = _only(numeric, codes, ~of_user)
        users, items = _across(of_user)
        factors = self._weighted(numeric, codes).flatten(1).index_select(1, self._places(items, users))
        return _item_side(factors, self.score(numeric, codes), self.weights.bias)

    def _weighted(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """Return each field's weights times its value: (b, n_fields, n_scores + n_factors)."""
        return torch.cat([numeric.unsqueeze(2) * self.weights.numeric, self.weights.look_up(codes)], dim=1)

    def _places(self, of: Tensor, towards: Tensor) -> Tensor:
        """Return where the factors of fields for other fields, both int64 (n,), lie in `_weighted`, flattened."""
        n_factors = self._n_scores * self._n_factors
        slot = towards - (towards > of).long()  # a field has no factors for itself
        start = of * self.weights.numeric.shape[1] + self._n_scores + slot * n_factors
        return (start.unsqueeze(1) + torch.arange(n_factors, device=of.device)).flatten()


def _n_scores(n_outputs: int) -> int:
    # With softmax, one score against 0 is exactly logistic regression's sigmoid; a second machine would say no more.
    return 1 if n_outputs == 2 else n_outputs


def _outputs(score: Tensor, n_outputs: int) -> Tensor:
    return functional.pad(score, (1, 0)) if n_outputs == 2 else score


def _sum(found: Tensor, numeric: Tensor, weights: Tensor) -> Tensor:
    """Return the sum over fields (b, width) of what categories give (b, q, width) and numeric (b, p) @ weights (p, width)."""
    total = found.sum(dim=1)
    # Users and items have no numeric column: without products over none an epoch takes a tenth less time.
    return total + numeric @ weights if numeric.shape[1] else total


def _in_full_precision(device: str) -> AbstractContextManager[object]:
    """In 16 bits the squares of small weights would be lost and those of large values overflow."""
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def _only(numeric: Tensor, codes: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Return the inputs with 0, which contributes nothing, in the columns that are not kept; `kept` is bool (p + q,)."""
    p = numeric.shape[1]
    return torch.where(kept[:p], numeric, 0.0), torch.where(kept[p:], codes, 0)


def _across(of_user: Tensor) -> tuple[Tensor, Tensor]:
    """Return each pair of a user's and an item's field, int64 (n,) and (n,)."""
    users, items = of_user.nonzero().squeeze(1), (~of_user).nonzero().squeeze(1)
    return users.repeat_interleave(len(items)), items.repeat(len(users))


def _user_side(factors: Tensor, score: Tensor) -> Tensor:
    _check_single(score)
    return torch.cat([factors, score, torch.ones_like(score)], dim=1)


def _item_side(factors: Tensor, score: Tensor, bias: Tensor) -> Tensor:
    _check_single(score)
    return torch.cat([factors, torch.ones_like(score), score - bias], dim=1)


def _check_single(score: Tensor) -> None:
    if score.shape[1] != 1:
        raise ValueError(f"{score.shape[1]} classes have a score each; only a single score is a product of two vectors")

"""torch layers that several table models share."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mlframework.models.look_up import LookUp


class TabularInput(nn.Module):
    """Numeric columns, and an embedding of each categorical column, side by side.

    Args:
        numeric_width: number of numeric columns.
        cardinalities: number of codes of each categorical column, the 0 for missing included.
    """

    def __init__(self, numeric_width: int, cardinalities: Sequence[int]) -> None:
        super().__init__()
        # Half the cardinality, at most 50: the rule of thumb of Guo and Berkhahn (https://arxiv.org/abs/1604.06737).
        sizes = [min(50, (cardinality + 1) // 2) for cardinality in cardinalities]
        self.embeddings = nn.ModuleList(
            LookUp(cardinality, size) for cardinality, size in zip(cardinalities, sizes, strict=True)
        )
        self.width = numeric_width + sum(sizes)

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """Return (b, width) of numeric float (b, p) and codes int64 (b, q)."""
        embedded = [embedding(categorical[:, column]) for column, embedding in enumerate(self.embeddings)]
        return torch.cat([numeric, *embedded], dim=1) if embedded else numeric


class OnTable(nn.Module):
    """A network behind a `TabularInput`."""

    def __init__(self, table: TabularInput, network: nn.Module) -> None:
        super().__init__()
        self.table, self.network = table, network

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """Return raw outputs (b, width)."""
        out: Tensor = self.network(self.table(numeric, categorical))
        return out

"""One head on a complete grid, its queries turned round in time: then its bias is a strided view.

Take T columns and F rows in time-major order, and turn the queries of one frequency row f round:
query x stands at time T-1-x. Its bias to the key at (t, g) depends on x + t and on (f, g) only:

    bias[x, (t, g)] = table[f, (x + t) F + g]
    table[f, u F + g] = -(a |T-1-u| + b |f-g|)        a, b: the head's slopes in time and frequency

So the T x TF matrix of a row is a view, with strides (F, 1), of a vector of (2T-1) F numbers. The
fused attention reads its mask through strides, and the rows of the grid become its batch. Any
block of queries and keys is such a view too, further into the vector.

Shapes: T columns, F rows, N = T F tokens, D head_dim.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..patches import Grid
from .fused import Attended, fused_attention


@dataclass(frozen=True, eq=False)
class TurnedHead:
    """Turned queries by row (F, T, D), keys and values (N, D), bias table (F, (2T-1) F)."""

    grid: Grid
    time_slope: float
    freq_slope: float
    q: Tensor
    k: Tensor
    v: Tensor
    table: Tensor

    @classmethod
    def of(
        cls, grid: Grid, time_slope: float, freq_slope: float, q: Tensor, k: Tensor, v: Tensor
    ) -> "TurnedHead":
        """Return the head whose queries, keys and values (N, D) are in time-major order."""
        dt = torch.arange(1 - grid.columns, grid.columns).abs()  # (2T-1,)
        row = torch.arange(grid.rows)
        df = (row[:, None] - row).abs()  # (F, F)
        table = -(time_slope * dt[:, None] + freq_slope * df[:, None]).flatten(1)
        table = table.to(torch.promote_types(q.dtype, torch.float32))
        turned = q.unflatten(0, (grid.columns, grid.rows)).flip(0).transpose(0, 1)
        # Copies are linear, and products of contiguous operands are a sixth faster.
        q, k, v = turned.contiguous(), k.contiguous(), v.contiguous()
        return cls(grid, time_slope, freq_slope, q, k, v, table)

    def attend(self, queries: range, columns: range) -> Attended:
        """Return the attention of some turned queries to the keys of some time columns.

        Returns:
            Output (F, queries, D) and log-sum-exp (F, queries).
        """
        rows = self.grid.rows
        near = self.table[:, (queries.start + columns.start) * rows :]
        mask = near.as_strided(
            (rows, 1, len(queries), len(columns) * rows), (near.stride(0), 0, rows, 1)
        )
        keys = slice(columns.start * rows, columns.stop * rows)
        return self._attend(queries, self.k[keys], self.v[keys], mask)

    def attend_unbiased(self, k: Tensor, v: Tensor) -> Attended:
        """Return the attention of all turned queries to keys without a place: (keys, D)."""
        return self._attend(range(self.grid.columns), k, v, None)

    def _attend(self, queries: range, k: Tensor, v: Tensor, mask: Tensor | None) -> Attended:
        out, lse = fused_attention(
            self.q[:, None, queries.start : queries.stop],
            k.expand(self.grid.rows, 1, -1, -1),
            v.expand(self.grid.rows, 1, -1, -1),
            mask,
        )
        return Attended(out[:, 0], lse[:, 0])

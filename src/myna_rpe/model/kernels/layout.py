"""What a kernel needs to know about the tokens besides their vectors.

A layout is made once per forward pass and shared by all blocks, so whatever is derived from it is
derived once. Masks made here are *additive*: they are summed with the logits.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..patches import Coords, Grid
from ..positions.bias import DistanceBias


@dataclass(frozen=True, eq=False)
class Layout:
    """Places of the tokens, the bias between them, and which of them are real.

    Attributes:
        coords: places of all tokens but the prefix, shared (tokens,) or per sample
            (batch, tokens); may be None where there is no bias.
        bias: distance bias between placed tokens; None for none.
        prefix: tokens in front of the placed ones (the class token): no bias from or to them.
        valid: keys, prefix included, that may be attended to; None for all. The outputs of
            invalid queries are finite and mean nothing.
    """

    coords: Coords | None
    bias: DistanceBias | None = None
    prefix: int = 0
    valid: Bool[Tensor, "batch keys"] | None = None

    def __post_init__(self) -> None:
        assert self.bias is None or self.coords is not None, "a bias needs coordinates"

    def mask(
        self, rows: slice, dtype: torch.dtype
    ) -> Float[Tensor, "#batch #heads #queries keys"] | None:
        """Return what is added to the logits of the queries in `rows`, or None for nothing.

        Batch, heads and queries are 1 where the mask is the same for all of them. Gradients reach
        the slopes.
        """
        mask = None
        if self.bias is not None and self.coords is not None:
            slopes = torch.stack((self.bias.time_slopes, self.bias.freq_slopes), dim=1)
            mask = -slopes.to(dtype) @ self._distances(rows, dtype).flatten(-2)
            mask = mask.unflatten(-1, (-1, self.prefix + len(self.coords)))
            mask = mask if mask.ndim == 4 else mask[None]
        if self.valid is not None:
            invalid = ~self.valid[:, None, None, :]
            if mask is None:
                mask = torch.zeros(invalid.shape, dtype=dtype, device=invalid.device)
            # Finite, so that a row without a single valid key is meaningless instead of NaN.
            mask = mask.masked_fill(invalid, torch.finfo(dtype).min)
        return mask

    def shared_mask(
        self, dtype: torch.dtype
    ) -> Float[Tensor, "#batch #heads #queries keys"] | None:
        """Return the mask of all queries, made at the first call and kept for the next blocks."""
        if dtype not in self._masks:
            # The arithmetic is always at least float32: bf16 cannot count past 256.
            wide = torch.promote_types(dtype, torch.float32)
            mask = self.mask(slice(None), wide)
            self._masks[dtype] = mask if mask is None else mask.to(dtype)
        return self._masks[dtype]

    @cached_property
    def _masks(self) -> dict[torch.dtype, Tensor | None]:
        return {}

    def trains(self, q: Tensor) -> bool:
        """Return whether gradients are wanted, of the queries or of learned slopes."""
        learned = self.bias is not None and (
            self.bias.time_slopes.requires_grad or self.bias.freq_slopes.requires_grad
        )
        return torch.is_grad_enabled() and (q.requires_grad or learned)

    @cached_property
    def grids(self) -> tuple[Grid, ...] | None:
        """The complete grid of valid tokens of each sample, or None where a sample has none.

        One grid stands for the whole batch when everything is valid. Padding at the end of a
        track leaves a complete, shorter grid, because tokens are ordered time-major.
        """
        if self.coords is None or self.coords.grid is None:
            return None
        grid = self.coords.grid
        if self.valid is None:
            return (grid,)
        counts = self.valid.sum(dim=1, keepdim=True)
        order = torch.arange(self.valid.shape[1], device=self.valid.device)
        if not torch.equal(self.valid, order < counts):
            return None
        tokens = [count - self.prefix for count in counts[:, 0].tolist()]
        if any(count <= 0 or count % grid.rows for count in tokens):
            return None
        return tuple(Grid(count // grid.rows, grid.rows) for count in tokens)

    def _distances(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """Return |dt| and |df|: (*batch, 2, queries, keys), zero from and to the prefix."""
        assert self.coords is not None
        places = torch.stack((self.coords.time, self.coords.freq), dim=-2)  # (*batch, 2, tokens)
        places = torch.nn.functional.pad(places, (self.prefix, 0)).to(dtype)  # (*batch, 2, keys)
        distances = (places[..., rows, None] - places[..., None, :]).abs()
        distances[..., : self.prefix] = 0
        first = rows.start or 0
        distances[..., : max(0, self.prefix - first), :] = 0
        return distances

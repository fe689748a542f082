"""Attention that leaves out far tokens, with a proof for every row that they did not matter.

ALiBi with a time slope a > 0 weighs a token dt columns away by exp(-a dt), so steep heads hardly
see past a window. How wide it must be depends on the logits: a key may be far and still matter.
So blocks of queries attend to a window, and each row is then certified by what came back.

The certificate. Let Z be the mass of the row's softmax inside the window, exp(lse), and E that of
the keys left out. The output is off by E / (E + Z) times the difference between two averages of
values, which is at most 2 max|v|. For a key k outside the window, with c the mean key and r the
greatest |k - c| out there,

    q.k <= q.c + |q| r                                             (Cauchy-Schwarz)

and the bias makes the sum over columns a geometric series that starts at the first one left out.
This bound on log E falls by a for every column the window grows, and Z can only rise; so a row
that is not certified says by how much its window must grow, and one widening is always enough.
Slopes <= 0 have no tail to bound.

All masses here are natural logarithms. Shapes: T columns, F rows, Q queries of a block, D head_dim.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .fused import Attended, merge
from .turned import TurnedHead

_BLOCK = 64  # columns of queries; smaller blocks waste less, larger ones multiply faster
_WORTH = 0.9  # share of the keys above which windows save nothing
_ROUNDING = 1e-3  # more than float32 loses in the logarithms compared here


@dataclass(frozen=True, eq=False)
class Tail:
    """Upper bounds of the mass that a window leaves out, for every turned query of a head.

    Attributes:
        slope: bias per column, > 0.
        base: (F, T) what does not depend on the window.
        reach: (F, T) length of the query, over sqrt(D).
        before, after: (T,) greatest distance of a key from the mean key, up to and with a column,
            and from it on.
    """

    slope: float
    base: Tensor
    reach: Tensor
    before: Tensor
    after: Tensor

    @classmethod
    def of(cls, head: TurnedHead) -> "Tail":
        """Return the bounds for one head with a positive time slope."""
        q, k = head.q.float(), head.k.float()  # (F, T, D), (N, D)
        scale = q.shape[-1] ** -0.5
        centre = k.mean(dim=0)
        radius = (k - centre).norm(dim=-1).unflatten(0, (-1, head.grid.rows)).amax(dim=1)  # (T,)
        row = torch.arange(head.grid.rows)
        row_mass = (-head.freq_slope * (row[:, None] - row).abs()).logsumexp(dim=1)  # (F,)
        series = -math.log(-math.expm1(-head.time_slope))  # sum over n >= 0 of exp(-slope n)
        return cls(
            slope=head.time_slope,
            base=q @ centre * scale + row_mass[:, None] + series + _ROUNDING,
            reach=q.norm(dim=-1) * scale,
            before=radius.cummax(dim=0).values,
            after=radius.flip(0).cummax(dim=0).values.flip(0),
        )

    def excluded(self, queries: range, columns: range) -> Tensor:
        """Return the most that lies outside `columns`, for each of the turned queries: (F, Q)."""
        length = self.base.shape[1]
        block = slice(queries.start, queries.stop)
        time = length - 1 - torch.arange(length)[block]  # (Q,)
        reach = self.reach[:, block]
        bound = torch.full_like(reach, -math.inf)
        if columns.start > 0:
            nearest = columns.start - 1
            bound = bound.logaddexp(reach * self.before[nearest] - self.slope * (time - nearest))
        if columns.stop < length:
            nearest = columns.stop
            bound = bound.logaddexp(reach * self.after[nearest] - self.slope * (nearest - time))
        return self.base[:, block] + bound

    def first_window(self, queries: range, log_share: float) -> int:
        """Return the columns to either side that suffice if the keys nearby are average ones.

        The mass inside is then exp(q.c) times that of the bias alone.
        """
        reach = self.reach[:, queries.start : queries.stop].max() * self.after[0]
        mass = math.log(2 / (1 + math.exp(-self.slope)))
        return self.columns(reach.item() + mass - log_share)

    def columns(self, log_mass: float) -> int:
        """Return by how many columns a window must grow for the bound to fall by `log_mass`.

        At most all columns there are, also where `log_mass` is infinite or not a number.
        """
        return math.ceil(min(self.base.shape[1], max(0.0, log_mass / self.slope)))


def banded_attention(
    head: TurnedHead, to_prefix: Attended | None, tolerance: float
) -> Tensor | None:
    """Return a head's attention with far tokens left out, every row certified to `tolerance`.

    Args:
        head: its slope along time must be positive.
        to_prefix: attention of the same queries to the prefix, to be merged: (F, T, D).
        tolerance: greatest error of any element of the output, as a share of max|v|.

    Returns:
        Turned output (F, T, D); None if windows would hardly be smaller than the track.
    """
    tail, length, log_share = Tail.of(head), head.grid.columns, math.log(tolerance / 2)
    blocks = [range(x, min(x + _BLOCK, length)) for x in range(0, length, _BLOCK)]
    windows = []
    for block in blocks:
        own = range(length - block.stop, length - block.start)
        windows.append(_widen(own, tail.first_window(block, log_share), length))
    if sum(map(len, windows)) > _WORTH * length * len(blocks):
        return None

    parts = []
    for block, window in zip(blocks, windows, strict=True):
        near = head.attend(block, window)
        if to_prefix is not None:
            near = merge(near, to_prefix.part(block))
        missing = (tail.excluded(block, window) - near.lse).max().item() - log_share
        if not missing <= 0:  # written so that not-a-number widens too
            wide = _widen(window, tail.columns(missing), length)
            for strip in (range(wide.start, window.start), range(window.stop, wide.stop)):
                near = merge(near, head.attend(block, strip)) if strip else near
        parts.append(near.out)
    return torch.cat(parts, dim=1)


def _widen(columns: range, by: int, length: int) -> range:
    return range(max(0, columns.start - by), min(length, columns.stop + by))

"""The kernel for whole tracks on a CPU: exact, linear memory, the speed of bias-free attention.

The bias is a strided view of a short table (`turned`); keys of the prefix have no place on the
grid, so they are attended to separately and merged by log-sum-exp, and queries of the prefix are
one plain call. Asked for a tolerance, heads that fall off steeply leave out far tokens (`band`).

Samples of a batch are taken one after the other, each at its own length: they are long.
Shapes: H heads, T columns, F rows, N = prefix + T F tokens, D head_dim.
"""

from torch import Tensor

from ..patches import Grid
from .band import banded_attention
from .fused import available, fused_attention, merge
from .layout import Layout
from .turned import TurnedHead


def refusal(q: Tensor, layout: Layout) -> str | None:
    """Return what is missing: CPU, no gradients, a complete grid of valid tokens per sample."""
    if not q.is_cpu:
        return "runs on the CPU only"
    if not available():
        return "needs an operator that this build of PyTorch lacks"
    if layout.trains(q):
        return "computes no gradients"
    if layout.grids is None:
        return "needs every sample's valid tokens to be a complete grid, time-major"
    return None


def attend(
    q: Tensor, k: Tensor, v: Tensor, layout: Layout, *, band_tolerance: float | None = None
) -> Tensor:
    """Return softmax(q k' / sqrt(head_dim) + bias) v over the valid keys; 0 for invalid queries.

    With `band_tolerance`, no element is further from that than the tolerance times the largest
    magnitude in its head's `v`.
    """
    assert layout.grids is not None
    grids = layout.grids if layout.valid is not None else layout.grids * len(q)
    # Heads next to each other, so that the output projection reads it without a copy.
    out = q.new_zeros(q.transpose(1, 2).shape).transpose(1, 2)  # (B, H, N, D)
    for sample, grid in enumerate(grids):
        tokens = slice(layout.prefix + grid.columns * grid.rows)
        parts = [x[sample, :, tokens] for x in (q, k, v, out)]  # (H, N, D)
        _attend_sample(*parts, layout=layout, grid=grid, band_tolerance=band_tolerance)
    return out


def _attend_sample(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    *,
    layout: Layout,
    grid: Grid,
    band_tolerance: float | None,
) -> None:
    """Fill `out` with the attention of one sample, all (H, N, D), whose tokens are `grid`."""
    bias, prefix = layout.bias, layout.prefix
    if bias is None:
        out.copy_(fused_attention(q[None], k[None].contiguous(), v[None].contiguous()).out[0])
        return
    if prefix:
        out[:, :prefix] = fused_attention(q[None, :, :prefix], k[None], v[None]).out[0]
    everything = range(grid.columns)
    slopes = zip(bias.time_slopes.tolist(), bias.freq_slopes.tolist(), strict=True)
    for head, (time_slope, freq_slope) in enumerate(slopes):
        q_, k_, v_ = (x[head, prefix:] for x in (q, k, v))  # (T F, D)
        turned = TurnedHead.of(grid, time_slope, freq_slope, q_, k_, v_)
        to_prefix = turned.attend_unbiased(k[head, :prefix], v[head, :prefix]) if prefix else None
        attended = None
        if band_tolerance is not None and time_slope > 0:
            attended = banded_attention(turned, to_prefix, band_tolerance)
        if attended is None:
            whole = turned.attend(everything, everything)
            attended = (whole if to_prefix is None else merge(whole, to_prefix)).out
        placed = out[head, prefix:].unflatten(0, (grid.columns, grid.rows))
        placed.copy_(attended.transpose(0, 1).flip(0))  # turned back: (T, F, D)

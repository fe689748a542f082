"""The kernel for CUDA: FlexAttention, with the bias computed inside the compiled kernel.

Compiled once per process and kind of input (7 to 34 s). On a CPU it has no backward pass and is
slower than `strided`, so it runs there only when forced, which lets its formula be tested.
Source: Dong et al. 2024, "Flex Attention".
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from .layout import Layout


def refusal(q: Tensor, layout: Layout) -> str | None:
    """Return what is missing: at most float32, and on a CPU no gradients."""
    if q.dtype == torch.float64:
        return "has no float64"
    if q.is_cpu and layout.trains(q):
        return "computes no gradients on the CPU"
    return None


def attend(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """Return softmax(q k' / sqrt(head_dim) + bias) v over the valid keys."""
    out: Tensor = _compiled(q.device.type)(q, k, v, score_mod=_score_mod(layout, len(q)))
    return out


@cache
def _compiled(device: str) -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    # PyTorch 2.13 generates C++ that does not compile for captured tensors of dynamic shape.
    return torch.compile(flex_attention, dynamic=False if device == "cpu" else None)


def _score_mod(layout: Layout, batch: int) -> Callable[..., Tensor] | None:
    """Return the function (logit, batch, head, query, key) -> biased logit; None for no change."""
    bias, valid, prefix = layout.bias, layout.valid, layout.prefix

    def masked(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        assert valid is not None
        return torch.where(valid[b, j], score, -float("inf"))

    if bias is None or layout.coords is None:
        return None if valid is None else masked

    # (batch, keys) each. Always with a batch, so that one compiled kernel serves all layouts.
    time, freq = (
        torch.nn.functional.pad(places.expand(batch, -1), (prefix, 0))
        for places in (layout.coords.time, layout.coords.freq)
    )
    time_slopes, freq_slopes = bias.time_slopes, bias.freq_slopes

    def biased(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        dt = (time[b, i] - time[b, j]).abs()
        df = (freq[b, i] - freq[b, j]).abs()
        placed = (i >= prefix) & (j >= prefix)
        return score - torch.where(placed, time_slopes[h] * dt + freq_slopes[h] * df, 0.0)

    if valid is None:
        return biased

    def biased_and_masked(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return masked(biased(score, b, h, i, j), b, h, i, j)

    return biased_and_masked

"""The obvious kernel: the formula as it is written. Works in any precision, and is slow."""

import math

from torch import Tensor

from .layout import Layout


def refusal(q: Tensor, layout: Layout) -> str | None:
    """Return None: it serves everything."""
    return None


def attend(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """Return softmax(q k' / sqrt(head_dim) + bias) v over the valid keys."""
    logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # (B, H, Q, K)
    if layout.bias is not None and layout.coords is not None:
        bias = layout.bias.matrix(layout.coords, prefix=layout.prefix)  # (*B, H, K, K)
        logits = logits + bias[..., : q.shape[2], :].to(logits.dtype)
    if layout.valid is not None:
        logits = logits.masked_fill(~layout.valid[:, None, None, :], float("-inf"))
    return logits.softmax(dim=-1).to(v.dtype) @ v

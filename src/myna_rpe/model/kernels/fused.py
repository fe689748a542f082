"""The fused CPU attention that also returns its log-sum-exp, and what can be built with that.

This is the only place that names the private ATen operator.
Shapes: B batch, H heads, Q queries, K keys, D head_dim.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_OPERATOR = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)


class Attended(NamedTuple):
    """Attention over some of the keys: output (..., Q, D), and the log of its mass (..., Q)."""

    out: Tensor
    lse: Tensor

    def part(self, queries: range) -> "Attended":
        """Return the same for some of the queries."""
        block = slice(queries.start, queries.stop)
        return Attended(self.out[..., block, :], self.lse[..., block])


def available() -> bool:
    """Return whether this build of PyTorch has the operator."""
    return _OPERATOR is not None


def fused_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Attended:
    """Return softmax(q k' / sqrt(D) + mask) v (B, H, Q, D) and the log of its denominator.

    Inference only. All arguments may be strided or expanded views, the mask too: nothing of size
    Q x K is made.
    """
    assert _OPERATOR is not None, "ask available() first"
    assert q.shape[2] * k.shape[2] > 0, "the operator divides by these sizes"
    out, lse = _OPERATOR(q, k, v, attn_mask=mask)
    return Attended(out, lse)


def merge(first: Attended, second: Attended) -> Attended:
    """Return the attention over the keys of both, which must be disjoint sets.

    The first output's memory is taken for the result.
    """
    lse = torch.logaddexp(first.lse, second.lse)
    shares = [(part.lse - lse).exp()[..., None].to(first.out.dtype) for part in (first, second)]
    return Attended(first.out.mul_(shares[0]).addcmul_(second.out, shares[1]), lse)

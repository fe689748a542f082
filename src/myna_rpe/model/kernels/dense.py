"""The kernel for few tokens, and for training: one mask, made once and shared by all blocks.

On a CPU the fused attention is the fastest here in float32, but its backward in bf16 is two to
eight times slower than two batched products with a softmax between them, and it has no gradient
for the mask at all. So training in bf16, or with learned slopes, takes the products.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .layout import Layout


def refusal(q: Tensor, layout: Layout) -> str | None:
    """Return None: it serves everything, at the price of memory."""
    return None


def attend(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """Return softmax(q k' / sqrt(head_dim) + bias) v over the valid keys."""
    mask = layout.shared_mask(q.dtype)
    trains_mask = mask is not None and mask.requires_grad
    if q.is_cpu and torch.is_grad_enabled() and (q.dtype == torch.bfloat16 or trains_mask):
        return products(q, k, v, mask)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def products(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Return the same by two batched matrix products: (B, H, Q, D).

    The mask is the first operand of the first product, which saves a pass over the logits; it is
    taken in the precision of `q`, whose rounding already limits the logits.
    """
    batch, heads, queries, head_dim = q.shape
    scale = head_dim**-0.5
    q, k, v = (x.flatten(0, 1) for x in (q, k, v))  # (B H, N, D)
    if mask is None:
        logits = (q * scale) @ k.transpose(1, 2)
    else:
        mask = mask.expand(batch, heads, queries, -1).flatten(0, 1)
        logits = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=scale)  # (B H, Q, K)
    out: Tensor = logits.softmax(dim=-1).to(v.dtype) @ v  # (B H, Q, D)
    return out.view(batch, heads, queries, head_dim)

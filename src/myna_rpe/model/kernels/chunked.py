"""The kernel that serves everything in bounded memory: blocks of queries, each with its own mask.

The mask of a block is made when its turn comes, from the coordinates. Without a bias there is
nothing to make, and the fused attention takes all queries at once.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .layout import Layout

# Of one block's mask. It is written and read once, so it should stay in the cache, and below the
# size for which malloc asks the system for fresh pages each time (which alone doubles the time).
MASK_BYTES = 8 * 2**20
_LEAST_QUERIES = 16  # below this the products are too thin


def refusal(q: Tensor, layout: Layout) -> str | None:
    """Return None: it serves everything."""
    return None


def attend(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """Return softmax(q k' / sqrt(head_dim) + bias) v over the valid keys."""
    queries = q.shape[2]
    k, v = k.contiguous(), v.contiguous()  # linear, and they are read once per block
    size = queries if layout.bias is None else _block_size(q, k, layout)

    def block(q: Tensor, k: Tensor, v: Tensor, start: int) -> Tensor:
        dtype = torch.promote_types(q.dtype, torch.float32)
        mask = layout.mask(slice(start, start + q.shape[2]), dtype)
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask if mask is None else mask.to(q.dtype)
        )

    if size >= queries:
        return block(q, k, v, 0)
    starts = range(0, queries, size)
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        # The backward pass makes each mask again instead of keeping them all.
        return torch.cat(
            [
                checkpoint(block, q[:, :, i : i + size], k, v, i, use_reentrant=False)
                for i in starts
            ],
            dim=2,
        )
    out = torch.empty_like(q)
    for i in starts:
        out[:, :, i : i + size] = block(q[:, :, i : i + size], k, v, i)
    return out


def _block_size(q: Tensor, k: Tensor, layout: Layout) -> int:
    """Return how many queries have masks of `MASK_BYTES` together, or the least worth a call."""
    assert layout.coords is not None
    shared = layout.coords.time.ndim == 1 and layout.valid is None
    masks = (1 if shared else q.shape[0]) * q.shape[1]
    itemsize = max(4, q.element_size())
    return max(_LEAST_QUERIES, MASK_BYTES // (masks * k.shape[2] * itemsize))

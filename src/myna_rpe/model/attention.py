"""Multi-head self-attention: projections here, the softmax in a kernel.

Shapes: B batch, N tokens (class token first, where there is one), H heads, D head_dim.
The module asks nothing of the positional scheme; it is handed the descriptions that the scheme
made once for all blocks.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .kernels import Layout, attend
from .positions import Rotation


@dataclass(frozen=True)
class Runtime:
    """How an encoder computes, as opposed to what: no setting here changes the function.

    ``precision``: ``fp32``, or ``mixed``: linears in bf16, and on a CPU the attention core in fp32.
    ``kernel``: a name of `kernels.KERNELS`, or ``auto``. ``band_tolerance``: kernels may skip far
    tokens where a certificate bounds the error of each row by this share of the largest value; the
    default lies below float32's own rounding. None never skips. ``recompute``: with gradients, each
    block is computed again in the backward pass, and only its input is kept until then.
    """

    kernel: str = "auto"
    precision: Literal["fp32", "mixed"] = "fp32"
    band_tolerance: float | None = 1e-7
    recompute: bool = False


@dataclass(frozen=True)
class AttentionContext:
    """What the blocks of one forward pass share."""

    layout: Layout
    rotation: Rotation | None
    query_scale: float | Float[Tensor, "batch 1 1 1"]
    runtime: Runtime


def log_n_scale(num_tokens: Tensor | int, train_tokens: int) -> Tensor | float:
    """Return log N / log N_train, which keeps the entropy of attention steady as N grows.

    Args:
        num_tokens: patch tokens that can be attended to (class token not counted).
        train_tokens: the same number in training, >= 2.

    Source:
        Chiang & Cholak 2022, section 5.1.
    """
    if isinstance(num_tokens, int):
        return math.log(max(2, num_tokens)) / math.log(train_tokens)
    return num_tokens.clamp(min=2).log() / math.log(train_tokens)


class Attention(nn.Module):
    """Self-attention without biases in its projections.

    Args:
        dim: width of a token.
        heads: number of heads; each is ``head_dim`` wide.
    """

    def __init__(self, dim: int, *, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.inner = heads * head_dim
        self.qkv = nn.Linear(dim, 3 * self.inner, bias=False)
        self.out = nn.Linear(self.inner, dim, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        context: AttentionContext,
        *,
        prefix_only: bool = False,
    ) -> Float[Tensor, "batch queries dim"]:
        """Return the attended tokens: all of them, or only the class token's."""
        prefix = context.layout.prefix
        if prefix_only:
            w_q, w_kv = self.qkv.weight.split((self.inner, 2 * self.inner))
            q = self._heads(F.linear(x[:, :prefix], w_q))  # (B, H, prefix, D)
            k, v = map(self._heads, F.linear(x, w_kv).chunk(2, dim=-1))  # (B, H, N, D)
        else:
            q, k, v = map(self._heads, self.qkv(x).chunk(3, dim=-1))  # (B, H, N, D)

        core: AbstractContextManager[object] = nullcontext()
        if context.runtime.precision == "mixed" and x.device.type == "cpu":
            core = torch.autocast("cpu", enabled=False)
            q, k, v = q.float(), k.float(), v.float()
        with core:
            if context.rotation is not None:
                k = _rotate_places(k, context.rotation, prefix)
                q = q if prefix_only else _rotate_places(q, context.rotation, prefix)
            if not isinstance(context.query_scale, float) or context.query_scale != 1.0:
                q = q * context.query_scale
            attended = attend(
                q,
                k,
                v,
                context.layout,
                kernel=context.runtime.kernel,
                band_tolerance=context.runtime.band_tolerance,
            )
        out: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return out

    def _heads(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, N, D)
        return heads


def _rotate_places(x: Tensor, rotation: Rotation, prefix: int) -> Tensor:
    """Rotate all tokens but the class token, which has no place."""
    if prefix == 0:
        return rotation.apply(x)
    return torch.cat((x[:, :, :prefix], rotation.apply(x[:, :, prefix:])), dim=2)

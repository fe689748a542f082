"""Attention kernels: one signature, one chooser.

    softmax(q k' / sqrt(head_dim) + bias) v

The bias is a description (`DistanceBias`), and each kernel makes of it what it needs. All compute
the same function; they differ in what they serve and in what that costs:

| kernel | serves | memory |
|---|---|---|
| `reference` | everything, any precision; slow | tokens^2 per head, several times |
| `dense` | everything; few tokens, training | tokens^2 per head, once for all blocks |
| `strided` | complete grids on a CPU, no gradients; the only one with a band mode | linear |
| `chunked` | everything | linear, plus a fixed block |
| `flex` | CUDA (and a CPU without gradients, slowly) | linear |

Shapes: q (batch, heads, queries, head_dim), k and v (batch, heads, keys, head_dim). The choice is
logged once per kind of input, at level debug, to the logger ``myna_rpe.kernels``.
"""

import logging
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ConfigError, unknown_name
from . import chunked, dense, flex, reference, strided
from .layout import Layout

__all__ = ["KERNELS", "Kernel", "Layout", "attend", "choose_kernel"]

_log = logging.getLogger("myna_rpe.kernels")

# Up to this many bytes of logits in float32, batch x heads x tokens^2, `dense` is taken. Without
# gradients `strided` overtakes it there (6 heads: 1,700 tokens); with them, what replaces it
# computes each mask twice per block.
_DENSE_BYTES = 64 * 2**20
_DENSE_BYTES_IN_TRAINING = 512 * 2**20


class Kernel(NamedTuple):
    """An attention function, and what it says of inputs it cannot serve (None of all others)."""

    attend: Callable[..., Tensor]
    refusal: Callable[[Tensor, Layout], str | None]


KERNELS: dict[str, Kernel] = {
    "reference": Kernel(reference.attend, reference.refusal),
    "dense": Kernel(dense.attend, dense.refusal),
    "strided": Kernel(strided.attend, strided.refusal),
    "chunked": Kernel(chunked.attend, chunked.refusal),
    "flex": Kernel(flex.attend, flex.refusal),
}


def attend(
    q: Float[Tensor, "batch heads queries head_dim"],
    k: Float[Tensor, "batch heads keys head_dim"],
    v: Float[Tensor, "batch heads keys head_dim"],
    layout: Layout,
    *,
    kernel: str = "auto",
    band_tolerance: float | None = None,
) -> Float[Tensor, "batch heads queries head_dim"]:
    """Return softmax(q k' / sqrt(head_dim) + bias) v over the valid keys.

    Args:
        q: one query per key, or those of the prefix alone, which have no bias.
        k: keys, prefix first.
        v: values.
        layout: places, bias, prefix and validity of the tokens.
        kernel: a name of `KERNELS`, or ``auto``.
        band_tolerance: greatest error of any element, as a share of its head's max|v|, that a
            kernel may make to save work; > 0. None: exact. Only `strided` makes use of it.

    Raises:
        ConfigError: an unknown kernel, one that cannot serve this input, or a tolerance <= 0.
    """
    if band_tolerance is not None and not band_tolerance > 0:
        raise ConfigError(
            f"band_tolerance={band_tolerance} is not positive; use one > 0, or None for exact."
        )
    name = choose_kernel(q, layout) if kernel == "auto" else kernel
    if name not in KERNELS:
        raise ConfigError(unknown_name("kernel", kernel, [*KERNELS, "auto"]))
    refusal = KERNELS[name].refusal(q, layout)
    if refusal is not None:
        raise ConfigError(f"kernel={kernel!r} {refusal}; use kernel='auto'.")
    if q.shape[2] != k.shape[2] and name != "reference":
        assert q.shape[2] == layout.prefix, "queries are all tokens or the prefix"
        # One row, no bias: nothing is large, and every device and precision has these products.
        return dense.products(q, k, v, Layout(None, valid=layout.valid).mask(slice(None), q.dtype))
    if kernel == "auto":
        _log_choice(name, q.device.type, q.dtype, *q.shape[:3])
    run = KERNELS[name].attend
    if name == "strided":
        run = partial(run, band_tolerance=band_tolerance)
    return run(q, k, v, layout)


def choose_kernel(q: Float[Tensor, "batch heads queries head_dim"], layout: Layout) -> str:
    """Return the name of the kernel that ``auto`` takes: the fastest that serves this input."""
    batch, heads, tokens, _ = q.shape
    limit = _DENSE_BYTES_IN_TRAINING if layout.trains(q) else _DENSE_BYTES
    preferred = ["dense"] if batch * heads * tokens**2 * 4 <= limit else []
    preferred.append("flex" if q.is_cuda else "strided")
    for name in preferred:
        if KERNELS[name].refusal(q, layout) is None:
            return name
    return "chunked"


@cache
def _log_choice(name: str, device: str, dtype: torch.dtype, *shape: int) -> None:
    batch, heads, queries = shape
    _log.debug(
        "kernel %s for %d x %d tokens, %d heads, %s on %s",
        name, batch, queries, heads, dtype, device,
    )  # fmt: skip

"""One attention layer with 2D ALiBi: our kernels beside a dense bias and beside no bias at all.

6 heads of 64, 8 frequency rows, Press slopes, one class token; inference on one thread. The dense
bias is made once and not timed: an encoder makes it once for all its layers.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from myna_rpe.config import press_slopes
from myna_rpe.model.attention import Runtime
from myna_rpe.model.kernels import Layout, attend
from myna_rpe.model.patches import Coords
from myna_rpe.model.positions.bias import DistanceBias

from .harness import Candidate, Row, compare, measure, relative_error

HEADS, HEAD_DIM, ROWS = 6, 64, 8


def make_qkv(tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return q, k, v (1, heads, tokens + 1, head_dim) as one projection gives them: as views.

    Of the size an untrained encoder gives to q and k; `norm` of a trained one may be larger.
    """
    qkv = torch.randn(1, 1 + tokens, 3, HEADS, HEAD_DIM, generator=torch.Generator().manual_seed(0))
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    return q, k, v


def ours(tokens: int, kernel: str, band_tolerance: float | None = None) -> Callable[[], Tensor]:
    """Return one call of one of our kernels."""
    q, k, v = make_qkv(tokens)
    slopes = torch.tensor(press_slopes(HEADS))
    bias = DistanceBias(slopes, slopes)
    layout = Layout(Coords.of_grid(tokens // ROWS, ROWS), bias, prefix=1)

    def step() -> Tensor:
        with torch.inference_mode():
            return attend(q, k, v, layout, kernel=kernel, band_tolerance=band_tolerance)[0, :, -1]

    return step


def bias_free(tokens: int) -> Callable[[], Tensor]:
    """Return attention without positions: what PyTorch's fused kernel takes at least."""
    return _sdpa(tokens, None)


def dense_bias(tokens: int) -> Callable[[], Tensor]:
    """Return the straightforward way: an N x N bias per head, handed to PyTorch's attention."""
    return _sdpa(tokens, dense_alibi(tokens))


def dense_alibi(tokens: int) -> Tensor:
    """Return the bias of all pairs, class token first: (1, heads, tokens + 1, tokens + 1)."""
    index = torch.arange(tokens)
    time, freq = (index // ROWS).float(), (index % ROWS).float()
    distance = (time[:, None] - time).abs() + (freq[:, None] - freq).abs()
    bias = torch.zeros(1, HEADS, tokens + 1, tokens + 1)
    for head, slope in enumerate(press_slopes(HEADS)):
        bias[0, head, 1:, 1:] = -slope * distance
    return bias


def _sdpa(tokens: int, mask: Tensor | None) -> Callable[[], Tensor]:
    q, k, v = (x.contiguous() for x in make_qkv(tokens))  # as suits PyTorch best

    def step() -> Tensor:
        with torch.inference_mode():
            attended = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return attended[0, :, -1]

    return step


def rows(*, quick: bool = False) -> list[Row]:
    """Return the comparison at each length."""
    table = []
    for tokens, rounds in ((1_024, 5),) if quick else ((3_000, 7), (6_000, 5), (12_000, 3)):
        dense_gb = 2 + 3 * HEADS * tokens**2 * 4 / 1e9 / 2
        measured = measure(
            {
                "free": Candidate("benchmarks.attention:bias_free", {"tokens": tokens}),
                "dense": Candidate("benchmarks.attention:dense_bias", {"tokens": tokens}, dense_gb),
                **{
                    name: Candidate(
                        "benchmarks.attention:ours",
                        {"tokens": tokens, "kernel": kernel, "band_tolerance": tolerance},
                    )
                    for name, kernel, tolerance in (
                        ("strided", "strided", None),
                        ("band", "strided", Runtime().band_tolerance),
                        ("chunked", "chunked", None),
                    )
                },
            },
            rounds=rounds,
        )
        free, dense = measured["free"], measured.get("dense")
        for name in ("strided", "band", "chunked"):
            at_most = 1.1 if tokens == 12_000 and name != "chunked" else None
            table.append(
                compare(f"{name} / no bias, {tokens:,}", measured[name], free, at_most=at_most)
            )
        if dense is not None:
            error = relative_error(measured["strided"], dense)
            table.append(
                compare(
                    f"strided / dense bias, {tokens:,}",
                    measured["strided"],
                    dense,
                    note=f"results agree to {error:.0e}; dense takes {dense.setup:.1f} s to set up",
                )
            )
    return table

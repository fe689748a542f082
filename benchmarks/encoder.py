"""The whole 22M encoder on a whole track: ours beside a dense bias, and beside its floor.

Random weights, one thread, inference, one excerpt of the asked number of tokens. The dense
encoder is the straightforward one: the same weights in float32, an N x N bias per head made once,
PyTorch's attention with that as its mask, and all tokens through the last block. The floor is
nothing but the matrix products that are needed (bf16 for linears, float32 for attention), at the
speed this machine does them.
"""

from collections.abc import Callable, Iterator
from typing import Literal, cast

import torch
from torch import Tensor

from myna_rpe.config import ARCHITECTURES
from myna_rpe.model.attention import Runtime
from myna_rpe.model.encoder import Block, Encoder, Stem
from myna_rpe.model.patches import cut_patches

from .attention import ROWS, dense_alibi
from .harness import Candidate, Row, compare, measure, relative_error

MODEL = ARCHITECTURES["small-44k"].model
BAND_TOLERANCE = Runtime().band_tolerance  # what users get


def make_encoder() -> Encoder:
    """Return the encoder, with weights that are the same in every process."""
    torch.manual_seed(0)
    return Encoder(MODEL).eval()


def make_spectrogram(tokens: int) -> Tensor:
    """Return noise in dB of as many frames as give that number of tokens."""
    frames = tokens // ROWS * MODEL.patches[0].frames
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, MODEL.n_mels, frames, generator=generator) * -80


def ours(
    tokens: int,
    precision: Literal["fp32", "mixed"] = "fp32",
    band_tolerance: float | None = None,
) -> Callable[[], Tensor]:
    """Return one forward pass of our encoder."""
    encoder, spectrogram = make_encoder(), make_spectrogram(tokens)
    encoder.runtime = Runtime(
        "strided", "mixed" if precision == "mixed" else "fp32", band_tolerance
    )

    def step() -> Tensor:
        with torch.inference_mode():
            return cast(Tensor, encoder(spectrogram))

    return step


def dense(tokens: int) -> Callable[[], Tensor]:
    """Return one forward pass of the straightforward encoder, with its bias."""
    encoder, spectrogram = make_encoder(), make_spectrogram(tokens)

    def step() -> Tensor:
        with torch.inference_mode():
            bias = dense_alibi(tokens)
            stem = cast(Stem, encoder.stems[0])
            x = stem.embed(cut_patches(spectrogram, MODEL.patches[0], floor=-80.0)).values
            assert encoder.cls is not None
            x = torch.cat((encoder.cls.expand(1, 1, -1), x), dim=1)
            for block in cast(Iterator[Block], iter(encoder.blocks)):
                qkv = block.attention.qkv(block.norm1(x))
                q, k, v = qkv.unflatten(-1, (3, MODEL.heads, -1)).permute(2, 0, 3, 1, 4)
                attended = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
                x = x + block.attention.out(attended.transpose(1, 2).flatten(2))
                x = x + block.mlp(block.norm2(x))
            return cast(Tensor, encoder.norm(x)[:, 0])

    return step


def floor(tokens: int) -> Callable[[], None]:
    """Return the matrix products of a forward pass: linears in bf16, attention in float32.

    The last block counts only keys and values, the rest of it being one token.
    """
    dim, inner, hidden = MODEL.dim, MODEL.heads * MODEL.head_dim, MODEL.mlp_dim
    x = torch.randn(tokens, max(dim, hidden)).bfloat16()
    linears = [(dim, 3 * inner), (inner, dim), (dim, hidden), (hidden, dim)] * (MODEL.depth - 1)
    linears += [(dim, 2 * inner)]
    weights = [torch.randn(wide, narrow).bfloat16() for narrow, wide in linears]
    q, k = torch.randn(2, tokens, MODEL.head_dim)

    def step() -> None:
        with torch.inference_mode():
            for weight in weights:
                torch.nn.functional.linear(x[:, : weight.shape[1]], weight)
            out = torch.empty(256, MODEL.head_dim)
            for _ in range((MODEL.depth - 1) * MODEL.heads):
                for queries in q.split(256):
                    for keys in k.split(512):  # blocks that stay in the cache
                        logits = queries @ keys.T
                        torch.mm(logits, keys, out=out[: len(queries)])

    return step


def rows(*, quick: bool = False) -> list[Row]:
    """Return ours in three settings beside the dense encoder and the floor."""
    tokens = 1_024 if quick else 12_000
    module, size = "benchmarks.encoder", {"tokens": tokens}
    band = {"band_tolerance": BAND_TOLERANCE}
    measured = measure(
        {
            "fp32": Candidate(f"{module}:ours", size),
            "fp32 + band": Candidate(f"{module}:ours", {**size, **band}),  # the default
            "mixed": Candidate(f"{module}:ours", {**size, "precision": "mixed"}),
            "mixed + band": Candidate(f"{module}:ours", {**size, "precision": "mixed", **band}),
            "floor": Candidate(f"{module}:floor", size),
            "dense": Candidate(f"{module}:dense", size, needs_gb=2 + 7 * (tokens / 12_000) ** 2),
        },
        rounds=3 if quick else 1,
        warm_up=quick,
    )
    table = []
    for name, goal in (
        ("fp32", 1.7),
        ("fp32 + band", 2.5),
        ("mixed", 1.7),
        ("mixed + band", 2.5),
    ):
        mine, dense = measured[name], measured.get("dense")
        row = compare(
            f"{name} / dense bias fp32, {tokens:,}",
            mine,
            dense,
            at_least=None if quick else goal,
            speed_up=True,
            note=f"embeddings agree to {relative_error(mine, dense):.0e}" if dense else "",
        )
        if not quick:
            row["goal"] += ", <= 1 GB"
            row["met"] = row.get("met", True) and mine.rss <= 1.0
        table.append(row)
    table.append(
        compare(
            f"mixed / floor of products, {tokens:,}",
            measured["mixed"],
            measured["floor"],
            at_most=None if quick else 1.5,
        )
    )
    return table

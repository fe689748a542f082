"""One training step of the 22M encoder, forward and backward, beside a faithful slow variant.

Excerpts of 128 x 256, 13 of 128 patches kept, one class token, one thread. The slow variant does
what the published code does, with the mathematics corrected: every patch is embedded and most are
dropped after that, sample by sample; attention is PyTorch's with the bias as its mask; all tokens
go through the last block; float32 is its default. The weights are the same.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor

from myna_rpe.config import ARCHITECTURES, press_slopes
from myna_rpe.model.encoder import Block, Encoder, Stem
from myna_rpe.model.patches import RatioPatchout, cut_patches

from .harness import Candidate, Row, compare, measure

MODEL = ARCHITECTURES["small-44k"].model
FRAMES = 256
PATCHOUT_RATIO = 0.9


def ours(batch: int, dtype: str) -> Callable[[], None]:
    """Return a step of our encoder: the kept patches are chosen first, CLS alone at the end."""
    patchout = RatioPatchout(PATCHOUT_RATIO, torch.Generator().manual_seed(0))
    return _step(batch, dtype, lambda encoder, excerpts: encoder(excerpts, patchout=patchout))


def published(batch: int, dtype: str) -> Callable[[], None]:
    """Return a step of the slow variant."""
    return _step(batch, dtype, _published_forward)


def _step(
    batch: int, dtype: str, forward: Callable[[Encoder, Tensor], Tensor]
) -> Callable[[], None]:
    encoder = Encoder(MODEL).train()
    excerpts = torch.rand(batch, MODEL.n_mels, FRAMES) * -80

    def step() -> None:
        encoder.zero_grad(set_to_none=True)
        precision: AbstractContextManager[object] = nullcontext()
        if dtype == "bf16":
            precision = torch.autocast("cpu", dtype=torch.bfloat16)
        with precision:
            loss = forward(encoder, excerpts).float().square().mean()
        loss.backward()

    return step


def _published_forward(encoder: Encoder, excerpts: Tensor) -> Tensor:
    patches = cut_patches(excerpts, MODEL.patches[0], floor=-80.0)
    tokens = cast(Stem, encoder.stems[0]).embed(patches)
    batch, count, _ = tokens.values.shape
    keep = RatioPatchout(PATCHOUT_RATIO).num_kept(count)
    kept = torch.stack([torch.randperm(count)[:keep] for _ in range(batch)])  # (B, K)
    sample = torch.arange(batch)[:, None]
    x = tokens.values[sample, kept]
    time, freq = tokens.coords.time[kept].float(), tokens.coords.freq[kept].float()
    distance = (time[:, :, None] - time[:, None]).abs() + (freq[:, :, None] - freq[:, None]).abs()
    slopes = torch.tensor(press_slopes(MODEL.heads))[:, None, None]
    bias = torch.nn.functional.pad(-slopes * distance[:, None], (1, 0, 1, 0))  # (B, H, K+1, K+1)

    assert encoder.cls is not None
    x = torch.cat((encoder.cls.expand(batch, 1, -1), x), dim=1)
    for block in cast(Iterator[Block], iter(encoder.blocks)):
        qkv = block.attention.qkv(block.norm1(x))
        q, k, v = qkv.unflatten(-1, (3, MODEL.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=bias.to(q.dtype)
        )
        x = x + block.attention.out(attended.transpose(1, 2).flatten(2))
        x = x + block.mlp(block.norm2(x))
    return cast(Tensor, encoder.norm(x)[:, 0])


def rows(*, quick: bool = False) -> list[Row]:
    """Return ours in bf16 beside the slow variant in bf16 and in float32, its default."""
    batch = 16 if quick else 128
    measured = measure(
        {
            f"{name} {dtype}": Candidate(
                f"benchmarks.training_step:{name}", {"batch": batch, "dtype": dtype}
            )
            for name in ("ours", "published")
            for dtype in ("bf16", "fp32")
        },
        rounds=2 if quick else 5,
    )
    return [
        compare(
            f"{dtype} / slow variant {other}",
            measured[f"ours {dtype}"],
            measured[f"published {other}"],
            at_least=None if quick else goal,
            speed_up=True,
            per=batch,
            unit="excerpts/core-s",
        )
        for dtype, other, goal in (
            ("bf16", "bf16", 1.6),
            ("fp32", "fp32", None),  # both are at the speed of the float32 products
            ("bf16", "fp32", 2.5),
        )
    ]

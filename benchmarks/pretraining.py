"""Pretraining as it runs: batches read from shards, joint gradient, optimiser step. One thread.

    python -m benchmarks pretraining

Four questions: does reading keep up with the encoder; do whole tracks under a token budget cost
what excerpts cost; what does a step take in time and memory as more tokens are kept; and what do
micro-batches (cached gradients) and recomputed activations save and cost. The tracks are noise of
three minutes at 31.25 frames a second, on disk as float16.
"""

import itertools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from myna_rpe.config import (
    BudgetConfig,
    ExcerptsConfig,
    FrontEndConfig,
    PatchoutConfig,
    RatioPatchoutConfig,
    RunConfig,
    TokenBudgetConfig,
    WholeTrackConfig,
    lookup_architecture,
)
from myna_rpe.data.batches import Batches
from myna_rpe.data.shards import Manifest, Piece, Settings, ShardSet, write_shard
from myna_rpe.model.checkpoint import MynaModel
from myna_rpe.objectives import build_objectives
from myna_rpe.training.launch import Hardware, launch
from myna_rpe.training.optim import build_optimizer
from myna_rpe.training.step import Projector, backward

from .harness import Candidate, Row, compare, measure

TRACKS = 64
FRAMES = 5625
TOKENS = (13, 64, 256, 1024)


def read(**options: Any) -> Callable[[], None]:
    """Return the reading of one batch."""
    config = _run(**options)
    batches = Batches(write_tracks(config.architecture.front_end, TRACKS, frames=FRAMES), config)
    steps = itertools.count()

    def batch() -> None:
        batches.batch(next(steps))

    return batch


def step(**options: Any) -> Callable[[], None]:
    """Return one step, from the shards to the new weights."""
    config = _run(**options)
    batches = Batches(write_tracks(config.architecture.front_end, TRACKS, frames=FRAMES), config)
    model = MynaModel.untrained(config.architecture)
    model.encoder.runtime = replace(model.encoder.runtime, recompute=config.recompute)
    projector = Projector(model).train()
    objectives = build_objectives(
        config.objectives, dim=config.architecture.model.projection_dim
    ).train()
    optimizer = build_optimizer((projector, objectives), config.optim)
    # Of one process nothing ends with the block, and the step goes on with its fabric.
    with launch(config, Hardware("cpu")) as fabric:
        network, stepper = fabric.setup(projector, optimizer)
    steps = itertools.count()

    def train() -> None:
        groups = batches.batch(next(steps)).groups
        backward(fabric, network, objectives, groups, micro_batch_size=config.micro_batch_size)
        stepper.step()
        stepper.zero_grad()

    return train


def _run(
    *,
    architecture: str,
    tokens: int | None = None,
    whole_tracks: bool = False,
    batch_size: int = TRACKS,
    micro_batch_size: int | None = None,
    recompute: bool = False,
) -> RunConfig:
    """Return a run on excerpts of 256 frames at ratio 0.9, or of so many tokens."""
    patchout: PatchoutConfig = RatioPatchoutConfig(ratio=0.9)
    if tokens is not None:
        patchout = TokenBudgetConfig(min_tokens=tokens, max_tokens=tokens)
    return RunConfig(
        recipe="benchmark",
        architecture=lookup_architecture(architecture),
        views=WholeTrackConfig() if whole_tracks else ExcerptsConfig(num_frames=256),
        patchout=patchout,
        budget=BudgetConfig(max_steps=1),
        batch_size=batch_size,
        micro_batch_size=micro_batch_size,
        recompute=recompute,
    )


_folders: list[tempfile.TemporaryDirectory[str]] = []  # until the process ends


def write_tracks(front_end: FrontEndConfig, tracks: int, *, frames: int) -> ShardSet:
    """Return tracks of noise, on disk until the process ends."""
    settings = Settings(front_end)
    _folders.append(tempfile.TemporaryDirectory(prefix="myna-bench-"))
    folder = Path(_folders[-1].name)
    rng = np.random.default_rng(0)

    def noise() -> np.ndarray:
        return rng.uniform(-80, 0, (frames, front_end.n_mels)).astype(np.float16)

    pieces = (Piece(f"{n}.wav", 1, 1, noise()) for n in range(tracks))
    shard, written = write_shard(folder, "shard-00000", pieces, settings, max_bytes=1 << 40)
    Manifest(settings, [shard], written, []).write(folder)
    return ShardSet.open(folder)


def rows(*, quick: bool = False) -> list[Row]:
    """Return the answers, for `tiny` and for the paper's 22M parameters."""
    batch = 16 if quick else TRACKS
    tiny = {"architecture": "tiny-16k", "batch_size": batch}
    small = {"architecture": "small-16k", "batch_size": batch}
    candidates = {
        "read": Candidate(f"{__name__}:read", tiny),
        "tiny": Candidate(f"{__name__}:step", tiny),
        "small": Candidate(f"{__name__}:step", small),
        "whole tracks": Candidate(f"{__name__}:step", {**tiny, "whole_tracks": True, "tokens": 13}),
    }
    if not quick:
        candidates |= {
            "micro-batches": Candidate(f"{__name__}:step", {**small, "micro_batch_size": 16}),
            "recomputed": Candidate(f"{__name__}:step", {**small, "recompute": True}),
            **{
                f"{tokens} tokens": Candidate(
                    f"{__name__}:step",
                    {**tiny, "whole_tracks": True, "tokens": tokens, "batch_size": 8},
                )
                for tokens in TOKENS
            },
        }
    measured = measure(candidates, rounds=2 if quick else 4)
    views = {"per": 2 * batch, "unit": "views/core-s"}
    table = [
        compare(
            f"reading / a step of {name}",
            measured["read"],
            measured[name],
            at_least=5.0,
            **views,
        )
        for name in ("tiny", "small")
    ]
    table.append(
        compare(
            "whole tracks, 13 tokens / excerpts, 13 tokens",
            measured["whole tracks"],
            measured["tiny"],
            **views,
        )
    )
    table += [
        compare(f"22M, {name} / direct", measured[name], measured["small"], **views)
        for name in ("micro-batches", "recomputed")
        if name in measured
    ]
    table += [
        compare(
            f"whole tracks, {tokens} tokens, 8 tracks",
            measured[name],
            None,
            per=16,
            unit="views/core-s",
        )
        for tokens in TOKENS
        if (name := f"{tokens} tokens") in measured
    ]
    return table

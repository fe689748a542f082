"""Pretraining on a GPU: excerpts a second and share of its peak, for the 22M encoder in bf16.

    python -m benchmarks gpu_training

Excerpts of 128 x 256, 13 of 128 patches kept, joint gradient and optimiser step, batches read by
worker processes into pinned memory. "resident" repeats one batch that is on the device already, so
the difference to "fed" is what feeding costs. Arithmetic is counted by PyTorch, forward and
backward. Without CUDA there is nothing to measure, and the row says so.
"""

import time
from collections.abc import Iterator
from contextlib import closing

import torch
from torch.utils.flop_counter import FlopCounterMode

from myna_rpe.config import BudgetConfig, ExcerptsConfig, RatioPatchoutConfig, RunConfig
from myna_rpe.config import lookup_architecture as lookup
from myna_rpe.data.batches import Batches
from myna_rpe.model.checkpoint import MynaModel
from myna_rpe.objectives import build_objectives
from myna_rpe.training.launch import Hardware, launch
from myna_rpe.training.optim import build_optimizer
from myna_rpe.training.step import Groups, Projector, backward

from .harness import Row
from .pretraining import write_tracks

BATCHES = (1024, 4096)
GOAL = 0.35

# Dense bf16 peak in FLOP/s, by a part of the device's name (makers' data sheets).
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}


def rows() -> list[Row]:
    """Return excerpts a second and share of peak for each batch size."""
    if not torch.cuda.is_available():
        return [{"name": "22M on a GPU", "note": "no CUDA device here: not measured"}]
    table: list[Row] = []
    for batch in BATCHES:
        table += measure("cuda", "small-44k", batch)
    return table


def measure(
    device: str, architecture: str, batch: int, *, steps: int = 30, workers: int = 8
) -> list[Row]:
    """Return two rows: with a batch that stays on the device, and fed from shards."""
    config = RunConfig(
        recipe="benchmark",
        architecture=lookup(architecture),
        views=ExcerptsConfig(num_frames=256),
        patchout=RatioPatchoutConfig(ratio=0.9),
        budget=BudgetConfig(max_steps=1),
        batch_size=batch,
        compile=device == "cuda",
    )
    batches = Batches(write_tracks(config.architecture.front_end, batch, frames=1000), config)
    model = MynaModel.untrained(config.architecture)
    projector = Projector(model).train()
    objectives = build_objectives(
        config.objectives, dim=config.architecture.model.projection_dim
    ).train()
    optimizer = build_optimizer((projector, objectives), config.optim)
    compiled = torch.compile(projector) if config.compile else projector
    # Of one process nothing ends with the block, and the steps go on with its fabric.
    with launch(config, Hardware(device)) as fabric:
        network, stepper = fabric.setup(compiled, optimizer)

    def step(groups: Groups) -> None:
        backward(fabric, network, objectives, groups)
        stepper.step()
        stepper.zero_grad()

    def seconds(feed: Iterator[Groups]) -> float:
        for _ in range(3):
            step(next(feed))
        _wait(device)
        start = time.perf_counter()
        for _ in range(steps):
            step(next(feed))
        _wait(device)
        return (time.perf_counter() - start) / steps

    first = fabric.to_device(batches.batch(0).groups)
    with FlopCounterMode(display=False) as counter:
        backward(fabric, fabric.setup_module(Projector(model)), objectives, first)
    flop = counter.get_total_flops()

    def resident() -> Iterator[Groups]:
        while True:
            yield first

    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    peak = next((value for part, value in PEAKS.items() if part in name), None)
    table: list[Row] = []
    with closing(batches.stream(workers=workers)) as stream:
        fed = (fabric.to_device(batch.groups) for batch in stream)
        for how, feed in (("resident", resident()), ("fed", fed)):
            taken = seconds(feed)
            share = flop / taken / peak if peak else None
            table.append(
                {
                    "name": f"22M, batch {batch}, {how}, {name}",
                    "ours": 2 * batch / taken,
                    "unit": "excerpts/s",
                    "ratio": share,
                    "goal": f">= {GOAL:g} of peak",
                    "met": None if share is None else share >= GOAL,
                    "note": f"{flop / taken / 1e12:.1f} TFLOP/s",
                }
            )
    return table


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()

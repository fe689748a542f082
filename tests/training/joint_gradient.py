"""Run by `torchrun`: the loss and gradient of one joint batch, by as many processes as there are.

python joint_gradient.py SHARDS CONFIG.json OUT.pt
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from myna_rpe.config import RunConfig
from myna_rpe.data.batches import Batches
from myna_rpe.data.shards import ShardSet
from myna_rpe.model.checkpoint import MynaModel
from myna_rpe.objectives import build_objectives
from myna_rpe.training.launch import Hardware, launch
from myna_rpe.training.step import Projector, backward


def main(shards: str, config: RunConfig, out: Path) -> None:
    """Write loss, parts and all gradients."""
    torch.set_num_threads(1)
    with launch(config, Hardware("cpu")) as fabric:
        joint_gradient(fabric, shards, config, out)


def joint_gradient(fabric: Any, shards: str, config: RunConfig, out: Path) -> None:
    """Write what this process knows after all have taken part."""
    data = ShardSet.open(shards)
    batches = Batches(data, config, rank=fabric.global_rank, world=fabric.world_size)
    model = MynaModel.untrained(config.architecture, seed=config.seed)
    objectives = build_objectives(
        config.objectives, dim=config.architecture.model.projection_dim
    ).train()
    projector = Projector(model).train()
    network = fabric.setup_module(projector)
    outcomes = [
        backward(
            fabric,
            network,
            objectives,
            batches.batch(step).groups,
            micro_batch_size=config.micro_batch_size,
            share=1 / config.optim.accumulate,
            sync=step == config.optim.accumulate - 1,
        )
        for step in range(config.optim.accumulate)
    ]
    modules = {"projector": projector, "objectives": objectives}
    gradients = {
        f"{name}.{parameter_name}": parameter.grad
        for name, module in modules.items()
        for parameter_name, parameter in module.named_parameters()
    }
    if fabric.global_rank == 0:
        losses = [outcome.loss for outcome in outcomes]
        buffers = dict(objectives.named_buffers())
        torch.save({"losses": losses, "gradients": gradients, "buffers": buffers}, out)
    fabric.barrier()


if __name__ == "__main__":
    main(
        sys.argv[1],
        RunConfig.from_dict(json.loads(Path(sys.argv[2]).read_text())),
        Path(sys.argv[3]),
    )

"""One step's gradient: the joint batch of all processes, in as little memory as is given.

The objective is computed on the projections of the *joint* batch, on every process alike, and its
gradient with respect to them is taken first. Each process then sends the rows that are its own
back through the encoder: directly, or a few tracks at a time, computing those projections again
(cached gradients). So negatives come from all processes, with gradient, and neither the number of
processes nor the size of a micro-batch changes the result.

Shapes: projections (batch, views, projection_dim).
Source: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup".
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..data.batches import ViewGroup
from ..model.checkpoint import MynaModel
from ..model.patches import Patches

Groups = tuple[ViewGroup, ...]


class Projector(nn.Module):
    """A model as the objectives see it: groups of views in, projections out."""

    def __init__(self, model: MynaModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, groups: Groups) -> Float[Tensor, "batch views projection_dim"]:
        """Return the projection of every view, group after group."""
        projections = []
        for group in groups:
            embedding = self.model.encode(group.patches)  # (batch x views, dim)
            projection = self.model.project(embedding)  # (batch x views, projection_dim)
            projections.append(projection.unflatten(0, (-1, group.num_views)))
        return torch.cat(projections, dim=1)


@dataclass(frozen=True)
class Outcome:
    """What a batch gave: ``parts`` of the loss by name, and the joint projections."""

    loss: Float[Tensor, ""]
    parts: dict[str, Tensor]
    projections: Float[Tensor, "batch views projection_dim"]


def backward_all(
    fabric: Any,
    network: nn.Module,
    objectives: nn.Module,
    batches: Sequence[Groups],
    *,
    micro_batch_size: int | None = None,
) -> list[Outcome]:
    """Add the mean gradient of several batches, each with its own negatives: see `backward`."""
    last = len(batches) - 1
    return [
        backward(
            fabric,
            network,
            objectives,
            groups,
            micro_batch_size=micro_batch_size,
            share=1 / len(batches),
            sync=index == last,
        )
        for index, groups in enumerate(batches)
    ]


def backward(
    fabric: Any,
    network: nn.Module,
    objectives: nn.Module,
    groups: Groups,
    *,
    micro_batch_size: int | None = None,
    share: float = 1.0,
    sync: bool = True,
) -> Outcome:
    """Add a batch's gradient to that of the encoder, the head and the objectives.

    Args:
        fabric: the Fabric that `network` was set up with.
        network: a `Projector`, set up.
        objectives: joint projections to (loss, parts); it lives on every process alike.
        groups: the views of this process's tracks, on its device.
        micro_batch_size: tracks that go through the encoder together; None: all.
        share: the gradient is multiplied by it; 1/n for the mean over n batches.
        sync: average the encoder's gradients over the processes; not before the last batch of a
            step.

    Returns:
        The loss of the joint batch, unscaled.
    """
    chunks = list(split_tracks(groups, micro_batch_size))
    cached = len(chunks) > 1
    with torch.no_grad() if cached else nullcontext():
        own = torch.cat([network(chunk) for chunk in chunks])

    alone = fabric.world_size == 1
    gathered = fabric.all_gather(own.detach())  # (processes, own batch, views, dim) if several
    joint = gathered.flatten(0, gathered.ndim - 3).requires_grad_()
    loss, parts = objectives(joint)
    (loss * share).backward()
    if not alone and sync:
        _average(fabric, objectives)

    # Gradients will be averaged over the processes, but each holds only its own rows' part.
    gradient = joint.grad.unflatten(0, (fabric.world_size, -1))[fabric.global_rank]
    rows = (gradient * fabric.world_size).split([len_tracks(chunk) for chunk in chunks])
    for index, (chunk, row) in enumerate(zip(chunks, rows, strict=True)):
        last = sync and index == len(chunks) - 1
        with nullcontext() if last or alone else fabric.no_backward_sync(network):
            projections = network(chunk) if cached else own
            fabric.backward(projections, row.to(projections.dtype))
    return Outcome(loss.detach(), parts, joint.detach())


def _average(fabric: Any, objectives: nn.Module) -> None:
    """Keep what the objectives learn equal to the bit on all processes."""
    for parameter in objectives.parameters():
        if parameter.grad is not None:
            parameter.grad = fabric.all_reduce(parameter.grad, reduce_op="mean")


def len_tracks(groups: Groups) -> int:
    """Return how many tracks some groups of views belong to."""
    return len(groups[0].patches[0].values) // groups[0].num_views


def split_tracks(groups: Groups, size: int | None) -> Iterator[Groups]:
    """Yield the views of `size` tracks at a time; the last may be fewer. None: all at once."""
    count = len_tracks(groups)
    if size is None or size >= count:
        yield groups
        return
    for first in range(0, count, size):
        yield tuple(_tracks(group, slice(first, first + size)) for group in groups)


def _tracks(group: ViewGroup, tracks: slice) -> ViewGroup:
    rows = slice(tracks.start * group.num_views, tracks.stop * group.num_views)
    return ViewGroup(
        group.num_views,
        tuple(
            Patches(
                values=patches.values[rows],
                time=patches.time[rows],
                freq=patches.freq[rows],
                valid=None if patches.valid is None else patches.valid[rows],
            )
            for patches in group.patches
        ),
    )

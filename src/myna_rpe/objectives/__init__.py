"""What pretraining minimises: objectives over the projections of a batch, combined by weight.

Every objective is a module from projections (batch tracks, views, dim) to a scalar, and a function
of the same name beside it. The projections are those of the joint batch of all processes. A module
keeps its state in parameters and buffers, changes the latter in training mode only, and may tell
the log more about itself in `metrics()`. A new one is a file here, a field of `ObjectivesConfig`
with the module's arguments, and a line in `build_objectives`.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..config import ObjectivesConfig
from .aninfonce import AnInfoNCE, an_info_nce
from .hullcombination import HullCombination, hull_combination
from .hullpull import HullPull, hull_pull
from .hullspread import HullSpread, hull_spread
from .infonce import InfoNCE, info_nce
from .kmeans import KMeans, k_means
from .ntxent import NTXent, nt_xent

__all__ = [
    "AnInfoNCE",
    "HasMetrics",
    "HullCombination",
    "HullPull",
    "HullSpread",
    "InfoNCE",
    "KMeans",
    "NTXent",
    "WeightedSum",
    "an_info_nce",
    "build_objectives",
    "hull_combination",
    "hull_pull",
    "hull_spread",
    "info_nce",
    "k_means",
    "nt_xent",
]


@runtime_checkable
class HasMetrics(Protocol):
    """An objective that has more to tell than its loss, such as a learned temperature."""

    def metrics(self) -> dict[str, Tensor]:
        """Return scalars by name, as they were in the last forward pass."""
        ...


class WeightedSum(nn.Module):
    """Several objectives over the same projections.

    Args:
        objectives: by name, each with its weight.
    """

    def __init__(self, objectives: dict[str, tuple[float, nn.Module]]) -> None:
        super().__init__()
        self.weights = {name: weight for name, (weight, _) in objectives.items()}
        self.objectives = nn.ModuleDict({name: module for name, (_, module) in objectives.items()})

    def forward(
        self, projections: Float[Tensor, "batch views dim"]
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the weighted sum, and its parts for the log.

        The parts are each objective before its weight, under its name, and its metrics under
        names like ``info_nce/temperature``.
        """
        losses = {name: objective(projections) for name, objective in self.objectives.items()}
        total = torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()
        parts = dict(losses)
        for name, objective in self.objectives.items():
            if isinstance(objective, HasMetrics):
                metrics = objective.metrics().items()
                parts |= {f"{name}/{metric}": value for metric, value in metrics}
        return total, {name: part.detach() for name, part in parts.items()}


def build_objectives(config: ObjectivesConfig, *, dim: int, seed: int = 0) -> WeightedSum:
    """Return the objectives a configuration asks for.

    Args:
        config: each node holds a weight and the arguments of the module of its name.
        dim: length of a projection.
        seed: of what objectives draw at random.
    """
    modules: dict[str, Callable[..., nn.Module]] = {
        "info_nce": InfoNCE,
        "nt_xent": NTXent,
        "an_info_nce": partial(AnInfoNCE, dim),
        "k_means": partial(KMeans, dim, seed=seed),
        "hull_combination": HullCombination,
        "hull_pull": HullPull,
        "hull_spread": partial(HullSpread, seed=seed),
    }
    objectives: dict[str, tuple[float, nn.Module]] = {}
    for name, build in modules.items():
        if (node := getattr(config, name)) is not None:
            objectives[name] = (node.weight, build(**node.model_dump(exclude={"weight"})))
    return WeightedSum(objectives)

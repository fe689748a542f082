"""What pretraining minimises: objectives over the projections of a batch, combined by weight.

Every objective is a module from projections (batch tracks, views, dim) to a scalar, and a function
of the same name beside it. A new one is a file here, a field of `ObjectivesConfig`, and a line in
`build_objectives`.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..config import ObjectivesConfig
from .infonce import InfoNCE, info_nce

__all__ = ["InfoNCE", "WeightedSum", "build_objectives", "info_nce"]


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
        """Return the weighted sum, and each objective before its weight."""
        parts = {name: objective(projections) for name, objective in self.objectives.items()}
        total = torch.stack([self.weights[name] * part for name, part in parts.items()]).sum()
        return total, {name: part.detach() for name, part in parts.items()}


def build_objectives(config: ObjectivesConfig) -> WeightedSum:
    """Return the objectives a configuration asks for."""
    objectives: dict[str, tuple[float, nn.Module]] = {}
    if (c := config.info_nce) is not None:
        module = InfoNCE(temperature=c.temperature, symmetric=c.symmetric)
        objectives["info_nce"] = (c.weight, module)
    return WeightedSum(objectives)

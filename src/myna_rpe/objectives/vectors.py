"""What the objectives share: unit vectors, full precision, pairs of views."""

from contextlib import AbstractContextManager
from itertools import combinations
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..errors import ConfigError

Pairs = Literal["all", "first"]


def unit(vectors: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
    """Return the vectors at length 1, in float32 or better."""
    wide = torch.promote_types(vectors.dtype, torch.float32)
    return F.normalize(vectors.to(wide), dim=-1)


def full_precision(tensor: Tensor) -> AbstractContextManager[None]:
    """Return a context that computes as the tensors' types say, also inside autocast."""
    return torch.autocast(tensor.device.type, enabled=False)


def view_pairs(
    projections: Float[Tensor, "batch views dim"], pairs: Pairs = "all"
) -> list[tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim"]]]:
    """Return anchors and positives: of "all" pairs of views, or of the "first" with every other.

    Raises:
        ConfigError: there is one view only.
    """
    check_views(projections)
    both = list(combinations(projections.unbind(dim=1), 2))  # (0, 1), (0, 2), ..., (1, 2), ...
    return both if pairs == "all" else both[: projections.shape[1] - 1]


def check_views(projections: Float[Tensor, "batch views dim"]) -> None:
    """Refuse single views, which make no pair."""
    if projections.shape[1] < 2:
        raise ConfigError(
            f"views={projections.shape[1]} per track makes no pair; use at least 2 views."
        )


def check_tracks(tracks: Tensor) -> None:
    """Refuse a single track, which has no negatives."""
    if len(tracks) < 2:
        raise ConfigError(f"batch={len(tracks)} track has no negatives; use at least 2 tracks.")


def check_temperature(temperature: float) -> None:
    """Refuse what cannot scale similarities."""
    if not temperature > 0:
        raise ConfigError(
            f"temperature={temperature} cannot scale similarities; use temperature > 0."
        )

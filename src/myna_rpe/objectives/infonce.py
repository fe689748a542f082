"""InfoNCE: a track's two views attract each other, all other tracks of the batch repel.

With u, v the unit vectors of anchors and positives, B tracks and temperature T, one direction is

    L = -1/B sum_i log( exp(u_i.v_i / T) / sum_j exp(u_i.v_j / T) )

and the symmetric loss is the mean of both directions. Every positive but one's own is a negative;
views of the same side never meet (that would be NT-Xent).

Source: van den Oord et al. 2018, equation 4, with cosine similarity as in CLMR (Spijkervet &
Burgoyne 2021); symmetric as in CLIP (Radford et al. 2021).
"""

from itertools import combinations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import ConfigError


def info_nce(
    anchor: Float[Tensor, "batch dim"],
    positive: Float[Tensor, "batch dim"],
    *,
    temperature: float = 0.1,
    symmetric: bool = True,
) -> Float[Tensor, ""]:
    """Return the contrastive loss of a batch of pairs, in nats.

    Args:
        anchor: projections of one view per track; their lengths do not matter.
        positive: projections of the other view, in the same order.
        temperature: divides the cosine similarities; > 0.
        symmetric: also let each positive find its anchor, and take the mean.

    Returns:
        A scalar, at least float32 even under autocast (exp(1/T) is beyond half precision's
        resolution). Without any structure it is log(batch).

    Raises:
        ConfigError: temperature is not above 0, or there is no negative.

    Example:
        >>> round(info_nce(torch.eye(4), torch.eye(4), temperature=1.0).item(), 4)  # log(1 + 3/e)
        0.7437
    """
    if not temperature > 0:
        raise ConfigError(
            f"temperature={temperature} cannot scale similarities; use temperature > 0."
        )
    if len(anchor) < 2:
        raise ConfigError(f"batch={len(anchor)} track has no negatives; use at least 2 tracks.")
    with torch.autocast(anchor.device.type, enabled=False):
        u, v = _unit(anchor), _unit(positive)
        logits = u @ v.T / temperature  # (batch, batch); row i: anchor i against every positive
        target = torch.arange(len(logits), device=logits.device)
        loss = F.cross_entropy(logits, target)
        if symmetric:
            loss = (loss + F.cross_entropy(logits.T, target)) / 2
    return loss


class InfoNCE(nn.Module):
    """`info_nce` as a module over all views: the mean over every pair of views.

    Args:
        temperature: divides the cosine similarities; > 0.
        symmetric: both directions of each pair.
    """

    def __init__(self, *, temperature: float = 0.1, symmetric: bool = True) -> None:
        super().__init__()
        self.temperature = temperature
        self.symmetric = symmetric

    def forward(self, projections: Float[Tensor, "batch views dim"]) -> Float[Tensor, ""]:
        """Return the loss of a batch of tracks, each in the same number of views (>= 2)."""
        losses = [
            info_nce(anchor, positive, temperature=self.temperature, symmetric=self.symmetric)
            for anchor, positive in combinations(projections.unbind(dim=1), 2)
        ]
        if not losses:
            raise ConfigError("views=1 per track makes no pair; use at least 2 views.")
        return torch.stack(losses).mean()


def _unit(vectors: Tensor) -> Tensor:
    """Return rows of length 1, in float32 or better."""
    wide = torch.promote_types(vectors.dtype, torch.float32)
    return F.normalize(vectors.to(wide), dim=-1)

"""InfoNCE: a track's two views attract each other, all other tracks of the batch repel.

With u, v the unit vectors of anchors and positives, B tracks and temperature T, one direction is

    L = -1/B sum_i log( exp(u_i.v_i / T) / sum_j exp(u_i.v_j / T) )

and the symmetric loss is the mean of both directions. Every positive but one's own is a negative;
views of the same side never meet (that is NT-Xent).

Source: van den Oord et al. 2018, equation 4, with cosine similarity as in CLMR (Spijkervet &
Burgoyne 2021); symmetric, and with a learned temperature, as in CLIP (Radford et al. 2021).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .vectors import Pairs, check_temperature, check_tracks, full_precision, unit, view_pairs


def info_nce(
    anchor: Float[Tensor, "batch dim"],
    positive: Float[Tensor, "batch dim"],
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    symmetric: bool = True,
) -> Float[Tensor, ""]:
    """Return the contrastive loss of a batch of pairs, in nats.

    Args:
        anchor: projections of one view per track; their lengths do not matter.
        positive: projections of the other view, in the same order.
        temperature: divides the cosine similarities; > 0. A tensor where it is learned.
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
    if not isinstance(temperature, Tensor):  # asking a tensor would stall a GPU
        check_temperature(temperature)
    with full_precision(anchor):
        # (batch, batch); row i: anchor i against every positive
        return contrast(unit(anchor) @ unit(positive).T / temperature, symmetric=symmetric)


def contrast(logits: Float[Tensor, "batch batch"], *, symmetric: bool) -> Float[Tensor, ""]:
    """Return how surprising the diagonal is among each row, or rows and columns, in nats."""
    check_tracks(logits)
    own = torch.arange(len(logits), device=logits.device)
    loss = F.cross_entropy(logits, own)
    return (loss + F.cross_entropy(logits.T, own)) / 2 if symmetric else loss


class InfoNCE(nn.Module):
    """`info_nce` as a module over all views: the mean over pairs of views.

    Args:
        temperature: divides the cosine similarities; > 0. The first one, where it is learned.
        symmetric: both directions of each pair.
        pairs: "all" pairs of views, or the "first" view with every other.
        learn_temperature: train it, as the logarithm of its inverse.
        min_temperature: a learned temperature that falls below is set back to it (CLIP's: 0.01).
    """

    def __init__(
        self,
        *,
        temperature: float = 0.1,
        symmetric: bool = True,
        pairs: Pairs = "all",
        learn_temperature: bool = False,
        min_temperature: float = 0.01,
    ) -> None:
        super().__init__()
        self.symmetric = symmetric
        self.pairs = pairs
        self.fixed_temperature = temperature
        self.max_log_inverse = -math.log(min_temperature)
        self.log_inverse_temperature: nn.Parameter | None = None
        if learn_temperature:
            check_temperature(temperature)
            self.log_inverse_temperature = nn.Parameter(torch.tensor(-math.log(temperature)))

    @property
    def temperature(self) -> float | Float[Tensor, ""]:
        """What divides the similarities: a number, or a tensor where it is learned."""
        if self.log_inverse_temperature is None:
            return self.fixed_temperature
        return (-self.log_inverse_temperature).exp()

    def metrics(self) -> dict[str, Tensor]:
        """Return the temperature, where it is learned."""
        temperature = self.temperature
        return {"temperature": temperature} if isinstance(temperature, Tensor) else {}

    def forward(self, projections: Float[Tensor, "batch views dim"]) -> Float[Tensor, ""]:
        """Return the loss of a batch of tracks, each in the same number of views (>= 2)."""
        if self.training and self.log_inverse_temperature is not None:
            # The parameter itself: beyond a bound inside the loss it would have no gradient back.
            with torch.no_grad():
                self.log_inverse_temperature.clamp_(max=self.max_log_inverse)
        temperature = self.temperature
        losses = [
            info_nce(anchor, positive, temperature=temperature, symmetric=self.symmetric)
            for anchor, positive in view_pairs(projections, self.pairs)
        ]
        return torch.stack(losses).mean()

"""AnInfoNCE: InfoNCE that learns how much each dimension may differ between views of a track.

With f(x) unit vectors and Lambda a trained positive diagonal, the paper minimises

    L = E -ln( exp(-|f(x+) - f(x)|^2_Lambda)
               / (exp(-|f(x+) - f(x)|^2_Lambda) + sum_i exp(-|f(x-_i) - f(x)|^2_Lambda)) )
    |d|^2_Lambda = d' Lambda d

There is no temperature: Lambda, the "concentration", absorbs it. Where Lambda = I / (2T) the loss
is InfoNCE at temperature T, because |u - v|^2 = 2 - 2 u.v on the sphere; training starts there.
A dimension in which the views of a track differ much can have a small entry and stay; InfoNCE
weighs all dimensions alike and tends to lose it. The paper reports that more factors of variation
are recovered, at the cost of accuracy in linear classification.

Here, as in `info_nce`, the negatives of an anchor are the positives of all other tracks, and the
symmetric loss is the mean of both directions. The paper leaves the x-_i open; its code also takes
the other anchors, and half the squared distance, which Lambda absorbs too. It trains Lambda through
softplus, at a learning rate of its own; here it is the exponential of a parameter, so that one
learning rate moves small and large entries by the same share.

Source: Rusak et al. 2024 (arXiv 2407.00143), the definition of L_AINCE as on the authors' project
page, and `AnInfoNCELoss` in their repository (brendel-group/AnInfoNCE).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .infonce import contrast
from .vectors import Pairs, check_temperature, full_precision, unit, view_pairs


def an_info_nce(
    anchor: Float[Tensor, "batch dim"],
    positive: Float[Tensor, "batch dim"],
    concentration: Float[Tensor, " dim"],
    *,
    symmetric: bool = True,
) -> Float[Tensor, ""]:
    """Return the anisotropic contrastive loss of a batch of pairs, in nats.

    Args:
        anchor: projections of one view per track; their lengths do not matter.
        positive: projections of the other view, in the same order.
        concentration: the diagonal of Lambda; > 0.
        symmetric: also let each positive find its anchor, and take the mean.

    Returns:
        A scalar, at least float32 even under autocast.

    Raises:
        ConfigError: there is no negative.
    """
    with full_precision(anchor):
        u, v = unit(anchor), unit(positive)
        squares_u = (concentration * u.square()).sum(dim=1, keepdim=True)  # (batch, 1)
        squares_v = (concentration * v.square()).sum(dim=1)  # (batch,)
        distances = squares_u + squares_v - 2 * (concentration * u) @ v.T  # (batch, batch)
        return contrast(-distances, symmetric=symmetric)


class AnInfoNCE(nn.Module):
    """`an_info_nce` as a module with a trained Lambda: the mean over pairs of views.

    Args:
        dim: length of a projection.
        temperature: every entry of Lambda starts at 1 / (2 temperature); > 0.
        symmetric: both directions of each pair.
        pairs: "all" pairs of views, or the "first" view with every other.
        min_temperature: entries above 1 / (2 min_temperature) are set back to it.
    """

    def __init__(
        self,
        dim: int,
        *,
        temperature: float = 0.1,
        symmetric: bool = True,
        pairs: Pairs = "all",
        min_temperature: float = 0.01,
    ) -> None:
        super().__init__()
        check_temperature(temperature)
        self.symmetric = symmetric
        self.pairs = pairs
        self.max_log_concentration = -math.log(2 * min_temperature)
        self.log_concentration = nn.Parameter(torch.full((dim,), -math.log(2 * temperature)))

    @property
    def concentration(self) -> Float[Tensor, " dim"]:
        """The diagonal of Lambda."""
        return self.log_concentration.exp()

    def metrics(self) -> dict[str, Tensor]:
        """Return the extremes of Lambda; far apart, dimensions are treated differently."""
        concentration = self.concentration
        return {
            "min_concentration": concentration.amin(),
            "max_concentration": concentration.amax(),
        }

    def forward(self, projections: Float[Tensor, "batch views dim"]) -> Float[Tensor, ""]:
        """Return the loss of a batch of tracks, each in the same number of views (>= 2)."""
        if self.training:
            with torch.no_grad():  # as the bound of a learned temperature
                self.log_concentration.clamp_(max=self.max_log_concentration)
        concentration = self.concentration
        losses = [
            an_info_nce(anchor, positive, concentration, symmetric=self.symmetric)
            for anchor, positive in view_pairs(projections, self.pairs)
        ]
        return torch.stack(losses).mean()

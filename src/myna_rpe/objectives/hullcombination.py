"""Hull combination: a view is to be a weighted mean of its track's other views.

With z the unit vectors of a track's views, for each of them

    L = |sum_k softmax(c)_k z_k - z|^2,    c_k = z_k.z / T,    k over the other views

and the mean over all views of all tracks. The coefficients are attention: the views that are most
like z explain it. They are computed and not learned, because views come in no order that a vector
of coefficients could learn, and so any number of views will do. T -> 0 takes the most similar view,
T -> infinity the plain mean; gradients flow through the coefficients too.

On the sphere the loss is at most 4, and 0 only where the views that count are equal to z. With two
views it is their squared distance. It only attracts: the configuration demands a contrastive
objective beside it.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .vectors import check_temperature, check_views, full_precision, unit


def hull_combination(
    projections: Float[Tensor, "batch views dim"], *, temperature: float = 0.1
) -> Float[Tensor, ""]:
    """Return the mean squared distance of each view to the attention-weighted mean of the others.

    Args:
        projections: of each track at least 2 views; their lengths do not matter.
        temperature: divides the cosine similarities that weigh the others; > 0.

    Returns:
        A scalar, at least float32 even under autocast.

    Raises:
        ConfigError: temperature is not above 0, or there is one view per track.
    """
    check_temperature(temperature)
    check_views(projections)
    with full_precision(projections):
        z = unit(projections)
        itself = torch.eye(z.shape[1], dtype=torch.bool, device=z.device)
        logits = (z @ z.mT / temperature).masked_fill(itself, -torch.inf)  # (batch, views, views)
        return (logits.softmax(dim=-1) @ z - z).square().sum(dim=-1).mean()


class HullCombination(nn.Module):
    """`hull_combination` as a module.

    Args:
        temperature: divides the cosine similarities that weigh the other views; > 0.
    """

    def __init__(self, *, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, projections: Float[Tensor, "batch views dim"]) -> Float[Tensor, ""]:
        """Return the loss of a batch of tracks, each in the same number of views (>= 2)."""
        return hull_combination(projections, temperature=self.temperature)

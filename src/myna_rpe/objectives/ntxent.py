"""NT-Xent: a view is to find its track's other views among all views of the batch.

With u the unit vectors of all V views of all B tracks, P(i) the other views of i's track and
temperature T,

    l(i, p) = -log( exp(u_i.u_p / T) / sum_{k != i} exp(u_i.u_k / T) )
    L = 1/(BV) sum_i 1/(V - 1) sum_{p in P(i)} l(i, p)

With two views this is SimCLR's loss: a view has 2 (B - 1) negatives where InfoNCE gives it B - 1.
With more, the other positives of i stay in the denominator too.

Source: Chen et al. 2020 (SimCLR), equation 1; for more than two views, L_out of Khosla et al. 2020,
equation 2, with every track a class.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .vectors import check_temperature, check_tracks, check_views, full_precision, unit


def nt_xent(
    projections: Float[Tensor, "batch views dim"], *, temperature: float = 0.1
) -> Float[Tensor, ""]:
    """Return the contrastive loss of a batch of tracks, in nats.

    Args:
        projections: of each track at least 2 views; their lengths do not matter.
        temperature: divides the cosine similarities; > 0.

    Returns:
        A scalar, at least float32 even under autocast. Without any structure it is
        log(batch x views - 1).

    Raises:
        ConfigError: temperature is not above 0, or there is no positive or no negative.
    """
    check_temperature(temperature)
    check_tracks(projections)
    check_views(projections)
    batch, views, _ = projections.shape
    with full_precision(projections):
        vectors = unit(projections).flatten(0, 1)  # (batch x views, dim)
        itself = torch.eye(batch * views, dtype=torch.bool, device=vectors.device)
        logits = (vectors @ vectors.T / temperature).masked_fill(itself, -torch.inf)
        track = torch.arange(batch, device=vectors.device).repeat_interleave(views)
        positive = (track == track.unsqueeze(1)) & ~itself
        surprise = -logits.log_softmax(dim=1)
        return surprise.where(positive, 0).sum() / (batch * views * (views - 1))


class NTXent(nn.Module):
    """`nt_xent` as a module.

    Args:
        temperature: divides the cosine similarities; > 0.
    """

    def __init__(self, *, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, projections: Float[Tensor, "batch views dim"]) -> Float[Tensor, ""]:
        """Return the loss of a batch of tracks, each in the same number of views (>= 2)."""
        return nt_xent(projections, temperature=self.temperature)

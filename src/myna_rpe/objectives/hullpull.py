"""Hull pull: a view is to lie in the convex hull of its track's other views.

With z the unit vectors of a track's views, and V those of the others, for each of them

    L = min_a |z - V'a|^2,    a_k >= 0,    sum_k a_k = 1

and the mean over all views of all tracks. The best weights a are found exactly and detached: at the
minimum the loss does not change with them to first order, so the gradient is still the true one.

On the sphere the loss is at most 4, and with two views their squared distance. A hull of unit
vectors lies inside the ball, so that it is 0 only where another view is equal to z. It only
attracts: the configuration demands a contrastive objective beside it.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .vectors import check_views, full_precision, unit


def hull_pull(projections: Float[Tensor, "batch views dim"]) -> Float[Tensor, ""]:
    """Return the mean squared distance of each view to the convex hull of the others.

    Args:
        projections: of each track at least 2 views; their lengths do not matter.

    Returns:
        A scalar, at least float32 even under autocast.

    Raises:
        ConfigError: there is one view per track.
    """
    check_views(projections)
    views = projections.shape[1]
    with full_precision(projections):
        z = unit(projections)
        other = (~torch.eye(views, dtype=torch.bool)).nonzero()[:, 1]  # of view 0, of view 1, ...
        target = z.flatten(0, 1)  # (batch x views, dim)
        others = z[:, other].view(len(target), views - 1, -1)
        weights = nearest_weights(target, others).to(z.dtype)  # (batch x views, views - 1)
        closest = (weights.unsqueeze(1) @ others).squeeze(1)  # (batch x views, dim)
        return (target - closest).square().sum(dim=1).mean()


@torch.no_grad()
def nearest_weights(
    targets: Float[Tensor, "n dim"], points: Float[Tensor, "n points dim"]
) -> Float[Tensor, "n points"]:
    """Return the convex combination of points that lies nearest to each target.

    With D the points as seen from the target, the answer is w / sum(w) for the w >= 0 that
    minimises |D'w|^2 + (sum_k w_k - 1)^2: along any ray the sum is free, and less |D'w|^2 per sum
    is always better. That is non-negative least squares, solved by an active set: the most
    promising point joins the support, the unconstrained optimum over the support is found, and
    where it has negative weights, one goes as far towards it as none turns negative, and drops the
    points at 0. It ends after finitely many steps at the exact answer, in float64; all n problems
    advance together.

    Source:
        Lawson & Hanson 1974, "Solving Least Squares Problems", chapter 23.
    """
    count = points.shape[1]
    offsets = (points - targets.unsqueeze(1)).double()
    size = offsets.square().sum(dim=-1).amax(dim=-1).clamp(min=torch.finfo(torch.float64).tiny)
    offsets = offsets / size.sqrt()[:, None, None]
    # The Gram matrix of the least squares, a touch of ridge for points that coincide.
    eye = torch.eye(count, dtype=torch.float64, device=points.device)
    gram = offsets @ offsets.mT + 1 + 1e-12 * eye  # (n, points, points)

    weights = offsets.new_zeros(offsets.shape[:2])
    support = torch.zeros_like(weights, dtype=torch.bool)
    settled = torch.ones_like(support[:, 0])  # weights are optimal over the support
    for _ in range(4 * count):
        slope = (1 - (gram @ weights.unsqueeze(-1)).squeeze(-1)).masked_fill(support, -torch.inf)
        joins = settled & (slope.amax(dim=1) > 1e-10)
        if bool((settled & ~joins).all()):
            break
        support |= F.one_hot(slope.argmax(dim=1), count).bool() & joins.unsqueeze(1)
        both = support.unsqueeze(1) & support.unsqueeze(2)
        best = torch.linalg.solve_ex(torch.where(both, gram, eye), support.double())[0]
        negative = support & (best <= 0)
        reach = weights / (weights - best).clamp(min=torch.finfo(torch.float64).tiny)
        reach = reach.masked_fill(~negative, 1).amin(dim=1, keepdim=True)  # (n, 1), 0 to 1
        weights = weights + reach * (best - weights)
        support &= ~(negative & (weights <= 1e-15))
        weights = weights.where(support, 0)
        settled = ~negative.any(dim=1)
    return weights / weights.sum(dim=1, keepdim=True)


class HullPull(nn.Module):
    """`hull_pull` as a module."""

    def forward(self, projections: Float[Tensor, "batch views dim"]) -> Float[Tensor, ""]:
        """Return the loss of a batch of tracks, each in the same number of views (>= 2)."""
        return hull_pull(projections)

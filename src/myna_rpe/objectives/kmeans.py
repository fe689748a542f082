"""K-means: every view is pulled to the nearest of a set of centroids, which follow the views.

With z_i the unit vectors of all n views of a batch, c_k the centroids and a(i) the nearest one,

    dcn:        L = 1/n sum_i |z_i - c_a(i)|^2
    spherical:  L = 1/n sum_i (1 - z_i.c_a(i)),    |c_k| = 1

Gradients reach the views only, neither the assignment nor the centroids. After each batch, every
view i moves its centroid by c_k <- c_k - (1/n_k) (c_k - z_i), where n_k counts the views the
cluster ever had, i included; spherical centroids are then brought back to length 1. A batch is
assigned before it moves anything, so its order does not matter.

The centroids are buffers, not parameters, and change in training mode only, once per forward pass.
Attraction alone ends in a single point: the configuration demands a contrastive objective beside
this one.

Source: Yang et al. 2017 (DCN, arXiv 1610.04794), its alternating stochastic optimisation; Zhong
2005, "Efficient Online Spherical K-means Clustering".
"""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from .vectors import full_precision, unit

Variant = Literal["dcn", "spherical"]


def k_means(
    vectors: Float[Tensor, "n dim"],
    centroids: Float[Tensor, "clusters dim"],
    *,
    variant: Variant = "dcn",
) -> Float[Tensor, ""]:
    """Return the mean distance of vectors, brought to length 1, to their nearest centroids.

    Args:
        vectors: the projections of views; their lengths do not matter.
        centroids: no gradient reaches them; "spherical" ones are of length 1.
        variant: "dcn" is the squared distance, "spherical" one minus the cosine.

    Returns:
        A scalar, at least float32 even under autocast: 0 to 4 ("dcn"), 0 to 2 ("spherical").
    """
    with full_precision(vectors):
        z = unit(vectors)
        own = centroids.detach()[nearest(z.detach(), centroids)]  # (n, dim)
        if variant == "spherical":
            return 1 - (z * own).sum(dim=1).mean()
        return (z - own).square().sum(dim=1).mean()


def nearest(
    vectors: Float[Tensor, "n dim"], centroids: Float[Tensor, "clusters dim"]
) -> Int[Tensor, " n"]:
    """Return the index of each vector's nearest centroid."""
    # |z - c|^2 is |z|^2 - 2 (z.c - |c|^2 / 2); spherical centroids all have the same |c|.
    offset = centroids.square().sum(dim=1) / 2
    return (vectors @ centroids.to(vectors.dtype).T - offset).argmax(dim=1)


class KMeans(nn.Module):
    """`k_means` as a module that keeps the centroids.

    Args:
        dim: length of a projection.
        num_clusters: how many centroids there are.
        variant: "dcn" or "spherical".
        warmup_steps: for so many steps the loss is 0 and the centroids only gather; >= 1, because
            they start at views of the first batch.
        reseed_after: a centroid that no view chose in so many steps is dead, and starts again at a
            random view of the next batch.
        seed: of the choice of views for centroids; it follows from (seed, step) alone.
    """

    centroids: Tensor  # (clusters, dim)
    counts: Tensor  # (clusters,): n_k
    idle: Tensor  # (clusters,): steps since a view chose it
    step: Tensor  # (): forward passes in training mode

    def __init__(
        self,
        dim: int,
        *,
        num_clusters: int = 64,
        variant: Variant = "dcn",
        warmup_steps: int = 500,
        reseed_after: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.variant = variant
        self.warmup_steps = warmup_steps
        self.reseed_after = reseed_after
        self.seed = seed
        self.register_buffer("centroids", torch.zeros(num_clusters, dim))
        self.register_buffer("counts", torch.zeros(num_clusters, dtype=torch.long))
        # All are dead, so that the first batch seeds them.
        self.register_buffer("idle", torch.full((num_clusters,), reseed_after))
        self.register_buffer("step", torch.tensor(0))

    def metrics(self) -> dict[str, Tensor]:
        """Return the share of centroids that are dead and start again with the next batch."""
        return {"dead": self._dead.float().mean()}

    def forward(self, projections: Float[Tensor, "batch views dim"]) -> Float[Tensor, ""]:
        """Return the loss, 0 in the warm-up; in training mode, then let the centroids follow."""
        vectors = projections.flatten(0, 1)
        warm = int(self.step) >= self.warmup_steps
        if self.training:
            self._reseed(vectors)
        loss = k_means(vectors, self.centroids, variant=self.variant)
        if self.training:
            self._follow(vectors)
        return loss if warm else 0 * loss

    @property
    def _dead(self) -> Tensor:
        return self.idle >= self.reseed_after

    @torch.no_grad()
    def _reseed(self, vectors: Float[Tensor, "n dim"]) -> None:
        rng = np.random.default_rng((self.seed, int(self.step)))
        order = torch.from_numpy(rng.permutation(len(vectors))).to(vectors.device)
        dead = self._dead
        # Each takes another view, as long as there are enough.
        chosen = order[(dead.cumsum(0) - 1) % len(order)]  # (clusters,)
        views = unit(vectors[chosen]).to(self.centroids.dtype)
        self.centroids.copy_(torch.where(dead.unsqueeze(1), views, self.centroids))
        self.counts.masked_fill_(dead, 0)
        self.idle.masked_fill_(dead, 0)

    @torch.no_grad()
    def _follow(self, vectors: Float[Tensor, "n dim"]) -> None:
        with full_precision(vectors):
            z = unit(vectors).to(self.centroids.dtype)
            member = F.one_hot(nearest(z, self.centroids), len(self.centroids))  # (n, clusters)
            arrived = member.sum(dim=0)  # (clusters,)
            self.counts.add_(arrived)
            # The views' own steps of 1/n_k, one after the other, add up to this; the sum of views
            # is a product of matrices, whose order is fixed on every device.
            steps = member.to(z.dtype).T @ z - arrived.unsqueeze(1) * self.centroids
            self.centroids.add_(steps / self.counts.clamp(min=1).unsqueeze(1))
            if self.variant == "spherical":
                self.centroids.copy_(F.normalize(self.centroids, dim=1))
        self.idle.add_(1).masked_fill_(arrived > 0, 0)
        self.step.add_(1)

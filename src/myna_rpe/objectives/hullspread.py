"""Hull spread: the batch is to stay wide along every direction, so that nothing is lost.

With z the unit vectors of all views of a batch and r_m random unit directions,

    L = -1/M sum_m (max_i r_m.z_i - min_i r_m.z_i)

minus the mean width of their convex hull. On the sphere it is bounded, -2 to 0. A gradient reaches
only the views at the hull's edge, two a direction. It knows no tracks, hence no positives: the
configuration demands a contrastive objective beside it.

The mean width is that of Bonnesen & Fenchel 1934, estimated from M directions.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from .vectors import full_precision, unit


def hull_spread(
    vectors: Float[Tensor, "n dim"], directions: Float[Tensor, "directions dim"]
) -> Float[Tensor, ""]:
    """Return minus the mean width of vectors, brought to length 1, along some directions.

    Args:
        vectors: the projections of views; their lengths do not matter.
        directions: along which to measure; their lengths do not matter.

    Returns:
        A scalar, -2 to 0, at least float32 even under autocast.
    """
    with full_precision(vectors):
        z = unit(vectors)
        places = z @ unit(directions).to(z.dtype).T  # (n, directions)
        return (places.amin(dim=0) - places.amax(dim=0)).mean()


class HullSpread(nn.Module):
    """`hull_spread` as a module that draws the directions anew at each step of training.

    Args:
        num_directions: how many.
        seed: of the directions; they follow from (seed, step) alone.
    """

    step: Tensor  # (): forward passes in training mode

    def __init__(self, *, num_directions: int = 128, seed: int = 0) -> None:
        super().__init__()
        self.num_directions = num_directions
        self.seed = seed
        self.register_buffer("step", torch.tensor(0))

    def forward(self, projections: Float[Tensor, "batch views dim"]) -> Float[Tensor, ""]:
        """Return the loss of a batch of tracks, in any number of views."""
        rng = np.random.default_rng((self.seed, int(self.step)))
        directions = rng.standard_normal((self.num_directions, projections.shape[-1]), np.float32)
        if self.training:
            self.step.add_(1)
        vectors = projections.flatten(0, 1)
        return hull_spread(vectors, torch.from_numpy(directions).to(vectors.device))

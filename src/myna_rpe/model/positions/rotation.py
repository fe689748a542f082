"""Rotation of queries and keys by angles that depend on their places (Su et al. 2021).

Channels are taken in neighbouring pairs (2j, 2j + 1); pair j of a token turns by its angle j.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Rotation:
    """Angles in radians, one per token and channel pair; those of two rotations add up."""

    angles: Float[Tensor, "*batch tokens pairs"]

    def __add__(self, other: "Rotation") -> "Rotation":
        return Rotation(self.angles + other.angles)

    def apply(
        self, x: Float[Tensor, "batch heads tokens head_dim"]
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        """Return queries or keys turned by their tokens' angles."""
        # (tokens, pairs) is shared by the batch; (batch, tokens, pairs) needs room for the heads.
        angles = self.angles if self.angles.ndim == 2 else self.angles[:, None]
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        even, odd = x[..., ::2], x[..., 1::2]
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)

"""Rotary positions along time, or along time and frequency.

1D (Su et al. 2021): pair j of d/2 turns by t base^(-2j/d). 2D (axial, Heo et al. 2024): the first
half of the channels turns by time and the second by frequency, each as a 1D scheme of d/2 channels.

The class token has no place and is not rotated. So RoPE is relative between tokens, but what the
class token reads from a token does depend on when it sounds.
"""

import torch
from torch import Tensor

from ...config import RopeConfig
from ..patches import Coords
from .rotation import Rotation
from .scheme import Geometry, PositionalScheme


class Rope(PositionalScheme):
    """Rotation of queries and keys; the configured name says along which axes."""

    def __init__(self, config: RopeConfig, geometry: Geometry) -> None:
        super().__init__()
        self.both_axes = config.name == "rope-2d"
        channels = geometry.head_dim // 2 if self.both_axes else geometry.head_dim
        # float64 until the cosine: at the end of a long track a float32 angle is off by a percent.
        exponents = torch.arange(0, channels, 2, dtype=torch.float64) / channels
        self.frequencies = config.base**-exponents

    def rotation(self, coords: Coords) -> Rotation:
        """Return the angles of every token."""
        time = self._angles(coords.time)
        if not self.both_axes:
            return Rotation(time)
        return Rotation(torch.cat((time, self._angles(coords.freq)), dim=-1))

    def _angles(self, places: Tensor) -> Tensor:
        return places[..., None].double() * self.frequencies.to(places.device)

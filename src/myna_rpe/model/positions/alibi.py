"""Attention with linear biases along time, frequency or both (Press et al. 2021; Phillips & Koh).

The bias falls with distance: -s_h (|dt| + |df|) for 2D, -s_h |dt| for 1D. Nothing depends on
absolute places, so a model reads tracks far longer than its training excerpts.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from ...config import AlibiConfig, geometric_slopes, press_slopes
from .bias import DistanceBias
from .scheme import Geometry, PositionalScheme


class FixedSlopes(nn.Module):
    """Slopes that are not trained: a rule of the number of heads, or given one by one."""

    slopes: Tensor

    def __init__(self, slopes: tuple[float, ...]) -> None:
        super().__init__()
        # Not persistent: the configuration, not the weights, says what they are.
        self.register_buffer("slopes", torch.tensor(slopes), persistent=False)

    def forward(self) -> Tensor:
        """Return the slopes (heads,)."""
        return self.slopes


class LearnedSlopes(nn.Module):
    """Slopes trained with the model, positive by construction, starting where Press et al. do."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.log_slopes = nn.Parameter(torch.tensor(press_slopes(heads)).log())

    def forward(self) -> Tensor:
        """Return the slopes (heads,)."""
        return self.log_slopes.exp()


class Alibi(PositionalScheme):
    """Distance bias with one slope per head; the configured name says along which axes."""

    AXES: ClassVar = {"alibi-2d": (1.0, 1.0), "alibi-1d": (1.0, 0.0), "alibi-freq": (0.0, 1.0)}

    def __init__(self, config: AlibiConfig, geometry: Geometry) -> None:
        super().__init__()
        self.time_share, self.freq_share = self.AXES[config.name]
        self.slopes: FixedSlopes | LearnedSlopes
        if config.slopes == "learned":
            self.slopes = LearnedSlopes(geometry.heads)
        elif config.slopes == "press":
            self.slopes = FixedSlopes(press_slopes(geometry.heads))
        elif config.slopes == "geometric":
            self.slopes = FixedSlopes(geometric_slopes(geometry.heads))
        else:
            self.slopes = FixedSlopes(config.slopes)

    def bias(self) -> DistanceBias:
        """Return the slopes along each axis; 0 along an axis that does not count."""
        slopes = self.slopes()
        return DistanceBias(slopes * self.time_share, slopes * self.freq_share)

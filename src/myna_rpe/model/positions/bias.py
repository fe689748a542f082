"""Description of a distance bias, small enough to hand to any attention kernel.

The bias of head h between tokens i and j is

    -(time_slopes[h] |t_i - t_j| + freq_slopes[h] |f_i - f_j|)

with (t, f) the tokens' coordinates; the class token has bias 0 in both directions. Nothing here
is of size tokens x tokens except `DistanceBias.matrix`, which is for small inputs and references.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..patches import Coords


@dataclass(frozen=True)
class DistanceBias:
    """Per-head slopes along time and frequency; 2D ALiBi has both equal, 1D has one of them 0."""

    time_slopes: Float[Tensor, " heads"]
    freq_slopes: Float[Tensor, " heads"]

    def __add__(self, other: "DistanceBias") -> "DistanceBias":
        return DistanceBias(
            self.time_slopes + other.time_slopes, self.freq_slopes + other.freq_slopes
        )

    def matrix(self, coords: Coords, *, prefix: int = 0) -> Float[Tensor, "*batch heads rows cols"]:
        """Return the whole bias, with `prefix` unbiased tokens put in front.

        The batch dimension is there when the coordinates have one.
        """
        time = coords.time.to(self.time_slopes.dtype)
        freq = coords.freq.to(self.freq_slopes.dtype)
        dt = (time[..., :, None] - time[..., None, :]).abs()[..., None, :, :]
        df = (freq[..., :, None] - freq[..., None, :]).abs()[..., None, :, :]
        bias = -(self.time_slopes[:, None, None] * dt + self.freq_slopes[:, None, None] * df)
        return torch.nn.functional.pad(bias, (prefix, 0, prefix, 0))

"""What a positional scheme is: three hooks, each doing nothing by default.

The encoder calls all three and never asks which scheme it holds. `rotation` and `bias` return
descriptions that are made once per forward pass and shared by every block; both kinds of
description add up, so schemes combine freely.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from ..patches import Coords
from .bias import DistanceBias
from .rotation import Rotation


@dataclass(frozen=True)
class Geometry:
    """The sizes a scheme may need to build its parameters."""

    dim: int
    heads: int
    head_dim: int
    rows: int
    """Frequency rows of the patch grid."""


class PositionalScheme(nn.Module):
    """No positions at all; every scheme overrides the hooks it needs."""

    def add(
        self, values: Float[Tensor, "batch tokens dim"], coords: Coords
    ) -> Float[Tensor, "batch tokens dim"]:
        """Return the token values with their places added (class token excluded)."""
        return values

    def rotation(self, coords: Coords) -> Rotation | None:
        """Return how queries and keys are rotated by their places, or None."""
        return None

    def bias(self) -> DistanceBias | None:
        """Return the bias on the attention logits as slopes, or None."""
        return None


class Combined(PositionalScheme):
    """Several schemes at once, such as time ALiBi with a learned frequency embedding."""

    def __init__(self, schemes: list[PositionalScheme]) -> None:
        super().__init__()
        self.schemes = nn.ModuleList(schemes)

    def add(
        self, values: Float[Tensor, "batch tokens dim"], coords: Coords
    ) -> Float[Tensor, "batch tokens dim"]:
        """Return the values with every scheme's places added."""
        for scheme in self._each():
            values = scheme.add(values, coords)
        return values

    def rotation(self, coords: Coords) -> Rotation | None:
        """Return the sum of the schemes' angles."""
        total = None
        for scheme in self._each():
            rotation = scheme.rotation(coords)
            if rotation is not None:
                total = rotation if total is None else total + rotation
        return total

    def bias(self) -> DistanceBias | None:
        """Return the sum of the schemes' biases."""
        total = None
        for scheme in self._each():
            bias = scheme.bias()
            if bias is not None:
                total = bias if total is None else total + bias
        return total

    def _each(self) -> list[PositionalScheme]:
        return list(self.schemes)  # type: ignore[arg-type]

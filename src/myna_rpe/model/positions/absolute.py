"""Schemes that add something to each token: fixed sinusoids and learned embeddings."""

from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...config import LearnedFrequencyConfig, LearnedTimeConfig, SinusoidalConfig
from ...errors import ConfigError
from ..patches import Coords
from .scheme import Geometry, PositionalScheme


class Sinusoidal2d(PositionalScheme):
    """[sin t, cos t, sin f, cos f] over dim/4 wavelengths each (Beyer et al. 2022; Myna).

    The wavelengths are temperature^(j / (dim/4 - 1)), j from 0.
    """

    def __init__(self, config: SinusoidalConfig, geometry: Geometry) -> None:
        super().__init__()
        count = geometry.dim // 4
        exponents = torch.arange(count, dtype=torch.float64) / max(1, count - 1)
        self.frequencies = config.temperature**-exponents

    def add(
        self, values: Float[Tensor, "batch tokens dim"], coords: Coords
    ) -> Float[Tensor, "batch tokens dim"]:
        """Return the values with both axes' sinusoids added."""
        waves = [_sin_cos(axis, self.frequencies) for axis in (coords.time, coords.freq)]
        return values + torch.cat(waves, dim=-1).to(values.dtype)


class Sinusoidal1d(PositionalScheme):
    """[sin p, cos p] of one number per token (Vaswani et al. 2017): time, frequency or raster.

    The raster number is time x rows + frequency: the order of the tokens on a complete grid,
    which does not depend on the track's length.
    """

    PLACES: ClassVar[dict[str, Callable[[Coords, int], Tensor]]] = {
        "sinusoidal-time": lambda coords, rows: coords.time,
        "sinusoidal-freq": lambda coords, rows: coords.freq,
        "sinusoidal-raster": lambda coords, rows: coords.time * rows + coords.freq,
    }

    def __init__(self, config: SinusoidalConfig, geometry: Geometry) -> None:
        super().__init__()
        self.place = self.PLACES[config.name]
        self.rows = geometry.rows
        exponents = torch.arange(0, geometry.dim, 2, dtype=torch.float64) / geometry.dim
        self.frequencies = config.temperature**-exponents

    def add(
        self, values: Float[Tensor, "batch tokens dim"], coords: Coords
    ) -> Float[Tensor, "batch tokens dim"]:
        """Return the values with the sinusoids of their number added."""
        return values + _sin_cos(self.place(coords, self.rows), self.frequencies).to(values.dtype)


class LearnedFrequency(PositionalScheme):
    """One trained vector per frequency row ("F-Embed"): pitch is not shift-invariant as time is."""

    def __init__(self, config: LearnedFrequencyConfig, geometry: Geometry) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(geometry.rows, geometry.dim) * 0.02)

    def add(
        self, values: Float[Tensor, "batch tokens dim"], coords: Coords
    ) -> Float[Tensor, "batch tokens dim"]:
        """Return the values with their row's vector added."""
        return values + self.embedding[coords.freq]


class LearnedTime(PositionalScheme):
    """One trained vector per time column, as in the original ViT: it cannot read past the last."""

    def __init__(self, config: LearnedTimeConfig, geometry: Geometry) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(config.max_columns, geometry.dim) * 0.02)

    def add(
        self, values: Float[Tensor, "batch tokens dim"], coords: Coords
    ) -> Float[Tensor, "batch tokens dim"]:
        """Return the values with their column's vector added.

        Raises:
            ConfigError: a token lies past the last column that was trained.
        """
        columns = int(coords.time.max()) + 1
        if columns > len(self.embedding):
            raise ConfigError(
                f"input={columns} time columns is longer than learned-time can place; "
                f"embed windows of at most {len(self.embedding)} columns, or use a relative scheme."
            )
        return values + self.embedding[coords.time]


def _sin_cos(places: Tensor, frequencies: Tensor) -> Tensor:
    angles = places[..., None].double() * frequencies.to(places.device)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)

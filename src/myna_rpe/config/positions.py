"""Positional schemes by name, and ALiBi's slopes."""

import math
from typing import Annotated, Literal

from pydantic import Field

from .base import Config

Slopes = Literal["press", "geometric", "learned"] | tuple[float, ...]


class AlibiConfig(Config):
    """Attention with linear biases; the name says which axes the distance is measured along.

    ``slopes``: ``press`` (Press et al. 2021), ``geometric`` (2^(-8h/heads), h from 1),
    ``learned`` (positive, from Press), or one explicit number of any sign per head.
    """

    name: Literal["alibi-2d", "alibi-1d", "alibi-freq"] = "alibi-2d"
    slopes: Slopes = "press"


class RopeConfig(Config):
    """Rotary positions: along time, or half the channels along time and half along frequency."""

    name: Literal["rope-1d", "rope-2d"] = "rope-2d"
    base: float = Field(10_000.0, gt=1.0)


class SinusoidalConfig(Config):
    """Fixed sines and cosines added to the tokens: both axes, one axis, or raster order."""

    name: Literal["sinusoidal-2d", "sinusoidal-time", "sinusoidal-freq", "sinusoidal-raster"] = (
        "sinusoidal-2d"
    )
    temperature: float = Field(10_000.0, gt=1.0)


class LearnedFrequencyConfig(Config):
    """One learned embedding per frequency row, added to the tokens ("F-Embed")."""

    name: Literal["learned-freq"] = "learned-freq"


class LearnedTimeConfig(Config):
    """One learned embedding per time column; tracks of more columns are refused."""

    name: Literal["learned-time"] = "learned-time"
    max_columns: int = Field(512, ge=1)


SchemeConfig = Annotated[
    AlibiConfig | RopeConfig | SinusoidalConfig | LearnedFrequencyConfig | LearnedTimeConfig,
    Field(discriminator="name"),
]


def press_slopes(heads: int) -> tuple[float, ...]:
    """Return ALiBi's slopes, one per head, in the published order.

    For a power of two they are 2^(-8h/heads), h from 1. Otherwise the largest power of two below
    gives the first ones, and every other slope of twice that power the rest.

    Source:
        Press et al. 2021, section 3 and its reference implementation.

    >>> press_slopes(6)
    (0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125)
    """
    power = 2 ** math.floor(math.log2(heads))
    slopes = geometric_slopes(power)
    extra = geometric_slopes(2 * power)[::2][: heads - power]
    return slopes + extra


def geometric_slopes(heads: int) -> tuple[float, ...]:
    """Return 2^(-8h/heads) for h from 1 to ``heads``."""
    return tuple(2.0 ** (-8.0 * head / heads) for head in range(1, heads + 1))

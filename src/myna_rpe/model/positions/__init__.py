"""Positional schemes: interchangeable, combinable strategies behind three hooks.

To add one: a configuration in `config.py`, a subclass of `PositionalScheme`, a line in `SCHEMES`;
the contract suite then runs over it with every attention kernel.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ...config import SchemeConfig
from ...errors import ConfigError, unknown_name
from .absolute import LearnedFrequency, LearnedTime, Sinusoidal1d, Sinusoidal2d
from .alibi import Alibi
from .bias import DistanceBias
from .rope import Rope
from .rotation import Rotation
from .scheme import Combined, Geometry, PositionalScheme

__all__ = [
    "SCHEMES",
    "Combined",
    "DistanceBias",
    "Geometry",
    "PositionalScheme",
    "Rotation",
    "build_positions",
]

SCHEMES: dict[str, Callable[[Any, Geometry], PositionalScheme]] = {
    "alibi-2d": Alibi,
    "alibi-1d": Alibi,
    "alibi-freq": Alibi,
    "rope-1d": Rope,
    "rope-2d": Rope,
    "sinusoidal-2d": Sinusoidal2d,
    "sinusoidal-time": Sinusoidal1d,
    "sinusoidal-freq": Sinusoidal1d,
    "sinusoidal-raster": Sinusoidal1d,
    "learned-freq": LearnedFrequency,
    "learned-time": LearnedTime,
}


def build_positions(configs: Sequence[SchemeConfig], geometry: Geometry) -> PositionalScheme:
    """Return the scheme that all of `configs` together describe; none of them is no positions.

    Raises:
        ConfigError: a name that is not in `SCHEMES`; the valid ones are listed.
    """
    for config in configs:
        if config.name not in SCHEMES:
            raise ConfigError(unknown_name("scheme", config.name, SCHEMES))
    return Combined([SCHEMES[config.name](config, geometry) for config in configs])

"""The grid: what a probe can be set to, and the named selections of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from ...errors import ConfigError, unknown_name


@dataclass(frozen=True, order=True)
class Setting:
    """One point of the grid; the order of fields is the order settings are fitted in."""

    hidden: bool
    batch_size: int
    standardise: bool
    dropout: float
    learning_rate: float
    l2: float


# The 216 of the paper.
_FULL = tuple(
    Setting(*values)
    for values in product(
        (False, True),
        (64, 256),
        (False, True),
        (0.25, 0.5, 0.75),
        (1e-5, 1e-4, 1e-3),
        (0.0, 1e-4, 1e-3),
    )
)

GRIDS: dict[str, tuple[Setting, ...]] = {
    "full": _FULL,
    "linear": tuple(setting for setting in _FULL if not setting.hidden),
    # 12 that learn quickly: batches of 64, either learning rate that ends soon, and at the higher
    # one little or much dropout.
    "fast": tuple(
        Setting(hidden, 64, standardise, dropout, learning_rate, 1e-4)
        for hidden, standardise in product((False, True), (False, True))
        for learning_rate, dropout in ((1e-4, 0.5), (1e-3, 0.25), (1e-3, 0.75))
    ),
}

Grid = str | Sequence[Setting]
"""The name of a grid, or the settings themselves."""


def lookup_grid(grid: Grid) -> tuple[Setting, ...]:
    """Return the settings of a grid, in the order of their fields.

    Raises:
        ConfigError: the name is unknown, or there is no setting.
    """
    if isinstance(grid, str):
        if grid not in GRIDS:
            raise ConfigError(unknown_name("grid", grid, GRIDS))
        return GRIDS[grid]
    if not grid:
        raise ConfigError("grid=() has nothing to fit; give at least one setting.")
    return tuple(grid)

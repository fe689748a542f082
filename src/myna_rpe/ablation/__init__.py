"""A grid of settings -> trained models, each evaluated -> one table: what `myna ablate` runs.

`grid` says what the cells are, `job` runs one, `schedule` runs many, `table` gathers, `report`
writes. A cell is identified by what it trains, so a grid may grow and keeps what is done.
"""

from .grid import Cell, Grid, Questions, cells, read_grid
from .run import Ablation, Progress, ablate, survey

__all__ = [
    "Ablation",
    "Cell",
    "Grid",
    "Progress",
    "Questions",
    "ablate",
    "cells",
    "read_grid",
    "survey",
]

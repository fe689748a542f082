"""Grids and results without any music."""

from pathlib import Path
from typing import Any

from myna_rpe.ablation.grid import Cell, Grid, cells
from myna_rpe.ablation.job import Failure, Result, TaskScore
from myna_rpe.ablation.table import Done

from ..synthetic_music import write_shards

SCHEMES = ("alibi-2d", "rope-2d")


def grid_of(seeds: int = 2, **evaluate: Any) -> Grid:
    """Two schemes by some seeds of `smoke`; what is asked needs no corpus."""
    positions = [
        {"name": name, "architecture.model.positions": [{"name": name}]} for name in SCHEMES
    ]
    return Grid(
        data="shards",
        axes={"recipe": ["smoke"], "positions": positions, "seed": list(range(seeds))},
        set={"budget.max_steps": 3},
        evaluate={"tasks": ["package"], "corpus": "corpus"} | evaluate,
    )


def result(value: float, *, seconds: float = 10.0, failed: int = 0) -> Result:
    """What a cell reached: `value` whole, a tenth less in windows."""
    scores = tuple(
        TaskScore("package", None, reading, {"map": number, "p1": 0.5}, 6 - failed, failed)
        for reading, number in (("", value), ("windows of 4 s", value - 0.1))
    )
    training = {"steps": 3.0, "seconds": seconds, "held_out_loss": 2 - value}
    return Result(scores, training, 1.5)


FAILURE = Failure("pretrain", "myna pretrain", 1, "loss=nan | is not a number", ("a", "b"))


def done(cell: Cell, outcome: Result | Failure | None) -> tuple[Cell, Done]:
    return cell, Done(
        cell.name,
        outcome if isinstance(outcome, Result) else None,
        outcome if isinstance(outcome, Failure) else None,
        Path("cells") / cell.id / "log.txt",
    )


def all_done(grid: Grid) -> list[tuple[Cell, Done]]:
    """Every cell done: the first scheme reaches .5 and .7, the other .6 and .6."""
    values = {("alibi-2d", "0"): 0.5, ("alibi-2d", "1"): 0.7}
    return [
        done(cell, result(values.get((cell.values["positions"], cell.values["seed"]), 0.6)))
        for cell in cells(grid)
    ]


def shards(folder: Path) -> Path:
    return write_shards(folder, [90] * 12)

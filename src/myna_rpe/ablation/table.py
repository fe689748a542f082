"""Cells that are done -> one table: a row per combination of axes, over its seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation.scores import Evidence
from ..evaluation.statistics import (
    Difference,
    Interval,
    Spread,
    Statistic,
    bootstrap,
    over_seeds,
    paired_bootstrap,
)
from .grid import SEED, Cell
from .job import Failure, Result, TaskScore


@dataclass(frozen=True)
class Measure:
    """A column: a metric of a task by a way of reading, or of the training where task is "".

    Attributes:
        task: its name.
        length: seconds of each track that there were; None: all.
        reading: how the model read; "" is the default.
        metric: its name.
        is_primary: whether the table shows it, and not the files alone.
    """

    task: str
    length: float | None
    reading: str
    metric: str
    is_primary: bool = True

    @property
    def question(self) -> str:
        """The task, and how much of each track there was."""
        return self.task if self.length is None else f"{self.task}, {self.length:g} s"

    @property
    def title(self) -> str:
        """What heads the column."""
        parts = (self.question, self.metric.replace("_", " "), self.reading)
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class Done:
    """A cell, or peer, with what it has: a result, a failure, or neither yet.

    Attributes:
        name: for people.
        result: None: there is none.
        failure: likewise.
        log: of its processes.
        evidence: measure -> what each track was given; of primary measures.
    """

    name: str
    result: Result | None
    failure: Failure | None
    log: Path
    evidence: Mapping[Measure, Evidence] = field(default_factory=dict)


HELD_OUT = Measure("", None, "", "held_out_loss")
SECONDS = Measure("", None, "", "training_seconds")
_EVALUATION = Measure("", None, "", "evaluation_seconds", is_primary=False)
_STEPS = Measure("", None, "", "steps", is_primary=False)


@dataclass(frozen=True)
class Row:
    """Cells that differ in nothing but the seed.

    Attributes:
        values: axis -> label, but the seed.
        seeds: labels of the cells that are done; "" where the grid has no axis of seeds.
        num_seeds: how many were asked for.
        numbers: measure -> a number per seed, in the order of `seeds`; None where it has none.
        num_failed: of files that could not be read, of the task where these are most.
        evidence: measure -> what each track was given, per seed.
    """

    values: Mapping[str, str]
    seeds: tuple[str, ...]
    num_seeds: int
    numbers: Mapping[Measure, tuple[float | None, ...]]
    num_failed: int
    evidence: Mapping[Measure, tuple[Evidence, ...]]

    @property
    def label(self) -> str:
        """Its values, for a plot."""
        return ", ".join(self.values.values())

    def spread(self, measure: Measure) -> Spread | None:
        """Return mean and standard deviation over seeds; None where there is no number."""
        known = [number for number in self.numbers.get(measure, ()) if number is not None]
        return over_seeds(known) if known else None

    def answers(self, measure: Measure) -> "Answers | None":
        """Return what the tracks of a measure were given; None where seeds have other tracks."""
        each = self.evidence.get(measure, ())
        names = [tuple(evidence.names) for evidence in each]
        if not names or any(other != names[0] for other in names):
            return None
        statistics = [evidence.statistic(measure.metric) for evidence in each]
        return Answers(
            names[0],
            each[0].clusters,
            lambda rows: np.mean([statistic(rows) for statistic in statistics], axis=0),
        )


@dataclass(frozen=True)
class Answers:
    """A metric of a row as a function of its tracks: the mean over seeds.

    Attributes:
        names: of the tracks, or excerpts.
        clusters: which of them are only drawn together; None: each alone.
        statistic: see `evaluation.statistics`.
    """

    names: tuple[str, ...]
    clusters: Sequence[str] | None
    statistic: Statistic

    @property
    def interval(self) -> Interval:
        """The metric, with its interval over tracks."""
        return bootstrap(self.statistic, len(self.names), clusters=self.clusters)

    def minus(self, other: "Answers | None") -> Difference | None:
        """Return by how much it is more, paired by tracks; None where they are other tracks."""
        if other is None or other.names != self.names:
            return None
        statistics = self.statistic, other.statistic
        return paired_bootstrap(*statistics, len(self.names), clusters=self.clusters)


@dataclass(frozen=True)
class Table:
    """Everything a report says; done + failed + not run = cells.

    Attributes:
        axes: names of those that vary, but the seed.
        constants: axis -> label of those that do not.
        measures: of all rows, in the order they were asked.
        rows: of the cells, in the order of the grid.
        peers: name -> what it reached.
        failures: of cells, then of peers.
        num_cells: in all.
        num_done: with a result.
        num_failed: without one.
        num_peers: in all.
    """

    axes: tuple[str, ...]
    constants: Mapping[str, str]
    measures: tuple[Measure, ...]
    rows: tuple[Row, ...]
    peers: Mapping[str, Mapping[Measure, float]]
    failures: tuple[Done, ...]
    num_cells: int
    num_done: int
    num_failed: int
    num_peers: int

    @property
    def num_not_run(self) -> int:
        """Cells that have neither result nor failure."""
        return self.num_cells - self.num_done - self.num_failed

    @property
    def by_task(self) -> Mapping[str, Sequence[Measure]]:
        """The primary measures of each task, the shortest length first; of the training: ""."""
        found: dict[str, list[Measure]] = {}
        for measure in self.measures:
            if measure.is_primary:
                found.setdefault(measure.task, []).append(measure)
        return {task: sorted(measures, key=_seconds) for task, measures in found.items()}

    @property
    def columns(self) -> tuple[Measure, ...]:
        """The measures that are shown first: of each task, those of its greatest length."""
        return tuple(
            measure
            for measures in self.by_task.values()
            for measure in measures
            if _seconds(measure) == _seconds(measures[-1])
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON data."""
        return {
            "cells": self.num_cells,
            "done": self.num_done,
            "failed": self.num_failed,
            "not_run": self.num_not_run,
            "constants": dict(self.constants),
            "rows": [
                {
                    "values": dict(row.values),
                    "seeds": list(row.seeds),
                    "seeds_asked": row.num_seeds,
                    "measures": [
                        _plain(measure)
                        | {"mean": spread.mean, "std": spread.std, "n": spread.n}
                        | {"values": list(row.numbers[measure])}
                        for measure in self.measures
                        if (spread := row.spread(measure))
                    ],
                }
                for row in self.rows
            ],
            "peers": [
                {
                    "name": name,
                    "measures": [
                        _plain(measure) | {"value": value} for measure, value in numbers.items()
                    ],
                }
                for name, numbers in self.peers.items()
            ],
            "failures": [
                {
                    "name": done.name,
                    "stage": done.failure.stage,
                    "command": done.failure.command,
                    "status": done.failure.status,
                    "reason": done.failure.reason,
                    "log": str(done.log),
                }
                for done in self.failures
                if done.failure
            ],
        }


def gather(cells: Sequence[tuple[Cell, Done]], peers: Sequence[Done]) -> Table:
    """Return the table of cells, done or not, and of peers.

    Args:
        cells: all of the grid.
        peers: all of the grid.
    """
    groups: dict[tuple[str, ...], list[tuple[Cell, Done]]] = {}
    for cell, done in cells:
        groups.setdefault(tuple(cell.row.values()), []).append((cell, done))
    labels: dict[str, list[str]] = {}
    for cell, _ in cells:
        for axis, label in cell.row.items():
            labels.setdefault(axis, []).append(label)
    varying = tuple(axis for axis, found in labels.items() if len(set(found)) > 1)
    rows = tuple(_row(group, varying) for group in groups.values())
    asked = {measure: None for row in rows for measure in row.numbers}
    answers = {done.name: _scores(done.result) for done in peers if done.result}
    asked |= {measure: None for numbers in answers.values() for measure in numbers}
    trained = [measure for measure in asked if not measure.task]
    failed = [done for _, done in cells if done.failure]
    return Table(
        axes=varying,
        constants={axis: found[0] for axis, found in labels.items() if axis not in varying},
        measures=(*(measure for measure in asked if measure.task), *trained),
        rows=rows,
        peers=answers,
        failures=(*failed, *(done for done in peers if done.failure)),
        num_cells=len(cells),
        num_done=sum(done.result is not None for _, done in cells),
        num_failed=len(failed),
        num_peers=len(peers),
    )


def _row(group: Sequence[tuple[Cell, Done]], varying: Sequence[str]) -> Row:
    results = [(cell, done.result) for cell, done in group if done.result]
    finished = [done for _, done in group if done.result]
    each = [_scores(result) | _training(result) for _, result in results]
    measures = {measure: None for numbers in each for measure in numbers}
    failed = [score.num_failed for _, result in results for score in result.scores]
    return Row(
        values={axis: group[0][0].values[axis] for axis in varying},
        seeds=tuple(cell.values.get(SEED, "") for cell, _ in results),
        num_seeds=len(group),
        numbers={measure: tuple(numbers.get(measure) for numbers in each) for measure in measures},
        num_failed=max(failed, default=0),
        evidence={
            measure: tuple(done.evidence[measure] for done in finished)
            for measure in measures
            if all(measure in done.evidence for done in finished)
        },
    )


def measure_of(score: TaskScore, metric: str) -> Measure:
    """Return the column of a metric of a score."""
    is_primary = metric == next(iter(score.metrics))
    return Measure(score.task, score.length, score.reading, metric, is_primary)


def _scores(result: Result) -> dict[Measure, float]:
    return {
        measure_of(score, metric): value
        for score in result.scores
        for metric, value in score.metrics.items()
    }


def _training(result: Result) -> dict[Measure, float]:
    names = {"held_out_loss": HELD_OUT, "seconds": SECONDS, "steps": _STEPS}
    facts = {names[name]: value for name, value in result.training.items()}
    ordered = {measure: facts[measure] for measure in names.values() if measure in facts}
    return ordered | {_EVALUATION: result.evaluation_seconds}


def _seconds(measure: Measure) -> float:
    return math.inf if measure.length is None else measure.length


def _plain(measure: Measure) -> dict[str, Any]:
    return {
        "task": measure.task,
        "length": measure.length,
        "reading": measure.reading,
        "metric": measure.metric,
        "primary": measure.is_primary,
    }

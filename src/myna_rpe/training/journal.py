"""What is written down of each step, and the watch over what is written.

Steps are collected and read several at a time, because each reading stalls a GPU. A loss that is
not a number is found here, and always before the next checkpoint. Every process keeps a journal,
so that all of them stop at the same step; only the first one writes.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..data.batches import Batch, Batches
from ..errors import TrainingError
from ..objectives.health import diagnose, measure_health
from .optim import Budget
from .run_folder import RunFolder
from .sinks import MetricSink
from .step import Outcome

_log = logging.getLogger(__name__)

# A batch may look collapsed by chance, a run for so many readings does not.
_READINGS = 5


@dataclass(frozen=True)
class TrainProgress:
    """Where a run is: ``total_steps`` is a guess where only time is limited."""

    step: int
    total_steps: int
    epoch: int
    loss: float
    excerpts_per_second: float
    validation_loss: float | None = None


@dataclass(frozen=True)
class _Step:
    """What is known of a step before its numbers have left the device."""

    step: int
    tracks: tuple[int, ...]
    tokens: int
    losses: list[Tensor]
    parts: list[dict[str, Tensor]]
    gradient_norm: Tensor
    learning_rate: float


@dataclass
class Journal:
    """Collects steps; `flush` checks, writes and reports them.

    Args:
        run: folder with the metrics.
        sinks: told the same.
        source: of the batches.
        budget: tells how far the run is.
        warmup: share of the run in which nothing is said about the health of the projections,
            because young runs look collapsed.
        report: told at each flush.
    """

    run: RunFolder
    sinks: Sequence[MetricSink]
    source: Batches
    budget: Budget
    warmup: float
    report: Callable[[TrainProgress], None] | None
    validation_loss: float | None = None
    _steps: list[_Step] = field(default_factory=list)
    _projections: Tensor | None = None
    _since: float = field(default_factory=time.perf_counter)
    _cause: str | None = None
    _readings: int = 0
    _warned: set[str] = field(default_factory=set)

    def add(
        self,
        step: int,
        batches: Sequence[Batch],
        outcomes: Sequence[Outcome],
        *,
        gradient_norm: Tensor,
        learning_rate: float,
    ) -> None:
        """Note a step, counted from 1; of its batches only what a line holds is kept."""
        tokens = (group.patches[0].time.shape[1] for group in batches[-1].groups)
        self._projections = outcomes[-1].projections
        self._steps.append(
            _Step(
                step=step,
                tracks=tuple(track for batch in batches for track in batch.tracks),
                tokens=max(tokens),
                losses=[outcome.loss for outcome in outcomes],
                parts=[outcome.parts for outcome in outcomes],
                gradient_norm=gradient_norm,
                learning_rate=learning_rate,
            )
        )

    def flush(self, seconds: float) -> None:
        """Check, write and report the noted steps; `seconds` are those of the whole run.

        Raises:
            TrainingError: a loss or gradient is not a finite number.
        """
        if not self._steps or self._projections is None:
            return
        rows: list[dict[str, Any]] = []
        for step in self._steps:
            row = self._row(step)
            if not (math.isfinite(row["loss"]) and math.isfinite(row["gradient_norm"])):
                self._write(rows)
                self._stop(step, row)
            rows.append(row)
        last = rows[-1]
        num_tracks, num_views, _ = self._projections.shape  # of all processes
        views = num_tracks * num_views * len(self._steps[-1].losses) * len(rows)
        last["excerpts_per_second"] = round(views / (time.perf_counter() - self._since), 2)
        last["seconds"] = round(seconds, 3)
        health = measure_health(self._projections)
        last |= {f"health/{name}": value for name, value in health.items()}
        self._write(rows)
        if self.budget.done(last["step"], seconds) > self.warmup:
            self._watch(diagnose(health), last["step"])
        self._steps.clear()
        self._since = time.perf_counter()
        if self.report:
            self.report(self._progress(last, seconds))

    def add_validation(self, step: int, values: dict[str, float]) -> None:
        """Write what was measured on held-out tracks after a step."""
        self.validation_loss = values["loss"]
        self._since = time.perf_counter()  # measuring is not training
        self.run.log_validation({"step": step, **values})
        for sink in self.sinks:
            sink.write(step, {f"validation/{name}": value for name, value in values.items()})

    def _write(self, rows: Sequence[dict[str, Any]]) -> None:
        self.run.log(rows)
        for row in rows:
            values = {name: float(value) for name, value in row.items() if name != "step"}
            for sink in self.sinks:
                sink.write(row["step"], values)

    def _watch(self, cause: str | None, step: int) -> None:
        """Warn, once, of what has been wrong for several readings in a row."""
        self._readings = self._readings + 1 if cause == self._cause else 1
        self._cause = cause
        if cause and self._readings == _READINGS and cause not in self._warned:
            self._warned.add(cause)
            if self.run.writes:
                _log.warning("step %d: %s", step, cause)

    def _row(self, step: _Step) -> dict[str, Any]:
        count = len(step.losses)
        names = step.parts[0]
        return {
            "step": step.step,
            "epoch": (step.step * count - 1) // self.source.steps_per_epoch,
            "loss": sum(loss.item() for loss in step.losses) / count,
            **{name: sum(parts[name].item() for parts in step.parts) / count for name in names},
            "gradient_norm": step.gradient_norm.item(),
            "learning_rate": step.learning_rate,
            "tokens": step.tokens,
        }

    def _progress(self, last: dict[str, Any], seconds: float) -> TrainProgress:
        total = self.budget.total_steps
        if self.budget.total_seconds:
            total = max(last["step"], round(last["step"] / self.budget.done(last["step"], seconds)))
        assert total is not None
        return TrainProgress(
            step=last["step"],
            total_steps=total,
            epoch=last["epoch"],
            loss=last["loss"],
            excerpts_per_second=last["excerpts_per_second"],
            validation_loss=self.validation_loss,
        )

    def _stop(self, step: _Step, row: dict[str, Any]) -> None:
        ids = ", ".join(self.source.shards.tracks[track].id for track in step.tracks[:8])
        more = ", ..." if len(step.tracks) > 8 else ""
        raise TrainingError(
            f"loss={row['loss']} with gradient_norm={row['gradient_norm']} at step={step.step} is "
            f"not a finite number (tracks {ids}{more}); lower optim.learning_rate or mend those "
            f"tracks, the last good checkpoint is {self.run.last_good}"
        )

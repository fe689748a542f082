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
class Step:
    """What is known of a step before its numbers have left the device."""

    step: int
    batches: Sequence[Batch]
    outcomes: Sequence[Outcome]
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
    _steps: list[Step] = field(default_factory=list)
    _since: float = field(default_factory=time.perf_counter)
    _warned: set[str] = field(default_factory=set)

    def add(self, step: Step) -> None:
        """Note a step."""
        self._steps.append(step)

    def flush(self, seconds: float) -> None:
        """Check, write and report the noted steps; `seconds` are those of the whole run.

        Raises:
            TrainingError: a loss or gradient is not a finite number.
        """
        if not self._steps:
            return
        rows: list[dict[str, Any]] = []
        for step in self._steps:
            row = self._row(step)
            if not (math.isfinite(row["loss"]) and math.isfinite(row["gradient_norm"])):
                self._write(rows)
                self._stop(step, row)
            rows.append(row)
        newest, last = self._steps[-1], rows[-1]
        views = sum(o.projections.shape[0] * o.projections.shape[1] for o in newest.outcomes)
        last["excerpts_per_second"] = round(
            len(rows) * views / (time.perf_counter() - self._since), 2
        )
        last["seconds"] = round(seconds, 3)
        health = measure_health(newest.outcomes[-1].projections)
        last |= {f"health/{name}": value for name, value in health.items()}
        self._write(rows)
        if self.budget.done(last["step"], seconds) > self.warmup:
            self._watch(diagnose(health), last["step"])
        self._steps.clear()
        self.pause_ends()
        if self.report:
            self.report(self._progress(last, seconds))

    def pause_ends(self) -> None:
        """Start to measure the speed anew."""
        self._since = time.perf_counter()

    def add_validation(self, step: int, values: dict[str, float]) -> None:
        """Write what was measured on held-out tracks."""
        self.validation_loss = values["loss"]
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
        # Once is enough for the same cause.
        if self.run.writes and cause and cause not in self._warned:
            self._warned.add(cause)
            _log.warning("step %d: %s", step, cause)

    def _row(self, step: Step) -> dict[str, Any]:
        count = len(step.outcomes)
        names = step.outcomes[0].parts
        tokens = [group.patches[0].time.shape[1] for group in step.batches[-1].groups]
        return {
            "step": step.step,
            "epoch": (step.step * count - 1) // self.source.steps_per_epoch,
            "loss": sum(o.loss.item() for o in step.outcomes) / count,
            **{name: sum(o.parts[name].item() for o in step.outcomes) / count for name in names},
            "gradient_norm": step.gradient_norm.item(),
            "learning_rate": step.learning_rate,
            "tokens": max(tokens),
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

    def _stop(self, step: Step, row: dict[str, Any]) -> None:
        tracks = [track for batch in step.batches for track in batch.tracks]
        ids = ", ".join(self.source.shards.tracks[track].id for track in tracks[:8])
        more = ", ..." if len(tracks) > 8 else ""
        raise TrainingError(
            f"loss={row['loss']} with gradient_norm={row['gradient_norm']} at step={step.step} is "
            f"not a finite number (tracks {ids}{more}); lower optim.learning_rate or mend those "
            f"tracks, the last good checkpoint is {self.run.last_good}"
        )

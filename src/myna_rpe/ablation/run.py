"""All cells of a grid, in parallel, in one folder; run again, it goes on.

grid.json         the grid as it was asked for last, and the fingerprint of its data
cells/ID/         one cell each, see `job`; ID is a hash of what it trains
peers/NAME/       one peer each
report.md, report.json, report.csv, report.svg
lock              keeps a second run out
"""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import TrainingError
from ..storage import AlreadyLockedError, acquire_lock, write_json
from ..training.signals import stop_between_steps
from .check import check_inputs
from .children import Children
from .grid import Cell, Grid, cells
from .job import (
    Job,
    Place,
    State,
    cell_job,
    evidence_of,
    failure_of,
    peer_jobs,
    result_of,
    run_job,
    state_of,
)
from .report import write_report
from .schedule import run_in_slots
from .table import Done, Table, gather, measure_of

Work = Callable[[Job, Place, Children], None]
"""Does a job, at a place, with these processes: `run_job`, or what a test has instead."""


@dataclass(frozen=True)
class Progress:
    """How far an ablation is, cells and peers together.

    Attributes:
        done: with a result.
        failed: without one.
        total: of all.
        running: names of those that run now.
        failures: names of those that have failed just now, and why.
    """

    done: int
    failed: int
    total: int
    running: tuple[str, ...]
    failures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Ablation:
    """What became of a grid: the table, and the folder it was written to."""

    table: Table
    out: Path

    @property
    def has_failed(self) -> bool:
        """Whether a cell or a peer has no result, and will not get one by itself."""
        return bool(self.table.failures)


def survey(grid: Grid, out: Path) -> list[tuple[Job, State]]:
    """Return all jobs and how far they are; nothing is started or written.

    Raises:
        ConfigError: as `cells` and `check_inputs` do.
        ShardError: see `check_inputs`.
        TaskError: see there.
        TrainingError: `out` holds cells of other data.
    """
    found = cells(grid)
    _check_same_data(out, grid, check_inputs(grid, found))
    return [(job, state_of(job)) for job in _jobs(grid, found, out)]


def ablate(
    grid: Grid,
    out: Path,
    *,
    jobs: int | None = None,
    retry_failed: bool = False,
    progress: Callable[[Progress], None] | None = None,
    work: Work = run_job,
) -> Ablation:
    """Run what has no result yet, and write the report: also where this ends early.

    Args:
        grid: what to run.
        out: the folder of everything.
        jobs: cells at a time; None: one per GPU, or one.
        retry_failed: run those again that have failed before.
        progress: told a few times a second.
        work: does one job.

    Raises:
        ConfigError: as `cells` and `check_inputs` do.
        ShardError: see `check_inputs`.
        TaskError: see there.
        TrainingError: `out` is in use, cannot be written, or holds cells of other data.
        KeyboardInterrupt: after Ctrl-C, once the running cells have kept what they have.
        SystemExit: after SIGTERM, then.
    """
    found = cells(grid)
    fingerprint = check_inputs(grid, found)
    try:
        with closing(_lock(out)) as lock:
            _check_same_data(out, grid, fingerprint)
            write_json(out / "grid.json", {"grid": grid.to_dict(), "data": fingerprint})
            with stop_between_steps() as request:
                all_jobs = _jobs(grid, found, out)
                children = Children(lock)
                _run(
                    *(all_jobs, children, places(jobs)),
                    retry_failed=retry_failed,
                    progress=progress,
                    work=work,
                    stopped=lambda: bool(request),
                )
                table = _table(grid, found, out)
                write_report(table, out)
                if request:
                    request.raise_it()
    except OSError as error:
        raise TrainingError(
            f"out={out} cannot be written: {error.strerror or error}; mend that and run it again."
        ) from error
    return Ablation(table, out)


def places(jobs: int | None = None) -> list[Place]:
    """Return where jobs run: GPUs in turn, where there are any, and equal shares of the processor.

    Args:
        jobs: at a time; None: one per GPU, or one.
    """
    devices = _devices()
    jobs = jobs or max(1, len(devices))
    threads = max(1, _cores() // jobs)
    return [
        Place(threads, devices[slot % len(devices)] if devices else None) for slot in range(jobs)
    ]


def _run(
    jobs: Sequence[Job],
    children: Children,
    at: Sequence[Place],
    *,
    retry_failed: bool,
    progress: Callable[[Progress], None] | None,
    work: Work,
    stopped: Callable[[], bool],
) -> None:
    states = {job.folder: state_of(job) for job in jobs}
    skipped = ("done",) if retry_failed else ("done", "failed")
    pending = [job for job in jobs if states[job.folder] not in skipped]
    for job in pending:
        states[job.folder] = "not run"

    def told(running: Sequence[Job], ended: Job | None) -> None:
        failures = []
        if ended is not None:
            states[ended.folder] = state_of(ended)
            if failure := failure_of(ended):
                failures.append((ended.name, failure.reason))
        if progress:
            counts = list(states.values())
            names = tuple(job.name for job in running)
            numbers = (counts.count("done"), counts.count("failed"), len(counts))
            progress(Progress(*numbers, names, tuple(failures)))

    run_in_slots(
        pending,
        lambda job, slot: work(job, at[slot], children),
        slots=len(at),
        told=told,
        stopped=stopped,
        stop=children.stop,
        kill=children.kill,
    )


def _jobs(grid: Grid, found: Sequence[Cell], out: Path) -> list[Job]:
    """Return all jobs; peers first, since they find out soon whether the questions can be asked."""
    return [*peer_jobs(grid, out), *(cell_job(cell, grid, out) for cell in found)]


def _table(grid: Grid, found: Sequence[Cell], out: Path) -> Table:
    def done(job: Job) -> Done:
        evidence = {
            measure_of(score, next(iter(score.metrics))): given for score, given in evidence_of(job)
        }
        return Done(job.name, result_of(job), failure_of(job), job.log, evidence)

    jobs = [cell_job(cell, grid, out) for cell in found]
    return gather(
        [(cell, done(job)) for cell, job in zip(found, jobs, strict=True)],
        [done(job) for job in peer_jobs(grid, out)],
    )


def _lock(out: Path) -> IO[str]:
    out.mkdir(parents=True, exist_ok=True)
    try:
        return acquire_lock(out / "lock")
    except AlreadyLockedError as error:
        raise TrainingError(
            f"out={out} is in use by process {error.owner} or a cell it has left running; "
            "wait for it, or choose another folder."
        ) from error


def _check_same_data(out: Path, grid: Grid, fingerprint: str) -> None:
    path = out / "grid.json"
    if path.exists() and json.loads(path.read_bytes())["data"] != fingerprint:
        raise TrainingError(
            f"data={grid.data} holds other tracks than the cells of out={out} were trained on; "
            "choose another folder."
        )


def _devices() -> list[str]:
    """Return what CUDA_VISIBLE_DEVICES can be, one GPU each."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        named = [name.strip() for name in visible.split(",") if name.strip()]
        return [] if named[:1] == ["-1"] else named
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

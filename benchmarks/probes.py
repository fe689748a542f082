"""Probes: settings fitted together and one by one, and the whole grid of 216.

    python -m benchmarks probes

1,000 training examples of 384 numbers in ten classes, 200 for validation and 300 for the test; the
classes overlap, so that no setting is done at once. "Together" is a stack of the nine settings that
see the same inputs, "one by one" nine calls for one setting each; one thread. The grid runs with
all threads, as `myna evaluate --grid full` does, and takes minutes: not with ``--quick``.
"""

import os
import time
from collections.abc import Callable

import numpy as np
import torch

from myna_rpe.evaluation.probes import GRIDS, ProbeData, ProbeResult, Setting, run_probe

from .harness import Candidate, Row, compare, measure

CLASSES = tuple(f"class {number}" for number in range(10))
DIM = 384
GOAL_SECONDS = 300.0


def together(*, hidden: bool, steps: int) -> Callable[[], None]:
    """Return the fit of nine settings in one call."""
    settings = _stack(hidden)

    def fit() -> None:
        _run(settings, max_steps=steps)

    return fit


def one_by_one(*, hidden: bool, steps: int) -> Callable[[], None]:
    """Return the fits of the same settings, each in a call of its own."""
    settings = _stack(hidden)

    def fit() -> None:
        for setting in settings:
            _run([setting], max_steps=steps)

    return fit


def rows(*, quick: bool = False) -> list[Row]:
    """Return what stacking saves, and how long the grid takes."""
    table = []
    for hidden, name in ((False, "linear"), (True, "512 hidden units")):
        arguments = {"hidden": hidden, "steps": 64 if quick else 256}
        candidates = {
            "together": Candidate(f"{__name__}:together", arguments),
            "one by one": Candidate(f"{__name__}:one_by_one", arguments),
        }
        seconds = measure(candidates, rounds=1 if quick else 3)
        table.append(
            compare(
                f"9 settings, {name}: together / one by one",
                seconds["together"],
                seconds["one by one"],
                speed_up=True,
            )
        )
    return table if quick else [*table, _grid()]


def _grid() -> Row:
    threads = os.cpu_count() or 1
    torch.set_num_threads(threads)
    started = time.perf_counter()
    result = _run(GRIDS["full"])
    seconds = time.perf_counter() - started
    capped = sum(tried.capped for tried in result.tried)
    return {
        "name": f"the full grid, {threads} threads",
        "ours": seconds,
        "unit": "s",
        "goal": f"<= {GOAL_SECONDS:g} s",
        "met": seconds <= GOAL_SECONDS,
        "note": f"{len(result.tried)} settings, {capped} stopped by the last step; "
        f"test accuracy {result.test['accuracy']:.3f}",
    }


def _stack(hidden: bool) -> list[Setting]:
    return [
        setting
        for setting in GRIDS["full"]
        if (setting.hidden, setting.batch_size, setting.standardise, setting.dropout)
        == (hidden, 256, True, 0.5)
    ]


def _run(settings: list[Setting] | tuple[Setting, ...], *, max_steps: int = 10_000) -> ProbeResult:
    rng = np.random.default_rng(0)
    centres = 0.18 * rng.standard_normal((len(CLASSES), DIM))

    def data(n: int) -> ProbeData:
        labels = rng.integers(0, len(CLASSES), n)
        vectors = centres[labels] + rng.standard_normal((n, DIM))
        return ProbeData(vectors.astype(np.float32), [CLASSES[label] for label in labels])

    return run_probe(
        data(1000),
        data(200),
        data(300),
        kind="classification",
        classes=CLASSES,
        grid=settings,
        max_steps=max_steps,
    )

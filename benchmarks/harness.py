"""Runs alternatives side by side: each in its own process, their repetitions interleaved.

A process of its own gives every candidate its own peak memory; interleaving makes them share
whatever else the machine is doing. Times are CPU seconds of one thread, so that other programs
disturb them less and ratios carry over between machines.

A candidate is named ``module:function``. The function sets everything up and returns what is to be
timed: a callable without arguments, whose result (a tensor, or None) serves to check that
candidates which should agree do.
"""

import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
"""One line of the table.

name: what is compared; goal: as text; ours, baseline: in `unit`; ratio: as the goal counts it;
met: whether the goal is; rss_ours, rss_baseline: peak memory in GB; note: anything else.
"""


@dataclass(frozen=True)
class Candidate:
    """One alternative: how it is made, and the memory in GB without which it is left out."""

    target: str
    arguments: dict[str, Any] = field(default_factory=dict)
    needs_gb: float = 0.0


@dataclass(frozen=True)
class Measurement:
    """Median CPU seconds of a repetition, seconds of setting up, peak memory in GB, a result."""

    seconds: float
    setup: float
    rss: float
    result: list[float]


def measure(
    candidates: dict[str, Candidate], *, rounds: int, warm_up: bool = True
) -> dict[str, Measurement]:
    """Return what each candidate takes; those for which memory does not suffice are left out."""
    workers: dict[str, subprocess.Popen[str]] = {}
    try:
        for name, candidate in candidates.items():
            if candidate.needs_gb > available_gb():
                print(f"{name}: needs {candidate.needs_gb:g} GB, left out", file=sys.stderr)
                continue
            workers[name] = _start(candidate)
            _ask(workers[name])  # one after the other: setting up may take all the memory there is
        if warm_up:
            for worker in workers.values():
                _ask(worker, "run")
        times: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(rounds):
            for name, worker in workers.items():
                times[name].append(_ask(worker, "run")["seconds"])
        measurements = {}
        for name, worker in workers.items():
            end = _ask(worker, "end")
            measurements[name] = Measurement(
                statistics.median(times[name]), end["setup"], end["rss"], end["result"]
            )
        return measurements
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()


def compare(
    name: str,
    ours: Measurement | None,
    baseline: Measurement | None,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    speed_up: bool = False,
    unit: str = "core-s",
    per: int | None = None,
    note: str = "",
) -> Row:
    """Return the row of a pair of times.

    Args:
        name: what is compared.
        ours: ours; None where it was left out.
        baseline: the alternative; None where it was left out.
        at_most: goal for the time, ours / baseline.
        at_least: goal for the speed-up, baseline / ours.
        speed_up: whether the ratio is baseline / ours; where there is a goal, it says so itself.
        unit: what the two numbers are given in.
        per: how many things a repetition does, to give things per second instead of seconds.
        note: anything else.
    """

    def value(measurement: Measurement) -> float:
        return measurement.seconds if per is None else per / measurement.seconds

    row: Row = {"name": name, "unit": unit, "note": note}
    if at_least is not None:
        row["goal"] = f">= {at_least:g}x faster"
    if at_most is not None:
        row["goal"] = f"<= {at_most:g}x the time"
    if ours is not None:
        row |= {"ours": value(ours), "rss_ours": ours.rss}
    if baseline is not None:
        row |= {"baseline": value(baseline), "rss_baseline": baseline.rss}
    if ours is not None and baseline is not None:
        slower = ours.seconds / baseline.seconds
        row["ratio"] = 1 / slower if speed_up or at_least is not None else slower
        if at_most is not None:
            row["met"] = slower <= at_most
        if at_least is not None:
            row["met"] = 1 / slower >= at_least
    return row


def available_gb() -> float:
    """Return the memory that is free now, in GB."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


def _start(candidate: Candidate) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", __name__, candidate.target, json.dumps(candidate.arguments)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


def _ask(worker: "subprocess.Popen[str]", request: str = "") -> dict[str, Any]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    if request:
        worker.stdin.write(request + "\n")
    answer = worker.stdout.readline()
    if not answer:
        raise RuntimeError(f"the benchmark process {worker.args!r} ended early")
    return dict(json.loads(answer))


def _work(target: str, arguments: dict[str, Any]) -> None:
    """Set a candidate up, then answer each line of the input with a line of JSON."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # for all alike, as the commands do
    torch.manual_seed(0)
    module, _, function = target.partition(":")
    start = time.process_time()
    step = getattr(importlib.import_module(module), function)(**arguments)
    setup = time.process_time() - start
    print(json.dumps({"ready": True}), flush=True)
    result = None
    for line in sys.stdin:
        if line.strip() == "end":
            # Kilobytes on Linux, bytes on macOS.
            unit = 1 if sys.platform == "darwin" else 1024
            rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
            values: list[float] = (
                [] if result is None else result.detach().flatten()[:64].double().tolist()
            )
            print(json.dumps({"rss": rss, "setup": setup, "result": values}), flush=True)
            return
        start = time.process_time()
        result = step()
        print(json.dumps({"seconds": time.process_time() - start}), flush=True)


def relative_error(measurement: Measurement, reference: Measurement) -> float:
    """Return the largest difference between two results, relative to the reference's largest."""
    scale = max(map(abs, reference.result))
    pairs: Sequence[tuple[float, float]] = list(
        zip(measurement.result, reference.result, strict=True)
    )
    return max(abs(a - b) for a, b in pairs) / scale


if __name__ == "__main__":
    _work(sys.argv[1], json.loads(sys.argv[2]))

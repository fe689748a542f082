"""One hour of music in one forward pass: seconds and peak memory of `tiny-16k`.

    python -m benchmarks long_track

The music is synthesized into a FLAC file, and a fresh process embeds it, so that the peak resident
memory is that of what a user runs: decode, front end and encoder (a dense bias alone would take
38 GB: 56 257 tokens squared, 3 heads, float32). The baseline of time is the music's own duration.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 22_050
GOAL_GB = 4.0

_CHILD = """
import json, resource, sys, time
import torch
from myna_rpe.cli.compute import set_up_torch
from myna_rpe.embedder import Embedder
from myna_rpe.model.checkpoint import MynaModel

set_up_torch()
embedder = Embedder(MynaModel.untrained("tiny-16k"), device="cpu")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
cpu, started = time.process_time(), time.perf_counter()
track = embedder._reader.read(sys.argv[1])
read = time.perf_counter()
vector = embedder.embed_spectrogram(track.spectrogram)
ended = time.perf_counter()
assert vector.shape == (192,)
print(json.dumps({
    "read_seconds": read - started,
    "encode_seconds": ended - read,
    "duration": track.duration,
    "rss_before": before,
    "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "cpu_seconds": time.process_time() - cpu,
    "threads": torch.get_num_threads(),
}))
"""


def synthesize(path: Path, minutes: float) -> None:
    """Write music of a kind: a new chord every second over a steady pulse, and some noise."""
    rng = np.random.default_rng(0)
    time = np.arange(RATE) / RATE
    envelope = np.exp(-3 * time)
    with soundfile.SoundFile(path, "w", samplerate=RATE, channels=1) as file:
        for _ in range(round(minutes * 60)):
            root = 110 * 2 ** (rng.integers(0, 24) / 12)
            chord = sum(np.sin(2 * np.pi * root * step * time) for step in (1, 5 / 4, 3 / 2, 2, 4))
            pulse = np.sin(2 * np.pi * 60 * time) * np.exp(-20 * time)
            noise = rng.normal(size=RATE)
            file.write(0.1 * envelope * chord + 0.2 * pulse + 0.01 * noise)


def measure(minutes: float = 60.0) -> dict[str, float]:
    """Return seconds and bytes of embedding a file of that length in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.flac"
        synthesize(path, minutes)
        child = subprocess.run(
            [sys.executable, "-c", _CHILD, str(path)], check=True, capture_output=True, text=True
        )
    measured: dict[str, float] = json.loads(child.stdout)
    return measured


def rows(*, quick: bool = False) -> list[dict[str, Any]]:
    """Return the rows of `make bench`; quick: two minutes instead of an hour."""
    minutes = 2.0 if quick else 60.0
    measured = measure(minutes)
    seconds = measured["read_seconds"] + measured["encode_seconds"]
    gigabytes = measured["rss"] / 1e9
    name = f"{minutes:g} minutes of audio, tiny-16k, {measured['threads']} threads"
    return [
        {
            "name": f"{name}: peak memory",
            "goal": "<= 4 GB",
            "met": gigabytes <= GOAL_GB,
            "ours": gigabytes,
            "unit": "GB",
            "rss_ours": gigabytes,
        },
        {
            "name": f"{name}: file to vector, against real time",
            "ours": seconds,
            "baseline": measured["duration"],
            "unit": "s",
            "ratio": measured["duration"] / seconds,
            "rss_ours": gigabytes,
            "note": f"{measured['cpu_seconds']:.0f} core-seconds",
        },
    ]

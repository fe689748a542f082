"""One hour of music in one forward pass: seconds and peak memory of `tiny-16k`.

    python benchmarks/long_track.py [MINUTES]

The music is synthesized into a FLAC file, and a fresh process embeds it, so that the peak resident
memory is that of what a user runs: decode, front end and encoder. The baseline of memory is the
goal, 4 GB (a dense bias would take 38 GB: 56 257 tokens squared, 3 heads, float32); that of time is
the music's own duration.
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
GOAL_BYTES = 4e9

_CHILD = """
import json, resource, sys, time
import torch
from myna_rpe.embedder import Embedder
from myna_rpe.model.checkpoint import MynaModel

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


def rows(minutes: float = 60.0) -> list[dict[str, Any]]:
    """Return the rows of `make bench`."""
    measured = measure(minutes)
    seconds = measured["read_seconds"] + measured["encode_seconds"]
    name = f"{minutes:g} minutes in one pass, tiny-16k, {measured['threads']} threads"
    return [
        {
            "name": f"{name}: peak memory",
            "goal": "<= 4 GB",
            "ours": measured["rss"] / 1e9,
            "baseline": GOAL_BYTES / 1e9,
            "ratio": GOAL_BYTES / measured["rss"],
            "rss_ours": measured["rss"],
            "unit": "GB",
        },
        {
            "name": f"{name}: decode to vector",
            "goal": "",
            "ours": seconds,
            "baseline": measured["duration"],
            "ratio": measured["duration"] / seconds,
            "rss_ours": measured["rss"],
            "unit": "s",
            "cpu_seconds": measured["cpu_seconds"],
        },
    ]


if __name__ == "__main__":
    for row in rows(*map(float, sys.argv[1:])):
        print(json.dumps(row))

"""Where a run comes from: versions, commit, data. Kept in the run folder and in the model."""

import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import __version__
from ..data.shards import ShardSet


def describe_origin(
    data: ShardSet, *, trained_on: Sequence[int], held_out: Sequence[int], too_short: int
) -> dict[str, Any]:
    """Return where a run comes from, as JSON data; the tracks are given by their indices."""

    def hours(tracks: Sequence[int]) -> float:
        frames = sum(data.tracks[track].frames for track in tracks)
        return round(frames / data.front_end.frame_rate / 3600, 3)

    return {
        "versions": {
            "myna-rpe": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "git_commit": _git_commit(),
        "data": {
            "fingerprint": data.fingerprint,
            "tracks": len(trained_on),
            "hours": hours(trained_on),
            "too_short": too_short,
            "held_out_tracks": len(held_out),
            "held_out_hours": hours(held_out),
            "storage": data.settings.storage,
        },
    }


def _git_commit() -> str | None:
    """Return the commit of this code where it runs from a repository, "+" if it was changed."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # a virtual environment inside one is not it
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None

"""Does an excerpt find its own track among all? Recall at 1, for excerpts of 3, 10 and 30 s.

The whole tracks (split "") are what is searched, the excerpts (split ``test``) are the queries, and
a query's `track` is the id of its answer. An excerpt's place depends on the seed and its track
alone, so that more music changes no query.
"""

import hashlib
from pathlib import Path

import numpy as np

from ...errors import TaskError
from ..examples import Dataset, Example
from .manifest import CorpusTrack, read_corpus

LENGTHS = (3.0, 10.0, 30.0)
"""In seconds."""


def identification(
    folder: Path, *, seconds: float, role: str = "dev", excerpts: int = 1, seed: int = 0
) -> Dataset:
    """Return all tracks, and excerpts of each.

    Args:
        folder: of `myna corpus fetch`.
        seconds: length of an excerpt; > 0. Tracks that are shorter are searched, but not asked for.
        role: which packages.
        excerpts: queries per track; >= 1.
        seed: of their places.

    Raises:
        TaskError: the corpus is not there, or the numbers make no sense.
    """
    if not seconds > 0 or excerpts < 1:
        raise TaskError(
            f"seconds={seconds:g}, excerpts={excerpts}: both must be positive; use e.g. 10 and 1."
        )
    tracks = read_corpus(folder, role=role)
    searched = [
        Example(track.path, folder / track.path, track.path, track=track.path) for track in tracks
    ]
    queries = [
        Example(
            f"{track.path}#{seconds:g}s-{number}",
            folder / track.path,
            track.path,
            split="test",
            track=track.path,
            start=start,
            duration=seconds,
        )
        for track in tracks
        for number, start in enumerate(_starts(track, seconds, excerpts, seed), start=1)
    ]
    notes = {"queries": f"{len(queries)} excerpts of {seconds:g} s, {len(tracks)} tracks searched"}
    classes = tuple(track.path for track in tracks)
    name = f"corpus-identification-{seconds:g}s"
    return Dataset(name, "retrieval", classes, [*searched, *queries], notes)


def _starts(track: CorpusTrack, seconds: float, excerpts: int, seed: int) -> list[float]:
    """Return where the excerpts of a track begin, in ms steps."""
    room = track.duration - seconds
    if room < 0:
        return []
    digest = hashlib.sha256(f"{seed} {seconds:g} {track.path}".encode()).digest()
    rng = np.random.default_rng(list(digest))
    # Rounded down: the excerpt must end before the track does.
    return [float(place) for place in np.floor(rng.uniform(0, room, excerpts) * 1000) / 1000]

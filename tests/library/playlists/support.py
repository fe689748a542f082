"""What the tests of playlists share: libraries of given points and tags, without any file."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from myna_rpe.embedding_table import Header
from myna_rpe.library.catalogue import Catalogue
from myna_rpe.library.playlists.pool import UNKNOWN, Facts

DIM = 12


def directions(count: int, *, seed: int = 0, spread: float = 1.0) -> np.ndarray:
    """Return vectors of a few clouds, so that some are near each other."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, DIM))
    noise = 0.4 * spread * rng.normal(size=(count, DIM))
    return (centres[np.arange(count) % 4] + noise).astype(np.float32)


def add_tracks(
    catalogue: Catalogue, vectors: np.ndarray, tags: Sequence[Mapping[str, Any]] = ()
) -> list[int]:
    """Put tracks into a library as a scan would; return their numbers."""
    first = len(catalogue.vector_file)
    identities = [(first + n).to_bytes(32, "big") for n in range(len(vectors))]
    rows = catalogue.vector_file.append(identities, vectors.astype(np.float32))
    numbers = []
    with catalogue.database.transaction() as connection:
        for n, (row, identity) in enumerate(zip(rows, identities, strict=True)):
            fields = {
                "path": os.fsencode(f"/music/{row:04}.flac"),
                "size": 1,
                "mtime_ns": 1,
                "identity": identity,
                "codec": "flac",
                "vector": row,
                "state": "present",
                "title": f"Title {row}",
                "artist": f"Artist {row}",
                "album": "",
                "album_artist": "",
                "genres": "[]",
                "year": None,
                "track_number": None,
                "duration": 200.0,
                "isrc": "",
                "recording_mbid": "",
                "release_mbid": "",
                "artist_mbid": "",
                "added": 0.0,
                "updated": 0.0,
            } | dict(tags[n] if n < len(tags) else {})
            if not isinstance(fields["genres"], str):
                fields["genres"] = json.dumps(fields["genres"])
            names = ", ".join(fields)
            marks = ", ".join("?" * len(fields))
            cursor = connection.execute(
                f"INSERT INTO tracks ({names}) VALUES ({marks})", list(fields.values())
            )
            numbers.append(int(cursor.lastrowid or 0))
    return numbers


@contextmanager
def made_library(
    folder: Path,
    count: int = 40,
    tags: Sequence[Mapping[str, Any]] = (),
    *,
    vectors: np.ndarray | None = None,
) -> Iterator[Catalogue]:
    """Give a library of so many tracks, in a folder of its own."""
    given = directions(count) if vectors is None else vectors
    with Catalogue.create(folder, Header("space-a", given.shape[1], "fake")) as catalogue:
        add_tracks(catalogue, given, tags)
        yield catalogue


def facts_of(
    artists: Sequence[int] = (),
    albums: Sequence[int] = (),
    durations: Sequence[float] = (),
    recordings: Sequence[int] = (),
    *,
    count: int = 0,
) -> Facts:
    """Return facts; what is not given is unknown, or of its own."""
    n = max(count, len(artists), len(albums), len(durations), len(recordings))
    return Facts(
        np.array(recordings if len(recordings) else range(n), np.int64),
        np.array(artists if len(artists) else [UNKNOWN] * n, np.int64),
        np.array(albums if len(albums) else [UNKNOWN] * n, np.int64),
        np.array(durations if len(durations) else [200.0] * n, np.float64),
    )

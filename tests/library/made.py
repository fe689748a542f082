"""Libraries made of numbers: rows written as a scan writes them, without music."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from myna_rpe.embedding_table import Header
from myna_rpe.library.catalogue import Catalogue

TAGS: dict[str, Any] = {
    "title": "",
    "artist": "",
    "album": "",
    "album_artist": "",
    "genres": (),
    "year": None,
    "track_number": None,
    "duration": 200.0,
    "isrc": "",
    "recording_mbid": "",
    "release_mbid": "",
    "artist_mbid": "",
}


def make_library(
    folder: Path,
    vectors: np.ndarray,
    tags: list[dict[str, Any]] | None = None,
    *,
    identities: list[bytes] | None = None,
) -> Catalogue:
    """Return an open library, of tracks 1, 2, ... whose rows are these vectors."""
    catalogue = Catalogue.create(folder, Header("space-a", vectors.shape[1], "fake"))
    add_tracks(catalogue, vectors, tags, identities=identities)
    return catalogue


def add_tracks(
    catalogue: Catalogue,
    vectors: np.ndarray,
    tags: list[dict[str, Any]] | None = None,
    *,
    identities: list[bytes] | None = None,
) -> None:
    (last,) = catalogue.database.one("SELECT count(*) FROM tracks")
    first = int(last)
    numbers = range(first, first + len(vectors))
    names = identities or [b"%032d" % (number * 7919 % 1_000_003) for number in numbers]
    # The first 8 bytes differ, as those of a digest do.
    names = [name[::-1] for name in names]
    rows: dict[bytes, int] = {}
    for name, vector in zip(names, vectors, strict=True):
        known = catalogue.vector_file.find(name)
        if name not in rows:
            if known is None:
                (known,) = catalogue.vector_file.append([name], vector[None].astype(np.float32))
            rows[name] = known
    columns = ("path", "size", "mtime_ns", "identity", "codec", "vector", "state")
    columns += (*TAGS, "added", "updated")
    marks = ", ".join("?" * len(columns))
    with catalogue.database.transaction() as connection:
        for number, name, given in zip(numbers, names, tags or [{}] * len(names), strict=True):
            facts = {**TAGS, **given}
            path = facts.pop("path", Path(f"/music/{number:06d}.flac"))
            facts["genres"] = json.dumps(list(facts["genres"]))
            connection.execute(
                f"INSERT INTO tracks ({', '.join(columns)}) VALUES ({marks})",
                (
                    *(os.fsencode(path), 10, 20, name, "flac", rows[name], "present"),
                    *facts.values(),
                    *(0.0, 0.0),
                ),
            )


def hide(catalogue: Catalogue, *numbers: int) -> None:
    with catalogue.database.transaction() as connection:
        for number in numbers:
            connection.execute("UPDATE tracks SET state = 'missing' WHERE id = ?", (number,))

"""The tracks that a playlist can be made of: places in hull space, and what rules ask about them.

Everything is a row: `Pool.numbers` says which track it is. Names are only looked up for the tracks
of an answer, so a library of a million tracks stays a few arrays.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from ...embedding_table import unit
from ...errors import LibraryError
from ..catalogue import Catalogue
from ..duplicates import Evidence, file_title, recording_of_each
from ..space import DIMS, HullSpace, space_of

Groups = Int64[np.ndarray, " n"]
"""A number per track; those of one group share it."""

UNKNOWN = -1
"""Group of tracks whose artist or album is not known; they clash with none."""


@dataclass(frozen=True, eq=False)
class Facts:
    """What rules over a whole playlist ask of each track.

    Attributes:
        recordings: tracks of one recording, as `library.duplicates` has it, have one number.
        artists: likewise; `UNKNOWN` where the tags do not say.
        albums: likewise.
        durations: in seconds; 0 where unknown.
    """

    recordings: Int64[np.ndarray, " n"]
    artists: Int64[np.ndarray, " n"]
    albums: Int64[np.ndarray, " n"]
    durations: Float64[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.recordings)


@dataclass(frozen=True, eq=False)
class Pool:
    """The tracks of a library that a search may find, by number.

    Attributes:
        numbers: ascending.
        points: in hull space.
        facts: of each.
        space: that the points are in.
    """

    numbers: Int64[np.ndarray, " n"]
    points: Float64[np.ndarray, "n dims"]
    facts: Facts
    space: HullSpace

    def __len__(self) -> int:
        return len(self.numbers)

    def row(self, number: int) -> int | None:
        """Return the row of a track; None where it is not among them."""
        at = int(np.searchsorted(self.numbers, number))
        return at if at < len(self) and self.numbers[at] == number else None

    def recordings_of(self, rows: Iterable[int]) -> Bool[np.ndarray, " n"]:
        """Return which tracks are of the same recordings as these."""
        ours = self.facts.recordings[np.array(list(rows), dtype=np.int64)]
        return np.isin(self.facts.recordings, ours)


def load_pool(catalogue: Catalogue, *, dims: int = DIMS) -> Pool:
    """Return the tracks of a library; tracks whose embedding is no place are left out.

    Args:
        catalogue: the library.
        dims: of hull space.

    Raises:
        LibraryError: the library holds no track with a vector.
    """
    numbers, vectors = catalogue.vectors()
    good = np.isfinite(vectors).all(axis=1)
    if not good.all():
        numbers, vectors = numbers[good], vectors[good]
    if not len(numbers):
        raise LibraryError(
            f"library={str(catalogue.folder)!r} has no track with a vector; scan some music first: "
            "myna library scan FOLDER."
        )
    space = space_of(catalogue, numbers, vectors, dims=dims)
    known, evidence, artists, albums = _read(catalogue)
    shared, ours, theirs = np.intersect1d(numbers, known, return_indices=True)
    evidence = [evidence[place] for place in theirs.tolist()]
    facts = Facts(
        recordings=recording_of_each(evidence, lambda some: unit(vectors[ours[some]])),
        artists=artists[theirs],
        albums=albums[theirs],
        durations=np.array([each.duration for each in evidence], np.float64),
    )
    return Pool(shared, space.project(vectors)[ours], facts, space)


def _read(
    catalogue: Catalogue,
) -> tuple[Int64[np.ndarray, " n"], list[Evidence], Groups, Groups]:
    """Return numbers, what recordings are told by, artists and albums of all tracks."""
    numbers: list[int] = []
    evidence: list[Evidence] = []
    artists, albums = _Names(), _Names()
    for number, path, artist, album, owner, title, identity, *tags in catalogue.database.query(
        "SELECT id, path, artist, album, album_artist, title, identity, duration, isrc, "
        "recording_mbid FROM tracks WHERE state = 'present' AND vector IS NOT NULL ORDER BY id"
    ):
        numbers.append(number)
        title = title or file_title(os.path.basename(os.fsdecode(path)))  # noqa: PTH119 - as there
        evidence.append(Evidence(identity, title, *tags))
        artists.add(artist.casefold())
        # Albums called "Greatest Hits" are told apart by whose they are.
        albums.add(f"{album}\0{owner or artist}".casefold() if album else "")
    return np.array(numbers, np.int64), evidence, artists.groups(), albums.groups()


class _Names:
    """Text -> numbers; empty text is unknown."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {"": UNKNOWN}
        self._found: list[int] = []

    def add(self, text: str) -> None:
        self._found.append(self._known.setdefault(text, len(self._known)))

    def groups(self) -> Int64[np.ndarray, " n"]:
        return np.array(self._found, np.int64)

"""The tracks that a playlist can be made of: places in hull space, and what rules ask about them.

Everything is a row: `Pool.numbers` says which track it is. Names are only looked up for the tracks
of an answer, so a library of a million tracks stays a few arrays.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64

from ...errors import LibraryError
from ..catalogue import Catalogue
from ..space import DIMS, HullSpace, space_of

UNKNOWN = -1
"""Group of tracks whose artist or album is not known; they clash with none."""


@dataclass(frozen=True, eq=False)
class Facts:
    """What rules over a whole playlist ask of each track.

    Attributes:
        recordings: tracks of one recording have one number: the same sound, or the same MusicBrainz
            recording.
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

    def taken(self, rows: Int64[np.ndarray, " k"]) -> "Facts":
        """Return those of some rows."""
        return replace(
            self,
            recordings=self.recordings[rows],
            artists=self.artists[rows],
            albums=self.albums[rows],
            durations=self.durations[rows],
        )


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
    known, facts = _facts(catalogue)
    shared, ours, theirs = np.intersect1d(numbers, known, return_indices=True)
    return Pool(shared, space.project(vectors)[ours], facts.taken(theirs), space)


def _facts(catalogue: Catalogue) -> tuple[Int64[np.ndarray, " n"], Facts]:
    numbers, recordings, durations = [], _Recordings(), []
    artists, albums = _Groups(), _Groups()
    for number, vector, mbid, artist, album, album_artist, duration in catalogue.database.query(
        "SELECT id, vector, recording_mbid, artist, album, album_artist, duration FROM tracks "
        "WHERE state = 'present' AND vector IS NOT NULL ORDER BY id"
    ):
        numbers.append(number)
        recordings.add(vector, mbid)
        durations.append(duration)
        artists.add(artist.casefold())
        # Albums called "Greatest Hits" are told apart by whose they are.
        albums.add(f"{album}\0{album_artist or artist}".casefold() if album else "")
    return np.array(numbers, np.int64), Facts(
        recordings.groups(), artists.groups(), albums.groups(), np.array(durations, np.float64)
    )


class _Groups:
    """Text -> numbers; empty text is unknown."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {"": UNKNOWN}
        self._found: list[int] = []

    def add(self, text: str) -> None:
        self._found.append(self._known.setdefault(text, len(self._known)))

    def groups(self) -> Int64[np.ndarray, " n"]:
        return np.array(self._found, np.int64)


class _Recordings:
    """Which tracks are one recording: those connected by a sound or by an identifier."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._by_sound: dict[int, int] = {}
        self._by_name: dict[str, int] = {}

    def add(self, sound: int, mbid: str) -> None:
        new = len(self._parents)
        self._parents.append(new)
        self._join(new, self._by_sound.setdefault(sound, new))
        if mbid:
            self._join(new, self._by_name.setdefault(mbid, new))

    def groups(self) -> Int64[np.ndarray, " n"]:
        return np.array([self._root(each) for each in range(len(self._parents))], np.int64)

    def _join(self, one: int, other: int) -> None:
        one, other = self._root(one), self._root(other)
        self._parents[max(one, other)] = min(one, other)

    def _root(self, each: int) -> int:
        while self._parents[each] != each:
            self._parents[each] = self._parents[self._parents[each]]
            each = self._parents[each]
        return each

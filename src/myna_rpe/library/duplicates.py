"""Which tracks are the same recording: twice the same file, another encoding, a remaster.

Two tracks are linked where one of these holds:

- they have one identity: the same sound to the last bit;
- their tags name one MusicBrainz recording;
- their tags name one ISRC, and their durations agree;
- their vectors and durations agree, and so do their titles but for what follows a title: remaster,
  live, mono, featured guests. Without a title the name of the file counts.

The least cosine is 0.95: of eight tracks, louder, brighter, cut, and at the lowest rates of MP3 and
Vorbis, 40 of 40 versions lie above 0.968 (`myna-5m`). Other tracks of one album can lie as near as
0.95, which is why titles and durations have to agree, too.

Groups are what is linked, directly or through others. A cover or another take has the title, but
neither the vector nor the duration.
"""

import itertools
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from ..errors import LibraryError
from .catalogue import Catalogue
from .filters import folded
from .index import Index
from .tracks import Track

_ROWS_AT_ONCE = 512

_VERSION = (
    r"remaster(?:ed)?|remastering|live|mono|stereo|explicit|clean|reissue|anniversary|deluxe"
    r"|bonus\s+track|(?:album|single|original|lp|ep|full)\s+(?:version|mix|edit)|version"
)
_GUEST = r"feat\.?|ft\.?|featuring"
_BRACKETS = re.compile(
    rf"\s*[(\[{{][^()\[\]{{}}]*\b(?:{_VERSION}|{_GUEST})(?![^\W_])[^()\[\]{{}}]*[)\]}}]"
)
_AFTER_DASH = re.compile(rf"\s+[-\u2013\u2014/]\s+(?=[^-\u2013\u2014]*\b(?:{_VERSION})\b).*$")
_GUESTS = re.compile(rf"\s+(?:{_GUEST})\s.*$")
_MARKS = re.compile(r"[\W_]+")
_TRACK_NUMBER = re.compile(r"^\s*(?:[0-9]{1,2}-)?[0-9]{1,3}(?:\s*[-._)]\s*|\s+)(?=\D)")

Rows = Callable[[Int64[np.ndarray, " some"]], Float32[np.ndarray, "some dim"]]
"""From positions to embeddings of length 1."""


@dataclass(frozen=True)
class Sameness:
    """How alike two tracks of one title have to be.

    Attributes:
        cosine: of their vectors, at least; in (0, 1].
        length: by how much the longer one may be longer, as a share; >= 0.

    Raises:
        LibraryError: a number out of its range.
    """

    cosine: float = 0.95
    length: float = 0.02

    def __post_init__(self) -> None:
        if not 0 < self.cosine <= 1:
            raise LibraryError(f"cosine={self.cosine} is no similarity; use one in (0, 1].")
        if not 0 <= self.length < 1:
            raise LibraryError(f"length={self.length} is no tolerance; use one in [0, 1).")


class Evidence(NamedTuple):
    """What tracks are compared by, beside their vectors.

    Attributes:
        identity: of the sound.
        title: of the tags; without one, `file_title`.
        duration: in seconds; 0 where unknown.
        isrc: of the tags; empty where unknown, as is the next.
        recording_mbid: of the tags.
    """

    identity: bytes
    title: str
    duration: float
    isrc: str = ""
    recording_mbid: str = ""


@dataclass(frozen=True)
class Candidate:
    """A track, and the identity of its sound."""

    track: Track
    identity: bytes

    @property
    def evidence(self) -> Evidence:
        """What it is compared by."""
        track = self.track
        title = track.title or file_title(track.path.name)
        return Evidence(self.identity, title, track.duration, track.isrc, track.recording_mbid)


@dataclass(frozen=True)
class Copy:
    """A further track of a recording.

    Attributes:
        position: among the candidates.
        like: position of the member of the group that it was found to be like.
        reason: in words.
    """

    position: int
    like: int
    reason: str


@dataclass(frozen=True)
class Group:
    """One recording; `first` is the candidate that came first."""

    first: int
    copies: tuple[Copy, ...]


def find_groups(
    candidates: Sequence[Evidence], rows: Rows, sameness: Sameness | None = None
) -> list[Group]:
    """Return the recordings that there are at least twice, in order of their first candidates.

    Args:
        candidates: what is known of the tracks.
        rows: gives their embeddings, as directions; only those of equal titles are asked for.
        sameness: how alike; None: as it is by default.
    """
    leader = list(range(len(candidates)))

    def lead(position: int) -> int:
        while leader[position] != position:
            leader[position] = leader[leader[position]]
            position = leader[position]
        return position

    # The links that join what was apart: a tree for each group.
    tree: dict[int, list[tuple[int, str]]] = {}
    for one, other, reason in _links(candidates, rows, sameness or Sameness()):
        if lead(one) != lead(other):
            leader[lead(one)] = lead(other)
            tree.setdefault(one, []).append((other, reason))
            tree.setdefault(other, []).append((one, reason))
    groups: list[Group] = []
    seen: set[int] = set()
    for first in sorted(tree):
        if first not in seen:
            copies = list(_walk(tree, first))
            seen.update((first, *(copy.position for copy in copies)))
            groups.append(Group(first, tuple(sorted(copies, key=lambda copy: copy.position))))
    return groups


def recording_of_each(
    candidates: Sequence[Evidence], rows: Rows, sameness: Sameness | None = None
) -> Int64[np.ndarray, " tracks"]:
    """Return a number for each track; those of one recording share it. Else as `find_groups`."""
    recordings: Int64[np.ndarray, " tracks"] = np.arange(len(candidates), dtype=np.int64)
    for group in find_groups(candidates, rows, sameness):
        recordings[[copy.position for copy in group.copies]] = group.first
    return recordings


@dataclass(frozen=True)
class TrackCopy:
    """A further track of a recording, the track that it was found to be like, and why."""

    track: Track
    like: Track
    reason: str


@dataclass(frozen=True)
class TrackGroup:
    """One recording: its first track, by number, and the others."""

    first: Track
    copies: tuple[TrackCopy, ...]


def library_groups(
    index: Index, numbers: Int64[np.ndarray, " tracks"], sameness: Sameness | None = None
) -> list[TrackGroup]:
    """Return the recordings that a library has at least twice.

    Args:
        index: of the library.
        numbers: of the tracks to look at.
        sameness: None: as it is by default.
    """
    found = candidates_of(index.catalogue, numbers)
    known = index.positions(np.unique(numbers[np.isin(numbers, list(found))]))
    candidates = [found[number] for number in index.numbers[known].tolist()]
    tracks = [candidate.track for candidate in candidates]
    evidence = [candidate.evidence for candidate in candidates]
    groups = find_groups(evidence, lambda some: index.directions(known[some]), sameness)
    return [
        TrackGroup(
            tracks[group.first],
            tuple(
                TrackCopy(tracks[copy.position], tracks[copy.like], copy.reason)
                for copy in group.copies
            ),
        )
        for group in groups
    ]


def candidates_of(
    catalogue: Catalogue, numbers: Int64[np.ndarray, " tracks"]
) -> dict[int, Candidate]:
    """Return tracks of the library by their numbers; those that are gone meanwhile are left out."""
    chosen = json.dumps(numbers.tolist())
    condition = "t.id IN (SELECT value FROM json_each(?))"
    identities = dict(
        catalogue.database.query(
            f"SELECT t.id, t.identity FROM tracks AS t WHERE {condition}", [chosen]
        )
    )
    return {
        track.id: Candidate(track, identities[track.id])
        for track in catalogue.tracks(condition, [chosen])
        if track.id in identities
    }


def file_title(name: str) -> str:
    """Return the title that the name of a file says.

    >>> file_title("07 - Some_Song.flac")
    'Some Song'
    """
    stem = os.path.splitext(name)[0]  # noqa: PTH122 - a library has a million names
    return _TRACK_NUMBER.sub("", stem.replace("_", " "))


def plain_title(title: str) -> str:
    """Return a title as it is compared: without case, marks, version and guests.

    >>> plain_title("Yesterday (feat. Me) - Remastered 2009")
    'yesterday'
    """
    text = folded(title)
    short = _GUESTS.sub("", _AFTER_DASH.sub("", _BRACKETS.sub("", text)))
    for attempt in (short, text):
        if plain := " ".join(_MARKS.sub(" ", attempt).split()):
            return plain
    return text.strip()


# --- pieces --------------------------------------------------------------------------------------


def _walk(tree: dict[int, list[tuple[int, str]]], first: int) -> Iterator[Copy]:
    """Yield what hangs on the first of a tree, nearest first."""
    seen, waiting = {first}, [first]
    for position in waiting:
        for other, reason in tree[position]:
            if other not in seen:
                seen.add(other)
                waiting.append(other)
                yield Copy(other, position, reason)


def _links(
    candidates: Sequence[Evidence], rows: Rows, sameness: Sameness
) -> Iterator[tuple[int, int, str]]:
    """Yield pairs of positions that are one recording, the surest reasons first."""
    for positions in _by(candidates, lambda it: it.identity):
        yield from ((positions[0], other, "the same sound") for other in positions[1:])
    for positions in _by(candidates, lambda it: it.recording_mbid):
        reason = "the same recording by MusicBrainz"
        yield from ((positions[0], other, reason) for other in positions[1:])
    for positions in _by(candidates, lambda it: it.isrc):
        positions.sort(key=lambda position: candidates[position].duration)
        for one, other in itertools.pairwise(positions):
            longest = candidates[one].duration * (1 + sameness.length)
            if candidates[other].duration <= longest:
                yield one, other, "the same ISRC and length"
    for positions in _by(candidates, lambda it: plain_title(it.title) if it.duration > 0 else ""):
        yield from _alike(candidates, np.array(positions, np.int64), rows, sameness)


def _by(
    candidates: Sequence[Evidence], key: Callable[[Evidence], bytes | str]
) -> Iterator[list[int]]:
    """Yield the positions of candidates that share a key that says something."""
    found: dict[bytes | str, list[int]] = {}
    for position, candidate in enumerate(candidates):
        value = key(candidate)
        if value:
            found.setdefault(value, []).append(position)
    return (positions for positions in found.values() if len(positions) > 1)


def _alike(
    candidates: Sequence[Evidence],
    positions: Int64[np.ndarray, " titled"],
    rows: Rows,
    sameness: Sameness,
) -> Iterator[tuple[int, int, str]]:
    """Yield the pairs of one title whose durations and vectors agree."""
    lengths = np.array([candidates[position].duration for position in positions])
    order = np.argsort(lengths, kind="stable")
    positions, lengths = positions[order], lengths[order]
    ends = np.searchsorted(lengths, lengths * (1 + sameness.length), side="right")
    for start in range(0, len(positions), _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, len(positions))
        end = int(ends[stop - 1])
        if end - start < 2:
            continue
        window = rows(positions[start:end])
        cosines = window[: stop - start] @ window.T
        ours, theirs = np.indices(cosines.shape, sparse=True)
        near = (
            (cosines >= sameness.cosine)
            & (theirs > ours)
            & (theirs + start < ends[start:stop, None])
        )
        for one, other in np.argwhere(near).tolist():
            first, second = int(positions[start + one]), int(positions[start + other])
            titles = {candidates[first].title, candidates[second].title}
            reason = f"the same title and length, cosine {min(1.0, cosines[one, other]):.4f}"
            if len(titles) > 1:
                reason += f" ({' / '.join(sorted(titles))})"
            yield first, second, reason

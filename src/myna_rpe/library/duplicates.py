"""Which tracks are the same recording: twice the same file, another encoding, a remaster.

Two tracks are linked where one of these holds:

- they have one identity: the same sound to the last bit;
- their tags name one MusicBrainz recording;
- their tags name one ISRC, and their durations agree;
- their vectors and durations agree, and so do their titles but for what follows a title: remaster,
  live, mono, featured guests. Without a title the name of the file counts.

The least cosine is 0.95: of four pieces, louder, brighter, cut and re-encoded, 17 of 20 versions
lie above it; one track's nearest other was at 0.85 (a Myna model of dim 192). Copies at a low MP3
rate can lie as far away as that, from 0.73 on: they are not found by their vectors.

Groups are what is linked, directly or through others. A cover or another take has the title, but
neither the vector nor the duration.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Candidate:
    """A track, and the identity of its sound."""

    track: Track
    identity: bytes


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
    candidates: Sequence[Candidate], rows: Rows, sameness: Sameness | None = None
) -> list[Group]:
    """Return the recordings that there are at least twice, in order of their first candidates.

    Args:
        candidates: the tracks.
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
    groups = find_groups(candidates, lambda some: index.directions(known[some]), sameness)
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


def plain_title(track: Track) -> str:
    """Return the title as it is compared: without case, marks, version and guests.

    >>> from pathlib import Path
    >>> plain_title(Track(1, Path("x.mp3"), "Yesterday (feat. Me) - Remastered 2009"))
    'yesterday'
    >>> plain_title(Track(1, Path("07 - Yesterday (Live).ogg")))
    'yesterday'
    """
    text = track.title or _TRACK_NUMBER.sub("", track.path.stem.replace("_", " "))
    text = folded(text)
    short = _GUESTS.sub("", _AFTER_DASH.sub("", _BRACKETS.sub("", text)))
    for attempt in (short, text):
        letters = "".join(letter if letter.isalnum() else " " for letter in attempt)
        if letters.strip():
            return " ".join(letters.split())
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
    candidates: Sequence[Candidate], rows: Rows, sameness: Sameness
) -> Iterator[tuple[int, int, str]]:
    """Yield pairs of positions that are one recording, the surest reasons first."""
    for positions in _by(candidates, lambda it: it.identity):
        yield from ((positions[0], other, "the same sound") for other in positions[1:])
    for positions in _by(candidates, lambda it: it.track.recording_mbid):
        reason = "the same recording by MusicBrainz"
        yield from ((positions[0], other, reason) for other in positions[1:])
    for positions in _by(candidates, lambda it: it.track.isrc):
        positions.sort(key=lambda position: candidates[position].track.duration)
        for one, other in itertools.pairwise(positions):
            longest = candidates[one].track.duration * (1 + sameness.length)
            if candidates[other].track.duration <= longest:
                yield one, other, "the same ISRC and length"
    for positions in _by(
        candidates, lambda it: plain_title(it.track) if it.track.duration > 0 else ""
    ):
        yield from _alike(candidates, np.array(positions, np.int64), rows, sameness)


def _by(
    candidates: Sequence[Candidate], key: Callable[[Candidate], bytes | str]
) -> Iterator[list[int]]:
    """Yield the positions of candidates that share a key that says something."""
    found: dict[bytes | str, list[int]] = {}
    for position, candidate in enumerate(candidates):
        value = key(candidate)
        if value:
            found.setdefault(value, []).append(position)
    return (positions for positions in found.values() if len(positions) > 1)


def _alike(
    candidates: Sequence[Candidate],
    positions: Int64[np.ndarray, " titled"],
    rows: Rows,
    sameness: Sameness,
) -> Iterator[tuple[int, int, str]]:
    """Yield the pairs of one title whose durations and vectors agree."""
    lengths = np.array([candidates[position].track.duration for position in positions])
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
            titles = {_shown(candidates[first].track), _shown(candidates[second].track)}
            reason = f"the same title and length, cosine {min(1.0, cosines[one, other]):.4f}"
            if len(titles) > 1:
                reason += f" ({' / '.join(sorted(titles))})"
            yield first, second, reason


def _shown(track: Track) -> str:
    return track.title or track.path.stem

"""Entries of a playlist file -> tracks of the library.

An entry is looked for by its path; then by the recording it names (MusicBrainz, ISRC); by the
file's name and a duration within two seconds; by artist and title, where the duration decides
between several. Where two tracks are equally good, the lower number is taken. What is not found is
told, and the counts add up: entries = matched + unmatched + no file.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ...embedding_table import path_to_text
from ..catalogue import Catalogue
from ..formats import Entries, Entry
from ..tracks import Track

How = Literal["path", "recording", "name and duration", "artist and title"]
HOWS: tuple[How, ...] = ("path", "recording", "name and duration", "artist and title")

_SECONDS = 2.0


@dataclass(frozen=True)
class Match:
    """What became of an entry; `track` is None where the library has none for it."""

    entry: Entry
    track: Track | None
    how: How | None


@dataclass(frozen=True)
class Matched:
    """What became of the entries of a playlist file, in its order.

    Attributes:
        name: of the playlist.
        matches: one for each entry.
    """

    name: str
    matches: tuple[Match, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        """The tracks found."""
        return tuple(match.track.id for match in self.matches if match.track is not None)

    @property
    def missing(self) -> tuple[str, ...]:
        """What was not found, in words."""
        return tuple(
            f"{_shown(match.entry)}: the library has no such track"
            for match in self.matches
            if match.track is None
        )

    @property
    def counts(self) -> dict[str, int]:
        """How many entries were found in which way, or not; their sum is the entries."""
        found: dict[str, int] = dict.fromkeys((*HOWS, "unmatched", "no file"), 0)
        for match in self.matches:
            lost = "no file" if match.entry.path is None else "unmatched"
            found[match.how or lost] += 1
        return found


class Matcher:
    """Finds the tracks of a library; those it may find are read once, when they are needed."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def match(self, entries: Entries) -> Matched:
        """Return what each entry means."""
        return Matched(entries.name, tuple(self._match(entry) for entry in entries.entries))

    def _match(self, entry: Entry) -> Match:
        steps: tuple[tuple[How, Callable[[Entry], Track | None]], ...] = (
            ("path", self._by_path),
            ("recording", self._by_recording),
            ("name and duration", self._by_name),
            ("artist and title", self._by_title),
        )
        for how, find in steps:
            track = find(entry)
            if track is not None:
                return Match(entry, track, how)
        return Match(entry, None, None)

    def _by_path(self, entry: Entry) -> Track | None:
        if entry.path is None:
            return None
        return self._tracks.by_path.get(str(entry.path)) or self._present(entry)

    def _present(self, entry: Entry) -> Track | None:
        assert entry.path is not None
        track = self._catalogue.by_path(entry.path)
        return None if track is None else self._tracks.by_path.get(str(track.path))

    def _by_recording(self, entry: Entry) -> Track | None:
        tracks = self._tracks
        by_mbid = tracks.by_mbid.get(entry.recording_mbid) if entry.recording_mbid else None
        return by_mbid or (tracks.by_isrc.get(entry.isrc) if entry.isrc else None)

    def _by_name(self, entry: Entry) -> Track | None:
        if entry.path is None or not entry.duration:
            return None
        return _nearest(self._tracks.by_name[entry.path.name.casefold()], entry, most=_SECONDS)

    def _by_title(self, entry: Entry) -> Track | None:
        if not entry.title or not entry.artist:
            return None
        key = (entry.artist.casefold(), entry.title.casefold())
        return _nearest(self._tracks.by_title[key], entry, most=None)

    @cached_property
    def _tracks(self) -> "_Tracks":
        return _Tracks(self._catalogue)


class _Tracks:
    """The tracks that a search may find, by what entries say."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.by_path: dict[str, Track] = {}
        self.by_mbid: dict[str, Track] = {}
        self.by_isrc: dict[str, Track] = {}
        self.by_name: defaultdict[str, list[Track]] = defaultdict(list)
        self.by_title: defaultdict[tuple[str, str], list[Track]] = defaultdict(list)
        for track in catalogue.tracks():
            self.by_path[str(track.path)] = track
            if track.recording_mbid:
                self.by_mbid.setdefault(track.recording_mbid, track)
            if track.isrc:
                self.by_isrc.setdefault(track.isrc, track)
            self.by_name[track.path.name.casefold()].append(track)
            if track.artist and track.title:
                key = (track.artist.casefold(), track.title.casefold())
                self.by_title[key].append(track)


def _nearest(tracks: list[Track], entry: Entry, *, most: float | None) -> Track | None:
    """Return the track nearest in duration, the lowest number of equal ones."""
    near = [
        (abs(track.duration - entry.duration) if entry.duration else 0.0, track.id, track)
        for track in tracks
    ]
    good = [each for each in near if most is None or each[0] <= most]
    return min(good, key=lambda each: each[:2])[2] if good else None


def _shown(entry: Entry) -> str:
    if entry.path is not None:
        return path_to_text(entry.path)
    return " - ".join(text for text in (entry.artist, entry.title) if text) or entry.location

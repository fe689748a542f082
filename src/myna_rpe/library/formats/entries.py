"""What playlists are: of tracks when they are written, of entries when they are read.

An entry says what a file says; finding its track in a library is another matter.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from ..tracks import Track

# What XML 1.0 cannot hold: controls, halves of surrogate pairs, two non-characters.
_UNFIT = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class NamedPlaylist:
    """Tracks under a name, in order; a track may come twice."""

    name: str
    tracks: Sequence[Track]


@dataclass(frozen=True)
class Entry:
    """One line of a playlist; text is empty and numbers are None or 0 where it says nothing.

    Attributes:
        location: as written: a path, a URI, or empty.
        path: the file meant, relative ones from the playlist's folder; None where it is no file.
            A path of Windows keeps its drive (``C:/Music/a.mp3``) also where no such disk is.
        duration: in seconds.
        isrc: of the recording, without hyphens.
        recording_mbid: MusicBrainz identifier of the recording.
    """

    location: str
    path: Path | None = None
    title: str = ""
    artist: str = ""
    album: str = ""
    track_number: int | None = None
    duration: float = 0.0
    isrc: str = ""
    recording_mbid: str = ""


@dataclass(frozen=True)
class Entries:
    """What a playlist file says, in its order."""

    name: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Refused:
    """A track that a playlist file cannot name, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Written:
    """What became of a playlist; tracks = written + refused."""

    path: Path
    tracks: int
    refused: tuple[Refused, ...]

    @property
    def written(self) -> int:
        """Tracks that the file names."""
        return self.tracks - len(self.refused)


@runtime_checkable
class Format(Protocol):
    """A kind of playlist file. Nothing here reads or writes a file, but `parse` looks for some."""

    def location(self, place: str, folder: Path) -> str:
        """Return how the format names a file.

        Args:
            place: a path as `PathStyle` gives it; surrogates stand for bytes that are not UTF-8.
            folder: of the playlist.

        Raises:
            ValueError: the format has no way to name it.
        """
        ...

    def render(self, playlist: Entries) -> bytes:
        """Return the file's content; locations are written as they are."""
        ...

    def parse(self, content: bytes, folder: Path) -> Entries:
        """Return what a file says; its name is empty where it says none.

        Raises:
            ValueError: it is not of this format.
        """
        ...


def entry_of(track: Track, location: str) -> Entry:
    """Return what a playlist says of a track.

    A track without a title gets none: what a player shows then is the player's choice.
    """
    return Entry(
        location,
        track.path,
        title=track.title,
        artist=track.artist,
        album=track.album,
        track_number=track.track_number,
        duration=track.duration,
        isrc=track.isrc,
        recording_mbid=track.recording_mbid,
    )


def clean_text(text: str) -> str:
    r"""Return text that every format can hold; what none can becomes U+FFFD.

    >>> clean_text("a\x00b")
    'a\ufffdb'
    """
    return _UNFIT.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))

"""A track of the library: one file, what its tags say, and the number that stays its own."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Track:
    """What the library knows of one track; text is empty and numbers are None where unknown.

    Attributes:
        id: stable number in the catalogue.
        path: absolute; the bytes on the disk, unchanged (surrogateescape).
        title: of the tags; `label` is the name to show.
        genres: as written, without repeats.
        year: of the first of the tags' dates that has one.
        track_number: on its disc.
        duration: in seconds; 0 where unknown.
        isrc: of the recording, without hyphens.
        recording_mbid: MusicBrainz identifier of the recording; the others likewise.
    """

    id: int
    path: Path
    title: str = ""
    artist: str = ""
    album: str = ""
    album_artist: str = ""
    genres: tuple[str, ...] = ()
    year: int | None = None
    track_number: int | None = None
    duration: float = 0.0
    isrc: str = ""
    recording_mbid: str = ""
    release_mbid: str = ""
    artist_mbid: str = ""

    @property
    def label(self) -> str:
        """The name to show: ``artist - title``; the file's name where it has no title."""
        title = self.title or self.path.stem
        return f"{self.artist} - {title}" if self.artist and self.title else title


TRACK_COLUMNS = ", ".join(f"t.{field.name}" for field in fields(Track))
"""The columns of ``tracks AS t`` that `track_of` reads."""


def track_of(columns: Sequence[Any]) -> Track:
    """Return the track of a row of `TRACK_COLUMNS`."""
    number, path, title, artist, album, album_artist, genres, *rest = columns
    return Track(
        number,
        Path(os.fsdecode(path)),
        title,
        artist,
        album,
        album_artist,
        tuple(json.loads(genres)),
        *rest,
    )


def absolute(path: Path) -> bytes:
    """Return the path as the catalogue keeps it: absolute, links not resolved, as on the disk."""
    return os.fsencode(os.path.abspath(path))  # noqa: PTH100 - resolves no links

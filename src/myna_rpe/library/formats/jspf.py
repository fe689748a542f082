"""JSPF: XSPF as JSON, which ListenBrainz reads and writes. ASCII only, other text as escapes.

Source: https://xspf.org/jspf, https://musicbrainz.org/doc/jspf.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .entries import Entries, Entry, clean_text
from .fields import entry_from, identifiers_of, milliseconds_of
from .places import uri_of


@dataclass(frozen=True)
class Jspf:
    """The format."""

    def location(self, place: str, folder: Path) -> str:
        """Return the URI of a place."""
        return uri_of(place)

    def render(self, playlist: Entries) -> bytes:
        """Return the file's content."""
        tracks = [_track(entry) for entry in playlist.entries]
        data = {"playlist": {"title": clean_text(playlist.name), "track": tracks}}
        return json.dumps(data, indent=1).encode("ascii") + b"\n"

    def parse(self, content: bytes, folder: Path) -> Entries:
        """Return what a file says; a field of a wrong type says nothing.

        Raises:
            ValueError: it is not JSON, or has no playlist.
        """
        try:
            data = json.loads(content)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
        playlist = data.get("playlist") if isinstance(data, dict) else None
        if not isinstance(playlist, dict):
            raise ValueError('it has no "playlist"')
        tracks = playlist.get("track")
        found = [track for track in tracks if isinstance(track, dict)] if tracks else []
        return Entries(_text(playlist, "title"), tuple(_entry(track, folder) for track in found))


def _track(entry: Entry) -> dict[str, Any]:
    fields = {
        "location": [entry.location] if entry.location else [],
        "identifier": identifiers_of(entry),
        "title": clean_text(entry.title),
        "creator": clean_text(entry.artist),
        "album": clean_text(entry.album),
        "trackNum": entry.track_number,
        "duration": milliseconds_of(entry),
    }
    return {name: value for name, value in fields.items() if value}


def _entry(track: Mapping[str, Any], folder: Path) -> Entry:
    return entry_from(
        locations=_texts(track, "location"),
        identifiers=_texts(track, "identifier"),
        title=_text(track, "title"),
        artist=_text(track, "creator"),
        album=_text(track, "album"),
        track_number=_text(track, "trackNum"),
        milliseconds=_text(track, "duration"),
        folder=folder,
    )


def _texts(fields: Mapping[str, Any], name: str) -> list[str]:
    """Return a field that is one text for some writers, and a list of them for others."""
    value = fields.get(name)
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str) and clean_text(text) == text]


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return clean_text(value).strip() if isinstance(value, str) else ""

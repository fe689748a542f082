"""What XSPF and JSPF have in common: the fields of a track, and its identifiers.

Durations are in milliseconds there. A recording is identified by its MusicBrainz URI,
``https://musicbrainz.org/recording/MBID``, and by ``isrc:CODE`` (there is no registered URI of
ISRCs; other readers pass over it).

Source: https://xspf.org/spec, https://musicbrainz.org/doc/jspf.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from .entries import Entry
from .places import path_of_reference

_RECORDING = "https://musicbrainz.org/recording/"
_MBID = re.compile(r"https?://(?:www\.)?musicbrainz\.org/recording/([0-9a-f-]{36})", re.IGNORECASE)
_ISRC = re.compile(r"(?:urn:)?isrc:([A-Z]{2}-?[A-Z0-9]{3}-?\d{2}-?\d{5})", re.IGNORECASE)
_LONGEST = 10.0**9  # milliseconds, eleven days: a number beyond is a mistake


def identifiers_of(entry: Entry) -> list[str]:
    """Return the URIs that identify the recording of an entry."""
    found = [f"{_RECORDING}{entry.recording_mbid}"] if entry.recording_mbid else []
    return [*found, f"isrc:{entry.isrc}"] if entry.isrc else found


def milliseconds_of(entry: Entry) -> int:
    """Return the duration as the formats have it; 0 where unknown."""
    return max(round(entry.duration * 1000), 0)


def entry_from(
    *,
    locations: Sequence[str],
    identifiers: Sequence[str],
    title: str,
    artist: str,
    album: str,
    track_number: str,
    milliseconds: str,
    folder: Path,
) -> Entry:
    """Return the entry of what a file says, each text as found there; empty where nothing is.

    Of several locations the first one counts.
    """
    location = next((text.strip() for text in locations if text.strip()), "")
    mbids = [found[1].lower() for text in identifiers if (found := _MBID.match(text.strip()))]
    isrcs = [found[1] for text in identifiers if (found := _ISRC.fullmatch(text.strip()))]
    return Entry(
        location,
        path_of_reference(location, folder) if location else None,
        title=title,
        artist=artist,
        album=album,
        track_number=int(track_number) if re.fullmatch(r"[0-9]{1,9}", track_number) else None,
        duration=_number(milliseconds) / 1000,
        isrc=isrcs[0].replace("-", "").upper() if isrcs else "",
        recording_mbid=mbids[0] if mbids else "",
    )


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if 0 < number < _LONGEST else 0.0

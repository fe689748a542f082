"""What a file's tags say: Vorbis comments, ID3, MP4, APE and ASF through mutagen.

A file whose tags mutagen does not know (RIFF INFO, Matroska) is asked through FFmpeg. Every format
ends as one mapping from the names of Vorbis comments to lists of text. Tags are hints: nothing in
them raises, and what is not what it claims to be (a year without digits, an ISRC that is none) is
left out. Text is one line without control characters, at most `MAX_TEXT` of them.

Source: the mapping of MusicBrainz Picard, https://picard-docs.musicbrainz.org (Tag Mapping).
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..audio.readers import read_metadata
from ..audio.tags import BETWEEN_GENRES
from ..errors import AudioError, LibraryError

MAX_TEXT = 1000
_MAX_GENRES = 32

_YEAR = re.compile(r"(?<![0-9])([12][0-9]{3})(?![0-9])")
_NUMBER = re.compile(r"\s*([0-9]{1,5})(?![0-9])")
_ISRC = re.compile(r"[A-Z]{2}[A-Z0-9]{3}[0-9]{7}")
_MBID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Fields = dict[str, list[str]]
"""Values by the names of Vorbis comments."""


@dataclass(frozen=True)
class Tags:
    """What tags say; the attributes are those of `Track`."""

    title: str = ""
    artist: str = ""
    album: str = ""
    album_artist: str = ""
    genres: tuple[str, ...] = ()
    year: int | None = None
    track_number: int | None = None
    isrc: str = ""
    recording_mbid: str = ""
    release_mbid: str = ""
    artist_mbid: str = ""


def read_tags(path: Path) -> Tags:
    """Return the tags of a file; empty ones where it has none, or cannot be read.

    Raises:
        LibraryError: mutagen is not installed.
    """
    fields = _by_mutagen(path) or _by_ffmpeg(path)
    return Tags(
        title=_text(fields, "title"),
        artist=_text(fields, "artist"),
        album=_text(fields, "album"),
        album_artist=_text(fields, "albumartist", "album_artist", "album artist"),
        genres=_genres(fields.get("genre", [])),
        year=_number(_YEAR, _values(fields, "date", "year", "originaldate", "originalyear")),
        track_number=_number(_NUMBER, _values(fields, "tracknumber", "track")),
        isrc=_isrc(_values(fields, "isrc", "tsrc")),
        recording_mbid=_mbid(fields, "musicbrainz_trackid", "musicbrainz track id"),
        release_mbid=_mbid(fields, "musicbrainz_albumid", "musicbrainz album id"),
        artist_mbid=_mbid(fields, "musicbrainz_artistid", "musicbrainz artist id"),
    )


# --- from each format to the names of Vorbis comments --------------------------------------------

_ID3 = {
    "TIT2": "title",
    "TPE1": "artist",
    "TALB": "album",
    "TPE2": "albumartist",
    "TDRC": "date",
    "TYER": "year",
    "TDOR": "originaldate",
    "TORY": "originalyear",
    "TRCK": "tracknumber",
    "TSRC": "isrc",
    "TXXX:MUSICBRAINZ ALBUM ID": "musicbrainz_albumid",
    "TXXX:MUSICBRAINZ ARTIST ID": "musicbrainz_artistid",
}
_UFID_OWNER = "http://musicbrainz.org"
_MP4 = {
    "\xa9nam": "title",
    "\xa9art": "artist",
    "\xa9alb": "album",
    "aart": "albumartist",
    "\xa9gen": "genre",
    "\xa9day": "date",
    "----:com.apple.itunes:isrc": "isrc",
    "----:com.apple.itunes:musicbrainz track id": "musicbrainz_trackid",
    "----:com.apple.itunes:musicbrainz album id": "musicbrainz_albumid",
    "----:com.apple.itunes:musicbrainz artist id": "musicbrainz_artistid",
}
_ASF = {
    "author": "artist",
    "wm/albumtitle": "album",
    "wm/albumartist": "albumartist",
    "wm/genre": "genre",
    "wm/year": "date",
    "wm/originalreleaseyear": "originalyear",
    "wm/tracknumber": "tracknumber",
    "wm/isrc": "isrc",
    "musicbrainz/track id": "musicbrainz_trackid",
    "musicbrainz/album id": "musicbrainz_albumid",
    "musicbrainz/artist id": "musicbrainz_artistid",
}


def _by_mutagen(path: Path) -> Fields:
    try:
        import mutagen
    except ImportError as error:
        raise LibraryError(
            "mutagen is not installed, and the library needs it; run: "
            "pip install 'myna-rpe[library]'"
        ) from error
    try:
        file = mutagen.File(os.fspath(path))
        tags = None if file is None else file.tags
        return {} if tags is None else _fields(tags)
    except Exception:  # a hostile file may make a parser fail in any way; its sound may be fine
        return {}


def _fields(tags: Any) -> Fields:
    from mutagen.id3 import ID3
    from mutagen.mp4 import MP4Tags

    if isinstance(tags, ID3):
        return _of_id3(tags)
    names = _MP4 if isinstance(tags, MP4Tags) else _ASF
    fields: Fields = {}
    # Vorbis comments may repeat a name; `items` of APE and ASF tags give lists as well.
    for name in dict.fromkeys(str(key) for key in tags.keys()):  # noqa: SIM118 - no plain mapping
        values = tags[name]
        if name == "trkn":
            fields["tracknumber"] = [str(values[0][0])] if values and values[0][0] else []
            continue
        lower = name.lower()
        many = values if isinstance(values, list) else _pieces(values)
        fields.setdefault(names.get(lower, lower), []).extend(map(_decoded, many))
    return fields


def _of_id3(tags: Any) -> Fields:
    fields: Fields = {}
    for key, frame in tags.items():
        name = _ID3.get(key.upper())
        if name is not None:
            fields.setdefault(name, []).extend(_decoded(text) for text in frame.text)
        elif key.startswith("TCON"):
            fields["genre"] = [_decoded(genre) for genre in frame.genres]
        elif key == f"UFID:{_UFID_OWNER}":
            fields["musicbrainz_trackid"] = [_decoded(frame.data)]
    return fields


def _pieces(value: Any) -> list[Any]:
    """Return the values of an APE item, or the one value there is."""
    return list(value) if hasattr(value, "kind") and value.kind == 0 else [value]


def _by_ffmpeg(path: Path) -> Fields:
    try:
        return {name: [value] for name, value in read_metadata(path).items()}
    except AudioError:
        return {}


# --- from text to what it should be --------------------------------------------------------------


def _decoded(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _clean(text: str) -> str:
    """Return one line of text that any terminal, database and playlist takes."""
    text = text[: 4 * MAX_TEXT].encode("utf-8", "replace").decode()
    shown = (character if character.isprintable() else " " for character in text)
    return " ".join("".join(shown).split())[:MAX_TEXT].strip()


def _values(fields: Mapping[str, list[str]], *names: str) -> list[str]:
    return [value for name in names for value in fields.get(name, [])]


def _text(fields: Mapping[str, list[str]], *names: str) -> str:
    """Return the values of the first name that has any; several artists are joined."""
    for name in names:
        values = [text for value in fields.get(name, []) if (text := _clean(value))]
        if values:
            return _clean("; ".join(dict.fromkeys(values)))
    return ""


def _genres(values: Iterable[str]) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for name in (_clean(name) for value in values for name in BETWEEN_GENRES.split(value)):
        if name:
            found.setdefault(name.casefold(), name)
    return tuple(found.values())[:_MAX_GENRES]


def _number(pattern: re.Pattern[str], values: Iterable[str]) -> int | None:
    """Return the first number there is."""
    for value in values:
        if (match := pattern.search(value) if pattern is _YEAR else pattern.match(value)) is None:
            continue
        if (number := int(match[1])) > 0:
            return number
    return None


def _isrc(values: Iterable[str]) -> str:
    codes = (re.sub(r"[-\s]", "", value).upper() for value in values)
    return next((code for code in codes if _ISRC.fullmatch(code)), "")


def _mbid(fields: Mapping[str, list[str]], *names: str) -> str:
    """Return the first identifier; of several artists the first is the main one."""
    texts = (value.lower() for value in _values(fields, *names))
    return next((match[0] for text in texts if (match := _MBID.search(text))), "")

"""XSPF: playlists as XML. Locations are URIs, which escape every byte of a name.

VLC reads all of them; mpd takes them for plain paths, and finds only names without escapes.

Source: https://xspf.org/spec (version 1).
"""

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from .entries import Entries, Entry, clean_text
from .fields import entry_from, identifiers_of, milliseconds_of
from .places import uri_of

_NAMESPACE = "http://xspf.org/ns/0/"


@dataclass(frozen=True)
class Xspf:
    """The format."""

    def location(self, place: str, folder: Path) -> str:
        """Return the URI of a place."""
        return uri_of(place)

    def render(self, playlist: Entries) -> bytes:
        """Return the file's content; text that XML cannot hold becomes U+FFFD."""
        root = ElementTree.Element("playlist", {"version": "1", "xmlns": _NAMESPACE})
        _add(root, "title", playlist.name)
        tracks = ElementTree.SubElement(root, "trackList")
        for entry in playlist.entries:
            track = ElementTree.SubElement(tracks, "track")
            _add(track, "location", entry.location)
            for identifier in identifiers_of(entry):
                _add(track, "identifier", identifier)
            _add(track, "title", entry.title)
            _add(track, "creator", entry.artist)
            _add(track, "album", entry.album)
            _add(track, "trackNum", str(entry.track_number or ""))
            _add(track, "duration", str(milliseconds_of(entry) or ""))
        ElementTree.indent(root, " ")
        content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
        return content + b"\n"

    def parse(self, content: bytes, folder: Path) -> Entries:
        """Return what a file says, in any namespace or none.

        Raises:
            ValueError: it is not XML, or another kind of it.
        """
        try:
            root = ElementTree.fromstring(content)
        except (ElementTree.ParseError, LookupError) as error:
            raise ValueError(str(error)) from error
        if _name(root) != "playlist":
            raise ValueError(f"its root is {_name(root)}, not playlist")
        lists = [child for child in root if _name(child) == "trackList"]
        tracks = [track for each in lists for track in each if _name(track) == "track"]
        title = (_texts(root, "title") or [""])[0]
        return Entries(title, tuple(_entry(track, folder) for track in tracks))


def _entry(track: ElementTree.Element, folder: Path) -> Entry:
    def one(name: str) -> str:
        return (_texts(track, name) or [""])[0]

    return entry_from(
        locations=_texts(track, "location"),
        identifiers=_texts(track, "identifier"),
        title=one("title"),
        artist=one("creator"),
        album=one("album"),
        track_number=one("trackNum"),
        milliseconds=one("duration"),
        folder=folder,
    )


def _texts(parent: ElementTree.Element, name: str) -> list[str]:
    return ["".join(child.itertext()).strip() for child in parent if _name(child) == name]


def _name(element: ElementTree.Element) -> str:
    # Comments have a function for a tag.
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _add(parent: ElementTree.Element, name: str, text: str) -> None:
    if text:
        ElementTree.SubElement(parent, name).text = clean_text(text)

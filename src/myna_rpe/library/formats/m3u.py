"""M3U and M3U8: a path a line, and comments that say more.

There is no standard. Written: UTF-8 without a byte order mark, ``#EXTM3U``, ``#PLAYLIST:name``,
``#EXTINF:seconds,artist - title`` before each path; names that are not UTF-8 as their bytes. Read:
also other line ends, blank lines, unknown comments, ``file:`` URIs, percent escapes and Windows
paths.

What a line cannot carry: ``#`` and spaces at the beginning, which ``./`` solves; line ends, and
controls or spaces at the end, for which the absolute ``file:`` URI is written.

Players differ. mpd takes a line for a path, and never undoes escapes; VLC takes it for a URI, in
which ``#``, ``?`` and escapes mean something else. What is written is what most can read: the plain
path. XSPF has no such doubts (tests/integration/test_players.py).
"""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from .entries import Entries, Entry, clean_text
from .places import is_absolute, path_of_line, resolved, uri_of

_MARK = b"\xef\xbb\xbf"
_LINE_ENDS = re.compile(rb"[\r\n]+")
_EXTINF = re.compile(r"#EXTINF:\s*(?P<seconds>-?\d+(?:\.\d+)?)[^,]*,?(?P<shown>.*)", re.IGNORECASE)
_BETWEEN = " - "
_FALLBACKS = {"utf-8": "surrogateescape", "latin-1": "strict"}


@dataclass(frozen=True)
class M3u:
    """The format.

    Attributes:
        fallback: how lines are read that are not UTF-8: ``utf-8`` (keeping their bytes) or
            ``latin-1``, unless there is a file of just those bytes.
    """

    fallback: str = "utf-8"

    def location(self, place: str, folder: Path) -> str:
        """Return the line that names a file."""
        if re.search(r"[\r\n]", place) or place[-1] <= " ":
            return uri_of(place if is_absolute(place) else str(resolved(place, folder)))
        return f"./{place}" if place[0] == "#" or place[0] <= " " else place

    def render(self, playlist: Entries) -> bytes:
        """Return the file's content."""
        lines = ["#EXTM3U"]
        if playlist.name:
            lines.append(f"#PLAYLIST:{_one_line(playlist.name)}")
        for entry in playlist.entries:
            seconds = round(entry.duration) if entry.duration > 0 else -1
            lines += [f"#EXTINF:{seconds},{_one_line(_shown(entry))}", entry.location]
        return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")

    def parse(self, content: bytes, folder: Path) -> Entries:
        """Return what a file says; any bytes are some playlist."""
        name, said, entries = "", Entry(""), list[Entry]()
        for raw in _LINE_ENDS.split(content.removeprefix(_MARK)):
            line = raw.strip()
            if not line:
                continue
            if not line.startswith(b"#"):
                entries.append(self._entry(line, said, folder))
                said = Entry("")
                continue
            text = clean_text(self._text(line))
            if found := _EXTINF.fullmatch(text):
                said = _said(float(found["seconds"]), found["shown"].strip())
            elif text.upper().startswith("#PLAYLIST:"):
                name = text.partition(":")[2].strip()
        return Entries(name, tuple(entries))

    def _entry(self, line: bytes, said: Entry, folder: Path) -> Entry:
        text, as_bytes = self._text(line), os.fsdecode(line)
        path = path_of_line(text, folder)
        if text != as_bytes:
            exactly = path_of_line(as_bytes, folder)
            path = exactly if exactly and os.path.exists(exactly) else path  # noqa: PTH110
        return replace(said, location=text, path=path)

    def _text(self, line: bytes) -> str:
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            return line.decode(self.fallback, _FALLBACKS[self.fallback])


def _shown(entry: Entry) -> str:
    title = entry.title or (entry.path.stem if entry.path else "")
    return _BETWEEN.join(part for part in (entry.artist if entry.title else "", title) if part)


def _said(seconds: float, shown: str) -> Entry:
    artist, between, title = shown.partition(_BETWEEN)
    if not between:
        artist, title = "", shown
    return Entry("", title=title.strip(), artist=artist.strip(), duration=max(seconds, 0.0))


def _one_line(text: str) -> str:
    return " ".join(clean_text(text).split())

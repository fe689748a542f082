r"""How playlist files name music files: paths, and URIs that escape their bytes.

A *place* is a path as text, in which surrogates stand for bytes that are not UTF-8
(``os.fsdecode``), absolute or relative to the playlist's folder, then with ``./`` before what could
be read otherwise. It may be one of another system: ``D:\Music\a.mp3``. The bytes of names are
never changed: a decomposed letter stays decomposed.

Source: RFC 3986 (URIs), RFC 8089 (``file:``).
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import quote_from_bytes, unquote_to_bytes

_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_FILE_URI = re.compile(r"file:(?=/)", re.IGNORECASE)
# Relative paths that would be read as something else: drives, URIs, paths of Windows.
_MISLEADING = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|[^/]*\\")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|spotify:", re.IGNORECASE)
_REFERENCE = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*")
_THIS_MACHINE = ("", "localhost", "127.0.0.1")


# --- what a playlist shall say -------------------------------------------------------------------


@runtime_checkable
class PathStyle(Protocol):
    """How a playlist names the files of its tracks."""

    def place(self, path: Path, folder: Path) -> str:
        """Return the place of a file.

        Args:
            path: absolute.
            folder: of the playlist.

        Raises:
            ValueError: this style cannot name it; the message is the reason.
        """
        ...


@dataclass(frozen=True)
class Absolute:
    """The whole path: for players on this machine."""

    def place(self, path: Path, folder: Path) -> str:
        """Return the path."""
        return str(path)


@dataclass(frozen=True)
class Relative:
    """From the playlist's folder on: for a playlist that moves together with its music."""

    def place(self, path: Path, folder: Path) -> str:
        """Return the way from the folder to the file; the folder's links are followed."""
        way = os.path.relpath(path, os.path.realpath(folder))
        return f"./{way}" if os.sep == "/" and _MISLEADING.match(way) else way


@dataclass(frozen=True)
class Mapped:
    r"""The path as another machine sees it: ``Mapped("/srv/music", "M:\\")``.

    Attributes:
        old: a folder here.
        new: the same folder there; with backslashes, and no slash, what follows gets backslashes.
    """

    old: str
    new: str

    def place(self, path: Path, folder: Path) -> str:
        """Return the path with its beginning exchanged.

        Raises:
            ValueError: the path is not below the old folder, or would be another one there.
        """
        try:
            rest = str(path.relative_to(self.old))
        except ValueError as error:
            raise ValueError(f"it is not below {self.old!r}") from error
        between = "\\" if "\\" in self.new and "/" not in self.new else "/"
        if between == "\\" and between in rest:
            raise ValueError("its name has a backslash, which Windows takes for a folder")
        return self.new.rstrip(between) + between + rest.replace("/", between)


# --- URIs ----------------------------------------------------------------------------------------


def uri_of(place: str) -> str:
    """Return the URI of a place: ``file:`` for absolute ones, a relative reference for others.

    >>> uri_of("/music/50% #1.mp3")
    'file:///music/50%25%20%231.mp3'
    """
    if is_drive(place):
        return f"file:///{place[:2]}{_quoted(place[2:].replace(chr(92), '/'))}"
    if place.startswith("\\\\"):
        return f"file:{_quoted(place.replace(chr(92), '/'))}"
    return f"file://{_quoted(place)}" if place.startswith("/") else _quoted(place)


def path_of_reference(text: str, folder: Path) -> Path | None:
    """Return the file that a URI or relative reference means; None where it means no file.

    Files written by hand hold plain paths instead: what is no well-formed URI is taken as one.
    """
    if not text or has_scheme(text):
        return path_of_file_uri(text)
    if _REFERENCE.fullmatch(text):
        return resolved(_unquoted(text), folder)
    return path_of_line(text, folder)


def path_of_file_uri(text: str) -> Path | None:
    """Return the path of a ``file:`` URI; None for anything else."""
    if not _FILE_URI.match(text):
        return None
    rest = text[len("file:") :]
    if rest.startswith("//"):
        host, _, tail = rest[2:].partition("/")
        rest = f"/{tail}" if host.lower() in _THIS_MACHINE else f"//{host}/{tail}"
    # Looked for before unescaping: we escape the colon of a folder that is called C:.
    return Path(_unquoted(rest[1:] if is_drive(rest[1:]) else rest))


def path_of_line(text: str, folder: Path) -> Path | None:
    r"""Return the file that a plain path means; None where the text is a URI of something else.

    ``..\a.mp3`` and ``a%20b.mp3`` are also file names. One that exists is meant as it is; without
    one, backslashes are Windows', and escapes are undone if that leads to a file.
    """
    if has_scheme(text):
        return path_of_file_uri(text)
    readings = [text]
    if "\\" in text and "/" not in text:
        readings.insert(0, text.replace("\\", "/"))
    paths = [resolved(reading, folder) for reading in readings]
    guesses = [resolved(_unquoted(reading), folder) for reading in readings if "%" in reading]
    possible = [*reversed(paths), *guesses]
    return (_first_existing(possible) if len(possible) > 1 else None) or paths[0]


def resolved(place: str, folder: Path) -> Path:
    """Return the path of a place; one of Windows keeps its drive."""
    if is_drive(place) or place.startswith("/"):
        return Path(place)
    return Path(os.path.normpath(os.path.join(os.path.realpath(folder), place)))  # noqa: PTH118


def has_scheme(text: str) -> bool:
    """Say whether text is an absolute URI, and not a path with a colon in it."""
    return bool(_FILE_URI.match(text) or _SCHEME.match(text))


def is_absolute(place: str) -> bool:
    """Say whether a place is absolute, here or on Windows."""
    return place.startswith(("/", "\\\\")) or is_drive(place)


def is_drive(text: str) -> bool:
    r"""Say whether text begins like ``C:\`` or ``C:/``."""
    return bool(_DRIVE.match(text))


def _first_existing(paths: Sequence[Path]) -> Path | None:
    return next((path for path in paths if os.path.exists(path)), None)  # noqa: PTH110 - False for any text


def _quoted(place: str) -> str:
    return quote_from_bytes(os.fsencode(place), safe="/")


def _unquoted(text: str) -> str:
    # Not every surrogate stands for a byte: JSON can spell any.
    return os.fsdecode(unquote_to_bytes(text.encode("utf-8", "surrogateescape")))

"""What a user calls a playlist or a track: stored names, files, numbers, paths.

A playlist is a stored name, or a playlist file; a track is a number or a path of the library. Where
either may stand, the stored name comes first, then the file, the number, the path. A path that
begins with ``./`` is never a name.

`canonical` gives the text that means the same from any folder: that is what is kept with a playlist
for making it again.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...embedding_table import path_from_text, path_to_text
from ...errors import LibraryError, unknown_name
from ..catalogue import Catalogue
from ..formats import FORMATS, read_playlist
from ..stored import Member
from .importing import Matcher

# So many names are suggested.
_SUGGESTED = 20


@dataclass(frozen=True)
class Source:
    """A playlist or track, as the library has it.

    Attributes:
        name: to show.
        numbers: of its tracks that a search may find, in order.
        missing: what it also names, and why it cannot be used.
    """

    name: str
    numbers: tuple[int, ...]
    missing: tuple[str, ...] = ()


def canonical(catalogue: Catalogue, text: str) -> str:
    """Return text that means the same playlist or track in every folder.

    Raises:
        LibraryError: it means none.
    """
    if text in catalogue.playlists.names():
        return text
    path = path_from_text(text)
    if is_playlist_file(str(path)):
        return path_to_text(Path(os.path.abspath(path)))  # noqa: PTH100 - resolves no links
    return str(track_number(catalogue, text))


def find(catalogue: Catalogue, text: str) -> Source:
    """Return a playlist or track.

    Raises:
        LibraryError: there is none; names that are similar are suggested.
    """
    if text in catalogue.playlists.names():
        return _of_members(text, catalogue.playlists.get(text).members)
    path = path_from_text(text)
    if is_playlist_file(str(path)):
        return _of_file(catalogue, path)
    number = track_number(catalogue, text)
    track = catalogue.track(number)
    if catalogue.vector(number) is None or not _is_present(catalogue, number):
        raise LibraryError(
            f"track={text!r} is known, but its file or its vector is missing; scan its folder "
            "again: myna library scan."
        )
    return Source(track.label, (number,))


def find_playlist(catalogue: Catalogue, text: str) -> Source:
    """Return a playlist; a single track is none.

    Raises:
        LibraryError: there is none of that name.
    """
    if text in catalogue.playlists.names() or is_playlist_file(str(path_from_text(text))):
        return find(catalogue, text)
    raise _unknown("playlist", text, catalogue)


def track_number(catalogue: Catalogue, text: str) -> int:
    """Return the number of a track that is called by its number or path.

    Raises:
        LibraryError: there is none.
    """
    if text.isascii() and text.isdigit():
        return catalogue.track(int(text)).id
    track = catalogue.by_path(path_from_text(text))
    if track is None:
        raise _unknown("track", text, catalogue)
    return track.id


def is_playlist_file(text: str) -> bool:
    """Tell whether text has the extension of a playlist file."""
    return Path(text).suffix.lower() in FORMATS


def _of_members(name: str, members: Sequence[Member]) -> Source:
    numbers, missing = list[int](), list[str]()
    for member in members:
        if member.track is None:
            missing.append(f"{path_to_text(member.path)}: the library does not know it")
        else:
            numbers.append(member.track.id)
    return Source(name, tuple(numbers), tuple(missing))


def _of_file(catalogue: Catalogue, path: Path) -> Source:
    entries = read_playlist(path)
    matched = Matcher(catalogue).match(entries)
    return Source(entries.name, matched.numbers, matched.missing)


def _is_present(catalogue: Catalogue, number: int) -> bool:
    return next(catalogue.tracks("t.id = ? AND t.state = 'present'", (number,)), None) is not None


def _unknown(subject: str, text: str, catalogue: Catalogue) -> LibraryError:
    names = catalogue.playlists.names()
    if not names:
        return LibraryError(
            f"{subject}={text!r} is unknown: it is no path or number of the library, and no "
            "playlist is stored; give a track of `myna library`, or a playlist file "
            f"({', '.join(FORMATS)})."
        )
    sentence = unknown_name(subject, text, names[:_SUGGESTED])
    return LibraryError(sentence.replace("valid: ", "stored: ").replace("Valid: ", "Stored: "))

"""Playlist files: M3U8, M3U, XSPF and JSPF, chosen by the name's extension.

`write_playlist` writes tracks, `write_entries` what was read elsewhere, `read_playlist` reads. A
file appears whole or not at all. A track that cannot be named is left out and told, with a reason:
tracks = written + refused.
"""

from pathlib import Path

from ...errors import ExportError, LibraryError, unknown_name
from ...storage import atomic_write
from .entries import Entries, Entry, Format, NamedPlaylist, Refused, Written, entry_of
from .jspf import Jspf
from .m3u import M3u
from .places import Absolute, Mapped, PathStyle, Relative
from .xspf import Xspf

__all__ = [
    "FORMATS",
    "Absolute",
    "Entries",
    "Entry",
    "Format",
    "Mapped",
    "NamedPlaylist",
    "PathStyle",
    "Refused",
    "Relative",
    "Written",
    "read_playlist",
    "write_entries",
    "write_playlist",
]

FORMATS: dict[str, Format] = {
    ".m3u8": M3u(),
    ".m3u": M3u(fallback="latin-1"),
    ".xspf": Xspf(),
    ".jspf": Jspf(),
}
"""By extension, in lower case."""

_ABSOLUTE = Absolute()


def read_playlist(path: Path) -> Entries:
    """Return what a playlist file says; its name is the file's where it says none.

    Raises:
        LibraryError: it cannot be read, or is not what its extension says.
    """
    name = path.suffix.lower()
    if name not in FORMATS:
        raise LibraryError(unknown_name("extension", path.suffix, FORMATS))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LibraryError(
            f"playlist={str(path)!r} cannot be read ({error.strerror or error}); check its name."
        ) from error
    try:
        found = FORMATS[name].parse(content, path.parent)
    except ValueError as error:
        raise LibraryError(
            f"playlist={str(path)!r} is not {name[1:].upper()} ({error}); export it again where "
            "it comes from, or give it its right extension."
        ) from error
    return Entries(found.name or path.stem, found.entries)


def write_playlist(playlist: NamedPlaylist, path: Path, *, paths: PathStyle = _ABSOLUTE) -> Written:
    """Write a playlist; one that is there is replaced.

    Args:
        playlist: of tracks with absolute paths; may be empty.
        path: its extension chooses the format.
        paths: how files are named.

    Raises:
        ExportError: the extension is unknown, or the file cannot be written.
    """
    form = _format_of(path)
    entries, refused = list[Entry](), list[Refused]()
    for track in playlist.tracks:
        try:
            place = paths.place(track.path, path.parent)
            entries.append(entry_of(track, form.location(place, path.parent)))
        except ValueError as error:  # noqa: PERF203 - one bad name never stops the rest
            refused.append(Refused(track.path, str(error)))
    write_entries(Entries(playlist.name, tuple(entries)), path)
    return Written(path, len(playlist.tracks), tuple(refused))


def write_entries(entries: Entries, path: Path) -> None:
    """Write entries with their locations as they are.

    Raises:
        ExportError: the extension is unknown, or the file cannot be written.
    """
    content = _format_of(path).render(entries)
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise ExportError(
            f"playlist={str(path)!r} cannot be written ({error.strerror or error}); choose "
            "another place, or mend that."
        ) from error


def _format_of(path: Path) -> Format:
    if path.suffix.lower() not in FORMATS:
        raise ExportError(unknown_name("extension", path.suffix, FORMATS))
    return FORMATS[path.suffix.lower()]

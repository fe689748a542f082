"""Folders -> their audio files with size and time of modification, one stat for each.

What counts is what `audio.files` counts: files by extension, hidden entries skipped, each folder
once however many links lead to it. Unlike there, a folder that cannot be listed stops nothing: it
is named in `unreachable`, since what lies below it is not gone, but not to be seen.

A disk that is not mounted leaves an empty folder, or none. So an empty folder among those asked for
is unreachable, and so is one that was a mount point the last time and is none now.

Conventions: paths are the bytes of the disk, absolute; links in them are not resolved.
"""

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..audio.files import AUDIO_EXTENSIONS

NOT_THERE = "it does not exist; is its disk mounted?"
EMPTY = "it is empty; is its disk mounted?"

_EXTENSIONS = frozenset(map(os.fsencode, AUDIO_EXTENSIONS))


class Entry(NamedTuple):
    """A file; size and time are -1 where it cannot be looked at."""

    path: bytes
    size: int
    mtime_ns: int


class Listing:
    """One walk over folders.

    Args:
        roots: absolute folders, and files, which count whatever their extension.

    Attributes:
        unreachable: folders that cannot be seen into, with the reason; complete after `files`.
        mounts: folders that lie on another disk than their parents; complete after `files`.
    """

    def __init__(self, roots: Iterable[bytes]) -> None:
        self._roots = list(roots)
        self.unreachable: dict[bytes, str] = {}
        self.mounts: set[bytes] = set()

    def files(self) -> Iterator[Entry]:
        """Yield the files, folder by folder; one that is reached twice may come twice."""
        folders: list[tuple[bytes, int | None]] = []
        for root in self._roots:
            if os.path.isdir(root):  # noqa: PTH112 - bytes
                folders.append((root, _device(os.path.dirname(root))))  # noqa: PTH120
            elif os.path.lexists(root):
                yield _entry(root)
            else:
                self.unreachable[root] = NOT_THERE
        yield from self._below(folders)

    def _below(self, folders: list[tuple[bytes, int | None]]) -> Iterator[Entry]:
        links: list[tuple[bytes, int | None]] = []
        seen: set[tuple[int, int]] = set()
        # Linked folders come last, so that a file is named by its real place where it has one.
        while folders or links:
            folder, above = folders.pop() if folders else links.pop(0)
            try:
                status = os.stat(folder)  # noqa: PTH116
                if above is not None and status.st_dev != above:
                    self.mounts.add(folder)
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                with os.scandir(folder) as entries:
                    found = list(entries)
            except OSError as error:
                self.unreachable[folder] = f"it cannot be listed ({error.strerror})"
                continue
            if not found and folder in self._roots:
                self.unreachable[folder] = EMPTY
            for entry in found:
                if entry.name.startswith(b"."):
                    continue
                if _is_folder(entry):
                    (links if entry.is_symlink() else folders).append((entry.path, status.st_dev))
                elif os.path.splitext(entry.name)[1].lower() in _EXTENSIONS:  # noqa: PTH122
                    yield _entry(entry)


def _is_folder(entry: "os.DirEntry[bytes]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _entry(file: "bytes | os.DirEntry[bytes]") -> Entry:
    path = os.fspath(file)
    try:
        status = os.stat(path) if isinstance(file, bytes) else file.stat()  # noqa: PTH116
    except OSError:  # reading it will say why
        return Entry(path, -1, -1)
    return Entry(path, status.st_size, status.st_mtime_ns)


def _device(folder: bytes) -> int | None:
    try:
        return os.stat(folder).st_dev  # noqa: PTH116
    except OSError:
        return None

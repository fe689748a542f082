"""Anyone's music: files and folders. What a file says of itself is all that is known of it."""

import os
from collections.abc import Sequence
from pathlib import Path

from ...audio.files import find_audio_files
from ..tracks import Entry, Listing


class Folder:
    """The music in files and folders, which are searched recursively.

    A track is named by its path relative to the folder (the common parent of several). Artist and
    genre are read from the file's own tags.
    """

    def __init__(self, *paths: Path) -> None:
        self.paths = paths

    def listing(self) -> Listing:
        """Return every audio file once.

        Raises:
            AudioError: a path is missing, or there is no music.
        """
        root = _root(self.paths)
        # A file named twice, by its folder and by itself, is one.
        found = find_audio_files(self.paths)
        files = {_absolute(file).relative_to(root).as_posix(): file for file in found}
        return Listing([Entry(file, path) for path, file in files.items()])


def _root(paths: Sequence[Path]) -> Path:
    """Return the folder that track paths are relative to."""
    absolute = [_absolute(path) for path in paths]
    folders = [path if path.is_dir() else path.parent for path in absolute]
    return Path(os.path.commonpath(folders)) if folders else Path()


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - keeps symbolic links

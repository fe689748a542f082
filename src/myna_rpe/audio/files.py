"""Paths a user names -> audio files, in a fixed order.

Folders are searched recursively. Their files are recognised by extension, hidden entries are
skipped, and each folder is read once however many symbolic links lead to it, so cycles end.
Names are kept as the file system gives them; those that are not UTF-8 travel as surrogate escapes
and are shown escaped in messages.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import AudioError

AUDIO_EXTENSIONS: frozenset[str] = frozenset(
    f".{name}"
    for name in (
        *("mp3", "mp2", "aac", "m4a", "m4b", "mp4", "mov", "wma", "asf", "ac3"),
        *("ogg", "oga", "opus", "webm", "weba", "mka", "mpc"),
        *("flac", "alac", "ape", "tta", "wv", "caf"),
        *("wav", "wave", "w64", "rf64", "aif", "aiff", "aifc", "au", "snd"),
    )
)


def find_audio_files(paths: Iterable[Path]) -> list[Path]:
    """Return the audio files that `paths` name, without duplicates.

    Args:
        paths: files, kept whatever their extension, and folders, searched recursively.

    Returns:
        Files in the order of `paths`; those of one folder sorted by name.

    Raises:
        AudioError: a path that does not exist or a folder that cannot be listed; no audio file at
            all in the folders given.
    """
    found: dict[Path, None] = {}
    folders: list[Path] = []
    for path in map(Path, paths):
        if os.path.isdir(path):  # noqa: PTH112 - False, not an error, where it may not look
            folders.append(path)
            found.update(dict.fromkeys(_files_below(path)))
        elif os.path.lexists(path):
            found[path] = None
        else:
            raise AudioError(f"path={str(path)!r} does not exist; check its spelling.")
    if folders and not found:
        named = ", ".join(repr(str(folder)) for folder in folders)
        raise AudioError(
            f"folder={named} holds no audio file; "
            "give a folder with music (mp3, flac, ogg, opus, wav, m4a, ...)."
        )
    return list(found)


def _files_below(root: Path) -> list[Path]:
    """Return the audio files at and below `root`, sorted by name."""
    files: list[Path] = []
    seen: set[tuple[int, int]] = set()
    folders, links = [root], list[Path]()
    # Linked folders come last, so that a file is named by its real place where that is below root.
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            paths = sorted(folder.iterdir())
        except OSError as error:
            raise AudioError(
                f"folder={str(folder)!r} cannot be listed ({error.strerror}); "
                "make it readable or leave it out."
            ) from error
        for path in paths:
            if path.name.startswith("."):
                continue
            if os.path.isdir(path):  # noqa: PTH112
                (links if path.is_symlink() else folders).append(path)
            elif path.suffix.lower() in AUDIO_EXTENSIONS:
                files.append(path)
    return sorted(files, key=os.fsencode)

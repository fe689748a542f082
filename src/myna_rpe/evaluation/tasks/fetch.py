"""The tables of a data set over the net, verified; its sound is for the user to get."""

import tarfile
import zipfile
from pathlib import Path

from ...data.download.http import Http
from ...errors import DatasetError, TaskError
from .base import Task


def fetch_tables(task: Task, root: Path, http: Http | None = None) -> list[str]:
    """Fetch labels and lists of a data set into its folder; return what was fetched.

    Each has its published SHA-256, or is refused; archives are unpacked.

    Args:
        task: the data set.
        root: its folder; made if need be.
        http: fetches; None: as usual.

    Raises:
        TaskError: the data set has no such files, or one cannot be fetched, trusted or written.
    """
    remotes = [remote for remote in task.remotes if remote.tables]
    if not remotes:
        raise TaskError(
            f"task={task.name!r} has no tables to be fetched by themselves; {task.source}."
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        for remote in remotes:
            path = root / (remote.file or remote.url.rpartition("/")[2])
            (http or Http()).fetch(remote.url, path, sha256=remote.sha256)
            if not remote.file:
                _unpack(path, root)
                path.unlink()
    except (DatasetError, OSError) as error:
        raise TaskError(
            f"tables of {task.title} cannot be fetched ({str(error).rstrip('.')}); {task.source}."
        ) from error
    return [remote.url for remote in remotes]


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack a verified archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as files:
            files.extractall(folder)
    else:
        with tarfile.open(archive) as files:
            files.extractall(folder, filter="data")

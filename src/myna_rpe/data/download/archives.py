"""Archives with published checksums -> a folder of verified files, in as many runs as it takes.

An archive is fetched, verified, unpacked, every file of it verified again, and removed, one after
the other, so that the disk holds the files and one archive at most. Files that are there and have
their checksum are not fetched, whoever put them there. The folder ``.download`` keeps archives on
their way and, for each finished one, the size and modification time of its files, so that a run
with nothing to do reads none of them.
"""

import contextlib
import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import DatasetError
from ...storage import atomic_write, file_sha256, write_json
from .http import Http

Progress = Callable[[str, int, int, str], None]
"""Called with the stage, ``check`` (archives) or ``fetch`` (bytes): done, in all, archive."""


@dataclass(frozen=True)
class Archive:
    """A tar file: its SHA-256, and those of the files in it by their paths."""

    name: str
    url: str
    sha256: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class FetchPlan:
    """What is to do: ``pending`` of ``total`` packages, say (``unit``); sizes are in bytes.

    ``needed`` is the disk space at its fullest, beyond what is taken now; ``free`` what there is.
    """

    folder: Path
    unit: str
    total: int
    pending: int
    to_fetch: int
    needed: int
    free: int

    def __str__(self) -> str:
        """Say it to a person."""
        return (
            f"{self.total - self.pending} of {self.total} {self.unit} are there; to fetch: "
            f"{self.to_fetch / 1e9:.2f} GB, which needs {self.needed / 1e9:.2f} GB of disk; "
            f"{self.free / 1e9:.2f} GB are free in {self.folder}"
        )


@dataclass(frozen=True)
class DownloadReport:
    """What is there now: ``files`` of ``archives``, verified; ``fetched`` of these in this run.

    ``ignored`` are files in the archives that no checksum is published for; they stayed there.
    """

    folder: Path
    archives: int
    fetched: int
    files: int
    ignored: tuple[str, ...]


def fetch_archives(
    archives: Sequence[Archive],
    folder: Path,
    workspace: Path,
    http: Http,
    *,
    announce: Callable[[FetchPlan], bool],
    progress: Progress,
) -> DownloadReport:
    """Bring the files of all archives into a folder.

    Args:
        archives: what there is to fetch.
        folder: of the files; made if need be.
        workspace: of archives on their way, and of what is known of finished ones.
        http: fetches.
        announce: told the plan before anything is fetched; False: nothing is.
        progress: told as work goes on.

    Raises:
        DatasetError: an archive cannot be fetched, is not what its checksum says, or there is no
            room.
        OSError: a file cannot be written.
    """
    folder.mkdir(exist_ok=True)
    pending = []
    for number, archive in enumerate(archives, start=1):
        if _missing(archive, folder, workspace):
            pending.append(archive)
        progress("check", number, len(archives), archive.name)
    here = {a.name: _arrived(workspace / a.name) for a in pending}
    sizes = {a.name: max(here[a.name], http.size(a.url) or 0) for a in pending}
    to_fetch = sum(sizes.values()) - sum(here.values())
    # At the fullest, all files are there and the last archive is too.
    needed = to_fetch + max(sizes.values(), default=0)
    free = shutil.disk_usage(folder).free
    plan = FetchPlan(folder, "archives", len(archives), len(pending), to_fetch, needed, free)
    files = sum(len(archive.files) for archive in archives)
    if not announce(plan):
        files -= sum(len(archive.files) for archive in pending)
        return DownloadReport(folder, len(archives), 0, files, ())
    if needed > free:
        raise DatasetError(
            f"free={free / 1e9:.1f} GB in {folder} is less than the {needed / 1e9:.1f} GB that are "
            "needed; free some space, or fetch fewer archives."
        )
    ignored: list[str] = []
    arrived = sum(here.values())
    for archive in pending:

        def advance(count: int, name: str = archive.name) -> None:
            nonlocal arrived
            arrived += count
            progress("fetch", arrived, sum(sizes.values()), name)

        advance(0)
        ignored += _bring(archive, folder, workspace, http, advance)
    return DownloadReport(folder, len(archives), len(pending), files, tuple(ignored))


def _bring(
    archive: Archive, folder: Path, workspace: Path, http: Http, advance: Callable[[int], None]
) -> list[str]:
    """Fetch, verify, unpack and remove one archive; return the files that were left in it."""
    tar = workspace / archive.name
    if not tar.exists():  # under this name it is verified
        http.fetch(archive.url, tar, sha256=archive.sha256, advance=advance)
    try:
        ignored = _unpack(tar, archive.files, folder)
        missing = _missing(archive, folder, workspace)
        tar.unlink()
    except tarfile.TarError as error:
        tar.unlink()
        raise DatasetError(
            f"archive={archive.name!r} cannot be unpacked ({error}); run the same command again."
        ) from error
    if missing:
        raise DatasetError(
            f"archive={archive.name!r} lacks {len(missing)} of its {len(archive.files)} published "
            f"files, the first {min(missing)!r}; tell the publishers of the data set."
        )
    return ignored


def _unpack(tar: Path, files: Mapping[str, str], folder: Path) -> list[str]:
    """Write the published files of an archive, each if it has its checksum; return the others.

    Where a file goes is decided by the published list alone, so no name, link or device in the
    archive can lead anywhere else.
    """
    ignored = []
    with tarfile.open(tar, "r:") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            source = archive.extractfile(member) if member.isreg() else None
            if source is not None and name in files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                digest = hashlib.sha256()
                with atomic_write(folder / name) as file:
                    while block := source.read(1 << 20):
                        digest.update(block)
                        file.write(block)
                    if digest.hexdigest() != files[name]:
                        raise DatasetError(
                            f"file={name!r} in {tar.name} does not have its published SHA-256; "
                            "tell the publishers of the data set."
                        )
            elif not member.isdir():
                ignored.append(member.name)
    return ignored


def _missing(archive: Archive, folder: Path, workspace: Path) -> set[str]:
    """Return the files of an archive that are not there as they were published.

    A file is read only if its size or time is not the one it had when it was last read.
    """
    path = workspace / f"{archive.name}.json"
    try:
        verified = json.loads(path.read_bytes())
    except (OSError, ValueError):
        verified = {}
    found = {}
    for name, sha256 in archive.files.items():
        with contextlib.suppress(OSError):  # not there, or cannot be read
            stat = (folder / name).stat()
            stamp = [stat.st_size, stat.st_mtime_ns]
            if verified.get(name) == stamp or file_sha256(folder / name) == sha256:
                found[name] = stamp
    if found != verified:
        write_json(path, found)
    return archive.files.keys() - found.keys()


def _arrived(tar: Path) -> int:
    """Return how many bytes of an archive are on the disk."""
    for path in (tar, tar.with_name(f"{tar.name}.part")):
        with contextlib.suppress(FileNotFoundError):
            return path.stat().st_size
    return 0

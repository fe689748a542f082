"""Files that appear under their name only when they are complete and on the disk; locks."""

import errno
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

TEMPORARY_SUFFIX = ".tmp"


class AlreadyLockedError(Exception):
    """Another process holds a lock; ``owner`` is its number, as far as it is known."""

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; it takes that name when the block ends without error.

    After an error, a full disk or Ctrl-C nothing half-written stays; after a kill or a power cut
    only a hidden file ending in ``.tmp``.
    """
    # A name of its own: another process may be writing the same file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_json(path: Path, data: Any) -> None:
    """Write `data` as JSON, atomically; text is escaped to ASCII, so that any file name survives.

    A file that holds this text already is left as it is.
    """
    text = json.dumps(data, indent=1).encode("ascii") + b"\n"
    if not path.exists() or path.read_bytes() != text:
        with atomic_write(path) as file:
            file.write(text)


def write_json_lines(path: Path, rows: Iterable[Any]) -> None:
    """Write JSON, one row a line, atomically; text is escaped as by `write_json`."""
    with atomic_write(path) as file:
        file.writelines(json.dumps(row).encode("ascii") + b"\n" for row in rows)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def acquire_lock(path: Path) -> IO[str]:
    """Return the open lock file `path`, made with its folder; closing the file unlocks it.

    The system unlocks it when the process ends, however it ends. Who is done may remove the file,
    or its folder, before closing it.

    Raises:
        AlreadyLockedError: another process holds the lock.
        OSError: the file cannot be made.
    """
    while True:
        path.parent.mkdir(exist_ok=True)
        try:
            file = path.open("a+", encoding="utf-8")
        except FileNotFoundError:  # the run before removed the folder just now
            continue
        if not _try_lock(file):
            file.seek(0)
            owner = file.read().strip() or "another one"
            file.close()
            raise AlreadyLockedError(owner)
        # The run before may have removed the file between opening and locking.
        if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            return file
        file.close()


@contextmanager
def only_run(folder: Path, workspace: str, *, doing: str, error: type[Exception]) -> Iterator[Path]:
    """Make a folder, keep other runs out of it, and give its workspace, where the lock lies.

    Args:
        folder: made if need be.
        workspace: name of a folder in it; made if need be.
        doing: what is done to the folder, for a message: ``downloaded``.
        error: raised where another run is at work, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with acquire_lock(folder / workspace / "lock"):
            yield folder / workspace
    except AlreadyLockedError as locked:
        raise error(
            f"folder={str(folder)!r} is being {doing} to by process {locked.owner}; wait for it."
        ) from locked
    except OSError as failure:
        raise error(
            f"folder={str(folder)!r} cannot be written to: {failure.strerror or failure}; mend "
            "that (free some space?) and run the same command again to go on."
        ) from failure


def _try_lock(file: IO[str]) -> bool:
    """Lock an open file if nobody else has."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        # Some network file systems have no locks; then nothing keeps a second run out.
        if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
            raise
    return True


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder survive a power cut, where the system can do that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows cannot open folders
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

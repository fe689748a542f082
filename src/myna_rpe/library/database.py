"""One SQLite file whose failures are sentences.

WAL, so that reading goes on while a scan writes; `synchronous=FULL`, so that a committed batch
survives a power cut. On a disk that cannot be written to it is opened for reading; what SQLite
keeps beside the file while it is in use cannot be made there, so it is then taken to be immutable.
"""

import os
import sqlite3
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import LibraryError
from .migrations import migrate, pending

CATALOGUE_FILE = "catalogue.sqlite"
# Files that SQLite keeps beside a database in use.
SIDE_SUFFIXES = ("-wal", "-shm")

_BUSY_SECONDS = 30.0


class Database:
    """A connection to a catalogue; it belongs to the thread that opened it.

    Args:
        folder: of the library; the file must exist.

    Attributes:
        read_only: whether it can only be read.

    Raises:
        LibraryError: damaged, from a newer version, or not to be opened.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.read_only = not (can_write(folder) and can_write(folder / CATALOGUE_FILE))
        with self._telling():
            self._connection = self._reading() if self.read_only else self._writing()

    def query(self, sql: str, parameters: Sequence[object] = ()) -> Iterator[Any]:
        """Yield the rows of a SELECT, as they are found."""
        with self._telling():
            yield from self._connection.execute(sql, parameters)

    def one(self, sql: str, parameters: Sequence[object] = ()) -> Any:
        """Return the first row of a SELECT, or None."""
        with self._telling():
            return self._connection.execute(sql, parameters).fetchone()

    def temporary(self, sql: str, rows: Iterator[Sequence[object]] | None = None) -> None:
        """Run a statement on temporary tables, which are no part of the file; once for each row."""
        with self._telling():
            if rows is None:
                self._connection.execute(sql)
            else:
                self._connection.execute("BEGIN")
                try:
                    self._connection.executemany(sql, rows)
                finally:
                    self._connection.execute("COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for writing; everything or nothing of it is kept.

        Raises:
            LibraryError: the disk is full, cannot be written to, or another process writes for
                half a minute.
        """
        if self.read_only:
            raise LibraryError(
                f"library={str(self.folder)!r} may only be read, not written to; make it writable, "
                "or copy it to where you may write."
            )
        with self._telling():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def quick_check(self) -> str | None:
        """Return what SQLite finds wrong with its file, in short; None where all is well."""
        try:
            found = [row[0] for row in self._connection.execute("PRAGMA quick_check(3)")]
        except sqlite3.DatabaseError as error:
            return str(error)
        return None if found == ["ok"] else "; ".join(found)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _writing(self) -> sqlite3.Connection:
        connection = _connect(self.folder, "mode=rw")
        try:
            # An empty file is an empty database to SQLite; a catalogue never is one.
            if connection.execute("PRAGMA user_version").fetchone() == (0,):
                raise damaged(self.folder, "it is empty")
            pending(connection)  # a newer version is left as it is
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _reading(self) -> sqlite3.Connection:
        connection = _connect(self.folder, "mode=ro")
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            connection.close()
            connection = _connect(self.folder, "immutable=1")
        if pending(connection):
            connection.close()
            raise LibraryError(
                f"library={str(self.folder)!r} was made by an older version and may only be read; "
                "make it writable once, so that it can be brought up to date."
            )
        return connection

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):  # our own mistakes
            raise
        except sqlite3.DatabaseError as error:
            raise _sentence(self.folder, error) from error


def create_database(folder: Path) -> None:
    """Make an empty catalogue, whole or not at all; one that exists stays.

    Raises:
        OSError, sqlite3.Error: it cannot be made.
    """
    path = folder / CATALOGUE_FILE
    if path.exists():
        return
    temporary = folder / f".{CATALOGUE_FILE}.{os.getpid()}.tmp"
    try:
        connection = sqlite3.connect(temporary, isolation_level=None)
        try:
            migrate(connection)
        finally:
            connection.close()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class DamagedError(LibraryError):
    """A catalogue that cannot be trusted, and can be rebuilt."""


def damaged(folder: Path, reason: str) -> DamagedError:
    """Return the error for a catalogue that cannot be trusted."""
    return DamagedError(
        f"library={str(folder)!r} has a damaged catalogue ({reason}); mend it with `myna library "
        "verify --rebuild`: the damaged file is kept aside, and no track is analysed again."
    )


def can_write(path: Path) -> bool:
    """Tell whether this process may write to a file or folder, as far as the system tells."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _connect(folder: Path, options: str) -> sqlite3.Connection:
    path = os.fsencode((folder / CATALOGUE_FILE).absolute())
    return sqlite3.connect(
        f"file:{urllib.parse.quote_from_bytes(path)}?{options}",
        uri=True,
        isolation_level=None,
        timeout=_BUSY_SECONDS,
    )


def _sentence(folder: Path, error: sqlite3.DatabaseError) -> LibraryError:
    reason, subject = str(error), f"library={str(folder)!r}"
    if "locked" in reason:
        return LibraryError(
            f"{subject} is being written to by another process for {_BUSY_SECONDS:g} s; "
            "wait for it."
        )
    if "full" in reason:
        return LibraryError(
            f"{subject} cannot be written to: the disk is full; free some space and run the same "
            "command again to go on."
        )
    if "readonly" in reason or "unable to open" in reason or "disk I/O" in reason:
        return LibraryError(
            f"{subject} cannot be opened or written to ({reason}); check the disk and its "
            "permissions."
        )
    return damaged(folder, reason)

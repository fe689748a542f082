"""Whether a library can be trusted, and making it so again without analysing what is known.

Checked are the database (``PRAGMA quick_check``), the CRC of every vector, that every track points
to the row of its own sound, and the space on the disk. `rebuild` mends what can be mended. It never
deletes: a damaged database is kept aside under a name that says when, after all rows that can still
be read were copied from it. What is lost then is found again by a scan, which recognises it.
"""

import json
import os
import shutil
import sqlite3
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from ..embedding_table import Header
from ..errors import LibraryError
from ..storage import write_json
from .catalogue import SPACE_FILE, Catalogue, header_of_json, locked, read_space
from .database import (
    CATALOGUE_FILE,
    SIDE_SUFFIXES,
    DamagedError,
    Database,
    create_database,
    damaged,
)
from .vectors import Vectors

# Less than this free on the disk is told.
_LITTLE_SPACE = 64 << 20
_TABLES = ("settings", "tracks", "failures", "playlists", "playlist_tracks", "jobs")


@dataclass(frozen=True)
class Health:
    """What was found in a library.

    Attributes:
        problems: one sentence each; none in a sound library.
        done: what `rebuild` did, one sentence each.
        tracks: in the database, missing ones too; 0 where it cannot be read.
        rows: vectors on the disk.
        unused: rows that no track points to, as those of removed tracks; they are kept for the
            day the sound comes back.
        bytes: size of database and vectors.
        free: bytes left on the disk.
    """

    problems: tuple[str, ...]
    done: tuple[str, ...]
    tracks: int
    rows: int
    unused: int
    bytes: int
    free: int


def verify(folder: Path, *, done: tuple[str, ...] = ()) -> Health:
    """Return what is wrong with a library; nothing is changed. It reads every vector.

    Raises:
        LibraryError: there is none, or it is from a newer version.
    """
    if not (folder / CATALOGUE_FILE).exists() and not (folder / SPACE_FILE).exists():
        raise LibraryError(f"library={str(folder)!r} does not exist; name another with --library.")
    problems = []
    header, reason = None, _database_problem(folder)
    if reason is not None:
        problems.append(f"the database is damaged: {reason}.")
    try:
        header = read_space(folder)
    except LibraryError as error:
        problems.append(str(error))
    tracks, unused = 0, 0
    if reason is None:
        with closing(Database(folder)) as database:
            kept = _kept_space(folder, database)
            if header is None:
                problems.append(f"{SPACE_FILE} is lost.")
                header = kept
            if kept is not None and header is not None and kept.space_id != header.space_id:
                problems.append(
                    f"the database is for vectors of {kept.space_id}, beside it are vectors of "
                    f"{header.space_id}."
                )
            elif header is not None:
                found = _rows_problems(database, Vectors(folder, header.dim))
                problems += found.problems
                unused = found.unused
            (tracks,) = database.one("SELECT count(*) FROM tracks")
    rows = 0 if header is None else len(Vectors(folder, header.dim))
    free = shutil.disk_usage(folder).free
    if free < _LITTLE_SPACE:
        problems.append(f"the disk has only {free >> 20} MiB left.")
    sizes = (path.stat().st_size for path in folder.iterdir() if path.is_file())
    return Health(tuple(problems), done, tracks, rows, unused, sum(sizes), free)


def rebuild(folder: Path) -> Health:
    """Mend a library, and return what was done and what is still wrong.

    Raises:
        LibraryError: there is none, another process changes it, it is from a newer version, or
            nothing says any more which space its vectors are of.
    """
    verify(folder)
    done: list[str] = []
    with locked(folder):
        if _database_problem(folder) is not None:
            done += _rebuild_database(folder)
        with closing(Database(folder)) as database:
            kept = _kept_space(folder, database)
        if _space_or_none(folder) is None and kept is not None:
            _keep_aside(folder / SPACE_FILE)
            write_json(folder / SPACE_FILE, kept.to_metadata())
            done.append(f"{SPACE_FILE} was written anew.")
        header = _space_or_none(folder)
        if header is not None and (kept is None or kept.space_id == header.space_id):
            with closing(Database(folder)) as database:
                done += _mend_rows(database, Vectors(folder, header.dim))
        # Whatever is wrong still is told by what a library is opened with.
        Catalogue(folder).close()
    return verify(folder, done=tuple(done))


# --- vectors -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _RowsFound:
    problems: list[str]
    unused: int


def _rows_problems(database: Database, vectors: Vectors) -> _RowsFound:
    unsound = set(map(int, vectors.unsound()))
    wrong = list(_wrong_rows(database, vectors, unsound))
    (used,) = database.one("SELECT count(DISTINCT vector) FROM tracks")
    problems = []
    if unsound:
        problems.append(f"{len(unsound)} of {len(vectors)} vectors are not what was written.")
    if wrong:
        problems.append(f"{len(wrong)} tracks have a vector that is lost, or not theirs.")
    return _RowsFound(problems, max(0, len(vectors) - int(used)))


def _wrong_rows(
    database: Database, vectors: Vectors, unsound: set[int]
) -> Iterator[tuple[int, bytes]]:
    """Yield number and identity of the tracks that point to no sound row of their own."""
    rows = len(vectors)
    for number, row, identity in database.query(
        "SELECT id, vector, identity FROM tracks WHERE vector IS NOT NULL"
    ):
        if row >= rows or row in unsound or vectors.identity(row) != identity:
            yield number, identity


def _mend_rows(database: Database, vectors: Vectors) -> list[str]:
    vectors.repair()
    unsound = set(map(int, vectors.unsound()))
    wrong = list(_wrong_rows(database, vectors, unsound))
    lost = list(database.query("SELECT id, identity FROM tracks WHERE vector IS NULL"))
    found = {number: vectors.find(identity) for number, identity in [*wrong, *lost]}
    if found:
        with database.transaction() as connection:
            connection.executemany(
                "UPDATE tracks SET vector = ? WHERE id = ?",
                ((row, number) for number, row in found.items()),
            )
    if unsound:
        vectors.disown(sorted(unsound))
    done = []
    again = sum(found[number] is None for number, _ in wrong)
    if unsound:
        done.append(f"{len(unsound)} damaged vectors were taken out of use.")
    if again:
        done.append(f"{again} tracks have no vector now; the next scan analyses them.")
    if len(wrong) > again:
        done.append(f"{len(wrong) - again} tracks were given back their vectors.")
    return done


# --- the database --------------------------------------------------------------------------------


def _database_problem(folder: Path) -> str | None:
    if not (folder / CATALOGUE_FILE).exists():
        return f"{CATALOGUE_FILE} is lost"
    try:
        with closing(Database(folder)) as database:
            return database.quick_check()
    except DamagedError as error:
        return str(error.__cause__ or "it is empty")


def _kept_space(folder: Path, database: Database) -> Header | None:
    row = database.one("SELECT value FROM settings WHERE name = 'space'")
    if row is None:
        return None
    return header_of_json(folder, json.loads(row[0]))


def _space_or_none(folder: Path) -> Header | None:
    try:
        return read_space(folder)
    except LibraryError:
        return None


def _rebuild_database(folder: Path) -> list[str]:
    """Put a new database in place of a damaged or lost one, with all that can still be read."""
    path = folder / CATALOGUE_FILE
    with _new_folder(folder) as workshop:
        create_database(workshop)
        copied = _salvage(path, workshop / CATALOGUE_FILE) if path.exists() else {}
        with closing(sqlite3.connect(workshop / CATALOGUE_FILE)) as new:
            told = new.execute("SELECT 1 FROM settings WHERE name = 'space'").fetchone()
        if told is None and _space_or_none(folder) is None:
            raise damaged(folder, "nothing says any more which space its vectors are of")
        aside = _keep_aside(path)
        (workshop / CATALOGUE_FILE).replace(path)
    done = []
    if aside is not None:
        done.append(f"the damaged database is kept as {aside.name}.")
    done.append(
        f"a new database was made with {copied.get('tracks', 0)} tracks and "
        f"{copied.get('playlists', 0)} playlists that could still be read; scan the folders again "
        "to find the rest, which analyses nothing anew."
    )
    return done


class _new_folder:  # noqa: N801 - used as a function
    """A folder for work in progress, empty, that is gone afterwards."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "rebuilding"

    def __enter__(self) -> Path:
        shutil.rmtree(self._path, ignore_errors=True)
        self._path.mkdir()
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


def _keep_aside(path: Path) -> Path | None:
    """Give a file, and what SQLite keeps beside it, a name that says when; the file stays too."""
    if not path.exists():
        return None
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        os.link(path, aside)
    except FileExistsError:
        return _next_second(path)
    except OSError:  # no links on this file system
        shutil.copy2(path, aside)
    # What belongs to the old file must not be taken for the new one's.
    for suffix in SIDE_SUFFIXES:
        side = path.with_name(path.name + suffix)
        with suppress(FileNotFoundError):
            side.rename(aside.with_name(aside.name + suffix))
    return aside


def _next_second(path: Path) -> Path | None:
    time.sleep(1.0)
    return _keep_aside(path)


def _salvage(damaged_file: Path, new: Path) -> dict[str, int]:
    """Copy every row that can still be read; return how many of each table."""
    quoted = urllib.parse.quote_from_bytes(os.fsencode(damaged_file.absolute()))
    copied = {}
    with (
        closing(sqlite3.connect(f"file:{quoted}?mode=ro", uri=True)) as old,
        closing(sqlite3.connect(new)) as connection,
    ):
        for table in _TABLES:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            before = connection.total_changes
            connection.executemany(
                f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) "
                f"VALUES ({', '.join('?' * len(columns))})",
                _readable(old, table, columns),
            )
            copied[table] = connection.total_changes - before
        connection.commit()
    return copied


def _readable(
    connection: sqlite3.Connection, table: str, columns: list[str]
) -> Iterator[tuple[object, ...]]:
    """Yield the rows before the first damaged page, and those behind the last one."""
    for direction in ("ASC", "DESC"):
        try:
            yield from connection.execute(
                f"SELECT {', '.join(columns)} FROM {table} ORDER BY {columns[0]} {direction}"
            )
        except sqlite3.DatabaseError:
            continue
        return

"""The tables of a catalogue, as named steps from nothing to the present.

``PRAGMA user_version`` counts the steps taken, the table `migrations` names them. Each step is one
transaction. A step that was released is never changed: what changes is a new step at the end.

Conventions: paths are blobs, the bytes of the disk; times are seconds since 1970; what has no
column of its own is JSON.
"""

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import LibraryError


@dataclass(frozen=True)
class Migration:
    """One step: its name, which must never change, and its statements."""

    name: str
    statements: tuple[str, ...]


_FIRST = (
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # Numbers are never used twice: a playlist or a map may still hold the number of a lost track.
    """
    CREATE TABLE tracks (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        path BLOB NOT NULL UNIQUE,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        identity BLOB NOT NULL CHECK (length(identity) = 32),
        codec TEXT NOT NULL,
        vector INTEGER,
        state TEXT NOT NULL CHECK (state IN ('present', 'missing')),
        title TEXT NOT NULL, artist TEXT NOT NULL, album TEXT NOT NULL,
        album_artist TEXT NOT NULL, genres TEXT NOT NULL,
        year INTEGER, track_number INTEGER, duration REAL NOT NULL,
        isrc TEXT NOT NULL, recording_mbid TEXT NOT NULL, release_mbid TEXT NOT NULL,
        artist_mbid TEXT NOT NULL,
        warning TEXT,
        added REAL NOT NULL,
        updated REAL NOT NULL
    )
    """,
    "CREATE INDEX tracks_by_identity ON tracks (identity)",
    "CREATE INDEX tracks_by_vector ON tracks (vector) WHERE state = 'present'",
    """
    CREATE TABLE failures (
        path BLOB PRIMARY KEY,
        reason TEXT NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        failed REAL NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE playlists (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        made TEXT NOT NULL,
        created REAL NOT NULL,
        updated REAL NOT NULL
    )
    """,
    # By identity, so that a moved or retagged file stays in; by path for files never analysed.
    """
    CREATE TABLE playlist_tracks (
        playlist INTEGER NOT NULL REFERENCES playlists (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        identity BLOB,
        path BLOB NOT NULL,
        PRIMARY KEY (playlist, position)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        pid INTEGER NOT NULL,
        folders TEXT NOT NULL,
        started REAL NOT NULL,
        ended REAL,
        outcome TEXT,
        counts TEXT NOT NULL
    )
    """,
)

MIGRATIONS = (Migration("tracks, failures, playlists, jobs", _FIRST),)


def migrate(
    connection: sqlite3.Connection, migrations: Sequence[Migration] | None = None
) -> list[str]:
    """Take the steps a database lacks, and return their names.

    Args:
        connection: in autocommit mode (``isolation_level=None``).
        migrations: all there are; None: `MIGRATIONS`.

    Raises:
        LibraryError: the database is from a newer version of this package.
        sqlite3.Error: a step failed; the database is as it was before it.
    """
    taken = []
    while pending(connection, migrations):
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have taken the step while this one waited.
            steps = pending(connection, migrations)
            if steps:
                _take(connection, steps[0])
                taken.append(steps[0].name)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return taken


def pending(
    connection: sqlite3.Connection, migrations: Sequence[Migration] | None = None
) -> Sequence[Migration]:
    """Return the steps a database lacks.

    Raises:
        LibraryError: the database is from a newer version of this package.
    """
    migrations = MIGRATIONS if migrations is None else migrations
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise LibraryError(
            f"catalogue version={version} is newer than this package reads (up to "
            f"{len(migrations)}); upgrade it: pip install --upgrade myna-rpe."
        )
    return migrations[version:]


def _take(connection: sqlite3.Connection, step: Migration) -> None:
    for statement in step.statements:
        connection.execute(statement)
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, taken REAL NOT NULL)"
    )
    connection.execute("INSERT INTO migrations VALUES (?, ?)", (step.name, time.time()))
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version + 1}")

"""The playlists of a library: they outlive moves, retags and files that are gone for a while.

A member is kept by the identity of its sound and by its path; of the tracks that fit, those whose
files are there come first.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import LibraryError
from .database import Database
from .tracks import TRACK_COLUMNS, Track, absolute, track_of

_MEMBER = "SELECT s.id FROM tracks AS s WHERE s.state = 'present' AND"


@dataclass(frozen=True)
class Member:
    """One place in a playlist; `track` is None where the library does not know the file."""

    path: Path
    track: Track | None


@dataclass(frozen=True)
class Playlist:
    """A stored playlist.

    Attributes:
        name: unique in the library.
        made: how it was made, for making it again.
        created: in seconds since 1970; `updated` likewise.
        members: in order.
    """

    name: str
    made: dict[str, Any]
    created: float
    updated: float
    members: tuple[Member, ...]


class StoredPlaylists:
    """The playlists of one library.

    Args:
        database: of the library.
        folder: of the library, for messages.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder

    def names(self) -> list[str]:
        """Return the names of the stored playlists, in order."""
        return [
            name for (name,) in self._database.query("SELECT name FROM playlists ORDER BY name")
        ]

    def get(self, name: str) -> Playlist:
        """Return a stored playlist; a moved or retagged file is still in it.

        Raises:
            LibraryError: there is none of that name.
        """
        number, made, created, updated = self._row(name)
        rows = self._database.query(
            f"""
            SELECT m.path, {TRACK_COLUMNS}
            FROM (
                SELECT position, path, coalesce(
                    ({_MEMBER} s.identity = p.identity AND s.path = p.path),
                    ({_MEMBER} s.identity = p.identity ORDER BY s.id LIMIT 1),
                    ({_MEMBER} s.path = p.path),
                    (SELECT s.id FROM tracks AS s WHERE s.identity = p.identity LIMIT 1),
                    (SELECT s.id FROM tracks AS s WHERE s.path = p.path)
                ) AS track
                FROM playlist_tracks AS p WHERE playlist = ?
            ) AS m LEFT JOIN tracks AS t ON t.id = m.track ORDER BY m.position
            """,
            (number,),
        )
        members = tuple(
            Member(Path(os.fsdecode(path)), None if columns[0] is None else track_of(columns))
            for path, *columns in rows
        )
        return Playlist(name, json.loads(made), created, updated, members)

    def save(self, name: str, tracks: Sequence[int | Path], made: Mapping[str, Any]) -> None:
        """Store a playlist, in place of one of that name.

        Args:
            name: not empty.
            tracks: numbers of tracks, or paths of files that the library need not know.
            made: how it was made, for making it again; anything that JSON can say.

        Raises:
            LibraryError: a name without a letter, or a number that is no track's.
        """
        if not name.strip():
            raise LibraryError(f"playlist name={name!r} is empty; give it a name.")
        members = [self._member(track) for track in tracks]
        now = time.time()
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO playlists (name, made, created, updated) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET made = excluded.made, updated = excluded.updated",
                (name, json.dumps(dict(made)), now, now),
            )
            (number,) = connection.execute(
                "SELECT id FROM playlists WHERE name = ?", (name,)
            ).fetchone()
            connection.execute("DELETE FROM playlist_tracks WHERE playlist = ?", (number,))
            connection.executemany(
                "INSERT INTO playlist_tracks VALUES (?, ?, ?, ?)",
                ((number, position, *member) for position, member in enumerate(members)),
            )

    def rename(self, name: str, new: str) -> None:
        """Give a playlist another name.

        Raises:
            LibraryError: there is none of that name, or already one of the new name.
        """
        number, *_ = self._row(name)
        if new != name and new in self.names():
            raise LibraryError(f"playlist={new!r} exists already; choose another name.")
        with self._database.transaction() as connection:
            connection.execute("UPDATE playlists SET name = ? WHERE id = ?", (new, number))

    def delete(self, name: str) -> None:
        """Forget a playlist.

        Raises:
            LibraryError: there is none of that name.
        """
        number, *_ = self._row(name)
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM playlists WHERE id = ?", (number,))

    def _row(self, name: str) -> Any:
        row = self._database.one(
            "SELECT id, made, created, updated FROM playlists WHERE name = ?", (name,)
        )
        if row is None:
            raise LibraryError(
                f"playlist={name!r} is not in library {str(self._folder)!r}; there are: "
                f"{', '.join(self.names()) or 'none'}."
            )
        return row

    def _member(self, track: int | Path) -> tuple[bytes | None, bytes]:
        """Return the identity and path of a track."""
        if isinstance(track, Path):
            path = absolute(track)
            row = self._database.one("SELECT identity FROM tracks WHERE path = ?", (path,))
            return (None if row is None else row[0]), path
        row = self._database.one("SELECT identity, path FROM tracks WHERE id = ?", (track,))
        if row is None:
            raise LibraryError(f"track={track} is not in the library; it cannot be in a playlist.")
        identity, path = row
        return identity, path

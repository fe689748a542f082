"""What a library knows: its tracks, their embeddings, playlists, failures and scans.

A library is a folder: ``catalogue.sqlite`` beside the files of `vectors`, and a lock. Reading needs
no lock and goes on during a scan. Tracks are found by number (`Track.id`, never used twice), by
path, or by what is heard in them: their identity. Two files of one sound share one vector.

A track whose file is gone is ``missing``: it stays, with its playlists, and no search sees it.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import platformdirs
from jaxtyping import Float32, Int64

from ..embedding_table import Header, path_from_text
from ..errors import EmbeddingError, LibraryError
from ..storage import AlreadyLockedError, acquire_lock, sync_folder, write_json
from .database import CATALOGUE_FILE, Database, can_write, create_database, damaged
from .stored import StoredPlaylists
from .tracks import TRACK_COLUMNS, Track, absolute, track_of
from .vectors import IDENTITIES_FILE, VECTORS_FILE, Vectors

SPACE_FILE = "vectors.json"
LOCK_FILE = "lock"
NEXT_FOLDER = "next"
"""Where `reembed` makes the vectors that are to take the place of these."""


def library_folder() -> Path:
    """Return where the library lies: ``$MYNA_LIBRARY``, or else in the user's data folder."""
    chosen, home = os.environ.get("MYNA_LIBRARY"), os.environ.get("MYNA_HOME")
    if chosen:
        return Path(chosen)
    user = Path(home) if home else platformdirs.user_data_path("myna-rpe", appauthor=False)
    return user / "library"


@dataclass(frozen=True)
class Failure:
    """A file that could not be analysed, and why; it is left alone until it changes."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Job:
    """One scan.

    Attributes:
        pid: of its process.
        folders: that it was asked to scan.
        started: in seconds since 1970.
        ended: likewise; None while it runs, or where it was killed.
        outcome: ``done``, ``interrupted`` or an error; None as for `ended`.
        counts: what it did, by name.
    """

    pid: int
    folders: tuple[Path, ...]
    started: float
    ended: float | None
    outcome: str | None
    counts: dict[str, int]


@dataclass(frozen=True)
class Counts:
    """How many of what a library holds.

    Attributes:
        present: tracks with a file and a vector.
        pending: tracks with a file whose vector is lost; the next scan analyses them.
        missing: tracks whose file is gone.
        failed: files without a vector.
        playlists: stored ones.
        vectors: rows of vectors, also of tracks that were removed.
        seconds: duration of the present tracks.
    """

    present: int
    pending: int
    missing: int
    failed: int
    playlists: int
    vectors: int
    seconds: float


class Catalogue:
    """An open library; use it as a context manager, in one thread.

    Args:
        folder: of the library.

    Attributes:
        folder: of the library.
        database: the connection.
        header: the space of its embeddings and what made them.
        vector_file: the rows on the disk.
        playlists: that are stored in it.

    Raises:
        LibraryError: there is no library, or it is damaged, incomplete, of another space than its
            vectors, or from a newer version.

    Example:
        >>> with Catalogue(library_folder()) as catalogue:  # doctest: +SKIP
        ...     ids, vectors = catalogue.vectors()
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / CATALOGUE_FILE).exists():
            raise _no_catalogue(folder)
        self.database = Database(folder)
        try:
            self.header = self._header()
            self.vector_file = Vectors(folder, self.header.dim)
            self._check_vectors()
            self.playlists = StoredPlaylists(self.database, folder)
        except BaseException:
            self.database.close()
            raise

    @classmethod
    def create(cls, folder: Path, header: Header) -> "Catalogue":
        """Open the library in a folder; an empty one for this space where there is none.

        Raises:
            LibraryError: it cannot be made, or is of another space.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / CATALOGUE_FILE).exists():
                cls.check_new(folder)
                write_json(folder / SPACE_FILE, header.to_metadata())
                create_database(folder)
        except (OSError, sqlite3.Error) as error:
            raise LibraryError(
                f"library={str(folder)!r} cannot be made: {error}; choose a folder you may write "
                "to with --library."
            ) from error
        catalogue = cls(folder)
        try:
            catalogue.check_space(header.space_id, header.model)
        except LibraryError:
            catalogue.close()
            raise
        return catalogue

    @staticmethod
    def check_new(folder: Path) -> None:
        """Check that a folder without a catalogue holds no vectors, which a new one would lose.

        Raises:
            LibraryError: it does.
        """
        if _has_vectors(folder):
            raise _no_catalogue(folder)

    def __enter__(self) -> "Catalogue":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the catalogue."""
        self.database.close()

    @property
    def read_only(self) -> bool:
        """Whether the library can only be read."""
        return self.database.read_only

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other scan, removal or rebuild out.

        Raises:
            LibraryError: another process is at it, or the folder cannot be written to.
        """
        with locked(self.folder):
            yield

    def check_space(self, space_id: str, owner: str) -> None:
        """Check that embeddings of a space may be put into this library.

        Args:
            space_id: of the embeddings.
            owner: what makes them, as a message names it.

        Raises:
            LibraryError: they may not.
        """
        if space_id != self.header.space_id:
            # After an upgrade the same name may stand for other weights.
            model = "" if owner == self.header.model else f"use model {self.header.model!r}, or "
            raise LibraryError(
                f"library={str(self.folder)!r} holds vectors of {self.header.space_id}, and "
                f"model {owner!r} makes those of {space_id}, which cannot be compared; {model}"
                f"analyse it anew with `myna library reembed --model {owner}`, which keeps its "
                "playlists, or use another --library."
            )

    # --- settings --------------------------------------------------------------------------------

    def setting(self, name: str, default: Any = None) -> Any:
        """Return what is kept under a name (anything that JSON can say)."""
        row = self.database.one("SELECT value FROM settings WHERE name = ?", (name,))
        return default if row is None else json.loads(row[0])

    def set_setting(self, name: str, value: Any) -> None:
        """Keep a value under a name."""
        with self.database.transaction() as connection:
            self.put_setting(connection, name, value)

    @staticmethod
    def put_setting(connection: sqlite3.Connection, name: str, value: Any) -> None:
        """Keep a value under a name, as part of a transaction."""
        connection.execute(
            "INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value))
        )

    def folders(self) -> list[Path]:
        """Return the folders that make up the library: those that were scanned."""
        return [path_from_text(text) for text in self.setting("folders", [])]

    # --- tracks ----------------------------------------------------------------------------------

    def tracks(
        self,
        where: str = "t.state = 'present' AND t.vector IS NOT NULL",
        parameters: Sequence[object] = (),
    ) -> Iterator[Track]:
        """Yield tracks by number; those that a search may find, unless told otherwise.

        Args:
            where: an SQL condition on the table ``tracks AS t``; never made of what users type.
            parameters: what its question marks stand for.
        """
        rows = self.database.query(
            f"SELECT {TRACK_COLUMNS} FROM tracks AS t WHERE {where} ORDER BY t.id", parameters
        )
        return map(track_of, rows)

    def track(self, number: int) -> Track:
        """Return the track of that number, missing ones too.

        Raises:
            LibraryError: there is none.
        """
        for track in self.tracks("t.id = ?", (number,)):
            return track
        raise LibraryError(
            f"track={number} is not in library {str(self.folder)!r}; scan its folder, or name "
            "another track."
        )

    def by_path(self, path: Path) -> Track | None:
        """Return the track of a file, however its path is spelled, missing ones too; or None."""
        return next(self.tracks("t.path = ?", (absolute(path),)), None)

    def by_identity(self, identity: bytes) -> list[Track]:
        """Return all tracks of one sound, missing ones too."""
        return list(self.tracks("t.identity = ?", (identity,)))

    def vectors(self) -> tuple[Int64[np.ndarray, " tracks"], Float32[np.ndarray, "tracks dim"]]:
        """Return the numbers and embeddings of all tracks that a search may find.

        The rows are a memory-mapped view where every row of the file belongs to one track, in
        order; else they are gathered into memory. Either way they are not to be written to.
        """
        pairs = np.fromiter(
            self.database.query(
                "SELECT id, vector FROM tracks WHERE state = 'present' AND vector IS NOT NULL "
                "ORDER BY vector, id"
            ),
            np.dtype((np.int64, 2)),
        )
        numbers, rows, file = pairs[:, 0].copy(), pairs[:, 1], self.vector_file.rows()
        self._check_same_space()
        if rows.size and int(rows[-1]) >= len(file):
            raise self._vectors_lost(int(rows[-1]), len(file))
        if np.array_equal(rows, np.arange(len(rows))):
            return numbers, file[: len(rows)]
        return numbers, file[rows]

    def vector(self, number: int) -> Float32[np.ndarray, " dim"] | None:
        """Return the embedding of one track; None where it has none."""
        row = self.database.one("SELECT vector FROM tracks WHERE id = ?", (number,))
        if row is None or row[0] is None:
            return None
        rows = self.vector_file.rows()
        self._check_same_space()
        return np.array(rows[row[0]])

    def reopen_vectors(self, header: Header) -> None:
        """Go on with the vectors of another space, which took the place of those before."""
        self.header = header
        self.vector_file = Vectors(self.folder, header.dim)

    # --- failures, jobs, counts ------------------------------------------------------------------

    def failures(self) -> list[Failure]:
        """Return the files that could not be analysed, by path."""
        rows = self.database.query("SELECT path, reason FROM failures ORDER BY path")
        return [Failure(Path(os.fsdecode(path)), reason) for path, reason in rows]

    def jobs(self, limit: int = 10) -> list[Job]:
        """Return the last scans, the newest first."""
        rows = self.database.query(
            "SELECT pid, folders, started, ended, outcome, counts FROM jobs "
            "ORDER BY id DESC LIMIT ?",
            (limit,),
        )
        return [
            Job(
                pid,
                tuple(map(path_from_text, json.loads(folders))),
                started,
                ended,
                outcome,
                json.loads(counts),
            )
            for pid, folders, started, ended, outcome, counts in rows
        ]

    def counts(self) -> Counts:
        """Return how many of what the library holds."""
        present, pending, missing, failed, playlists, seconds = self.database.one(
            """
            SELECT count(*) FILTER (WHERE state = 'present' AND vector IS NOT NULL),
                   count(*) FILTER (WHERE state = 'present' AND vector IS NULL),
                   count(*) FILTER (WHERE state = 'missing'),
                   (SELECT count(*) FROM failures),
                   (SELECT count(*) FROM playlists),
                   total(duration) FILTER (WHERE state = 'present' AND vector IS NOT NULL)
            FROM tracks
            """
        )
        return Counts(
            present=present,
            pending=pending,
            missing=missing,
            failed=failed,
            playlists=playlists,
            vectors=len(self.vector_file),
            seconds=seconds,
        )

    # --- what holds it together ------------------------------------------------------------------

    def _header(self) -> Header:
        """Return the space of the vectors; the catalogue and the vectors must agree on it."""
        told, kept = read_space(self.folder), self.setting("space")
        if kept is not None:
            header = header_of_json(self.folder, kept)
            if (
                told is not None
                and told.space_id != header.space_id
                and not finish_move(self.folder, header.space_id)
            ):
                raise LibraryError(
                    f"library={str(self.folder)!r} has a catalogue for vectors of "
                    f"{header.space_id} beside vectors of {told.space_id}, which do not belong "
                    "together; put back the files that do."
                )
            return header
        # The catalogue was made just now.
        if told is None:
            raise damaged(self.folder, "it does not say which space its vectors are of")
        if not self.read_only:
            self.set_setting("space", told.to_metadata())
        return told

    def _check_same_space(self) -> None:
        """Refuse to read on where another process has analysed the library anew meanwhile."""
        kept = self.setting("space")
        if kept is not None and header_of_json(self.folder, kept).space_id != self.header.space_id:
            raise LibraryError(
                f"library={str(self.folder)!r} was analysed anew with another model since it was "
                "opened; open it again."
            )

    def _check_vectors(self) -> None:
        (last,) = self.database.one("SELECT max(vector) FROM tracks WHERE state = 'present'")
        rows = len(self.vector_file)
        if last is not None and last >= rows:
            raise self._vectors_lost(last, rows)

    def _vectors_lost(self, row: int, rows: int) -> LibraryError:
        return LibraryError(
            f"library={str(self.folder)!r} has a track whose vector is row {row} of {rows}: "
            "vectors are lost; put the files back, or run `myna library verify --rebuild` and "
            "scan again, which analyses those tracks anew."
        )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other scan, removal or rebuild out of a library.

    Raises:
        LibraryError: another process is at it, or the folder cannot be written to.
    """
    if not can_write(folder):
        raise LibraryError(
            f"library={str(folder)!r} may only be read, not written to; make it writable, or copy "
            "it to where you may write."
        )
    try:
        lock = acquire_lock(folder / LOCK_FILE)
    except AlreadyLockedError as error:
        raise LibraryError(
            f"library={str(folder)!r} is being changed by process {error.owner}; wait for it."
        ) from error
    except OSError as error:
        raise LibraryError(
            f"library={str(folder)!r} cannot be locked: {error.strerror or error}; check the disk "
            "and its permissions."
        ) from error
    with lock:
        yield


def finish_move(folder: Path, space_id: str) -> bool:
    """Put the vectors that `reembed` made in the place of those before.

    Args:
        folder: of the library.
        space_id: of the vectors that its catalogue is for by now.

    Returns:
        Whether there are such vectors.

    Raises:
        LibraryError: the folder cannot be written to.
    """
    workshop = folder / NEXT_FOLDER
    made = read_space(workshop)
    if made is None or made.space_id != space_id:
        return False
    try:
        # What names the space comes last: as long as it lies there, the move is not over.
        for name in (VECTORS_FILE, IDENTITIES_FILE, SPACE_FILE):
            with suppress(FileNotFoundError):
                (workshop / name).replace(folder / name)
            sync_folder(folder)
    except OSError as error:
        raise LibraryError(
            f"library={str(folder)!r} cannot take its new vectors out of {str(workshop)!r}: "
            f"{error.strerror or error}; mend that and run the same command again."
        ) from error
    shutil.rmtree(workshop, ignore_errors=True)
    return True


def read_space(folder: Path) -> Header | None:
    """Return what the vectors of a library say of their space; None where they say nothing."""
    try:
        text = (folder / SPACE_FILE).read_text(encoding="ascii")
        return header_of_json(folder, json.loads(text))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LibraryError(
            f"library={str(folder)!r} has a damaged {SPACE_FILE} ({error}); put it back from a "
            "copy, or move it away and run `myna library verify --rebuild`."
        ) from error


def header_of_json(folder: Path, data: Any) -> Header:
    """Return the header that was kept as JSON.

    Raises:
        LibraryError: it is none.
    """
    try:
        return Header.from_metadata({k.encode(): v.encode() for k, v in data.items()})
    except (TypeError, AttributeError, ValueError, EmbeddingError) as error:
        raise LibraryError(
            f"library={str(folder)!r} says of its vectors what cannot be understood ({error}); "
            "was it made by a newer version?"
        ) from error


def _has_vectors(folder: Path) -> bool:
    path = folder / IDENTITIES_FILE
    return path.exists() and path.stat().st_size > 0


def _no_catalogue(folder: Path) -> LibraryError:
    if _has_vectors(folder):
        return LibraryError(
            f"library={str(folder)!r} has vectors but no {CATALOGUE_FILE}; put it back, or run "
            "`myna library verify --rebuild` and scan again, which analyses nothing anew."
        )
    return LibraryError(
        f"library={str(folder)!r} does not exist; make it with `myna library scan FOLDER --model "
        "NAME`, or name another with --library."
    )

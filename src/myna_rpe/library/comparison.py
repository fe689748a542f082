"""What lies in folders, beside what the library knows of it.

Both are tables of one database, the files in a temporary one, so that a million of them are
compared by SQLite and not by Python. A file whose size and time of modification are those of its
track, or of its failure, needs no work. A track is gone where its file was looked for in a folder
that could be seen into, and not found.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ..embedding_table import path_from_text, path_to_text
from ..errors import LibraryError
from .catalogue import Catalogue, Failure
from .listing import EMPTY, NOT_THERE, Listing

# Files asked of the database at a time.
_PAGE_FILES = 1000


class Again(Enum):
    """Which of the known files are looked at again."""

    CHANGED = "changed"
    FAILED = "changed or failed"
    ALL = "all"


@dataclass(frozen=True)
class Untouched:
    """A folder that could not be seen into; its tracks are as they were."""

    folder: Path
    reason: str
    tracks: int


@dataclass(frozen=True)
class Seen:
    """A file that has to be opened; `track` is the number the library has under its path."""

    path: bytes
    size: int
    mtime_ns: int
    track: int | None

    @property
    def as_path(self) -> Path:
        """The path as Python's own functions want it."""
        return Path(os.fsdecode(self.path))


class Comparison:
    """The files at and below some paths, listed when it is made.

    Args:
        catalogue: of the library, locked by this process.
        roots: absolute folders and files.
        progress: called with the number of files found so far.

    Raises:
        LibraryError: a root that neither exists nor is known.
    """

    def __init__(
        self, catalogue: Catalogue, roots: Sequence[bytes], progress: Callable[[int], None]
    ) -> None:
        self._catalogue = catalogue
        self._database = catalogue.database
        self._roots = list(roots)
        self._listing = Listing(self._roots)
        self._list(progress)

    def mark(self, now: float) -> int:
        """Mark tracks that are gone or back, forget failures that are; return how many are gone.

        Args:
            now: in seconds since 1970; tracks that are gone bear it as `updated`.
        """
        with self._database.transaction() as connection:
            gone = connection.execute(
                "UPDATE tracks SET state = 'missing', updated = ? "
                f"WHERE state = 'present' AND {_gone_from('tracks')}",
                (now,),
            ).rowcount
            connection.execute(f"DELETE FROM failures WHERE {_gone_from('failures')}")
            connection.execute(
                "UPDATE tracks SET state = 'present', updated = ? WHERE state = 'missing' "
                f"AND vector IS NOT NULL AND EXISTS ({_SAME.format(table='tracks')})",
                (now,),
            )
            connection.execute(
                "DELETE FROM failures WHERE path IN (SELECT t.path FROM tracks AS t "
                f"WHERE t.state = 'present' AND EXISTS ({_SAME.format(table='t')}))"
            )
        return gone

    def counts(self, again: Again) -> dict[str, int]:
        """Return how many files were ``found``, and of them are ``unchanged`` and ``failed``."""
        conditions = {"found": "1", "unchanged": _UNCHANGED[again], "failed": _FAILED[again]}
        return {
            name: self._database.one(f"SELECT count(*) {_KNOWN} WHERE {condition}")[0]
            for name, condition in conditions.items()
        }

    def untouched(self) -> list[Untouched]:
        """Return the folders that could not be seen into, by path."""
        return [
            Untouched(Path(os.fsdecode(path)), reason, self._num_known(path))
            for path, reason in sorted(self._listing.unreachable.items())
        ]

    def todo(self, again: Again) -> Iterator[Seen]:
        """Yield the files that have to be opened, by path."""
        last = b""
        while True:
            page = list(
                self._database.query(
                    f"SELECT f.path, f.size, f.mtime_ns, t.id {_KNOWN} WHERE f.path > ? "
                    f"AND NOT ({_UNCHANGED[again]}) AND NOT ({_FAILED[again]}) "
                    "ORDER BY f.path LIMIT ?",
                    (last, _PAGE_FILES),
                )
            )
            for row in page:
                yield Seen(*row)
            if len(page) < _PAGE_FILES:
                return
            last = page[-1][0]

    def failures(self) -> list[Failure]:
        """Return the failed files among those found, by path."""
        rows = self._database.query(
            "SELECT path, reason FROM failures WHERE path IN (SELECT path FROM temp.found) "
            "ORDER BY path"
        )
        return [Failure(Path(os.fsdecode(path)), reason) for path, reason in rows]

    def gone(self, identity: bytes) -> tuple[int, float] | None:
        """Return a missing track of a sound that a new file of it takes the place of.

        Returns:
            Its number, and its `updated`: since when it is missing.
        """
        found: tuple[int, float] | None = self._database.one(
            "SELECT id, updated FROM tracks AS t WHERE identity = ? AND state = 'missing' "
            "AND size >= 0 AND NOT EXISTS (SELECT 1 FROM temp.found AS f WHERE f.path = t.path) "
            "ORDER BY updated DESC, id LIMIT 1",
            (identity,),
        )
        return found

    def _list(self, progress: Callable[[int], None]) -> None:
        """Fill the temporary tables `found`, `roots` and `unreachable`."""
        for name, columns in (
            ("found", "path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER"),
            ("roots", "path BLOB PRIMARY KEY, low BLOB, high BLOB"),
            ("unreachable", "path BLOB PRIMARY KEY, low BLOB, high BLOB"),
        ):
            self._database.temporary(f"DROP TABLE IF EXISTS temp.{name}")
            self._database.temporary(f"CREATE TEMP TABLE {name} ({columns}) WITHOUT ROWID")
        self._database.temporary(
            "INSERT OR IGNORE INTO roots VALUES (?, ?, ?)", map(below, self._roots)
        )
        listing = self._listing

        def told() -> Iterator[Sequence[object]]:
            for number, entry in enumerate(listing.files(), start=1):
                if number % 256 == 0:
                    progress(number)
                yield entry

        self._database.temporary("INSERT OR IGNORE INTO found VALUES (?, ?, ?)", told())
        self._look_for_disks()
        self._database.temporary(
            "INSERT OR IGNORE INTO unreachable VALUES (?, ?, ?)",
            map(below, listing.unreachable),
        )

    def _look_for_disks(self) -> None:
        """Judge folders that are not there or empty, by what the library knows of them."""
        listing = self._listing
        for root in self._roots:
            if root not in listing.unreachable:
                continue
            if not self._num_known(root):
                if listing.unreachable[root] == NOT_THERE:
                    raise LibraryError(
                        f"path={os.fsdecode(root)!r} does not exist; check its spelling."
                    )
                if listing.unreachable[root] == EMPTY:
                    del listing.unreachable[root]  # nothing is known of it
            elif self._is_track(root) and os.path.isdir(os.path.dirname(root)):  # noqa: PTH112, PTH120
                del listing.unreachable[root]  # a file that was deleted
        known: list[str] = self._catalogue.setting("mounts", [])
        mounts = {os.fsencode(path_from_text(text)) for text in known}
        for mount in mounts - listing.mounts:
            if not any(is_below(mount, root) for root in self._roots):
                continue
            if self._database.one(
                "SELECT 1 FROM temp.found WHERE path > ? AND path < ?", below(mount)[1:]
            ):
                mounts.discard(mount)  # its music lies there without it now
            elif mount not in listing.unreachable:
                listing.unreachable[mount] = "its disk is not mounted"
        mounts |= listing.mounts
        texts = sorted(map(shown, mounts))
        if texts != known:
            self._catalogue.set_setting("mounts", texts)

    def _num_known(self, path: bytes) -> int:
        """Return how many tracks and failures the library has at and below a path."""
        return sum(
            self._database.one(
                f"SELECT count(*) FROM {table} WHERE path = ? OR (path > ? AND path < ?)",
                below(path),
            )[0]
            for table in ("tracks", "failures")
        )

    def _is_track(self, path: bytes) -> bool:
        return any(
            self._database.one(f"SELECT 1 FROM {table} WHERE path = ?", (path,))
            for table in ("tracks", "failures")
        )


def below(path: bytes) -> tuple[bytes, bytes, bytes]:
    """Return a path and what lies before and behind all that is below it, byte by byte."""
    separator = os.fsencode(os.sep)
    low = path if path.endswith(separator) else path + separator
    return path, low, low[:-1] + bytes([low[-1] + 1])


def is_below(path: bytes, root: bytes) -> bool:
    """Tell whether a path is `root` or lies below it."""
    _, low, high = below(root)
    return path == root or low < path < high


def shown(path: bytes) -> str:
    """Return a path as text, as `path_to_text` does."""
    return path_to_text(Path(os.fsdecode(path)))


# --- conditions ---------------------------------------------------------------------------------

_KNOWN = (
    "FROM temp.found AS f LEFT JOIN tracks AS t ON t.path = f.path "
    "LEFT JOIN failures AS x ON x.path = f.path"
)
_SAME = (
    "SELECT 1 FROM temp.found AS f WHERE f.path = {table}.path AND f.size = {table}.size "
    "AND f.mtime_ns = {table}.mtime_ns AND f.size >= 0"
)
_IS_UNCHANGED = (
    "t.id IS NOT NULL AND t.state = 'present' AND t.vector IS NOT NULL AND f.size >= 0 "
    "AND t.size IS f.size AND t.mtime_ns IS f.mtime_ns"
)
_IS_FAILED = "f.size >= 0 AND x.size IS f.size AND x.mtime_ns IS f.mtime_ns"
_UNCHANGED = {Again.CHANGED: _IS_UNCHANGED, Again.FAILED: _IS_UNCHANGED, Again.ALL: "0"}
_FAILED = {Again.CHANGED: _IS_FAILED, Again.FAILED: "0", Again.ALL: "0"}


def _gone_from(table: str) -> str:
    """Return the condition that a file was looked for and not found."""
    below = (
        "EXISTS (SELECT 1 FROM temp.{folders} AS r WHERE {table}.path = r.path "
        "OR ({table}.path > r.low AND {table}.path < r.high))"
    )
    return (
        f"{below.format(folders='roots', table=table)} "
        f"AND NOT {below.format(folders='unreachable', table=table)} "
        f"AND NOT EXISTS (SELECT 1 FROM temp.found AS f WHERE f.path = {table}.path)"
    )

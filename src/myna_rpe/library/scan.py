"""Folders -> a library that knows their music: incremental, resumable, one scan at a time.

A file whose size and time of modification are known is not opened. Of any other the identity is
taken first: one that was moved, copied or retagged is recognised, and not analysed again. The rest
goes through `Embedder.embed_many` in one stream, while other threads take the next identities.

What is done is kept in batches: vectors first, then, in one transaction, the rows that point to
them. A kill at any moment costs the batch under way, and the next scan goes on from there. Vectors
that a kill left without a row are recognised like those of any other file.

What is gone is marked `missing` before anything is analysed, so a moved file finds the track it
was, and that keeps its number. Below a folder that cannot be seen into nothing is touched.
"""

import json
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from ..errors import AudioError, ConfigError, LibraryError
from .catalogue import Catalogue, Failure
from .comparison import Again, Comparison, Seen, Untouched, below, is_below, shown
from .identity import AudioIdentity, audio_identity
from .tags import Tags, read_tags
from .tracks import absolute

# A batch is kept after this many files or seconds, whichever comes first: what a kill may cost.
_BATCH_FILES = 32
_BATCH_SECONDS = 5.0
# Scans that the catalogue remembers.
_KEPT_JOBS = 100

Progress = Callable[[str, int, int], None]
"""Called with the stage (``"list"`` or ``"scan"``), how many files are done, and of how many."""


@runtime_checkable
class Analyser(Protocol):
    """What a scan asks of an `Embedder`."""

    @property
    def space_id(self) -> str:
        """Of the embeddings."""
        ...

    @property
    def source(self) -> str:
        """What the model was loaded from."""
        ...

    def embed_many(
        self, paths: Iterable[str | os.PathLike[str]], *, workers: int | None = None
    ) -> Generator[Any, None, None]:
        """Yield `Embedded` or `Failed` for each file, in order."""
        ...


@dataclass(frozen=True)
class ScanReport:
    """What a scan did; found = analysed + recognised + unchanged + failed.

    Attributes:
        found: audio files in the folders.
        analysed: files whose sound was new.
        recognised: files whose sound was known: moved, copied, retagged, or kept by a killed scan.
        unchanged: files that were not opened.
        failed: files without a vector, also those that failed before and were left alone.
        changed: of the analysed and recognised files those the library had under their path.
        moved: of the recognised files those that took the place of one that is gone.
        deleted: tracks that are missing from now on.
        warned: analysed files with a warning, such as silent ones.
        failures: the failed files with their reasons.
        untouched: folders that could not be seen into.
        seconds: the scan's duration.
    """

    found: int
    analysed: int
    recognised: int
    unchanged: int
    failed: int
    changed: int
    moved: int
    deleted: int
    warned: int
    failures: Sequence[Failure]
    untouched: Sequence[Untouched]
    seconds: float


def scan(
    catalogue: Catalogue,
    folders: Sequence[Path],
    load: Callable[[], Analyser],
    *,
    workers: int | None = None,
    again: Again = Again.CHANGED,
    progress: Progress = lambda stage, done, total: None,
) -> ScanReport:
    """Bring a library up to date with folders, and return what was done.

    Args:
        catalogue: the library, open.
        folders: folders, searched recursively, and files.
        load: gives the embedder; called only if a file must be analysed.
        workers: threads that read and decode; None: one per core, 4 at most.
        again: which known files are looked at again.
        progress: called as work goes on.

    Raises:
        LibraryError: another scan is under way, the library cannot be written to, the embedder is
            of another space, or a folder neither exists nor is known. What was done until then is
            kept.
        ConfigError: fewer than 1 worker.
    """
    workers = min(4, os.cpu_count() or 1) if workers is None else workers
    if workers < 1:
        raise ConfigError(f"workers={workers} read nothing; use workers >= 1.")
    with catalogue.locked():
        catalogue.vector_file.repair()
        return _Scan(catalogue, [absolute(folder) for folder in folders], progress).run(
            load, workers, again
        )


def remove(catalogue: Catalogue, paths: Sequence[Path]) -> int:
    """Take the tracks and failures at and below paths out of a library; return how many.

    Their vectors stay on the disk: a file that comes back is recognised. Playlists keep the place.
    A folder that is removed whole is scanned again only where it is named.

    Raises:
        LibraryError: a scan is under way, or the library cannot be written to.
    """
    removed = 0
    gone = [absolute(path) for path in paths]
    with catalogue.locked(), catalogue.database.transaction() as connection:
        folders = map(os.fsencode, catalogue.folders())
        kept = [folder for folder in folders if not any(is_below(folder, path) for path in gone)]
        catalogue.put_setting(connection, "folders", list(map(shown, kept)))
        for path in gone:
            for table in ("tracks", "failures"):
                removed += connection.execute(
                    f"DELETE FROM {table} WHERE path = ? OR (path > ? AND path < ?)",
                    below(path),
                ).rowcount
    return removed


# --- one scan ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Facts:
    """What a file says of itself without being decoded."""

    identity: AudioIdentity
    tags: Tags


@dataclass(frozen=True, eq=False)
class _Done:
    """A file that is settled: it has a vector (a row, or values to append), or a reason."""

    seen: Seen
    facts: _Facts | None = None
    row: int | None = None
    vector: Float32[np.ndarray, " dim"] | None = None
    duration: float = 0.0
    warning: str | None = None
    reason: str | None = None


class _Scan:
    """The state of one scan.

    Args:
        catalogue: locked by this process.
        roots: absolute folders and files.
        progress: called as work goes on.
    """

    def __init__(self, catalogue: Catalogue, roots: list[bytes], progress: Progress) -> None:
        self._catalogue = catalogue
        self._database = catalogue.database
        self._vectors = catalogue.vector_file
        self._roots = roots
        self._progress = progress
        self._files = Comparison(catalogue, roots, lambda found: progress("list", found, 0))
        self._started = time.time()
        self._clock = time.monotonic()
        self._counts = dict.fromkeys(
            (
                *("found", "analysed", "recognised", "unchanged", "failed"),
                *("changed", "moved", "deleted", "warned"),
            ),
            0,
        )
        self._job: Any = None
        self._embedder: Analyser | None = None
        self._todo = self._settled = 0
        self._pending: list[_Done] = []
        self._kept = time.monotonic()
        # Sounds on their way through the embedder, and the files that wait for each.
        self._under_way: dict[bytes, list[tuple[Seen, _Facts]]] = {}
        self._queue: deque[tuple[Seen, _Facts]] = deque()

    def run(self, load: Callable[[], Analyser], workers: int, again: Again) -> ScanReport:
        self._counts["deleted"] = self._files.mark(self._started)
        self._counts |= self._files.counts(again)
        self._todo = self._counts["found"] - self._counts["unchanged"] - self._counts["failed"]
        self._begin()
        try:
            waiting = self._analyse(load, workers, self._files.todo(again))
            # The first file of their sound failed: each says so for itself.
            for seen, _ in waiting:
                self._analyse(load, workers, iter([seen]))
            self._keep("done")
        except KeyboardInterrupt:
            self._keep("interrupted")
            raise
        except Exception as error:
            self._end(str(error))
            raise
        return ScanReport(
            **self._counts,
            failures=self._files.failures(),
            untouched=self._files.untouched(),
            seconds=time.monotonic() - self._clock,
        )

    def _remember_folders(self) -> None:
        """Add the folders to those that make up the library, unless they lie in one of them."""
        folders = [os.fsencode(folder) for folder in self._catalogue.folders()]
        known = len(folders)
        for root in self._roots:
            inside = any(is_below(root, folder) for folder in folders)
            if not inside and os.path.isdir(root):  # noqa: PTH112
                folders.append(root)
        if len(folders) > known:
            self._catalogue.set_setting("folders", list(map(shown, folders)))

    def _begin(self) -> None:
        """Note that a scan is under way."""
        self._remember_folders()
        with self._database.transaction() as connection:
            self._job = connection.execute(
                "INSERT INTO jobs (pid, folders, started, counts) VALUES (?, ?, ?, '{}')",
                (os.getpid(), json.dumps(list(map(shown, self._roots))), self._started),
            ).lastrowid
            connection.execute("DELETE FROM jobs WHERE id <= ?", (self._job - _KEPT_JOBS,))

    # --- work ------------------------------------------------------------------------------------

    def _analyse(
        self, load: Callable[[], Analyser], workers: int, todo: Iterator[Seen]
    ) -> list[tuple[Seen, _Facts]]:
        """Settle files; return those whose sound another one of them failed with."""
        waiting: list[tuple[Seen, _Facts]] = []
        with closing(self._unknown(todo, workers)) as unknown:
            first = next(unknown, None)
            if first is None:
                return []
            embedder = self._embedder = self._embedder or load()
            self._catalogue.check_space(embedder.space_id, embedder.source)
            paths = chain([first], unknown)
            with closing(embedder.embed_many(paths, workers=workers)) as records:
                for record in records:
                    seen, facts = self._queue.popleft()
                    twins = self._under_way.pop(facts.identity.digest)
                    error = getattr(record, "error", None)
                    if error is not None:
                        self._add(_Done(seen, reason=error))
                        waiting += twins
                        continue
                    done = _Done(
                        seen,
                        facts,
                        vector=record.embedding,
                        duration=record.duration,
                        warning=record.warning,
                    )
                    self._add(done)
                    # Twins get the row of the first when the batch is kept.
                    for twin, its_facts in twins:
                        self._add(replace(done, seen=twin, facts=its_facts))
        return waiting

    def _unknown(self, todo: Iterator[Seen], workers: int) -> Generator[Path, None, None]:
        """Yield the files whose sound is not known; settle all others."""
        with closing(_opened(todo, workers)) as files:
            for seen, facts in files:
                if isinstance(facts, str):
                    self._add(_Done(seen, reason=facts))
                    continue
                digest = facts.identity.digest
                row = self._row_of(digest)
                if row is not None:
                    self._add(_Done(seen, facts, row=row, **self._known_of(digest, facts)))
                elif digest in self._under_way:
                    self._under_way[digest].append((seen, facts))
                else:
                    self._under_way[digest] = []
                    self._queue.append((seen, facts))
                    yield seen.as_path

    def _row_of(self, digest: bytes) -> int | None:
        """Return the row of a sound; None where it was never analysed."""
        if any(done.facts and done.facts.identity.digest == digest for done in self._pending):
            self._keep()
        return self._vectors.find(digest)

    def _known_of(self, digest: bytes, facts: _Facts) -> dict[str, Any]:
        """Return duration and warning of a sound that was analysed."""
        row = self._database.one(
            "SELECT duration, warning FROM tracks WHERE identity = ? AND duration > 0", (digest,)
        )
        duration, warning = row or (facts.identity.duration, None)
        return {"duration": float(duration), "warning": warning}

    # --- keeping it ------------------------------------------------------------------------------

    def _add(self, done: _Done) -> None:
        self._pending.append(done)
        self._settled += 1
        if len(self._pending) >= _BATCH_FILES or time.monotonic() - self._kept >= _BATCH_SECONDS:
            self._keep()
        self._progress("scan", self._settled, self._todo)

    def _keep(self, outcome: str | None = None) -> None:
        """Put the pending files on the disk: vectors first, then the rows that point to them."""
        batch, self._pending = self._pending, []
        new: dict[bytes, Float32[np.ndarray, " dim"]] = {}
        for done in batch:
            if done.facts is not None and done.vector is not None:
                new.setdefault(done.facts.identity.digest, done.vector)
        if new:
            self._vectors.append(list(new), np.stack(list(new.values())))
        firsts = set(new)
        with self._database.transaction() as connection:
            for done in batch:
                if done.facts is None:
                    self._keep_failure(connection, done)
                    continue
                digest = done.facts.identity.digest
                row = done.row if done.row is not None else self._vectors.find(digest)
                self._keep_track(connection, done, done.facts, row)
                kind = "analysed" if digest in firsts else "recognised"
                firsts.discard(digest)
                self._counts[kind] += 1
                self._counts["changed"] += done.seen.track is not None
                self._counts["warned"] += kind == "analysed" and done.warning is not None
            self._tell_job(connection, outcome)
        self._kept = time.monotonic()

    def _keep_failure(self, connection: Any, done: _Done) -> None:
        seen = done.seen
        connection.execute(
            "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?)",
            (seen.path, _text(done.reason or ""), seen.size, seen.mtime_ns, time.time()),
        )
        # What the library heard under this path is there no longer.
        connection.execute(
            "UPDATE tracks SET state = 'missing', size = -1, updated = ? WHERE path = ?",
            (time.time(), seen.path),
        )
        self._counts["failed"] += 1

    def _keep_track(self, connection: Any, done: _Done, facts: _Facts, row: int | None) -> None:
        seen, now = done.seen, time.time()
        values = {
            "path": seen.path,
            "size": seen.size,
            "mtime_ns": seen.mtime_ns,
            "identity": facts.identity.digest,
            "codec": facts.identity.codec,
            "vector": row,
            "state": "present",
            **asdict(facts.tags),
            "genres": json.dumps(facts.tags.genres),
            "duration": done.duration,
            "warning": done.warning,
            "updated": now,
        }
        if seen.track is None and (gone := self._files.gone(facts.identity.digest)):
            number, since = gone
            connection.execute(
                f"UPDATE tracks SET {', '.join(f'{name} = ?' for name in values)} WHERE id = ?",
                (*values.values(), number),
            )
            self._counts["moved"] += 1
            self._counts["deleted"] -= since == self._started
        else:
            updates = ", ".join(f"{name} = excluded.{name}" for name in values if name != "path")
            values["added"] = now
            connection.execute(
                f"INSERT INTO tracks ({', '.join(values)}) "
                f"VALUES ({', '.join('?' * len(values))}) "
                f"ON CONFLICT (path) DO UPDATE SET {updates}",
                tuple(values.values()),
            )
        connection.execute("DELETE FROM failures WHERE path = ?", (seen.path,))

    def _tell_job(self, connection: Any, outcome: str | None) -> None:
        connection.execute(
            "UPDATE jobs SET counts = ?, outcome = ?, ended = ? WHERE id = ?",
            (
                json.dumps(self._counts),
                outcome,
                None if outcome is None else time.time(),
                self._job,
            ),
        )

    def _end(self, outcome: str) -> None:
        """Note how the scan ended, if that can be noted at all."""
        try:
            self._keep(_text(outcome))
        except LibraryError:
            return


# --- pieces --------------------------------------------------------------------------------------


def _opened(todo: Iterator[Seen], workers: int) -> Generator[tuple[Seen, _Facts | str], None, None]:
    """Yield files in order with what they say of themselves, or why they say nothing."""
    pending: deque[tuple[Seen, Future[_Facts | str]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="identify") as pool:
        try:
            for seen in todo:
                pending.append((seen, pool.submit(_facts, seen.as_path)))
                if len(pending) > 4 * workers:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _facts(path: Path) -> _Facts | str:
    try:
        return _Facts(audio_identity(path), read_tags(path))
    except AudioError as error:
        return str(error)
    except LibraryError:
        raise
    except Exception as error:  # demuxers fail in ways nobody has listed yet
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        return f"file={str(path)!r} cannot be read ({reason}); export it again."


def _text(message: str) -> str:
    """Return a message in valid UTF-8: file names in it may hold anything."""
    return message.encode("utf-8", "backslashreplace").decode()

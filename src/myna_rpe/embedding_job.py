"""Files -> a table of embeddings: incremental, resumable, one run at a time.

The table reflects exactly the files asked for. A file is embedded once for its bytes: one that is
unchanged (size and time of modification) is not even read again, one that was moved, copied or
touched is recognised by its SHA-256. Failures are rows too; they are tried again when the file
changed, or when asked for.

While a run goes on, finished rows are flushed to a folder beside the table, ``NAME.parts``; the
table itself is replaced at the very end, at once. A run that is killed loses one part at most, and
the same command goes on from there. The folder also holds the lock that keeps a second run out.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from .embedder import Embedded, Embedder, Failed, Windows
from .embedding_table import (
    EmbeddingTable,
    Header,
    Row,
    cannot_write,
    check_same_space,
    write_parquet,
)
from .errors import EmbeddingError
from .storage import AlreadyLockedError, acquire_lock, file_sha256

# A part is flushed after this many rows or seconds, whichever comes first: what a kill may cost.
_PART_ROWS = 64
_PART_SECONDS = 10.0
_PARTS = "[0-9]*.parquet"

Progress = Callable[[str, int, int], None]
"""Called with the stage (``"hash"`` or ``"embed"``), how many files are done, and of how many."""


@dataclass(frozen=True)
class Report:
    """What a run did; found = embedded + reused + failed.

    Attributes:
        output: the table.
        space_id: of its embeddings.
        found: files asked for.
        embedded: files embedded in this run.
        reused: files whose embedding was known: from the table, an interrupted run, or a file of
            the same content.
        failed: files without an embedding, also those that failed before and were left alone.
        dropped: rows of the earlier table whose files were not asked for.
        warned: embedded or reused files with a warning, such as silent ones.
        failures: the failed files with their reasons.
        written: False if the table was up to date as it was.
        seconds: the run's duration.
    """

    output: Path
    space_id: str
    found: int
    embedded: int
    reused: int
    failed: int
    dropped: int
    warned: int
    failures: Sequence[Row]
    written: bool
    seconds: float


def embed_to_table(
    embedder: Embedder,
    paths: Sequence[Path],
    output: Path,
    *,
    workers: int | None = None,
    retry_failed: bool = False,
    progress: Progress = lambda stage, done, total: None,
) -> Report:
    """Embed files into a table, and return what was done.

    Args:
        embedder: makes the embeddings.
        paths: audio files; a path given twice counts once.
        output: the parquet file; one that exists must be of the same space.
        workers: decoding threads, as for `Embedder.embed_many`.
        retry_failed: try files that failed before again, though they did not change.
        progress: called as work goes on.

    Raises:
        EmbeddingError: the output is of another space, damaged, in use by another run, or cannot
            be written. What was embedded until then is kept for the next run.
    """
    started = time.monotonic()
    paths = list(dict.fromkeys(paths))
    header = header_of(embedder)
    with _Parts.open(output, header) as parts:
        before = EmbeddingTable.read(output) if output.exists() else EmbeddingTable(header, [])
        check_same_space(before.header, header.space_id, "this model")
        work = _Work([*before.rows, *parts.resumed], retry_failed, progress)
        work.recognise(paths)
        try:
            embedded = work.embed(embedder, workers, parts)
        except KeyboardInterrupt:
            parts.flush()
            raise
        rows = [work.rows[path] for path in paths]
        written = (
            not output.exists()
            or len(rows) != len(before.rows)
            or any(row is not old for row, old in zip(rows, before.rows, strict=True))
        )
        if written:
            EmbeddingTable(header, rows).write(output)
        parts.discard()
    failures = [row for row in rows if row.error is not None]
    asked = set(paths)
    return Report(
        output=output,
        space_id=header.space_id,
        found=len(rows),
        embedded=embedded,
        reused=len(rows) - embedded - len(failures),
        failed=len(failures),
        dropped=sum(row.path not in asked for row in before.rows),
        warned=sum(row.warning is not None for row in rows),
        failures=failures,
        written=written,
        seconds=time.monotonic() - started,
    )


def header_of(embedder: Embedder) -> Header:
    """Return what a table says about the embedder that made it."""
    context = embedder.context
    return Header(
        embedder.space_id,
        embedder.dim,
        embedder.source,
        embedder.layer,
        embedder.pooling,
        (context.seconds, context.hop) if isinstance(context, Windows) else None,
    )


# --- what is known, and what is to do ------------------------------------------------------------


class _Work:
    """The rows of a run: those recognised from earlier ones, and those to be embedded.

    Args:
        known: rows of earlier runs; of two for one file, the later one counts.
        retry_failed: forget the failures among them.
        progress: called as work goes on.
    """

    def __init__(self, known: Sequence[Row], retry_failed: bool, progress: Progress) -> None:
        # A file that could not even be hashed is always worth another look.
        known = [
            row
            for row in known
            if row.error is None or (row.content_hash is not None and not retry_failed)
        ]
        self._by_path = {row.path: row for row in known}
        self._by_hash = {row.content_hash: row for row in known if row.error is None}
        self._progress = progress
        self._todo: list[Row] = []
        self.rows: dict[Path, Row] = {}

    def recognise(self, paths: Sequence[Path]) -> None:
        """Find the files whose row is known; the rest are left to `embed`."""
        changed = []
        for path in paths:
            seen = _stamp(path)
            known = self._by_path.get(path)
            if known and seen.size == known.size and seen.mtime_ns == known.mtime_ns:
                self.rows[path] = known
            else:
                changed.append(seen)
        for seen in self._hashed(changed):
            known = self._by_hash.get(seen.content_hash) or self._by_path.get(seen.path)
            if known and known.content_hash and known.content_hash == seen.content_hash:
                self.rows[seen.path] = _same_content(known, seen)
            else:
                self._todo.append(seen)

    def _hashed(self, rows: Sequence[Row]) -> Iterator[Row]:
        """Yield the rows with the hashes of their files, read by several threads."""
        with ThreadPoolExecutor() as pool:
            try:
                for done, row in enumerate(pool.map(_with_hash, rows), start=1):
                    self._progress("hash", done, len(rows))
                    yield row
            finally:
                pool.shutdown(cancel_futures=True)

    def embed(self, embedder: Embedder, workers: int | None, parts: "_Parts") -> int:
        """Embed what is left, equal contents once; return how many files were embedded."""
        firsts: dict[str | Path, Row] = {}
        for seen in self._todo:
            firsts.setdefault(seen.content_hash or seen.path, seen)
        unique = list(firsts.values())
        embedded = self._embed(unique, embedder, workers, parts)
        unsettled = []
        for seen in self._todo:
            if seen.path in self.rows:
                continue
            first = self._by_hash.get(seen.content_hash)
            if first is None:
                unsettled.append(seen)  # the first of its content failed: each says so for itself
            else:
                self.rows[seen.path] = _same_content(first, seen)
        return embedded + self._embed(unsettled, embedder, workers, parts)

    def _embed(
        self, todo: Sequence[Row], embedder: Embedder, workers: int | None, parts: "_Parts"
    ) -> int:
        settled, embedded = len(self.rows), 0
        total = settled + len(todo)

        def advance(done: int) -> None:
            self._progress("embed", settled + done, total)

        paths = [seen.path for seen in todo]
        with closing(embedder.embed_many(paths, workers=workers, progress=advance)) as records:
            for seen, record in zip(todo, records, strict=True):
                row = _finished(seen, record)
                parts.add(row)
                self.rows[row.path] = row
                if row.error is None:
                    embedded += 1
                    self._by_hash[row.content_hash] = row
        return embedded


def _stamp(path: Path) -> Row:
    """Return a row that says only how large a file is and when it was modified."""
    try:
        status = path.stat()
    except OSError:  # decoding it will say why
        return Row(path)
    return Row(path, size=status.st_size, mtime_ns=status.st_mtime_ns)


def _with_hash(seen: Row) -> Row:
    try:
        return replace(seen, content_hash=file_sha256(seen.path))
    except OSError:  # decoding it will say why
        return seen


def _same_content(known: Row, seen: Row) -> Row:
    return replace(known, path=seen.path, size=seen.size, mtime_ns=seen.mtime_ns)


def _finished(seen: Row, record: Embedded | Failed) -> Row:
    if isinstance(record, Failed):
        return replace(seen, error=record.error)
    return replace(
        seen, embedding=record.embedding, duration=record.duration, warning=record.warning
    )


# --- parts ---------------------------------------------------------------------------------------


class _Parts:
    """The folder beside a table where a run keeps what it has so far, and keeps others out."""

    def __init__(self, folder: Path, output: Path, header: Header) -> None:
        self._folder = folder
        self._output = output
        self._header = header
        self._pending: list[Row] = []
        self._flushed = time.monotonic()
        self.resumed: list[Row] = []
        for part in self._files():
            table = EmbeddingTable.read(part)
            if table.header.space_id != header.space_id:
                raise EmbeddingError(
                    f"unfinished={str(folder)!r} holds embeddings of {table.header.space_id}, "
                    f"not of {header.space_id}; finish that run with its model, "
                    "or delete the folder."
                )
            self.resumed += table.rows

    @classmethod
    @contextmanager
    def open(cls, output: Path, header: Header) -> Iterator["_Parts"]:
        """Lock the folder of `output`, and tidy up if nothing is left in it at the end.

        Raises:
            EmbeddingError: another run holds the lock, the folder cannot be made, or it holds
                parts of another space.
        """
        folder = output.with_name(f"{output.name}.parts")
        try:
            lock = acquire_lock(folder / "lock")
        except AlreadyLockedError as error:
            raise EmbeddingError(
                f"output={str(output)!r} is being written by process {error.owner}; "
                "wait for it, or choose another output file."
            ) from error
        except OSError as error:
            raise cannot_write(output, error) from error
        with lock:
            try:
                yield cls(folder, output, header)
            finally:
                if not any(folder.glob(_PARTS)):
                    shutil.rmtree(folder, ignore_errors=True)

    def add(self, row: Row) -> None:
        """Keep a finished row; it is on disk after the next flush.

        Raises:
            EmbeddingError: the part cannot be written.
        """
        self._pending.append(row)
        if len(self._pending) >= _PART_ROWS or time.monotonic() - self._flushed >= _PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Put the pending rows on disk.

        Raises:
            EmbeddingError: they cannot be written; they are still pending.
        """
        if self._pending:
            number = 1 + max((int(part.stem) for part in self._files()), default=-1)
            part = self._folder / f"{number:06d}.parquet"
            try:
                write_parquet(part, EmbeddingTable(self._header, self._pending).to_arrow())
            except OSError as error:
                raise cannot_write(self._output, error) from error
            self._pending = []
        self._flushed = time.monotonic()

    def discard(self) -> None:
        """Forget the parts: the table holds them now."""
        for part in self._files():
            part.unlink()
        self._pending = []

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(_PARTS))

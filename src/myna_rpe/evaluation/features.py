"""Examples -> features of one extractor, each file or excerpt extracted once.

The cache is a folder with one sub-folder per space id. It holds parquet files, ``000000.parquet``
and so on, each whole or not there at all: a part is flushed every few seconds while a run goes on,
so one that is killed loses little; the next run goes on from there, and a run that ends joins the
parts into one. A row is found again by the file's path, size and time of modification and by start
and duration. Failures are not kept: they are tried again by the next run.

Columns: ``path`` (text, absolute), ``size`` (bytes), ``mtime_ns``, ``start`` and ``duration``
(seconds; null: to the end), ``features`` (fixed-size list of float32), ``seconds`` (wall-clock time
of the part it was flushed with, shared equally: extractors work in batches). The schema's metadata
has the space id, ``myna.space_id``.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from ..embedding_table import (
    cannot_write,
    path_from_text,
    path_to_text,
    read_parquet,
    write_parquet,
)
from ..errors import EmbeddingError
from ..storage import AlreadyLockedError, acquire_lock
from .examples import Example
from .peers.base import FeatureExtractor, Span

# A part is flushed after this many rows or seconds, whichever comes first: what a kill may cost.
_PART_ROWS = 256
_PART_SECONDS = 10.0
_PARTS = "[0-9]*.parquet"
_SPACE_ID = b"myna.space_id"

Progress = Callable[[int, int], None]
"""Called with how many files and excerpts are done, and of how many."""


class Failure(NamedTuple):
    """An example that has no features, and why, in one sentence."""

    example: Example
    error: str


@dataclass(frozen=True, eq=False)
class Features:
    """Features of the examples of a task; examples asked for = `examples` + `failures`.

    Attributes:
        space_id: of the extractor.
        examples: those that have features, in the order they were asked for.
        values: their features, a row for each.
        failures: the other examples, in order.
        extracted: files and excerpts that this run extracted; examples may share one.
        reused: those that were in the cache.
        seconds_per_track: mean wall-clock time of an extraction, decoding included, also of those
            that were reused; NaN where there are none.
    """

    space_id: str
    examples: Sequence[Example]
    values: Float32[np.ndarray, "examples dim"]
    failures: Sequence[Failure]
    extracted: int
    reused: int
    seconds_per_track: float


def extract_features(
    extractor: FeatureExtractor,
    examples: Sequence[Example],
    cache: Path,
    *,
    progress: Progress = lambda done, total: None,
) -> Features:
    """Return the features of examples; a bad file never stops the others.

    Args:
        extractor: makes the features.
        examples: which files, and which parts of them.
        cache: the folder of all caches; it is made where it does not exist.
        progress: called as work goes on.

    Raises:
        EmbeddingError: the cache is in use by another run, damaged, of another space, or cannot be
            written. What was extracted until then is kept for the next run.
    """
    spans = [_span(example) for example in examples]
    stamps = {span: stamp_of(span.path) for span in spans}
    errors: dict[Span, str] = {}
    folder = cache / quote(extractor.space_id, safe="")
    with _Cache.open(folder, extractor) as known:
        todo = [span for span, stamp in stamps.items() if not known.has(span, stamp)]
        reused = len(stamps) - len(todo)
        with closing(extractor.extract_many(todo)) as results:
            for done, (span, result) in enumerate(zip(todo, results, strict=True), start=1):
                problem = result if isinstance(result, str) else _problem(result, extractor, span)
                if problem is not None:
                    errors[span] = problem
                elif not isinstance(result, str):
                    known.add(span, stamps[span], result)
                progress(reused + done, len(stamps))
        known.flush()
        rows = {span: known.rows[span] for span in stamps if span not in errors}
    good = [index for index, span in enumerate(spans) if span in rows]
    values = [rows[spans[index]].features for index in good]
    return Features(
        space_id=extractor.space_id,
        examples=[examples[index] for index in good],
        values=np.stack(values) if values else np.zeros((0, extractor.dim), np.float32),
        failures=[
            Failure(example, errors[span])
            for example, span in zip(examples, spans, strict=True)
            if span in errors
        ],
        extracted=len(todo) - len(errors),
        reused=reused,
        seconds_per_track=(
            float(np.mean([row.seconds for row in rows.values()])) if rows else float("nan")
        ),
    )


def _span(example: Example) -> Span:
    """Return what is read of an example; its path means the same in every working directory."""
    return Span(example.path.absolute(), example.start, example.duration)


class Stamp(NamedTuple):
    """What tells an unchanged file."""

    size: int
    mtime_ns: int


def stamp_of(path: Path) -> Stamp | None:
    """Return what tells whether a file has changed; None: it is not there."""
    try:
        status = path.stat()
    except OSError:  # the extractor will say why
        return None
    return Stamp(status.st_size, status.st_mtime_ns)


def _problem(
    values: Float32[np.ndarray, " dim"], extractor: FeatureExtractor, span: Span
) -> str | None:
    """Return why features cannot be used, in one sentence, or None."""
    if values.shape != (extractor.dim,):
        return (
            f"features.shape={values.shape} of file={str(span.path)!r} is not ({extractor.dim},) "
            f"as {extractor.name} promised; mend the extractor."
        )
    if not np.isfinite(values).all():
        return (
            f"features={extractor.name} of file={str(span.path)!r} hold NaN or infinity; "
            "leave the file out."
        )
    return None


# --- the cache -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Row:
    stamp: Stamp
    features: Float32[np.ndarray, " dim"]
    seconds: float


class _Cache:
    """The rows of one space: on disk, and those of the next part."""

    def __init__(self, folder: Path, extractor: FeatureExtractor) -> None:
        self._folder = folder
        self._dim = extractor.dim
        self._space_id = extractor.space_id
        self._pending: dict[Span, _Row] = {}
        self.rows: dict[Span, _Row] = {}
        for part in self._parts():
            self.rows.update(self._read(part))
        self._flushed = time.monotonic()

    @classmethod
    @contextmanager
    def open(cls, folder: Path, extractor: FeatureExtractor) -> Iterator["_Cache"]:
        """Lock a cache and read it; what was added is on disk at the end, however it comes.

        Raises:
            EmbeddingError: another run holds the lock, or the folder cannot be read or written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = acquire_lock(folder / "lock")
        except AlreadyLockedError as error:
            raise EmbeddingError(
                f"cache={str(folder)!r} is being written by process {error.owner}; "
                "wait for it, or choose another folder."
            ) from error
        except OSError as error:
            raise cannot_write(folder, error) from error
        with lock:
            cache = cls(folder, extractor)
            try:
                yield cache
            finally:
                cache.flush()
            cache._join()

    def has(self, span: Span, stamp: Stamp | None) -> bool:
        """Return whether the features of a file as it is now are known."""
        return span in self.rows and self.rows[span].stamp == stamp

    def add(self, span: Span, stamp: Stamp | None, features: Float32[np.ndarray, " dim"]) -> None:
        """Keep features; they are on disk, and among `rows`, after the next flush.

        Raises:
            EmbeddingError: the part cannot be written.
        """
        # A file that came into being after it was looked at has no stamp: it is not found again.
        self._pending[span] = _Row(stamp or Stamp(-1, -1), features, seconds=0.0)
        waited = time.monotonic() - self._flushed
        if len(self._pending) >= _PART_ROWS or waited >= _PART_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Put the pending rows on disk.

        Raises:
            EmbeddingError: they cannot be written; they are still pending.
        """
        if not self._pending:
            return
        seconds = (time.monotonic() - self._flushed) / len(self._pending)
        rows = {span: replace(row, seconds=seconds) for span, row in self._pending.items()}
        self._write(rows)
        self.rows.update(rows)
        self._pending = {}
        self._flushed = time.monotonic()

    def _join(self) -> None:
        """Make one part of several; a kill between the two steps leaves rows twice, and no harm."""
        earlier = self._parts()
        if len(earlier) > 1:
            self._write(self.rows)
            for part in earlier:
                part.unlink()

    def _parts(self) -> list[Path]:
        return sorted(self._folder.glob(_PARTS))

    def _write(self, rows: dict[Span, _Row]) -> None:
        number = 1 + max((int(part.stem) for part in self._parts()), default=-1)
        values = np.stack([row.features for row in rows.values()]).astype(np.float32)
        columns = {
            "path": pa.array([path_to_text(span.path) for span in rows], pa.string()),
            "size": pa.array([row.stamp.size for row in rows.values()], pa.int64()),
            "mtime_ns": pa.array([row.stamp.mtime_ns for row in rows.values()], pa.int64()),
            "start": pa.array([span.start for span in rows], pa.float64()),
            "duration": pa.array([span.duration for span in rows], pa.float64()),
            "features": pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), self._dim),
            "seconds": pa.array([row.seconds for row in rows.values()], pa.float64()),
        }
        table = pa.table(columns).replace_schema_metadata({_SPACE_ID: self._space_id.encode()})
        try:
            write_parquet(self._folder / f"{number:06d}.parquet", table)
        except OSError as error:
            raise cannot_write(self._folder, error) from error

    def _read(self, part: Path) -> Iterator[tuple[Span, _Row]]:
        try:
            table = read_parquet(part)
            space_id = (table.schema.metadata or {})[_SPACE_ID].decode()
            features = table.column("features").combine_chunks().flatten().to_numpy()
            features = features.reshape(table.num_rows, -1)
            plain = table.drop_columns(["features"]).to_pylist()
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise EmbeddingError(
                f"cache={str(part)!r} is no part of a cache of features, or damaged; "
                "delete it, what it held is extracted again."
            ) from error
        if space_id != self._space_id:
            raise EmbeddingError(
                f"cache={str(part)!r} holds features of {space_id}, not of {self._space_id}, and "
                "features of different spaces do not mix; move it to where it belongs."
            )
        for row, values in zip(plain, features, strict=True):
            span = Span(path_from_text(row["path"]), row["start"], row["duration"])
            yield span, _Row(Stamp(row["size"], row["mtime_ns"]), values, row["seconds"])

"""The embeddings of a library as a table: parquet, CSV or JSON, by the ending of the file's name.

Parquet is the format of `embedding_table`, which `myna similar --in` reads; the hash of a file's
bytes, which a library does not know, is null there. CSV has a column for each number of a vector,
``v0``, ``v1``, ...; JSON is one object, the space in ``header`` and the rest in ``tracks``. Paths
are text as in `path_to_text`. Numbers are written so that reading them gives the same float32.
Tracks are in order of number. All is written as it is read: a library need not fit into memory.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float32, Int64

from ..embedding_table import EmbeddingTable, Row, path_to_text
from ..errors import ExportError
from ..storage import atomic_write
from .catalogue import Catalogue
from .duplicates import candidates_of
from .filters import Filters, matching
from .index import Index
from .tracks import Track

_TRACKS_AT_ONCE = 4096
_FIELDS = ("id", "path", "artist", "title", "album", "genres", "year", "duration")

Batch = tuple[list[Track], Float32[np.ndarray, "tracks dim"]]
"""Tracks with their embeddings."""


def write_vectors(catalogue: Catalogue, path: Path, filters: Filters | None = None) -> int:
    """Write the embeddings of the tracks that a search may find; return how many.

    Args:
        catalogue: the library.
        path: ends in ``.parquet``, ``.csv`` or ``.json``; it is there whole or not at all.
        filters: which tracks; None: all.

    Raises:
        ExportError: another ending, or the file cannot be written.
        LibraryError: as for `matching`.
    """
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise ExportError(
            f"output={str(path)!r} ends in no known format; use one of {', '.join(_WRITERS)}."
        )
    numbers = matching(catalogue, filters or Filters())
    count = 0

    def batches() -> Iterator[Batch]:
        nonlocal count
        for batch in _batches(catalogue, numbers):
            count += len(batch[0])
            yield batch

    try:
        with atomic_write(path) as file:
            write(file, catalogue, batches())
    except OSError as error:
        raise ExportError(
            f"output={str(path)!r} cannot be written: {error.strerror or error}; choose a file in "
            "a folder you may write to, with room for it."
        ) from error
    return count


def _batches(catalogue: Catalogue, numbers: Int64[np.ndarray, " tracks"]) -> Iterator[Batch]:
    index = Index(catalogue, in_memory=0)
    for start in range(0, len(numbers), _TRACKS_AT_ONCE):
        known = index.positions(numbers[start : start + _TRACKS_AT_ONCE])
        found = candidates_of(catalogue, index.numbers[known])
        kept = known[np.isin(index.numbers[known], list(found))]
        tracks = [found[number].track for number in index.numbers[kept].tolist()]
        yield tracks, index.embeddings(kept)


# --- formats -------------------------------------------------------------------------------------


def _write_parquet(file: BinaryIO, catalogue: Catalogue, batches: Iterator[Batch]) -> None:
    empty = EmbeddingTable(catalogue.header, []).to_arrow()
    with pq.ParquetWriter(file, empty.schema, write_page_checksum=True) as writer:
        for tracks, vectors in batches:
            stamps = _stamps(catalogue, tracks)
            rows = [
                Row(track.path, vector, track.duration, None, *stamps[track.id])
                for track, vector in zip(tracks, vectors, strict=True)
            ]
            writer.write_table(EmbeddingTable(catalogue.header, rows).to_arrow())


def _stamps(catalogue: Catalogue, tracks: list[Track]) -> dict[int, tuple[int, int]]:
    """Return size and time of modification of files, by number."""
    chosen = json.dumps([track.id for track in tracks])
    rows = catalogue.database.query(
        "SELECT id, size, mtime_ns FROM tracks WHERE id IN (SELECT value FROM json_each(?))",
        (chosen,),
    )
    stamps = {number: (size, mtime_ns) for number, size, mtime_ns in rows}
    return {track.id: stamps.get(track.id, (0, 0)) for track in tracks}


def _write_csv(file: BinaryIO, catalogue: Catalogue, batches: Iterator[Batch]) -> None:
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow((*_FIELDS, *(f"v{place}" for place in range(catalogue.header.dim))))
    for tracks, vectors in batches:
        for track, vector in zip(tracks, vectors, strict=True):
            facts = _facts(track) | {"genres": "; ".join(track.genres)}
            lines.writerow((*facts.values(), *map(_number, vector)))
    text.detach()


def _write_json(file: BinaryIO, catalogue: Catalogue, batches: Iterator[Batch]) -> None:
    header = json.dumps(asdict(catalogue.header), ensure_ascii=False)
    file.write(f'{{"header": {header},\n "tracks": ['.encode())
    before = "\n  "
    for tracks, vectors in batches:
        for track, vector in zip(tracks, vectors, strict=True):
            facts = json.dumps(_facts(track), ensure_ascii=False)
            numbers = ", ".join(map(_number, vector))
            file.write(f'{before}{facts[:-1]}, "vector": [{numbers}]}}'.encode())
            before = ",\n  "
    file.write(b"\n ]}\n")


def _facts(track: Track) -> dict[str, Any]:
    facts = {name: getattr(track, name) for name in _FIELDS}
    return facts | {"path": path_to_text(track.path)}


def _number(value: np.float32) -> str:
    """Return text that reading makes this float32 again."""
    return f"{value:.9g}"


_WRITERS: dict[str, Callable[[BinaryIO, Catalogue, Iterator[Batch]], None]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".json": _write_json,
}

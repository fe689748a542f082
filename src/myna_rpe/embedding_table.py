"""Tables of embeddings: one parquet file, one row per audio file, one embedding space.

Columns: ``path`` (text), ``embedding`` (fixed-size list of float32, null where there is none),
``duration`` (seconds), ``space_id``, ``content_hash`` (SHA-256 of the file's bytes, hex),
``error`` (one sentence, null where fine), ``warning``, ``size`` (bytes), ``mtime_ns``. The schema's
metadata, under ``myna.*``, says what made the table and in which format.

A path is stored as it was given. A name that is no UTF-8 cannot be text: it is stored as
``file:`` and its bytes percent-escaped, which `path_from_text` undoes.
"""

import errno
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Float32

from . import __version__
from .errors import EmbeddingError
from .storage import atomic_write

FORMAT_VERSION = 1

_ESCAPE = "file:"


def path_to_text(path: Path) -> str:
    """Return the path as text; a name that is not UTF-8 becomes a percent-escaped ``file:`` name.

    >>> path_to_text(Path("夜に駆ける.flac"))
    '夜に駆ける.flac'
    """
    text = str(path)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        pass
    else:
        if not text.startswith(_ESCAPE):
            return text
    return _ESCAPE + quote_from_bytes(os.fsencode(text))


def path_from_text(text: str) -> Path:
    r"""Return the path whose text this is; the inverse of `path_to_text`.

    >>> os.fsencode(path_from_text("file:%E9t%E9.mp3"))
    b'\xe9t\xe9.mp3'
    """
    if text.startswith(_ESCAPE):
        return Path(os.fsdecode(unquote_to_bytes(text.removeprefix(_ESCAPE))))
    return Path(text)


@dataclass(frozen=True)
class Header:
    """What made a table: enough to make further embeddings of the same space.

    Attributes:
        space_id: of every embedding in the table.
        dim: length of an embedding.
        model: name, folder or file the model was loaded from.
        layer: read after this many blocks; None: the last.
        pooling: ``cls`` or ``mean``; None: as the model was trained.
        windows: length and hop in seconds; None: whole tracks.
        version: of the package that wrote the table.
    """

    space_id: str
    dim: int
    model: str
    layer: int | None = None
    pooling: str | None = None
    windows: tuple[float, float] | None = None
    version: str = __version__

    def to_metadata(self) -> dict[str, str]:
        """Return the schema metadata: JSON values under ``myna.*``."""
        fields = {**asdict(self), "format_version": FORMAT_VERSION}
        return {f"myna.{name}": json.dumps(value) for name, value in fields.items()}

    @classmethod
    def from_metadata(cls, metadata: dict[bytes, bytes]) -> "Header":
        """Return the header stored in schema metadata.

        Raises:
            EmbeddingError: a table of another format version.
            TypeError: the metadata is none of ours.
        """
        prefix = b"myna."
        fields: dict[str, Any] = {
            key.removeprefix(prefix).decode(): json.loads(value)
            for key, value in metadata.items()
            if key.startswith(prefix)
        }
        version = fields.pop("format_version", FORMAT_VERSION)
        if version != FORMAT_VERSION:
            raise EmbeddingError(
                f"format_version={version} of the table is newer than this package reads "
                f"({FORMAT_VERSION}); update myna-rpe."
            )
        if fields.get("windows") is not None:
            fields["windows"] = tuple(fields["windows"])
        return cls(**fields)


@dataclass(frozen=True, eq=False)
class Row:
    """One file: its embedding, or the reason why there is none.

    Attributes:
        path: as it was given.
        embedding: (dim,); None where `error` says why.
        duration: length of the audio, in seconds.
        content_hash: SHA-256 of the file's bytes, hex; None if it could not be read.
        size: of the file, in bytes.
        mtime_ns: when the file was last modified; with `size` it tells an unchanged file.
        error: one sentence, or None.
        warning: one sentence about an embedding not to be trusted, or None.
    """

    path: Path
    embedding: Float32[np.ndarray, " dim"] | None = None
    duration: float | None = None
    content_hash: str | None = None
    size: int | None = None
    mtime_ns: int | None = None
    error: str | None = None
    warning: str | None = None


@dataclass(frozen=True)
class Neighbour:
    """One of the nearest tracks; `similarity` is the cosine, in [-1, 1]."""

    rank: int
    similarity: float
    path: Path


@dataclass(frozen=True, eq=False)
class EmbeddingTable:
    """Embeddings of one space, in memory."""

    header: Header
    rows: Sequence[Row]

    @cached_property
    def embedded(self) -> list[Row]:
        """The rows that have an embedding."""
        return [row for row in self.rows if row.embedding is not None]

    @cached_property
    def embeddings(self) -> Float32[np.ndarray, "tracks dim"]:
        """Embeddings of `embedded`, in its order."""
        if not self.embedded:
            return np.zeros((0, self.header.dim), dtype=np.float32)
        return np.stack([row.embedding for row in self.embedded if row.embedding is not None])

    @cached_property
    def _directions(self) -> Float32[np.ndarray, "tracks dim"]:
        return unit(self.embeddings)

    def find(self, path: Path) -> Row | None:
        """Return the row of a file, however its path is spelled, or None."""
        wanted = _absolute(path)
        spelled_so = next((row for row in self.rows if row.path == path), None)
        return spelled_so or next((row for row in self.rows if _absolute(row.path) == wanted), None)

    def nearest(
        self, embedding: Float32[np.ndarray, " dim"], k: int, *, exclude: Row | None = None
    ) -> list[Neighbour]:
        """Return the `k` tracks of highest cosine similarity, exactly; ties in table order.

        Args:
            embedding: (dim,), of the table's space.
            k: how many, >= 1; fewer if the table holds fewer.
            exclude: a row to leave out, as the track that was asked about.

        Raises:
            EmbeddingError: an embedding of another length, or k < 1.
        """
        if k < 1:
            raise EmbeddingError(f"k={k} asks for no neighbours; use k >= 1.")
        if embedding.shape != (self.header.dim,):
            raise EmbeddingError(
                f"embedding.shape={embedding.shape} does not fit a table of "
                f"dim={self.header.dim}; embed with the table's model, {self.header.model}."
            )
        similarity = self._directions @ unit(embedding)
        order = [
            index
            for index in np.argsort(-similarity, kind="stable")[: k + 1]
            if self.embedded[index] is not exclude
        ]
        return [
            Neighbour(rank, float(similarity[index]), self.embedded[index].path)
            for rank, index in enumerate(order[:k], start=1)
        ]

    def write(self, path: Path) -> None:
        """Write the table; the file is there whole or not at all, and replaces the one before.

        Raises:
            EmbeddingError: no room, no permission, or no such folder.
        """
        table = self.to_arrow()
        try:
            write_parquet(path, table)
        except OSError as error:
            raise cannot_write(path, error) from error

    @classmethod
    def read(cls, path: Path) -> "EmbeddingTable":
        """Return the table in a file.

        Raises:
            EmbeddingError: missing, damaged, not a table of embeddings, or of several spaces.
        """
        try:
            table = read_parquet(path)
            header = Header.from_metadata(table.schema.metadata or {})
            rows = _rows(table)
        except FileNotFoundError as error:
            raise EmbeddingError(
                f"table={str(path)!r} does not exist; make it with `myna embed`."
            ) from error
        except PermissionError as error:
            raise EmbeddingError(
                f"table={str(path)!r} may not be read; give yourself permission to read it."
            ) from error
        except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
            raise EmbeddingError(
                f"table={str(path)!r} is not a table of embeddings, or damaged; "
                "move it away and run `myna embed` again."
            ) from error
        spaces = set(table.column("space_id").to_pylist()) - {header.space_id}
        if spaces:
            raise EmbeddingError(
                f"table={str(path)!r} mixes embeddings of {header.space_id} and "
                f"{min(map(str, spaces))}, which cannot be compared; "
                "embed everything with one model."
            )
        return cls(header, rows)

    @classmethod
    def join(cls, tables: Sequence["EmbeddingTable"]) -> "EmbeddingTable":
        """Return the rows of all tables, one after the other.

        Raises:
            EmbeddingError: the tables are of different spaces.
        """
        first, *others = tables
        for other in others:
            check_same_space(other.header, first.header.space_id, "the first table")
        return cls(first.header, [row for table in tables for row in table.rows])

    def to_arrow(self) -> pa.Table:
        """Return the table as Arrow's, as it is in the file."""
        rows, dim = self.rows, self.header.dim
        # Rows without an embedding take no space in a null list, but Arrow wants their slots.
        values = np.zeros((len(rows), dim), dtype=np.float32)
        missing = np.ones(len(rows), dtype=bool)
        for index, row in enumerate(rows):
            if row.embedding is not None:
                values[index], missing[index] = row.embedding, False
        embedding = pa.FixedSizeListArray.from_arrays(
            pa.array(values.reshape(-1)), dim, mask=pa.array(missing)
        )
        columns = {
            "path": pa.array([path_to_text(row.path) for row in rows], pa.string()),
            "embedding": embedding,
            "duration": pa.array([row.duration for row in rows], pa.float64()),
            "space_id": pa.array([self.header.space_id] * len(rows), pa.string()),
            "content_hash": pa.array([row.content_hash for row in rows], pa.string()),
            "error": pa.array([_text(row.error) for row in rows], pa.string()),
            "warning": pa.array([_text(row.warning) for row in rows], pa.string()),
            "size": pa.array([row.size for row in rows], pa.int64()),
            "mtime_ns": pa.array([row.mtime_ns for row in rows], pa.int64()),
        }
        return pa.table(columns).replace_schema_metadata(self.header.to_metadata())


def check_same_space(header: Header, space_id: str, owner: str) -> None:
    """Check that a table is of the space that `owner`, as a message names it, embeds into.

    Raises:
        EmbeddingError: it is not.
    """
    if header.space_id != space_id:
        raise EmbeddingError(
            f"space_id={header.space_id} of the table is not space_id={space_id} of {owner}, and "
            "embeddings of different spaces do not mix; use the model and settings that made the "
            "table, or another output file."
        )


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a parquet file whole or not at all.

    Raises:
        OSError: no room, no permission, or no such folder; nothing half-written stays.
    """
    with atomic_write(path) as file:
        pq.write_table(table, file, write_page_checksum=True)


def read_parquet(path: Path) -> pa.Table:
    """Return a parquet file.

    Raises:
        OSError: it cannot be read, or its checksums are wrong.
        pa.ArrowException: it is none.
    """
    # Arrow's threads outlive the reading, and at times abort the process as it ends; `read_table`
    # starts one even when told not to.
    with (
        path.open("rb") as file,
        pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=False) as parquet,
    ):
        return parquet.read(use_threads=False)


def cannot_write(path: Path, error: OSError) -> EmbeddingError:
    """Return the error, as one sentence, for a table that cannot be written."""
    remedy = (
        "free some space and run the same command again to go on"
        if error.errno in (errno.ENOSPC, errno.EDQUOT)
        else "choose an output file in a folder you may write to"
    )
    return EmbeddingError(
        f"output={str(path)!r} cannot be written: {error.strerror or error}; {remedy}."
    )


def _rows(table: pa.Table) -> list[Row]:
    column = table.column("embedding").combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # older Arrow keeps the chunks of an empty column
        column = pa.concat_arrays(column.chunks) if column.chunks else pa.array([], column.type)
    if not pa.types.is_fixed_size_list(column.type) or column.type.value_type != pa.float32():
        raise ValueError(f"embedding is {column.type}")
    # `flatten` would drop the slots of null lists; `values` keeps them, and the offset with them.
    dim = column.type.list_size
    values = column.values.to_numpy(zero_copy_only=False).reshape(-1, dim)
    values = values[column.offset : column.offset + len(column)]
    missing = column.is_null().to_numpy(zero_copy_only=False)
    plain = {
        name: table.column(name).to_pylist()
        for name in ("duration", "content_hash", "size", "mtime_ns", "error", "warning")
    }
    return [
        Row(
            path_from_text(text),
            None if missing[index] else values[index],
            **{name: entries[index] for name, entries in plain.items()},
        )
        for index, text in enumerate(table.column("path").to_pylist())
    ]


def _absolute(path: Path) -> str:
    return os.path.normpath(path.absolute())


def unit(vectors: Float[np.ndarray, "*tracks dim"]) -> Float[np.ndarray, "*tracks dim"]:
    """Return the directions of vectors, in their precision; that of a zero vector is zero."""
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    directions: Float[np.ndarray, "*tracks dim"] = vectors / np.where(norm > 0, norm, 1)
    return directions


def _text(message: str | None) -> str | None:
    """Return a message in valid UTF-8: file names in it may hold anything."""
    return None if message is None else message.encode("utf-8", "backslashreplace").decode()

"""The embeddings of a library on disk: dense rows, each with the sound it belongs to.

``vectors.f32`` holds rows of `dim` little-endian float32, nothing else, and is memory-mapped.
``vectors.ids`` holds for each row the identity of the audio (32 bytes) and the CRC-32 of identity
and row. ``vectors.json`` names the space. So the vectors alone say what they are: with the database
lost, no track is analysed again. A row of zeros for an identity belongs to nothing any more.

Rows are only ever appended, and are on the disk before anything points to them: first the vectors,
then their identities. What a kill leaves behind is a tail that nothing points to; `repair` cuts off
what of it is not whole.
"""

import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from ..errors import LibraryError

VECTORS_FILE = "vectors.f32"
IDENTITIES_FILE = "vectors.ids"
IDENTITY_BYTES = 32

_NOBODY = bytes(IDENTITY_BYTES)
_LABEL = np.dtype([("identity", np.uint8, (IDENTITY_BYTES,)), ("crc", "<u4")])


class Vectors:
    """The rows of a folder.

    Args:
        folder: of the library; the files need not exist.
        dim: length of a row.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        self.folder = folder
        self.dim = dim
        self._index: _Index | None = None

    def __len__(self) -> int:
        """Rows that are whole in both files."""
        return min(_size(self._vectors) // (4 * self.dim), _size(self._labels) // _LABEL.itemsize)

    @property
    def num_bytes(self) -> int:
        """Size of both files."""
        return _size(self._vectors) + _size(self._labels)

    def rows(self) -> Float32[np.ndarray, "rows dim"]:
        """Return all rows, memory-mapped and read-only."""
        if not len(self):
            return np.zeros((0, self.dim), np.float32)
        return np.memmap(self._vectors, "<f4", "r", shape=(len(self), self.dim))

    def identity(self, row: int) -> bytes:
        """Return the identity of the audio that a row belongs to."""
        return bytes(self._label_rows()[row]["identity"].tobytes())

    def find(self, identity: bytes) -> int | None:
        """Return the newest sound row of an identity; None where there is none."""
        if self._index is None:
            self._index = _Index(self._label_rows()["identity"])
        for row in self._index.find(identity):
            if self.identity(row) == identity and self.is_sound(row):
                return row
        return None

    def is_sound(self, row: int) -> bool:
        """Tell whether a row belongs to an identity and is what was written."""
        label = self._label_rows()[row]
        identity = label["identity"].tobytes()
        return identity != _NOBODY and _crc(identity, self.rows()[row]) == int(label["crc"])

    def unsound(self) -> Int64[np.ndarray, " bad"]:
        """Return the rows that are not what was written, in order; reads everything."""
        labels, rows = self._label_rows(), self.rows()
        bad = []
        for row, (label, vector) in enumerate(zip(labels, rows, strict=True)):
            identity = label["identity"].tobytes()
            if identity != _NOBODY and _crc(identity, vector) != int(label["crc"]):
                bad.append(row)
        return np.array(bad, np.int64)

    def append(
        self, identities: Sequence[bytes], vectors: Float32[np.ndarray, "new dim"]
    ) -> list[int]:
        """Append rows and return their numbers; when this returns, they are on the disk.

        Raises:
            LibraryError: no room or no permission; the files are as they were.
        """
        first = len(self)
        labels = np.zeros(len(identities), _LABEL)
        values = np.ascontiguousarray(vectors, "<f4")
        for label, identity, vector in zip(labels, identities, values, strict=True):
            label["identity"] = np.frombuffer(identity, np.uint8)
            label["crc"] = _crc(identity, vector)
        try:
            _append(self._vectors, values.tobytes(), at=first * 4 * self.dim)
            _append(self._labels, labels.tobytes(), at=first * _LABEL.itemsize)
        except OSError as error:
            raise LibraryError(
                f"library={str(self.folder)!r} cannot be written to: {error.strerror or error}; "
                "mend that (free some space?) and run the same command again to go on."
            ) from error
        if self._index is not None:
            self._index.add(identities, first)
        return list(range(first, first + len(identities)))

    def disown(self, rows: Sequence[int]) -> None:
        """Let rows belong to nothing any more: their audio has to be analysed again.

        Raises:
            OSError: the file cannot be written.
        """
        with self._labels.open("r+b") as file:
            for row in rows:
                file.seek(row * _LABEL.itemsize)
                file.write(bytes(_LABEL.itemsize))
            file.flush()
            os.fsync(file.fileno())
        self._index = None

    def repair(self) -> None:
        """Cut off what of the tail is not whole in both files.

        Raises:
            OSError: a file cannot be written.
        """
        whole = len(self)
        for path, size in ((self._vectors, 4 * self.dim), (self._labels, _LABEL.itemsize)):
            if _size(path) > whole * size:
                os.truncate(path, whole * size)
        self._index = None

    @property
    def _vectors(self) -> Path:
        return self.folder / VECTORS_FILE

    @property
    def _labels(self) -> Path:
        return self.folder / IDENTITIES_FILE

    def _label_rows(self) -> np.ndarray:
        if not len(self):
            return np.zeros(0, _LABEL)
        return np.memmap(self._labels, _LABEL, "r", shape=(len(self),))


class _Index:
    """Identity -> rows, by the first 8 bytes: 16 bytes of memory a row."""

    def __init__(self, identities: np.ndarray) -> None:
        keys = np.ascontiguousarray(identities[:, :8]).view("<u8")[:, 0]
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]
        self._new: dict[bytes, list[int]] = {}

    def add(self, identities: Sequence[bytes], first: int) -> None:
        for row, identity in enumerate(identities, start=first):
            self._new.setdefault(identity, []).append(row)

    def find(self, identity: bytes) -> list[int]:
        """Return the rows that may be of this identity, the newest first."""
        key = np.frombuffer(identity[:8], "<u8")[0]
        low, high = (int(np.searchsorted(self._keys, key, side)) for side in ("left", "right"))
        known = [int(row) for row in self._order[low:high]]
        return [*known, *self._new.get(identity, [])][::-1]


def _crc(identity: bytes, vector: Float32[np.ndarray, " dim"]) -> int:
    return zlib.crc32(np.ascontiguousarray(vector).tobytes(), zlib.crc32(identity))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _append(path: Path, content: bytes, *, at: int) -> None:
    """Write at a place and make it the end; after an error the file ends at that place."""
    with path.open("r+b" if path.exists() else "w+b", buffering=0) as file:
        file.truncate(at)
        file.seek(at)
        try:
            view = memoryview(content)
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(at)
            raise

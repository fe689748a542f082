"""Hull space: the library's embeddings in the few dimensions that playlists are hulls in.

An embedding is scaled to length 1, as the search by cosine does, moved by the library's mean, and
turned onto its principal directions, 32 by default: `project`. Distances there are what playlists
mean by near and far.

The directions are kept in the library's folder with what they were fitted on, and are fitted anew
only when more than a tenth of that has changed, or the space of the embeddings. Until then the
same track is at the same place, so playlists do not jump after each scan. Everything here can be
made again from the vectors: a file that is lost or damaged is fitted anew.

Source: Pearson 1901 (principal components).
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64, Int64

from ..embedding_table import unit
from ..errors import LibraryError
from ..storage import atomic_write
from .catalogue import Catalogue

SPACE_FILE = "hull-space.npz"
DIMS = 32
"""Dimensions of hull space, where the library has as many tracks."""

_FORMAT = 1
# So many embeddings are enough to fit on; they are taken evenly from larger libraries.
_MOST_ROWS = 100_000
_ROWS_AT_ONCE = 16_384
_CHANGED = 0.1


@dataclass(frozen=True, eq=False)
class HullSpace:
    """The way from embeddings to hull space, and what it was fitted on.

    Attributes:
        space_id: of the embeddings.
        asked: how many dimensions were asked for; a small library has fewer.
        numbers: of the tracks it was fitted on, ascending.
        mean: of their embeddings, scaled to length 1.
        directions: orthonormal columns, the largest variance first.
        explained: share of the variance that the directions keep, in [0, 1].
    """

    space_id: str
    asked: int
    numbers: Int64[np.ndarray, " fitted"]
    mean: Float64[np.ndarray, " dim"]
    directions: Float64[np.ndarray, "dim dims"]
    explained: float

    @property
    def count(self) -> int:
        """How many tracks it was fitted on."""
        return len(self.numbers)

    @property
    def dims(self) -> int:
        """How many dimensions it has."""
        return int(self.directions.shape[1])

    def project(self, vectors: Float[np.ndarray, "n dim"]) -> Float64[np.ndarray, "n dims"]:
        """Return the places of embeddings; a block at a time, so they may be memory-mapped."""
        places = np.empty((len(vectors), self.dims))
        for start in range(0, len(vectors), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            places[rows] = (unit(vectors[rows].astype(np.float64)) - self.mean) @ self.directions
        return places

    def fits(self, space_id: str, asked: int, numbers: Int64[np.ndarray, " tracks"]) -> bool:
        """Tell whether it still stands for a library of these tracks."""
        changed = len(np.setxor1d(self.numbers, numbers, assume_unique=True))
        same = (self.space_id, self.asked) == (space_id, asked)
        return same and changed <= _CHANGED * self.count


def fit_space(
    numbers: Int64[np.ndarray, " tracks"],
    vectors: Float[np.ndarray, "tracks dim"],
    *,
    space_id: str,
    dims: int = DIMS,
) -> HullSpace:
    """Return hull space for a library; the same library gives the same.

    Args:
        numbers: of the tracks, each once.
        vectors: their embeddings; finite.
        space_id: of the embeddings.
        dims: of hull space; fewer than the tracks, and at most `dim`, are made.

    Raises:
        LibraryError: no track, or dims < 1.
    """
    if dims < 1 or not len(numbers):
        raise LibraryError(
            f"dims={dims} of {len(numbers)} tracks make no space; use dims >= 1 and scan some "
            "music first."
        )
    rows = np.linspace(0, len(vectors) - 1, min(len(vectors), _MOST_ROWS)).astype(np.int64)
    blocks = [rows[at : at + _ROWS_AT_ONCE] for at in range(0, len(rows), _ROWS_AT_ONCE)]
    dim = vectors.shape[1]
    sums = np.zeros(dim)
    for block in blocks:
        sums += unit(vectors[block].astype(np.float64)).sum(axis=0)
    mean = sums / len(rows)
    scatter = np.zeros((dim, dim))
    for block in blocks:
        centred = unit(vectors[block].astype(np.float64)) - mean
        scatter += centred.T @ centred
    variances, directions = np.linalg.eigh(scatter)
    kept = min(dims, dim, max(1, len(numbers) - 1))
    best = directions[:, ::-1][:, :kept].copy()
    # A direction and its opposite are as good: of each the largest number is positive.
    best *= np.where(best[np.abs(best).argmax(axis=0), np.arange(kept)] < 0, -1.0, 1.0)
    total = float(variances.sum())
    explained = float(variances[::-1][:kept].sum()) / total if total > 0 else 1.0
    return HullSpace(space_id, dims, np.sort(numbers), mean, best, min(1.0, max(0.0, explained)))


def space_of(
    catalogue: Catalogue,
    numbers: Int64[np.ndarray, " tracks"],
    vectors: Float[np.ndarray, "tracks dim"],
    *,
    dims: int = DIMS,
) -> HullSpace:
    """Return the library's hull space: the one that is kept, if it still fits; else a new one.

    A library that may only be read gets one that is not kept.

    Args:
        catalogue: the library.
        numbers: of its tracks.
        vectors: their embeddings.
        dims: of hull space.

    Raises:
        LibraryError: as for `fit_space`, or it cannot be kept.
    """
    path, space_id = catalogue.folder / SPACE_FILE, catalogue.header.space_id
    kept = read_hull_space(path)
    if kept is not None and kept.fits(space_id, dims, numbers):
        return kept
    fitted = fit_space(numbers, vectors, space_id=space_id, dims=dims)
    if not catalogue.read_only:
        write_hull_space(path, fitted)
    return fitted


def read_hull_space(path: Path) -> HullSpace | None:
    """Return the space that was kept; None where there is none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if int(file["format"]) != _FORMAT:
                return None
            return HullSpace(
                str(file["space_id"]),
                int(file["asked"]),
                file["numbers"].astype(np.int64),
                file["mean"].astype(np.float64),
                file["directions"].astype(np.float64),
                float(file["explained"]),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def write_hull_space(path: Path, space: HullSpace) -> None:
    """Keep a space; the file appears whole or not at all.

    Raises:
        LibraryError: it cannot be written.
    """
    content = io.BytesIO()
    np.savez(
        content,
        format=np.array(_FORMAT),
        space_id=np.array(space.space_id),
        asked=np.array(space.asked),
        numbers=space.numbers,
        mean=space.mean,
        directions=space.directions,
        explained=np.array(space.explained),
    )
    try:
        with atomic_write(path) as file:
            file.write(content.getvalue())
    except OSError as error:
        raise LibraryError(
            f"library={str(path.parent)!r} cannot be written to ({error.strerror or error}); free "
            "some space, or make it read-only to do without."
        ) from error

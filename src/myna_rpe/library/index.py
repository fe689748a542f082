"""Which tracks of a library are nearest to directions, exactly.

Tracks are ranked by the cosine, or by what a `Judge` makes of it; equal ones by number. Directions
of up to `IN_MEMORY` tracks are kept in memory, one matrix product a question. Beyond, the
memory-mapped rows are gone through in blocks, their norms kept; memory is a few numbers a track.

Products are float32, whose error is bounded: gamma_n |x| |y|. Every track that could be among the
first k within that bound is worked out again in float64, so the ranking is that of float64.

Source: Higham 2002, "Accuracy and stability of numerical algorithms", section 3.1 (the bound).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64

from ..embedding_table import unit
from ..errors import LibraryError
from .catalogue import Catalogue

IN_MEMORY = 250_000

# Numbers of a block of products: 64 MB.
NUMBERS_AT_ONCE = 16_000_000
_ROWS_AT_ONCE = 65_536
_REFINED_AT_ONCE = 4096

Directions = Float32[np.ndarray, "questions dim"]
"""What is asked: embeddings of length 1, the nearest of which counts."""

Positions = Int64[np.ndarray, " some"]
"""Places in an index."""

Judge = Callable[[Float[np.ndarray, "m n"], Positions | slice], Float[np.ndarray, "m n"]]
"""From cosines (questions, tracks) and the positions of the tracks to scores, larger is nearer.

A score must rise with its cosine.
"""


def by_cosine(
    cosines: Float[np.ndarray, "m n"], positions: Positions | slice
) -> Float[np.ndarray, "m n"]:
    """Return the cosines: the plainest `Judge`."""
    return cosines


@dataclass(frozen=True, eq=False)
class Ranking:
    """Tracks in order.

    Attributes:
        numbers: of the tracks.
        scores: what they are ranked by.
        cosines: with the question, or the nearest of its directions.
    """

    numbers: Int64[np.ndarray, " k"]
    scores: Float[np.ndarray, " k"]
    cosines: Float[np.ndarray, " k"]

    def __len__(self) -> int:
        return len(self.numbers)


class Index:
    """The tracks of a library that a search may find, as they are when it is made.

    Args:
        catalogue: open, and open as long as the index is used.
        in_memory: keep the directions in memory if there are no more tracks than this.

    Attributes:
        catalogue: the library.
        numbers: (tracks,), in order of their rows.
        rows: (tracks,), of the file of vectors.
    """

    def __init__(self, catalogue: Catalogue, *, in_memory: int = IN_MEMORY) -> None:
        self.catalogue = catalogue
        pairs = np.fromiter(
            catalogue.database.query(
                "SELECT id, vector FROM tracks WHERE state = 'present' AND vector IS NOT NULL "
                "ORDER BY vector, id"
            ),
            np.dtype((np.int64, 2)),
        )
        self.numbers: Int64[np.ndarray, " tracks"] = pairs[:, 0].copy()
        self.rows: Int64[np.ndarray, " tracks"] = pairs[:, 1].copy()
        self._file = catalogue.vector_file.rows()
        self._is_dense = bool(np.array_equal(self.rows, np.arange(len(self.rows))))
        self._order: Int64[np.ndarray, " tracks"] | None = None
        self._norms: Float32[np.ndarray, " tracks"] | None = None
        self._directions: Float32[np.ndarray, "tracks dim"] | None = None
        if len(self) <= in_memory:
            directions = np.empty((len(self), catalogue.header.dim), np.float32)
            for block in blocks(len(self), _ROWS_AT_ONCE):
                directions[block] = unit(self._raw(block))
            self._directions = directions

    def __len__(self) -> int:
        return len(self.numbers)

    def positions(self, numbers: Int64[np.ndarray, " some"]) -> Int64[np.ndarray, " known"]:
        """Return where tracks are in the index, as they are given; unknown ones are left out."""
        if self._order is None:
            self._order = np.argsort(self.numbers, kind="stable")
        at = np.searchsorted(self.numbers, numbers, sorter=self._order)
        at = self._order[np.minimum(at, len(self) - 1)] if len(self) else at[:0]
        known: Int64[np.ndarray, " known"] = at[self.numbers[at] == numbers[: len(at)]]
        return known

    def directions(self, positions: Positions | slice) -> Float32[np.ndarray, "some dim"]:
        """Return embeddings as directions; that of a zero vector is zero."""
        if self._directions is not None:
            chosen: Float32[np.ndarray, "some dim"] = self._directions[positions]
            return chosen
        return unit(self._raw(positions))

    def embeddings(self, positions: Positions | slice) -> Float32[np.ndarray, "some dim"]:
        """Return embeddings as they are on the disk."""
        return self._raw(positions)

    def rank(
        self,
        question: Directions,
        k: int,
        *,
        among: Int64[np.ndarray, " chosen"] | None = None,
        exclude: Sequence[int] = (),
        judge: Judge = by_cosine,
    ) -> Ranking:
        """Return the k tracks nearest to a question; fewer if there are fewer.

        Args:
            question: (questions, dim), directions; the nearest of them counts.
            k: how many, >= 1.
            among: numbers of the tracks that may be found; None: all.
            exclude: numbers of tracks that may not.
            judge: what tracks are ranked by.

        Raises:
            LibraryError: k < 1, or a question of another length.
        """
        if k < 1:
            raise LibraryError(f"k={k} asks for no tracks; use k >= 1.")
        if question.shape[1] != self.catalogue.header.dim:
            raise LibraryError(
                f"question.shape={question.shape} does not fit a library of "
                f"dim={self.catalogue.header.dim}; embed with the library's model, "
                f"{self.catalogue.header.model!r}."
            )
        # Each once, in order of their rows, which is faster to read.
        positions = None if among is None else np.unique(self.positions(among))
        count = len(self) if positions is None else len(positions)
        # Bounds of each score, as far as float32 knows the cosines.
        error = 2 * (question.shape[1] + 4) * float(np.finfo(np.float32).eps)
        least, most = np.empty(count), np.empty(count)
        for block, cosines in self._cosines(question, positions):
            at = block if positions is None else positions[block]
            least[block] = judge(cosines - error, at).max(axis=0, initial=-np.inf)
            most[block] = judge(cosines + error, at).max(axis=0, initial=-np.inf)
        if len(exclude):
            out = np.isin(
                self.numbers if positions is None else self.numbers[positions], list(exclude)
            )
            least[out] = most[out] = -np.inf
            count -= int(out.sum())
        k = min(k, count)
        if k == 0:
            return Ranking(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
        kth = np.partition(least, len(least) - k)[len(least) - k]
        chosen = np.flatnonzero(most >= kth)
        return self._refined(question, chosen if positions is None else positions[chosen], k, judge)

    # --- pieces ----------------------------------------------------------------------------------

    def _raw(self, positions: Positions | slice) -> Float32[np.ndarray, "some dim"]:
        if self._is_dense and isinstance(positions, slice):
            dense: Float32[np.ndarray, "some dim"] = self._file[positions]
            return dense
        gathered: Float32[np.ndarray, "some dim"] = self._file[self.rows[positions]]
        return gathered

    def _cosines(
        self, question: Directions, positions: Int64[np.ndarray, " chosen"] | None
    ) -> Iterator[tuple[slice, Float32[np.ndarray, "questions block"]]]:
        """Yield the cosines of the chosen positions, block by block."""
        count = len(self) if positions is None else len(positions)
        at_once = min(NUMBERS_AT_ONCE // len(question), NUMBERS_AT_ONCE)
        if self._directions is None:
            at_once = min(at_once, _ROWS_AT_ONCE)
        for block in blocks(count, max(1, at_once)):
            at = block if positions is None else positions[block]
            if self._directions is not None:
                yield block, products(question, self._directions[at])
            else:
                yield block, products(question, self._raw(at)) / self._norms_of(at)

    def _norms_of(self, at: Positions | slice) -> Float32[np.ndarray, " some"]:
        """Return the norms of rows, 1 for zero vectors; worked out once."""
        if self._norms is None:
            norms = np.empty(len(self), np.float32)
            for block in blocks(len(self), _ROWS_AT_ONCE):
                norms[block] = np.linalg.norm(self._raw(block), axis=1)
            norms[norms == 0] = 1
            self._norms = norms
        chosen: Float32[np.ndarray, " some"] = self._norms[at]
        return chosen

    def _refined(
        self,
        question: Directions,
        positions: Int64[np.ndarray, " chosen"],
        k: int,
        judge: Judge,
    ) -> Ranking:
        """Return the first k of some positions, by float64."""
        wide = unit(question.astype(np.float64))
        scores, cosines = np.empty(len(positions)), np.empty(len(positions))
        for block in blocks(len(positions), _REFINED_AT_ONCE):
            at = positions[block]
            rows = unit(self._raw(at).astype(np.float64))
            # A sum for each pair: equal rows have equal sums, unlike in a matrix product.
            table = np.stack([(rows * direction).sum(axis=1) for direction in wide])
            table = np.clip(table, -1, 1)
            judged = judge(table, at)
            best = judged.argmax(axis=0)
            columns = np.arange(len(at))
            scores[block], cosines[block] = judged[best, columns], table[best, columns]
        order = np.lexsort((self.numbers[positions], -scores))[:k]
        return Ranking(self.numbers[positions[order]], scores[order], cosines[order])


# --- arithmetic -----------------------------------------------------------------------------------


def products(
    first: Float32[np.ndarray, "m dim"], second: Float32[np.ndarray, "n dim"]
) -> Float32[np.ndarray, "m n"]:
    """Return the product of every pair."""
    # One direction as a vector: the matrix product of NumPy is slower for a single row.
    if len(first) == 1:
        row: Float32[np.ndarray, "m n"] = (second @ first[0])[None]
        return row
    table: Float32[np.ndarray, "m n"] = first @ second.T
    return table


def blocks(count: int, at_once: int) -> list[slice]:
    """Return so many places in pieces."""
    return [slice(start, min(start + at_once, count)) for start in range(0, count, at_once)]

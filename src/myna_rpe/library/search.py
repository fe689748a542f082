"""Questions to a library, and answers in which a recording comes once.

A question is one direction or several: that of a track, of a file outside, the mean of several, a
point between two (their weighted mean), or each of several, of which the nearest counts. Answers
are exact, see `Index`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int64

from ..embedding_table import unit
from ..errors import LibraryError
from .duplicates import Candidate, Group, Sameness, candidates_of, find_groups
from .index import Directions, Index, Ranking, by_cosine
from .scales import LocalScaling
from .tracks import Track

# --- questions -----------------------------------------------------------------------------------


def mean_direction(
    vectors: Float[np.ndarray, "..."], weights: Sequence[float | int] | None = None
) -> Float32[np.ndarray, "1 dim"]:
    """Return the weighted mean of the directions of embeddings: a point between them.

    Args:
        vectors: (n, dim), n >= 1.
        weights: n numbers of 0 or more, of which only the ratios count; None: all alike.

    Raises:
        LibraryError: weights that are none, or directions that cancel out.
    """
    share = _weights(len(vectors), weights)
    mean = share @ unit(vectors.astype(np.float64))
    if np.linalg.norm(mean) < 1e-6:
        raise LibraryError(
            f"tracks={len(vectors)} have no direction between them: theirs cancel out, or are "
            "none; ask for other tracks or weights."
        )
    direction: Float32[np.ndarray, "1 dim"] = unit(mean[None]).astype(np.float32)
    return direction


def each_direction(
    vectors: Float[np.ndarray, "..."], weights: Sequence[float | int] | None = None
) -> Directions:
    """Return the direction of every embedding: what is near to any of them is near.

    Args:
        vectors: (n, dim), n >= 1.
        weights: must be None.

    Raises:
        LibraryError: there are weights.
    """
    if weights is not None:
        raise LibraryError(
            f"weights={list(weights)} mean nothing where the nearest of several tracks counts; "
            "leave them out, or ask for the mean."
        )
    directions: Directions = unit(vectors.astype(np.float64)).astype(np.float32)
    return directions


COMBINATIONS: dict[str, Callable[..., Directions]] = {
    "mean": mean_direction,
    "best": each_direction,
}
"""What several tracks are as one question, by name."""


# --- answers --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hit:
    """One recording of an answer.

    Attributes:
        rank: from 1.
        score: what it is ranked by, larger is nearer: the cosine, or what a scaling made of it.
        similarity: the cosine, in [-1, 1].
        track: its nearest track.
        copies: further tracks of the recording that came up, with the reason for each.
    """

    rank: int
    score: float
    similarity: float
    track: Track
    copies: tuple["FoldedCopy", ...] = ()


@dataclass(frozen=True)
class FoldedCopy:
    """A track that was folded into another one; `reason` in words."""

    track: Track
    reason: str


@runtime_checkable
class Folding(Protocol):
    """What is done with several tracks of one recording."""

    def groups(
        self, candidates: Sequence[Candidate], directions: Float32[np.ndarray, "tracks dim"]
    ) -> Sequence[Group]:
        """Return which candidates are one recording."""
        ...


@dataclass(frozen=True)
class ShowAll:
    """Every track stands for itself."""

    def groups(
        self, candidates: Sequence[Candidate], directions: Float32[np.ndarray, "tracks dim"]
    ) -> Sequence[Group]:
        """Return none."""
        return []


@dataclass(frozen=True)
class FoldCopies:
    """One track stands for its recording; `sameness` says how alike its tracks have to be."""

    sameness: Sameness = field(default_factory=Sameness)

    def groups(
        self, candidates: Sequence[Candidate], directions: Float32[np.ndarray, "tracks dim"]
    ) -> Sequence[Group]:
        """Return `find_groups`."""
        evidence = [candidate.evidence for candidate in candidates]
        return find_groups(evidence, lambda positions: directions[positions], self.sameness)


def find_similar(
    index: Index,
    question: Directions,
    k: int,
    *,
    known: Sequence[int] = (),
    among: Int64[np.ndarray, " chosen"] | None = None,
    scaling: LocalScaling | None = None,
    folding: Folding | None = None,
) -> list[Hit]:
    """Return the k recordings nearest to a question, with their tracks; fewer if there are fewer.

    Args:
        index: of the library.
        question: (questions, dim), of `mean_direction` or `each_direction`.
        k: how many, >= 1.
        known: numbers of the tracks that were asked about: neither they nor, where copies are
            folded, other tracks of their recordings are found.
        among: numbers of the tracks that may be found; None: all.
        scaling: None: by cosine alone.
        folding: None: `FoldCopies`.

    Raises:
        LibraryError: as for `Index.rank`.
    """
    folding = FoldCopies() if folding is None else folding
    fetched = 2 * k + 16
    judge = by_cosine if scaling is None else scaling.judge(question, known)
    while True:
        ranking = index.rank(question, fetched, among=among, exclude=known, judge=judge)
        hits = _folded(index, ranking, known, folding)
        if len(hits) >= k or len(ranking) < fetched:
            return hits[:k]
        fetched *= 2


def _folded(index: Index, ranking: Ranking, known: Sequence[int], folding: Folding) -> list[Hit]:
    """Return the recordings of a ranking without those of the known tracks."""
    asked = index.numbers[index.positions(np.array(known, np.int64))]
    numbers = np.concatenate([asked, ranking.numbers])
    found = candidates_of(index.catalogue, numbers)
    kept = np.array([number in found for number in numbers.tolist()], bool)
    candidates = [found[number] for number in numbers[kept].tolist()]
    places = index.positions(numbers[kept])
    copies: dict[int, list[FoldedCopy]] = {}
    hidden = set(range(int(kept[: len(asked)].sum())))
    for group in folding.groups(candidates, index.directions(places)):
        hidden.update(copy.position for copy in group.copies)
        copies[group.first] = [
            FoldedCopy(candidates[copy.position].track, copy.reason) for copy in group.copies
        ]
    scores, cosines = ranking.scores[kept[len(asked) :]], ranking.cosines[kept[len(asked) :]]
    first = len(candidates) - len(scores)
    shown = [position for position in range(first, len(candidates)) if position not in hidden]
    return [
        Hit(
            rank,
            float(scores[position - first]),
            float(cosines[position - first]),
            candidates[position].track,
            tuple(copies.get(position, ())),
        )
        for rank, position in enumerate(shown, start=1)
    ]


def _weights(count: int, weights: Sequence[float | int] | None) -> Float[np.ndarray, " count"]:
    if weights is None:
        return np.full(count, 1 / count)
    share = np.array(weights, np.float64)
    if len(share) != count:
        raise LibraryError(
            f"weights={list(weights)} are {len(share)} for {count} tracks; give one for each."
        )
    if not (np.isfinite(share).all() and (share >= 0).all() and share.sum() > 0):
        raise LibraryError(
            f"weights={list(weights)} have no mean; use numbers of 0 or more, not all 0."
        )
    shares: Float[np.ndarray, " count"] = share / share.sum()
    return shares

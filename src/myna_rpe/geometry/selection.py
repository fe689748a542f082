"""Which tracks to add to a playlist: between its members, or in a shell around them.

`fill` aims at points within the hull, drawn with Dirichlet weights over its vertices. Their
concentration is small, about 0.1: one or two members dominate each draw. Uniform weights would all
collapse to the middle, for in many dimensions the mean of many vertices lies near their centre.
Each target takes the nearest track not yet used, of those that count as inside; a strategy spreads
what is kept.

`shell` takes tracks of a distance in (low, high], evenly over the member they lean to and, for each
member, over the directions in which they leave the hull.

Nothing is returned that breaks a limit. Where too few tracks satisfy it, fewer are returned, and
``wanted`` says how many were asked for. All randomness comes from the generator that is passed.

Sources: Gonzalez 1985 (farthest first); Chen, Zhang & Zhou 2018, "Fast greedy MAP inference for
determinantal point processes".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import LibraryError
from .hull import Distances, Hull
from .points import check_points, squared_distances
from .search import Found, farthest_first, within

# The pool from which a spread chooses is so many times larger than what it chooses.
_POOL = 3


@dataclass(frozen=True, eq=False)
class Picked:
    """Tracks that were chosen.

    Attributes:
        indices: rows of the table they were chosen from, each once, in the order of the choice.
        distances: of these rows to the hull.
        wanted: how many were asked for.
    """

    indices: Int[np.ndarray, " k"]
    distances: Distances
    wanted: int

    @property
    def missing(self) -> int:
        """How many fewer there are than were asked for."""
        return self.wanted - len(self.indices)


@runtime_checkable
class Spread(Protocol):
    """Chooses some of a pool so that they differ."""

    def choose(self, points: Float[np.ndarray, "n d"], count: int) -> Int[np.ndarray, " k"]:
        """Return `count` different rows, count <= n."""
        ...


@dataclass(frozen=True)
class AsDrawn:
    """No spread: the first of the pool, as the targets were drawn."""

    def choose(self, points: Float[np.ndarray, "n d"], count: int) -> Int[np.ndarray, " k"]:
        """Return the first rows."""
        return np.arange(count)


@dataclass(frozen=True)
class FarthestFirst:
    """Each is the farthest from those before: the evenest cover, outliers first."""

    def choose(self, points: Float[np.ndarray, "n d"], count: int) -> Int[np.ndarray, " k"]:
        """Return rows, farthest first."""
        return farthest_first(points, count)


@dataclass(frozen=True)
class GreedyDPP:
    """Each adds most to the determinant of a Gaussian kernel: different, without seeking outliers.

    The kernel's width is the median distance of the pool. Of points that coincide one is taken;
    others only when nothing else is left.
    """

    def choose(self, points: Float[np.ndarray, "n d"], count: int) -> Int[np.ndarray, " k"]:
        """Return rows, the largest gain first."""
        squares = squared_distances(points, points)
        apart = squares[np.triu_indices(len(points), 1)]
        width = float(np.median(apart)) if apart.size else 0.0
        chosen = greedy_dpp(np.exp(-squares / (2 * (width or 1.0))), count)
        rest = np.setdiff1d(np.arange(len(points)), chosen)
        return np.concatenate([chosen, rest[: count - len(chosen)]])


def greedy_dpp(kernel: Float[np.ndarray, "n n"], count: int) -> Int[np.ndarray, " k"]:
    """Return the rows that greedily maximise the determinant of their part of a kernel.

    Args:
        kernel: symmetric, positive semidefinite.
        count: how many; fewer are returned where every further one would make it 0.

    Source:
        Chen, Zhang & Zhou 2018, algorithm 1: Cholesky rows of all candidates grow together.
    """
    gains = np.diag(kernel).astype(np.float64)
    least = 1e-10 * float(gains.max(initial=0.0))
    rows = np.zeros((len(kernel), 0))
    chosen: list[int] = []
    while len(chosen) < min(count, len(kernel)):
        best = int(gains.argmax())
        if not gains[best] > least:
            break
        column = (kernel[best] - rows @ rows[best]) / np.sqrt(gains[best])
        rows = np.column_stack([rows, column])
        gains = gains - np.square(column)
        chosen.append(best)
        gains[chosen] = -np.inf
    return np.array(chosen, dtype=np.int64)


def dirichlet_weights(
    n: int, count: int, *, rng: np.random.Generator, concentration: float = 0.1
) -> Float[np.ndarray, "count n"]:
    """Return random weights of n vertices: a row is >= 0 and has sum 1.

    Args:
        n: vertices, >= 1.
        count: rows, >= 0.
        rng: draws them.
        concentration: small: few vertices dominate; 1: uniform on the simplex; > 0.

    Raises:
        LibraryError: the concentration is not above 0.
    """
    if not 0 < concentration < np.inf:
        raise LibraryError(f"concentration={concentration} draws no weights; use a number > 0.")
    # In logarithms: gamma(c) is gamma(c + 1) u^(1/c), which is 0 in floating point for small c.
    logs = np.log(rng.gamma(concentration + 1, size=(count, n)))
    logs += np.log1p(-rng.random((count, n))) / concentration
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    normal: Float[np.ndarray, "count n"] = weights / weights.sum(axis=1, keepdims=True)
    return normal


def fill(
    hull: Hull,
    x: Float[np.ndarray, "..."],
    *,
    count: int,
    limit: float | int,
    rng: np.random.Generator,
    used: Iterable[int] = (),
    spread: Spread | None = None,
    concentration: float = 0.1,
) -> Picked:
    """Return tracks that lie between the members of a playlist.

    Args:
        hull: of the members.
        x: (m, d), the tracks to choose from.
        count: how many, >= 1.
        limit: the largest distance to the hull, as `Calibration.inside`.
        rng: draws the targets.
        used: rows that must not be chosen, as the members themselves.
        spread: chooses from a pool three times as large; None: farthest first.
        concentration: of the weights, > 0.

    Raises:
        LibraryError: count < 1, a used row that is none, or as for `within`.
    """
    points = _checked(x, hull, count)
    found = within(hull, points, limit)
    free = np.flatnonzero(_unused(used, len(points))[found.indices])
    candidates = points[found.indices[free]]
    pool_size = min(_POOL * count, len(free))
    targets = hull.points(
        dirichlet_weights(len(hull), pool_size, rng=rng, concentration=concentration)
    )
    pool = np.empty(pool_size, dtype=np.int64)
    taken = np.zeros(len(free), dtype=bool)
    for step, target in enumerate(targets):
        squares = np.square(candidates - target).sum(axis=1)
        pool[step] = np.where(taken, np.inf, squares).argmin()
        taken[pool[step]] = True
    kept = pool
    if pool_size > count:
        kept = pool[(spread or FarthestFirst()).choose(candidates[pool], count)]
    return _picked(found, free[kept], count)


def shell(
    hull: Hull,
    x: Float[np.ndarray, "..."],
    *,
    low: float | int,
    high: float | int,
    count: int,
    rng: np.random.Generator,
    used: Iterable[int] = (),
    directions: int = 4,
) -> Picked:
    """Return tracks with low < distance <= high, spread over members and directions.

    A track belongs to the member of the largest weight in its nearest point, and to the nearest of
    a few directions x - p that are far from each other. Members take turns, and so do the
    directions of each; within both, chance decides.

    Args:
        hull: of the members.
        x: (m, d), the tracks to choose from.
        low: distances up to this are too near.
        high: distances beyond this are too far; > low.
        count: how many, >= 1.
        rng: draws them.
        used: rows that must not be chosen.
        directions: how many are told apart, >= 1.

    Raises:
        LibraryError: not low < high, count or directions < 1, a used row that is none, or as for
            `within`.
    """
    if not 0 <= low < high:
        raise LibraryError(f"low={low} and high={high} hold no shell; use 0 <= low < high.")
    if directions < 1:
        raise LibraryError(f"directions={directions} tell nothing apart; use directions >= 1.")
    points = _checked(x, hull, count)
    found = within(hull, points, high)
    # What is equal to `low` within rounding is inside, as it is for the calibration.
    beyond = found.distances.values > float(low) + hull.resolution
    free = np.flatnonzero(_unused(used, len(points))[found.indices] & beyond)
    if not len(free):
        return _picked(found, free, count)
    weights = found.distances.weights[free]
    leaning = weights.argmax(axis=1)
    away = points[found.indices[free]] - hull.points(weights)
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), np.finfo(float).tiny)
    poles = away[farthest_first(away, min(directions, len(away)))]
    sector = squared_distances(away, poles).argmin(axis=1)
    order = _in_turns(leaning, sector, rng)
    return _picked(found, free[order[:count]], count)


def _in_turns(
    outer: Int[np.ndarray, " n"], inner: Int[np.ndarray, " n"], rng: np.random.Generator
) -> Int[np.ndarray, " n"]:
    """Return all rows: outer groups take turns, in each of them inner groups, random within."""
    shuffled = rng.permutation(len(outer))
    # Who takes the first turn is chance too: else low numbers would be drawn more often.
    outer = rng.permutation(int(outer.max()) + 1)[outer]
    inner = rng.permutation(int(inner.max()) + 1)[inner]
    turns = np.zeros(len(outer), dtype=np.int64)
    turns[shuffled] = _turn(outer[shuffled] * (int(inner.max()) + 1) + inner[shuffled])
    by_turn = np.lexsort((inner, turns))
    ours = np.zeros(len(outer), dtype=np.int64)
    ours[by_turn] = _turn(outer[by_turn])
    return np.lexsort((outer, ours))


def _turn(groups: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return for each row how many rows before it are of its group."""
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], groups[order], side="left")
    turn = np.empty(len(groups), dtype=np.int64)
    turn[order] = np.arange(len(groups)) - starts
    return turn


def _checked(x: Float[np.ndarray, "..."], hull: Hull, count: int) -> Float[np.ndarray, "m d"]:
    if count < 1:
        raise LibraryError(f"count={count} asks for no tracks; use count >= 1.")
    return check_points(x, name="x", dim=hull.dim, least=0)


def _unused(used: Iterable[int], n: int) -> Bool[np.ndarray, " n"]:
    free = np.ones(n, dtype=bool)
    for row in used:
        if not 0 <= row < n:
            raise LibraryError(f"used={row} is none of {n} tracks; use 0 to {n - 1}.")
        free[row] = False
    return free


def _picked(found: Found, rows: Int[np.ndarray, " k"], wanted: int) -> Picked:
    distances = found.distances
    taken = Distances(distances.values[rows], distances.lowers[rows], distances.weights[rows])
    return Picked(found.indices[rows], taken, wanted)

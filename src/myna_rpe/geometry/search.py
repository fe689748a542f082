"""The tracks nearest to a hull, exactly, without solving for all of them.

A cheap lower bound of every distance (`HullSum.lower_bounds`: the distance to the affine span and
the certificate of the centre) gives the order in which tracks are looked at, in blocks. As soon as
the next bound exceeds the k-th best distance found, nothing better can follow. What is found equals
the full scan: in order of distance, equal distances (`HullSum.resolution`) in order of index.

Where a hull has more dimensions' worth of vertices than its space (n > d) it spans everything, the
bounds are weaker and each distance costs more: take a `coreset` of some 60 vertices, and mind its
error.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ..errors import LibraryError
from .hull import Distances, HullSum
from .points import check_points, squared_distances

# The first block holds this many, or a few times k; each further one is twice as large.
_FIRST_BLOCK = 256


@dataclass(frozen=True, eq=False)
class Found:
    """Tracks in order of their distance to a hull.

    Attributes:
        indices: rows of the table that was searched.
        distances: of these rows.
        solved: how many distances were worked out, of all rows.
    """

    indices: Int[np.ndarray, " k"]
    distances: Distances
    solved: int

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True, eq=False)
class Coreset:
    """Few vertices instead of many.

    Attributes:
        indices: rows of the vertices that are kept, in the order they were chosen.
        error: Hausdorff distance of the two hulls: the distance to the hull of the kept is at least
            that to the hull of all, and at most so much more.
    """

    indices: Int[np.ndarray, " size"]
    error: float


def nearest(hull: HullSum, x: Float[np.ndarray, "..."], k: int) -> Found:
    """Return the k points nearest to a hull, nearest first; fewer if there are fewer.

    Args:
        hull: the hull.
        x: (m, d), the points.
        k: how many, >= 1.

    Raises:
        LibraryError: k < 1, or as for `HullSum.distances`.
    """
    if k < 1:
        raise LibraryError(f"k={k} asks for no tracks; use k >= 1.")
    best = np.inf

    def ceiling(values: Float[np.ndarray, " solved"]) -> float:
        nonlocal best
        if len(values) >= k:
            best = float(np.partition(values, k - 1)[k - 1])
        return best

    return _search(hull, x, ceiling, first=max(_FIRST_BLOCK, 2 * k), most=k)


def within(hull: HullSum, x: Float[np.ndarray, "..."], radius: float | int) -> Found:
    """Return all points whose distance to a hull is at most the radius, nearest first.

    Args:
        hull: the hull.
        x: (m, d), the points.
        radius: of 0 or more; infinite: all points.

    Raises:
        LibraryError: the radius is below 0 or NaN, or as for `HullSum.distances`.
    """
    if not radius >= 0:
        raise LibraryError(f"radius={radius} holds no point; use a radius >= 0.")
    found = _search(hull, x, lambda values: float(radius), first=len(x), most=len(x))
    inside = found.distances.values <= float(radius) + hull.resolution
    return _taken(found.indices[inside], found.distances, np.flatnonzero(inside), found.solved)


def coreset(vertices: Float[np.ndarray, "..."], size: int) -> Coreset:
    """Return vertices that stand for all, farthest first, and by how much the hull shrinks.

    Args:
        vertices: (n, d).
        size: how many to keep, >= 1; all are kept where there are no more.

    Raises:
        LibraryError: size < 1, or as for `Hull`.
    """
    points = check_points(vertices, name="vertices")
    if size < 1:
        raise LibraryError(f"size={size} keeps no vertex; use size >= 1.")
    if size >= len(points):
        return Coreset(np.arange(len(points)), 0.0)
    indices = farthest_first(points, size)
    left = np.delete(points, indices, axis=0)
    # The hull of the kept is within that of all, whose farthest point from it is a vertex.
    return Coreset(indices, float(HullSum([points[indices]]).distances(left).values.max()))


def farthest_first(points: Float[np.ndarray, "n d"], count: int) -> Int[np.ndarray, " count"]:
    """Return points chosen one after the other, each the farthest from those before.

    The first is the farthest from the mean; of equal ones the first counts.

    Args:
        points: (n, d).
        count: how many, at most n.

    Source:
        Gonzalez 1985: the largest distance left is at most twice the least possible.
    """
    chosen = np.empty(count, dtype=np.int64)
    gap = squared_distances(points, points.mean(axis=0, keepdims=True))[:, 0]
    for step in range(count):
        chosen[step] = np.argmax(gap)
        new = squared_distances(points, points[chosen[step]][None])[:, 0]
        gap = new if step == 0 else np.minimum(gap, new)
        gap[chosen[: step + 1]] = -1.0
    return chosen


def _search(
    hull: HullSum,
    x: Float[np.ndarray, "..."],
    ceiling: Callable[[Float[np.ndarray, " solved"]], float],
    *,
    first: int,
    most: int,
) -> Found:
    """Return at most `most` points whose bounds do not exceed what `ceiling` says of the found."""
    points = check_points(x, name="x", dim=hull.dim, least=0)
    bounds = hull.lower_bounds(points)
    order = np.argsort(bounds, kind="stable")
    found: list[Distances] = []
    values = np.empty(0)
    done, step = 0, first
    while done < len(order):
        limit = ceiling(values) + 2 * hull.resolution
        reach = int(np.searchsorted(bounds[order], limit, side="right"))
        block = order[done : min(done + step, reach)]
        if not len(block):
            break
        found.append(hull.distances(points[block], ceiling=limit))
        values = np.concatenate([values, found[-1].values])
        done, step = done + len(block), 2 * step
    if not found:
        return Found(np.empty(0, dtype=np.int64), hull.distances(points[:0]), 0)
    joined = Distances(
        values,
        np.concatenate([each.lowers for each in found]),
        np.concatenate([each.weights for each in found]),
    )
    seen = order[:done]
    rank = ranking(values, seen, hull.resolution)[:most]
    return _taken(seen[rank], joined, rank, done)


def ranking(
    values: Float[np.ndarray, " n"], indices: Int[np.ndarray, " n"], resolution: float
) -> Int[np.ndarray, " n"]:
    """Return the order of distances, in which those equal within rounding go by index."""
    grains = np.round(values / resolution) if resolution > 0 else values
    return np.lexsort((indices, grains))


def _taken(
    indices: Int[np.ndarray, " k"], distances: Distances, rows: Int[np.ndarray, " k"], solved: int
) -> Found:
    taken = Distances(distances.values[rows], distances.lowers[rows], distances.weights[rows])
    return Found(indices, taken, solved)

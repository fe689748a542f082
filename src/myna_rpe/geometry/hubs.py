"""Hubs: a few tracks turn up among the neighbours of nearly all. Two ways to weigh them down.

Both compare a pair with how near the two tracks are to their own neighbours. They are for ranking
track to track; never for the hull, whose problem needs true distances. Tables are
(queries, tracks); a scale belongs to each track and is computed once.

Sources: Schnitzer et al. 2012, "Local and global scaling reduce hubs in space", equation 4 (NICDM);
Lample et al. 2018, "Word translation without parallel data", equation 2 (CSLS); Radovanovic et al.
2010, "Hubs in space" (skewness of k-occurrence).
"""

import numpy as np
from jaxtyping import Float, Int

from ..errors import LibraryError
from .points import check_points, squared_distances

# Numbers of a block of the table of all pairs: 32 MB.
_NUMBERS_AT_ONCE = 4_000_000


def cosines(
    first: Float[np.ndarray, "..."], second: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "m n"]:
    """Return the cosine of every pair, in [-1, 1]; that of a zero vector is 0.

    Args:
        first: (m, d).
        second: (n, d).

    Raises:
        LibraryError: tables of points that are none.
    """
    ours = check_points(first, name="first", least=0)
    theirs = check_points(second, name="second", dim=ours.shape[1], least=0)
    similarity: Float[np.ndarray, "m n"] = np.clip(_unit(ours) @ _unit(theirs).T, -1, 1)
    return similarity


def mean_distances(points: Float[np.ndarray, "..."], *, k: int = 10) -> Float[np.ndarray, " n"]:
    """Return the mean distance of each track to its k nearest others: the scale of `nicdm`.

    Args:
        points: (n, d), n >= 2.
        k: how many neighbours, >= 1; fewer if there are fewer.

    Raises:
        LibraryError: k < 1, fewer than two tracks, or a table of points that is none.
    """
    wide = check_points(points, name="points", least=2)
    _check_k(k)
    means = np.empty(len(wide))
    for rows in _blocks(len(wide)):
        table = np.sqrt(squared_distances(wide[rows], wide))
        table[np.arange(len(table)), np.arange(len(wide))[rows]] = np.inf
        kth = min(k, len(wide) - 1)
        means[rows] = np.partition(table, kth - 1, axis=1)[:, :kth].mean(axis=1)
    return means


def mean_cosines(points: Float[np.ndarray, "..."], *, k: int = 10) -> Float[np.ndarray, " n"]:
    """Return the mean cosine of each track with its k most similar others: the scale of `csls`.

    Args:
        points: (n, d), n >= 2.
        k: how many neighbours, >= 1; fewer if there are fewer.

    Raises:
        LibraryError: k < 1, fewer than two tracks, or a table of points that is none.
    """
    wide = _unit(check_points(points, name="points", least=2))
    _check_k(k)
    means = np.empty(len(wide))
    for rows in _blocks(len(wide)):
        table = np.clip(wide[rows] @ wide.T, -1, 1)
        table[np.arange(len(table)), np.arange(len(wide))[rows]] = -np.inf
        kth = min(k, len(wide) - 1)
        means[rows] = -np.partition(-table, kth - 1, axis=1)[:, :kth].mean(axis=1)
    return means


def nicdm(
    distances: Float[np.ndarray, "m n"],
    first: Float[np.ndarray, " m"],
    second: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "m n"]:
    """Return distances over the geometric mean of both scales; smaller is nearer.

    Args:
        distances: of every pair, >= 0.
        first: `mean_distances` of the queries.
        second: `mean_distances` of the tracks.
    """
    # A scale of 0 is a track with k copies; 0 over 0 is 0, and what differs from it is far.
    scale = np.sqrt(np.maximum(np.outer(first, second), np.finfo(float).tiny))
    scaled: Float[np.ndarray, "m n"] = distances.astype(np.float64) / scale
    return scaled


def csls(
    similarities: Float[np.ndarray, "m n"],
    first: Float[np.ndarray, " m"],
    second: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "m n"]:
    """Return 2 cos - r_first - r_second, in [-4, 4]; larger is nearer.

    Args:
        similarities: cosines of every pair.
        first: `mean_cosines` of the queries.
        second: `mean_cosines` of the tracks.
    """
    scaled: Float[np.ndarray, "m n"] = (
        2 * similarities.astype(np.float64) - first[:, None] - second[None, :]
    )
    return scaled


def hubness(neighbours: Int[np.ndarray, "m k"], n: int) -> float:
    """Return the skewness of how often each of n tracks is a neighbour; above 1 there are hubs.

    Args:
        neighbours: the rows found for each query.
        n: how many tracks there are.
    """
    counts = np.bincount(neighbours.ravel(), minlength=n).astype(np.float64)
    spread = counts.std()
    return float((((counts - counts.mean()) / spread) ** 3).mean()) if spread > 0 else 0.0


def _unit(points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    unit: Float[np.ndarray, "n d"] = points / np.where(norms > 0, norms, 1)
    return unit


def _blocks(n: int) -> list[slice]:
    at_once = max(1, _NUMBERS_AT_ONCE // n)
    return [slice(start, start + at_once) for start in range(0, n, at_once)]


def _check_k(k: int) -> None:
    if k < 1:
        raise LibraryError(f"k={k} asks for no neighbours; use k >= 1.")

"""The order in which tracks follow each other with the least total change.

The shortest path through all points, with its ends free or fixed: exact for few (Held-Karp), else
nearest neighbour improved by 2-opt and Or-opt until no single change helps. Distances are
symmetric.

Sources: Held & Karp 1962; Croes 1958 (2-opt); Or 1976 (moving short runs).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ..errors import LibraryError

EXACT_UP_TO = 12
"""So many tracks are ordered exactly."""

_LONGEST_RUN = 3


@dataclass(frozen=True, eq=False)
class Order:
    """Tracks one after the other.

    Attributes:
        indices: every row once, in order.
        length: the sum of the distances between neighbours.
        exact: whether no other order is shorter, or none was found.
    """

    indices: Int[np.ndarray, " n"]
    length: float
    exact: bool


def shortest_order(
    distances: Float[np.ndarray, "..."], *, first: int | None = None, last: int | None = None
) -> Order:
    """Return the shortest open path through all tracks.

    Args:
        distances: (n, n), between every two tracks; symmetric, >= 0.
        first: where it must start; None: anywhere.
        last: where it must end; None: anywhere.

    Raises:
        LibraryError: not a matrix of distances, or ends that are no tracks or one and the same.
    """
    table = _checked(distances)
    n = len(table)
    for name, end in (("first", first), ("last", last)):
        if end is not None and not 0 <= end < n:
            raise LibraryError(f"{name}={end} is none of {n} tracks; use 0 to {n - 1}.")
    if first is not None and first == last and n > 1:
        raise LibraryError(f"first={first} is also the last of {n} tracks; fix two different ends.")
    if n <= EXACT_UP_TO:
        path = _held_karp(table, first, last)
    else:
        path = _improved(table, _nearest_neighbour(table, first, last), first, last)
    return Order(path, path_length(table, path), n <= EXACT_UP_TO)


def path_length(distances: Float[np.ndarray, "n n"], path: Int[np.ndarray, " n"]) -> float:
    """Return the sum of the distances between neighbours on a path."""
    return float(distances[path[:-1], path[1:]].sum())


def _checked(distances: Float[np.ndarray, "..."]) -> Float[np.ndarray, "n n"]:
    shape = distances.shape
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise LibraryError(
            f"distances.shape={shape} is no table of distances; give (n, n) numbers, n >= 1."
        )
    table: Float[np.ndarray, "n n"] = distances.astype(np.float64)
    if not (np.isfinite(table) & (table >= 0)).all():
        raise LibraryError(
            f"distances of {len(table)} tracks hold numbers that are none (NaN, infinite or below "
            "0); leave out tracks without a usable embedding."
        )
    if not np.allclose(table, table.T, rtol=1e-6, atol=1e-6 * float(table.max())):
        raise LibraryError(
            f"distances of {len(table)} tracks differ by direction; give a symmetric table."
        )
    table += table.T.copy()
    table /= 2
    return table


def _held_karp(
    table: Float[np.ndarray, "n n"], first: int | None, last: int | None
) -> Int[np.ndarray, " n"]:
    """Return the shortest path by dynamic programming over sets of visited tracks."""
    n = len(table)
    best = np.full((1 << n, n), np.inf)  # (visited, the last of them)
    before = np.full((1 << n, n), -1)
    for start in range(n) if first is None else [first]:
        best[1 << start, start] = 0.0
    for visited in range(1, 1 << n):
        left = np.array([i for i in range(n) if not visited >> i & 1], dtype=np.int64)
        if not len(left) or not np.isfinite(best[visited]).any():
            continue
        lengths = best[visited][:, None] + table[:, left]  # (the last, the next)
        comes_from = lengths.argmin(axis=0)
        after = visited | 1 << left
        best[after, left] = lengths[comes_from, np.arange(len(left))]
        before[after, left] = comes_from
    visited = (1 << n) - 1
    at = int(best[visited].argmin()) if last is None else last
    path = []
    while at >= 0:
        path.append(at)
        visited, at = visited & ~(1 << at), int(before[visited, at])
    return np.array(path[::-1])


def _nearest_neighbour(
    table: Float[np.ndarray, "n n"], first: int | None, last: int | None
) -> Int[np.ndarray, " n"]:
    """Return the shortest of the paths that always go on to the nearest track left."""
    paths = []
    for start in range(len(table)) if first is None else [first]:
        if start == last:
            continue
        path = [start]
        left = np.ones(len(table), dtype=bool)
        left[[start] if last is None else [start, last]] = False
        while left.any():
            path.append(int(np.where(left, table[path[-1]], np.inf).argmin()))
            left[path[-1]] = False
        paths.append(np.array(path if last is None else [*path, last]))
    return min(paths, key=lambda path: path_length(table, path))


def _improved(
    table: Float[np.ndarray, "n n"],
    path: Int[np.ndarray, " n"],
    first: int | None,
    last: int | None,
) -> Int[np.ndarray, " n"]:
    """Return the path after all changes that help, the best one of each kind at a time."""
    n = len(table)
    # A free end is a step to a place at distance 0 from everywhere, number n.
    wide = np.zeros((n + 1, n + 1))
    wide[:n, :n] = table
    low, high = int(first is not None), n - 1 - int(last is not None)  # what may be moved
    least = 1e-12 * (float(table.max()) or 1.0)
    while True:
        for change in (_best_reversal, _best_move):
            gain, changed = change(wide, path, low, high)
            if gain > least:
                path = changed
                break
        else:
            return path


def _best_reversal(
    wide: Float[np.ndarray, "m m"], path: Int[np.ndarray, " n"], low: int, high: int
) -> tuple[float, Int[np.ndarray, " n"]]:
    """Return the reversal of a run, within `low` to `high`, that shortens the path most (2-opt)."""
    outside = len(path)
    ends = np.concatenate([[outside], path, [outside]])
    before, after = ends[:-2], ends[2:]
    run = np.arange(low, high + 1)
    i, j = run[:, None], run[None, :]
    now = wide[before[run], path[run]][:, None] + wide[path[run], after[run]][None, :]
    then = wide[before[i], path[j]] + wide[path[i], after[j]]
    gains = np.where(i < j, now - then, -np.inf)
    at, to = np.unravel_index(int(gains.argmax()), gains.shape)
    start, end = int(run[at]), int(run[to])
    changed = path.copy()
    changed[start : end + 1] = path[start : end + 1][::-1]
    return float(gains[at, to]), changed


def _best_move(
    wide: Float[np.ndarray, "m m"], path: Int[np.ndarray, " n"], low: int, high: int
) -> tuple[float, Int[np.ndarray, " n"]]:
    """Return the move of a run of up to three to another place that shortens it most (Or-opt)."""
    n = outside = len(path)
    best, changed = 0.0, path
    for length in range(1, _LONGEST_RUN + 1):
        for start in range(low, high - length + 2):
            run = path[start : start + length]
            rest = np.concatenate([path[:start], path[start + length :]])
            ends = np.concatenate([[outside], rest, [outside]])
            removed = (
                wide[ends[start], run[0]]
                + wide[run[-1], ends[start + 1]]
                - wide[ends[start], ends[start + 1]]
            )
            # Between which two of the rest; fixed ends stay where they are.
            places = np.arange(low, len(rest) + 1 - (n - 1 - high))
            left, right = ends[places], ends[places + 1]
            gap = wide[left, right]
            for piece in (run, run[::-1]):
                gains = removed - (wide[left, piece[0]] + wide[piece[-1], right] - gap)
                at = int(gains.argmax())
                if gains[at] > best:
                    best = float(gains[at])
                    changed = np.insert(rest, places[at], piece)
    return best, changed

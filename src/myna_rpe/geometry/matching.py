"""From one playlist's hull to another's: a region for every t in [0, 1], A at 0 and B at 1.

Two ways: `Matched`, the hull of (1 - t) a_i + t b_pi(i) with the cheapest matching pi, and
`Minkowski`, (1 - t) A + t B, every mixture of one point of each, which is wider. The hull of A
and B together would not do: it is the same for every t.

Source: Kuhn 1955 and Crouse 2016 (the assignment problem, as scipy solves it).
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from ..errors import ConfigError, LibraryError
from .hull import Hull, HullSum
from .points import check_points, squared_distances


@runtime_checkable
class Path(Protocol):
    """A region for every t."""

    def at(self, t: float | int) -> HullSum:
        """Return the region at t in [0, 1]; A at 0 and B at 1."""
        ...


@dataclass(frozen=True, eq=False)
class Matching:
    """Pairs of rows of two tables of points; every row of both is in at least one.

    Attributes:
        first: rows of the first table.
        second: rows of the second, as many.
    """

    first: Int[np.ndarray, " pairs"]
    second: Int[np.ndarray, " pairs"]

    def __len__(self) -> int:
        return len(self.first)


class Matched:
    """The hull of matched pairs, mixed: as many vertices as the larger playlist has.

    Args:
        first: (n_A, d), the members of A.
        second: (n_B, d), those of B.

    Raises:
        LibraryError: tables of points that are none.
        ConfigError: scipy is missing.
    """

    def __init__(self, first: Float[np.ndarray, "..."], second: Float[np.ndarray, "..."]) -> None:
        self.matching = match(first, second)
        self._first = check_points(first, name="first")[self.matching.first]
        self._second = check_points(second, name="second")[self.matching.second]

    def at(self, t: float | int) -> Hull:
        """Return the hull at t; its vertices are those of the matching's pairs, in their order.

        Raises:
            LibraryError: t is not in [0, 1].
        """
        _check_t(t)
        return Hull((1 - t) * self._first + t * self._second)


class Minkowski:
    """All mixtures of a point of A and one of B; n_A n_B vertices that are never made.

    Args:
        first: (n_A, d), the members of A.
        second: (n_B, d), those of B.

    Raises:
        LibraryError: tables of points that are none.
    """

    def __init__(self, first: Float[np.ndarray, "..."], second: Float[np.ndarray, "..."]) -> None:
        self._first = check_points(first, name="first")
        self._second = check_points(second, name="second", dim=self._first.shape[1])

    def at(self, t: float | int) -> HullSum:
        """Return the sum at t; its weights are those of A, of sum 1, then those of B, of sum 1.

        Raises:
            LibraryError: t is not in [0, 1].
        """
        _check_t(t)
        return HullSum([(1 - t) * self._first, t * self._second])


def match(first: Float[np.ndarray, "..."], second: Float[np.ndarray, "..."]) -> Matching:
    """Return the pairs of least total squared distance.

    Every row of the larger table is in one pair; those of the smaller are shared out evenly, each
    in floor(n / m) or ceil(n / m). That is the assignment problem where the sizes are equal, and
    optimal transport of equal masses where one divides the other; else the smaller side's masses
    are rounded to whole rows.

    Args:
        first: (n_A, d).
        second: (n_B, d).

    Raises:
        LibraryError: tables of points that are none.
        ConfigError: scipy is missing.
    """
    ours = check_points(first, name="first")
    theirs = check_points(second, name="second", dim=ours.shape[1])
    if len(ours) < len(theirs):
        turned = match(second, first)
        return Matching(turned.second, turned.first)
    large, small = len(ours), len(theirs)
    each, over = divmod(large, small)
    cost = squared_distances(ours, theirs)
    table = np.tile(cost, (1, each))
    if over:
        # One more copy of each, of which dummy rows take those too many; they may take no others.
        dummies = np.full((small - over, (each + 1) * small), np.inf)
        dummies[:, each * small :] = 0.0
        table = np.vstack([np.hstack([table, cost]), dummies])
    rows, columns = _assignment(table)
    return Matching(rows[:large], columns[:large] % small)


def _assignment(
    cost: Float[np.ndarray, "n n"],
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise ConfigError(
            "scipy is not installed, and matching two playlists needs it; "
            "run `pip install 'myna-rpe[library]'`."
        ) from error
    rows, columns = linear_sum_assignment(cost)
    return rows.astype(np.int64), columns.astype(np.int64)


def _check_t(t: float | int) -> None:
    if not 0 <= t <= 1:
        raise LibraryError(f"t={t} is on no way from A to B; use 0 <= t <= 1.")

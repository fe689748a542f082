"""Who belongs to a playlist and who does not: each member against the hull of the others.

A member's distance is that to the hull of all others, its place what that distance is among those
of the others, its p-value (1 + how many others are as far out) / n. By rank alone a tenth of any
ten members would be odd, so whether one stands out is another question: its distance must exceed
the upper quartile of the others' by 1.5 times their range between quartiles.

Source: Tukey 1977, "Exploratory Data Analysis", 2D (fences).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from ...errors import LibraryError
from ...geometry import Calibration, Hull, Place
from ...geometry.hull import Distance
from .pool import Pool
from .region import Region, in_words, region_of

# Fewer others have no quartiles worth the name.
_LEAST_OTHERS = 4


@dataclass(frozen=True)
class Standing:
    """Where a member is.

    Attributes:
        row: of the pool.
        distance: to the hull of the others.
        place: what that is among the others' distances.
        p_value: share of members that are as far out.
        why: whom it resembles, in words.
    """

    row: int
    distance: float
    place: Place
    p_value: float
    why: str


@dataclass(frozen=True, eq=False)
class Check:
    """A playlist, looked at member by member.

    Attributes:
        standings: the farthest first; each recording once.
        stands_out: whether the first of them is far beyond the others.
        region: of all members.
        notes: what else there is to know.
    """

    standings: tuple[Standing, ...]
    stands_out: bool
    region: Region
    notes: tuple[str, ...]

    @property
    def odd_one_out(self) -> Standing:
        """The member that is farthest from the others."""
        return self.standings[0]


def check(pool: Pool, rows: list[int], label: Callable[[int], str]) -> Check:
    """Return how well each member of a playlist fits the others.

    Args:
        pool: the library.
        rows: of the members.
        label: row -> name.

    Raises:
        LibraryError: fewer than two recordings.
    """
    region = region_of(pool, rows) if rows else None
    if region is None or len(region.members) < 2:
        raise LibraryError(
            f"playlist has {len(rows)} tracks of the library and "
            f"{0 if region is None else 1} recordings; a check compares each with the others and "
            "needs at least two."
        )
    members = region.members.tolist()
    found = _alone(pool, region)
    values = np.array([distance.value for distance, _ in found])
    ascending = np.argsort(values, kind="stable")
    rank = np.empty(len(values), dtype=np.int64)
    rank[ascending] = np.arange(len(values))
    neighbours = _neighbours(pool, region)
    standings = []
    for row, (distance, vertices), at in zip(members, found, rank.tolist(), strict=True):
        others = np.delete(values[ascending], at) if neighbours is None else neighbours
        scale = Calibration(others, neighbours is not None, region.hull.resolution)
        standings.append(
            Standing(
                row,
                distance.value,
                scale.place(distance.value),
                scale.p_value(distance.value),
                in_words(distance.value, distance.weights, vertices, label),
            )
        )
    notes = list(region.notes)
    if len(members) < len(rows):
        notes.append(f"{len(rows) - len(members)} further copies of a recording are left out")
    standings.sort(key=lambda standing: -standing.distance)
    return Check(tuple(standings), stands_out(values), region, tuple(notes))


def stands_out(distances: Float64[np.ndarray, " n"]) -> bool:
    """Return whether the largest distance is far beyond the others; False for fewer than five."""
    others = np.delete(distances, int(distances.argmax()))
    if len(others) < _LEAST_OTHERS:
        return False
    low, high = np.quantile(others, [0.25, 0.75])
    return bool(distances.max() > high + 1.5 * (high - low))


def _alone(pool: Pool, region: Region) -> list[tuple[Distance, list[int]]]:
    """Return the distance of each member to the hull of the others, and who its vertices are."""
    vertices = region.vertices.tolist()
    left = np.setdiff1d(region.members, region.vertices)
    many = region.hull.distances(pool.points[left])
    found = {
        row: (Distance(float(value), float(value), weights, np.zeros(1)), vertices)
        for row, value, weights in zip(left.tolist(), many.values, many.weights, strict=True)
    }
    for row in vertices:
        others = [other for other in vertices if other != row]
        found[row] = (Hull(pool.points[others]).distance(pool.points[row]), others)
    return [found[row] for row in region.members.tolist()]


def _neighbours(pool: Pool, region: Region) -> Float64[np.ndarray, " m"] | None:
    """Return how far two members are from their neighbours, ascending; None for more members."""
    return region.calibration.scatter if region.calibration.fallback else None

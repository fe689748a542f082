"""A playlist as a region of hull space: where it is, what near means there, and how to say it.

Up to 60 members are all vertices of the hull. Of more a coreset of 60 stands for all, and by how
much its hull is smaller is part of the answer (`Region.error`). Distances then mean what they do
for the coreset: members that are no vertices are held out of it as they are, and a vertex is
measured against the others.

Copies of a recording count once: the hull is the same, and a copy's distance of 0 would say that
nothing is near.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from ...errors import LibraryError
from ...geometry import Calibration, Distance, Hull, calibrate, coreset, neighbour_distances
from ...geometry.calibration import leave_one_out
from .pool import Pool

MOST_VERTICES = 60
NEIGHBOURS = 20

_NAMED = 3
_LEAST_SHARE = 0.005


@dataclass(frozen=True, eq=False)
class Region:
    """The hull of a playlist, and what distances to it mean.

    Attributes:
        hull: of the vertices.
        calibration: of distances to it.
        vertices: rows of the pool, in the order of the hull's.
        members: rows of the pool that it stands for, each recording once.
        error: the hull of all members reaches at most so much farther; 0 where they all are
            vertices.
    """

    hull: Hull
    calibration: Calibration
    vertices: Int64[np.ndarray, " v"]
    members: Int64[np.ndarray, " n"]
    error: float

    @property
    def notes(self) -> list[str]:
        """What a reader of the answer should know."""
        said = []
        if self.error > 0:
            said.append(
                f"{len(self.vertices)} of {len(self.members)} members stand for all; distances "
                f"are at most {self.error:.2f} too large"
            )
        if self.calibration.fallback:
            members = "1 member says" if len(self.members) == 1 else "2 members say"
            said.append(
                f"{members} nothing of how a playlist scatters; near means as near as the "
                "neighbours in the library are"
            )
        return said


def region_of(pool: Pool, rows: Sequence[int]) -> Region:
    """Return the region of a playlist.

    Args:
        pool: the library.
        rows: of the members; copies of a recording count once.

    Raises:
        LibraryError: no member, or one or two and nothing else in the library.
    """
    if not rows:
        raise LibraryError("playlist=empty has no region; give it at least one track.")
    members = np.array(first_of_recordings(pool, rows), dtype=np.int64)
    points = pool.points[members]
    if len(members) > MOST_VERTICES:
        kept = coreset(points, MOST_VERTICES)
        hull = Hull(points[kept.indices])
        others = np.setdiff1d(np.arange(len(members)), kept.indices)
        held_out = hull.distances(points[others]).values
        scatter = np.sort(np.concatenate([held_out, leave_one_out(hull.vertices)]))
        calibration = Calibration(scatter, False, hull.resolution)
        return Region(hull, calibration, members[kept.indices], members, kept.error)
    neighbours = None
    if len(members) < 3:
        others = np.flatnonzero(~pool.recordings_of(members.tolist()))
        if len(others):
            neighbours = neighbour_distances(points, pool.points[others], k=NEIGHBOURS)
    return Region(Hull(points), calibrate(points, neighbours=neighbours), members, members, 0.0)


def first_of_recordings(pool: Pool, rows: Sequence[int]) -> list[int]:
    """Return the rows without further copies of a recording."""
    found: dict[int, int] = {}
    for row in rows:
        found.setdefault(int(pool.facts.recordings[row]), row)
    return list(found.values())


def in_words(
    value: float,
    weights: Float64[np.ndarray, " v"],
    vertices: Sequence[int],
    label: Callable[[int], str],
) -> str:
    """Return which tracks a point resembles, as ``60 % like A, 40 % like B, 0.12 beyond``.

    Args:
        value: the distance.
        weights: of the vertices, >= 0.
        vertices: rows; the weights of one that comes several times are added up.
        label: name of a row; asked only of those that are named.
    """
    shares: dict[int, float] = {}
    for row, weight in zip(vertices, weights.tolist(), strict=True):
        shares[row] = shares.get(row, 0.0) + weight
    # What would read "0 %" is left out.
    least = _LEAST_SHARE * sum(shares.values())
    ranked = sorted((row for row in shares if shares[row] >= least), key=lambda row: -shares[row])
    names = [label(row) if at < _NAMED else "" for at, row in enumerate(ranked)]
    given = np.array([shares[row] for row in ranked])
    return Distance(value, value, given, np.zeros(1)).explain(names, most=_NAMED)

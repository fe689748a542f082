"""Inside, near, outside: distances measured against the playlist's own scatter.

In high dimension no other track is ever inside a hull (on a sphere none can be; for d >= 16 none of
the held-out tracks was), so a distance means something only beside those of the members themselves:
rho_i is the distance of member i to the hull of the others. With q_alpha the ceil((n + 1) alpha)-th
smallest rho,

    inside: d <= q_.5        near: d <= q_.9        outside: beyond

and the p-value (1 + #{rho_i >= d}) / (n + 1). Where that rank is beyond n, q_alpha is infinite: few
members (n < 9) cannot tell near from outside, and nothing is called outside. If a further track is
drawn like the members, its distance is at most q_alpha with a probability of about alpha; it is
rather more, because one more vertex never makes a hull smaller.

One or two members have no such scatter: distances to their neighbours in the library take the place
of rho, and ``fallback`` says so.

Source: Vovk, Gammerman & Shafer 2005, chapter 2 (conformal p-values); Barber et al. 2021
(jackknife+, on leaving one out).
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil
from typing import Literal

import numpy as np
from jaxtyping import Float

from ..errors import LibraryError
from .hull import Hull
from .points import check_points, squared_distances

Place = Literal["inside", "near", "outside"]

_LEAST_MEMBERS = 3


@dataclass(frozen=True, eq=False)
class Calibration:
    """What distances to one hull mean.

    Attributes:
        scatter: rho, ascending; or distances to neighbours, see ``fallback``.
        fallback: True where there are too few members to say how they scatter.
        resolution: distances closer than that are equal.
    """

    scatter: Float[np.ndarray, " n"]
    fallback: bool
    resolution: float

    @cached_property
    def inside(self) -> float:
        """The largest distance that is inside."""
        return self.quantile(0.5)

    @cached_property
    def near(self) -> float:
        """The largest distance that is near; infinite where the members are too few to say."""
        return self.quantile(0.9)

    def quantile(self, alpha: float) -> float:
        """Return q_alpha: the ceil((n + 1) alpha)-th smallest of n; infinite beyond them.

        Raises:
            LibraryError: alpha is not between 0 and 1.
        """
        if not 0 < alpha <= 1:
            raise LibraryError(f"alpha={alpha} is no share of tracks; use 0 < alpha <= 1.")
        # Exact: 0.9 is nine tenths here, and not a little more.
        rank = ceil((len(self.scatter) + 1) * Fraction(str(alpha)))
        return float(self.scatter[rank - 1]) if rank <= len(self.scatter) else np.inf

    def place(self, distance: float) -> Place:
        """Return what a distance is; that of a member, 0, is always inside.

        Raises:
            LibraryError: the distance is below 0 or NaN.
        """
        if not distance >= 0:
            raise LibraryError(f"distance={distance} is none; use a distance >= 0.")
        if distance <= self.inside + self.resolution:
            return "inside"
        return "near" if distance <= self.near + self.resolution else "outside"

    def p_value(self, distance: float) -> float:
        """Return (1 + #{rho_i >= distance}) / (n + 1): how usual it is among the members."""
        as_far = int((self.scatter + self.resolution >= distance).sum())
        return (1 + as_far) / (len(self.scatter) + 1)


def calibrate(
    vertices: Float[np.ndarray, "..."], *, neighbours: Float[np.ndarray, " m"] | None = None
) -> Calibration:
    """Return what distances to the hull of a playlist mean.

    Args:
        vertices: (n, d), the members.
        neighbours: distances of the members to their nearest tracks of the library, as
            `neighbour_distances` gives them; used for one or two members only.

    Raises:
        LibraryError: one or two members without `neighbours`, a distance among those that is
            below 0 or NaN, or as for `Hull`.
    """
    hull = Hull(vertices)
    if len(hull) >= _LEAST_MEMBERS:
        return Calibration(np.sort(leave_one_out(vertices)), False, hull.resolution)
    if neighbours is None or neighbours.size == 0:
        raise LibraryError(
            f"members={len(hull)} are too few to tell near from far; give at least "
            f"{_LEAST_MEMBERS}, or a library with other tracks."
        )
    wrong = neighbours[~((neighbours >= 0) & (neighbours < np.inf))]
    if wrong.size:
        raise LibraryError(f"neighbours={wrong[0]} is no distance; give finite ones >= 0.")
    scatter = np.sort(neighbours.astype(np.float64))
    return Calibration(scatter, True, max(hull.resolution, 1e-9 * float(scatter[-1])))


def leave_one_out(vertices: Float[np.ndarray, "..."]) -> Float[np.ndarray, " n"]:
    """Return the distance of each member to the hull of the others.

    Args:
        vertices: (n, d), n >= 2.

    Raises:
        LibraryError: fewer than two members, or as for `Hull`.
    """
    points = check_points(vertices, name="vertices", least=2)
    others = ~np.eye(len(points), dtype=bool)
    return np.array([Hull(points[others[i]]).distance(points[i]).value for i in range(len(points))])


def neighbour_distances(
    members: Float[np.ndarray, "..."], library: Float[np.ndarray, "..."], *, k: int = 20
) -> Float[np.ndarray, " m"]:
    """Return the distances of each member to its k nearest tracks, all in one vector.

    Args:
        members: (n, d).
        library: (m, d), the other tracks; without the members.
        k: how many of each member; fewer if the library holds fewer.

    Raises:
        LibraryError: k < 1, or tables of points that are none.
    """
    if k < 1:
        raise LibraryError(f"k={k} asks for no neighbours; use k >= 1.")
    ours = check_points(members, name="members")
    theirs = check_points(library, name="library", dim=ours.shape[1])
    squares = squared_distances(ours, theirs)
    nearest = np.sort(squares, axis=1)[:, :k]
    distances: Float[np.ndarray, " m"] = np.sqrt(nearest).ravel()
    return distances

"""Distances to the convex hull of points, or to a sum of hulls, each with its certificate.

The distance of x to the hull of the rows of V is the least |x - V'a| over weights a >= 0 of sum 1.
Vertices are centred on their mean and written in an orthonormal basis of their span; what of x lies
outside the span is added by Pythagoras. Every answer carries bounds that hold whatever the method
did: with p = V'a and any weights a,

    max(0, min_i (v_i - x).(p - x) / |p - x|) <= distance <= |p - x|

taken within the span, which makes the lower bound no worse. Distances are in the unit of the
embeddings, (n, d) and (m, d) hold a point a row, everything is float64.

In high dimension hardly anything is ever inside a hull; see `calibration` for what counts as near.

Source: see `minnorm`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..errors import LibraryError
from .minnorm import Blocks, certify, many_nearest_weights, nearest_weights
from .points import check_points

RESOLUTION = 1e-9
"""Gap of the certificate to reach, in units of the hull's radius or the point's distance from its
centre, whichever is larger; distances closer than that are equal."""

# Rows that are worked on together: their arrays stay in the processor's cache.
_ROWS_AT_ONCE = 2048


@dataclass(frozen=True, eq=False)
class Distance:
    """How far a point is from a hull, and which of its vertices it resembles.

    Attributes:
        value: the distance; exact within ``value - lower``.
        lower: the distance is at least this.
        weights: of the vertices in the nearest point, >= 0; of sum 1, or in each hull of a sum.
        point: the nearest point of the hull.
    """

    value: float
    lower: float
    weights: Float[np.ndarray, " n"]
    point: Float[np.ndarray, " d"]

    def explain(self, names: Sequence[str], *, most: int = 3) -> str:
        """Return the answer in words, as ``60 % like A, 40 % like B, 0.12 beyond``.

        Args:
            names: of the vertices, in their order.
            most: how many vertices are named; others are counted.

        Raises:
            LibraryError: there are not as many names as vertices.
        """
        if len(names) != len(self.weights):
            raise LibraryError(
                f"names={len(names)} do not fit {len(self.weights)} vertices; give one for each."
            )
        total = self.weights.sum()
        order = [i for i in np.argsort(-self.weights, kind="stable") if self.weights[i] > 0]
        said = [f"{100 * self.weights[i] / total:.0f} % like {names[i]}" for i in order[:most]]
        if rest := len(order[most:]):
            share = 100 * self.weights[order[most:]].sum() / total
            said.append(f"{share:.0f} % like {rest} other{'s' if rest > 1 else ''}")
        return ", ".join([*said, f"{self.value:.2f} beyond"])


@dataclass(frozen=True, eq=False)
class Distances:
    """Distances of many points; the fields are those of `Distance`, a row for each point."""

    values: Float[np.ndarray, " m"]
    lowers: Float[np.ndarray, " m"]
    weights: Float[np.ndarray, "m n"]

    def __len__(self) -> int:
        return len(self.values)


class HullSum:
    """The Minkowski sum of convex hulls: every sum of one point of each.

    Args:
        parts: the vertices of each hull, (n, d) with the same d.

    Raises:
        LibraryError: no hull, no vertex, another shape, or a number that is NaN or infinite.
    """

    def __init__(self, parts: Sequence[Float[np.ndarray, "..."]]) -> None:
        if not parts:
            raise LibraryError("parts=0 hulls have no sum; give at least one.")
        first = check_points(parts[0], name="vertices")
        checked = [first]
        checked += [check_points(p, name="vertices", dim=first.shape[1]) for p in parts[1:]]
        self._means = [part.mean(axis=0) for part in checked]
        centred = np.vstack([p - m for p, m in zip(checked, self._means, strict=True)])
        self.dim: int = first.shape[1]
        self.centre: Float[np.ndarray, " d"] = np.sum(self._means, axis=0)
        # Points closer than the rounding of their coordinates are one point.
        rounding = np.finfo(float).eps * max(float(np.abs(part).max()) for part in checked)
        if np.abs(centred).max() <= 16 * rounding:
            centred = np.zeros_like(centred)
        self._vertices: Float[np.ndarray, "n d"] = centred
        self._basis = _basis(centred, rounding)
        self._spans_all = self._basis.shape[1] == self.dim
        within = centred if self._spans_all else centred @ self._basis
        self._blocks = Blocks(within, tuple(len(part) for part in checked))

    def __len__(self) -> int:
        return len(self._vertices)

    @property
    def radius(self) -> float:
        """No point of it is farther from its centre than this."""
        return self._blocks.radius

    @property
    def resolution(self) -> float:
        """Distances of points about as far away as the vertices are equal within this."""
        return RESOLUTION * self.radius

    def distance(self, x: Float[np.ndarray, "..."]) -> Distance:
        """Return how far a point is, by Wolfe's method.

        Args:
            x: (d,).

        Raises:
            LibraryError: x is of another shape, NaN or infinite.
        """
        if x.shape != (self.dim,):
            raise LibraryError(
                f"x.shape={x.shape} does not fit a hull of d={self.dim}; "
                "use an embedding of the same space."
            )
        within, beyond = self._split(check_points(x[None], name="x"))
        tolerance = float(self._tolerance(within)[0])
        weights = nearest_weights(self._blocks, within[0], tolerance=tolerance)
        lower, upper = certify(self._blocks, within, weights[None])
        return Distance(
            float(np.hypot(upper, beyond)[0]),
            float(np.hypot(lower, beyond)[0]),
            weights,
            self.points(weights[None])[0],
        )

    def distances(self, x: Float[np.ndarray, "..."], *, ceiling: float | int = np.inf) -> Distances:
        """Return how far many points are, by accelerated projected gradient, many at once.

        Args:
            x: (m, d); m may be 0.
            ceiling: points that are certainly farther are not followed up: their bounds hold,
                but may be wide.

        Raises:
            LibraryError: x is of another shape, or has a number that is NaN or infinite.
        """
        points = check_points(x, name="x", dim=self.dim, least=0)
        result = Distances(
            np.empty(len(points)), np.empty(len(points)), np.empty((len(points), len(self)))
        )
        for start in range(0, len(points), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            within, beyond = self._split(points[rows])
            room = np.maximum(float(ceiling) ** 2 - np.square(beyond), 0)
            # Beyond the ceiling already, without any step: no lower bound is below 0.
            limit = np.where(beyond > ceiling, -1.0, np.sqrt(room))
            bounds = many_nearest_weights(
                self._blocks, within, tolerance=self._tolerance(within), ceiling=limit
            )
            result.values[rows] = np.hypot(bounds.upper, beyond)
            result.lowers[rows] = np.hypot(bounds.lower, beyond)
            result.weights[rows] = bounds.weights
        return result

    def lower_bounds(self, x: Float[np.ndarray, "..."]) -> Float[np.ndarray, " m"]:
        """Return what the distances of many points are at least: no more than two products.

        It is the distance to the affine span, and within the span the certificate of the hull's
        centre: |x| - max_i v_i.x / |x| with x as seen from there.

        Args:
            x: (m, d).

        Raises:
            LibraryError: as for `distances`.
        """
        within, beyond = self._split(check_points(x, name="x", dim=self.dim, least=0))
        length = np.linalg.norm(within, axis=1)
        reach = -self._blocks.lowest(-within @ self._blocks.vertices.T)
        inner = np.maximum(length - reach / np.where(length > 0, length, 1), 0)
        bound = np.hypot(inner, beyond)
        # Rounding must not lift a bound above the distance it is a bound of.
        slack = 1e-12 * (self.radius + length + beyond)
        lowest: Float[np.ndarray, " m"] = np.maximum(bound - slack, 0)
        return lowest

    def points(self, weights: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m d"]:
        """Return the points with these weights; those of each hull must have sum 1."""
        points: Float[np.ndarray, "m d"] = self.centre + weights @ self._vertices
        return points

    def _split(
        self, x: Float[np.ndarray, "m d"]
    ) -> tuple[Float[np.ndarray, "m r"], Float[np.ndarray, " m"]]:
        """Return the points in the basis of the span, and their distances from it."""
        # Mean by mean, as the vertices were: a vertex is then seen exactly where it is.
        for mean in self._means:
            x = x - mean
        if self._spans_all:
            return x, np.zeros(len(x))
        within: Float[np.ndarray, "m r"] = x @ self._basis
        beyond: Float[np.ndarray, " m"] = np.linalg.norm(x - within @ self._basis.T, axis=1)
        return within, beyond

    def _tolerance(self, within: Float[np.ndarray, "m r"]) -> Float[np.ndarray, " m"]:
        sizes: Float[np.ndarray, " m"] = np.maximum(self.radius, np.linalg.norm(within, axis=1))
        return RESOLUTION * sizes


class Hull(HullSum):
    """The convex hull of points.

    Args:
        vertices: (n, d), n >= 1; repeated points, points on a line, points within the hull and
            n > d are all fine.

    Raises:
        LibraryError: no vertex, another shape, or a number that is NaN or infinite.

    >>> triangle = Hull(np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]))
    >>> distance = triangle.distance(np.array([1.0, -3.0]))
    >>> round(distance.value, 6), distance.explain(["A", "B", "C"])
    (3.0, '75 % like A, 25 % like B, 3.00 beyond')
    """

    def __init__(self, vertices: Float[np.ndarray, "..."]) -> None:
        super().__init__([vertices])
        self.vertices: Float[np.ndarray, "n d"] = vertices.astype(np.float64)


def scaled_distances(
    hull: HullSum, x: Float[np.ndarray, "..."], *, factor: float | int
) -> Distances:
    """Return distances to the hull made larger or smaller about its centre c.

    No new hull is needed: dist(x, c + s (V - c)) = s dist(c + (x - c) / s, V).

    Args:
        hull: the hull.
        x: (m, d).
        factor: s, > 0.

    Raises:
        LibraryError: the factor is not above 0, or as for `HullSum.distances`.
    """
    if not 0 < factor < np.inf:
        raise LibraryError(f"factor={factor} makes no hull; use a finite factor > 0.")
    points = check_points(x, name="x", dim=hull.dim, least=0)
    distances = hull.distances(hull.centre + (points - hull.centre) / factor)
    return Distances(factor * distances.values, factor * distances.lowers, distances.weights)


def _basis(centred: Float[np.ndarray, "n d"], rounding: float) -> Float[np.ndarray, "d r"]:
    """Return an orthonormal basis of the span of the rows, without what is rounding only."""
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    smallest = max(centred.shape) * max(rounding, float(sizes[0]) * np.finfo(float).eps)
    # Of points that coincide one direction is kept, for an empty basis needs care everywhere else.
    rank = max(1, int((sizes > smallest).sum()))
    basis: Float[np.ndarray, "d r"] = directions[:rank].T
    return basis

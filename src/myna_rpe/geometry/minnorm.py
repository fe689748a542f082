"""The nearest point of a convex hull, or of a sum of hulls: one by one, and many at once.

The task is to minimise |p|, p = V'a - x, over weights a. V stacks the vertices of one or more hulls
("blocks"), and the weights of each block are a simplex of their own: not negative, of sum 1. One
block is a convex hull; two are a Minkowski sum, whose n_A n_B vertices are never written down,
because the best vertex in a direction is the best one of each block.

For any weights, with the smallest sum over blocks that (v_i - x).p can be,

    max(0, min_i (v_i - x).p / |p|) <= distance <= |p|

which is what both methods stop by. Axes: V (n, d), x (m, d), weights (m, n).

Sources: Wolfe 1976, "Finding the nearest point in a polytope"; Beck & Teboulle 2009 (FISTA);
O'Donoghue & Candes 2015 (restart); Held, Wolfe & Crowder 1974 (projection onto the simplex).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

# Steps between two looks at the certificate, and looks before a row is left to Wolfe's method.
_STEPS = 12
_LOOKS = 16
# Numbers that the equations of one chunk of rows may take: 32 MB.
_NUMBERS_AT_ONCE = 4_000_000


@dataclass(frozen=True, eq=False)
class Blocks:
    """The vertices of one hull or several, stacked; of each block the mean must be 0.

    Attributes:
        vertices: (n, d).
        sizes: how many vertices each block has, in order.
    """

    vertices: Float[np.ndarray, "n d"]
    sizes: tuple[int, ...]

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where the blocks are among the vertices."""
        ends = np.cumsum(self.sizes).tolist()
        return tuple(slice(end - size, end) for end, size in zip(ends, self.sizes, strict=True))

    @cached_property
    def gram(self) -> Float[np.ndarray, "n n"]:
        """The products of all vertices with each other."""
        products: Float[np.ndarray, "n n"] = self.vertices @ self.vertices.T
        return products

    @cached_property
    def radius(self) -> float:
        """No point of the sum is farther from its centre than this."""
        norms = np.linalg.norm(self.vertices, axis=1)
        return float(sum(norms[block].max() for block in self.slices))

    def lowest(self, products: Float[np.ndarray, "m n"]) -> Float[np.ndarray, " m"]:
        """Return the least that a vertex of the sum has, of products with each vertex."""
        total = products[:, self.slices[0]].min(axis=1)
        for block in self.slices[1:]:
            total = total + products[:, block].min(axis=1)
        least: Float[np.ndarray, " m"] = total
        return least


def nearest_weights(
    blocks: Blocks, x: Float[np.ndarray, " d"], *, tolerance: float
) -> Float[np.ndarray, " n"]:
    """Return the weights of the point nearest to x, by Wolfe's method.

    It keeps a few vertices in whose affine span the nearest point is known, adds the vertex that
    lies lowest in that direction, and drops those whose weight would turn negative. It ends after
    finitely many steps; where rounding hides further progress, with the best it has.

    Args:
        blocks: the hull.
        x: the point, as seen from the centre of the hull.
        tolerance: the certificate's gap at which to stop.
    """
    vertices = blocks.vertices
    atoms = [_first_atom(blocks, x)]
    corners = vertices[atoms[0]].sum(axis=0)[None] - x  # (atoms, d)
    weights = np.ones(1)
    p = corners[0]
    for _ in range(100 + 20 * len(vertices)):
        length = float(np.linalg.norm(p))
        products = vertices @ p
        atom = [block.start + int(np.argmin(products[block])) for block in blocks.slices]
        lower = 0.0 if length == 0 else float(products[atom].sum() - x @ p) / length
        if length - max(0.0, lower) <= tolerance or atom in atoms:
            break
        corner = vertices[atom].sum(axis=0) - x
        kept, tried = _shrink(np.vstack([corners, corner]), np.append(weights, 0.0))
        if np.linalg.norm(tried @ np.vstack([corners, corner])[kept]) >= length:
            break
        atoms = [each for each, keep in zip([*atoms, atom], kept, strict=True) if keep]
        corners, weights = np.vstack([corners, corner])[kept], tried
        p = weights @ corners
    answer = np.zeros(len(vertices))
    for atom, weight in zip(atoms, weights, strict=True):
        answer[atom] += weight
    return answer


def _first_atom(blocks: Blocks, x: Float[np.ndarray, " d"]) -> list[int]:
    """Return a vertex of each block, so that their sum is near x; the nearest of a single block."""
    atom, left = [], x
    for block in blocks.slices:
        best = int(np.argmin(np.square(blocks.vertices[block] - left).sum(axis=1)))
        atom.append(block.start + best)
        left = left - blocks.vertices[block.start + best]
    return atom


def _shrink(
    corners: Float[np.ndarray, "atoms d"], weights: Float[np.ndarray, " atoms"]
) -> tuple[Bool[np.ndarray, " atoms"], Float[np.ndarray, " kept"]]:
    """Return which corners stay, and weights > 0 of the least-norm point of their affine span."""
    kept = np.ones(len(weights), dtype=bool)
    while True:
        best = _affine_weights(corners[kept])
        now = weights[kept]
        falling = best <= 0
        if not falling.any():
            return kept, best
        reach = now[falling] / (now[falling] - best[falling] + np.finfo(float).tiny)
        now = now + reach.min() * (best - now)
        now[np.flatnonzero(falling)[np.argmin(reach)]] = 0.0
        weights = weights.copy()
        weights[kept] = np.maximum(now, 0)
        kept = kept & (weights > 1e-15)


def _affine_weights(corners: Float[np.ndarray, "atoms d"]) -> Float[np.ndarray, " atoms"]:
    """Return the weights, of sum 1 and any sign, of the least-norm point of an affine span."""
    edges = corners[1:] - corners[0]
    rest = np.linalg.lstsq(edges.T, -corners[0], rcond=None)[0]
    weights: Float[np.ndarray, " atoms"] = np.concatenate([[1 - rest.sum()], rest])
    return weights


# --- many at once --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Bounds:
    """Weights of many points with their certificates; ``settled`` rows reached the tolerance."""

    weights: Float[np.ndarray, "m n"]
    lower: Float[np.ndarray, " m"]
    upper: Float[np.ndarray, " m"]
    settled: Bool[np.ndarray, " m"]


def certify(
    blocks: Blocks, x: Float[np.ndarray, "m d"], weights: Float[np.ndarray, "m n"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Return lower and upper bounds of the distances that hold whatever the weights are."""
    p = weights @ blocks.vertices - x
    upper = np.linalg.norm(p, axis=1)
    reach = blocks.lowest(p @ blocks.vertices.T) - np.einsum("md,md->m", p, x)
    lower = np.maximum(reach, 0) / np.where(upper > 0, upper, 1)
    return np.minimum(lower, upper), upper


def many_nearest_weights(
    blocks: Blocks,
    x: Float[np.ndarray, "m d"],
    *,
    tolerance: Float[np.ndarray, " m"],
    ceiling: Float[np.ndarray, " m"],
) -> Bounds:
    """Return the weights of the points nearest to many x, by accelerated projected gradient.

    After every few steps, rows are sent to the exact optimum over the vertices that have weight
    (the projection makes true zeros); that is the answer as soon as these are the right ones. Rows
    that do not settle within the budget are done one by one.

    Args:
        blocks: the hull.
        x: the points, as seen from the centre of the hull.
        tolerance: the certificate's gap at which a row is settled.
        ceiling: a row whose lower bound is above is given up: its bounds hold, but may be wide.
    """
    count, n = len(x), len(blocks.vertices)
    weights = np.empty((count, n))
    lower, upper = np.empty(count), np.empty(count)
    settled = np.zeros(count, dtype=bool)
    lipschitz = float(np.linalg.norm(blocks.vertices, 2)) ** 2 or 1.0

    rows = np.arange(count)  # those still under way
    target = x @ blocks.vertices.T
    a = np.empty((count, n))
    for block in blocks.slices:
        a[:, block] = 1 / (block.stop - block.start)
    y, momentum = a, np.ones(count)
    for _ in range(_LOOKS):
        for _ in range(_STEPS):
            after = _project(blocks, y - (y @ blocks.gram - target) / lipschitz)
            moved = after - a
            # Momentum that points uphill is dropped, row by row.
            momentum[np.einsum("mn,mn->m", y - after, moved) > 0] = 1.0
            grown = (1 + np.sqrt(1 + 4 * np.square(momentum))) / 2
            y = after + ((momentum - 1) / grown)[:, None] * moved
            a, momentum = after, grown
        better, low, high = _polish(blocks, x[rows], a, target, lipschitz)
        momentum[(better != a).any(axis=1)] = 1.0
        a = better
        y = np.where((momentum == 1)[:, None], a, y)
        exact = high - low <= tolerance[rows]
        done = exact | (low > ceiling[rows])
        weights[rows], lower[rows], upper[rows], settled[rows] = a, low, high, exact
        rows, a, y, momentum, target = (v[~done] for v in (rows, a, y, momentum, target))
        if not len(rows):
            break
    for row in rows:
        alone = nearest_weights(blocks, x[row], tolerance=float(tolerance[row]))[None]
        low, high = certify(blocks, x[row : row + 1], alone)
        if high[0] - low[0] < upper[row] - lower[row]:
            weights[row], lower[row], upper[row] = alone[0], low[0], high[0]
            settled[row] = upper[row] - lower[row] <= tolerance[row]
    return Bounds(weights, lower, upper, settled)


def _polish(
    blocks: Blocks,
    x: Float[np.ndarray, "m d"],
    weights: Float[np.ndarray, "m n"],
    target: Float[np.ndarray, "m n"],
    lipschitz: float,
) -> tuple[Float[np.ndarray, "m n"], Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Return weights that are no worse, exact where the support is right, with their bounds."""
    lower, upper = certify(blocks, x, weights)
    best = weights.copy()
    support = weights > 0
    sizes = support.sum(axis=1)
    # More vertices than that depend on each other: no optimum over them is the only one.
    most = x.shape[1] + len(blocks.sizes)
    width = min(most, int(sizes.max()))
    at_once = max(1, _NUMBERS_AT_ONCE // max(width**2, blocks.vertices.size))
    for few in (True, False):
        chosen = np.flatnonzero((sizes <= most) == few)
        for start in range(0, len(chosen), at_once):
            rows = chosen[start : start + at_once]
            if few:
                # Of each row, the vertices of its support first.
                columns = np.argsort(~support[rows], axis=1, kind="stable")[:, :width]
                optimum = _support_optimum(blocks, columns, weights[rows], target[rows], lipschitz)
                tried = np.zeros((len(rows), weights.shape[1]))
                np.put_along_axis(tried, columns, optimum, axis=1)
            else:
                tried = _moved_onto(blocks, x[rows], weights[rows], lipschitz)
            tried = _project(blocks, tried)
            low, high = certify(blocks, x[rows], tried)
            wins = high < upper[rows]
            best[rows] = np.where(wins[:, None], tried, best[rows])
            upper[rows] = np.where(wins, high, upper[rows])
            # Either lower bound holds, wherever it came from.
            lower[rows] = np.minimum(np.maximum(low, lower[rows]), upper[rows])
    return best, lower, upper


def _moved_onto(
    blocks: Blocks,
    x: Float[np.ndarray, "m d"],
    weights: Float[np.ndarray, "m n"],
    lipschitz: float,
) -> Float[np.ndarray, "m n"]:
    """Return weights whose point is x itself, as for an x inside the hull.

    Many vertices have weight then. Of all changes that lead to x the one is taken that is least in
    proportion to the weights, so that none turns negative where the way is short.
    """
    size = np.sqrt(lipschitz)
    member = np.zeros((len(blocks.sizes), len(blocks.vertices)))
    for index, block in enumerate(blocks.slices):
        member[index, block] = 1.0
    table = np.vstack([blocks.vertices.T / size, member])  # (d + blocks, n)
    wanted = np.zeros((len(x), len(table)))
    wanted[:, : x.shape[1]] = (x - weights @ blocks.vertices) / size
    equations = (weights[:, None, :] * table) @ table.T
    equations += 1e-14 * np.eye(len(table))
    try:
        change = np.linalg.solve(equations, wanted[:, :, None])[:, :, 0] @ table
    except np.linalg.LinAlgError:  # the steps go on from where they are
        change = np.zeros_like(weights)
    moved: Float[np.ndarray, "m n"] = weights * (1 + change)
    return moved


def _support_optimum(
    blocks: Blocks,
    columns: Int[np.ndarray, "m width"],
    weights: Float[np.ndarray, "m n"],
    target: Float[np.ndarray, "m n"],
    lipschitz: float,
) -> Float[np.ndarray, "m width"]:
    """Return the optimum over vertices that have weight, whose signs are left free.

    It solves the Karush-Kuhn-Tucker equations of every row, G a + multiplier = V x and sum a = 1 by
    block. A touch of ridge stands in for vertices that depend on each other.
    """
    count, width = columns.shape
    used = np.take_along_axis(weights, columns, axis=1) > 0
    both = used[:, :, None] & used[:, None, :]
    eye = np.eye(width) * lipschitz
    products = blocks.gram[columns[:, :, None], columns[:, None, :]]
    equations = np.zeros((count, width + len(blocks.sizes), width + len(blocks.sizes)))
    equations[:, :width, :width] = np.where(both, products + 1e-13 * eye, eye)
    right = np.zeros(equations.shape[:2])
    right[:, :width] = np.where(used, np.take_along_axis(target, columns, axis=1), 0)
    # In units of the Gram matrix, so that all equations are of one size.
    size = np.sqrt(lipschitz)
    for index, block in enumerate(blocks.slices, start=width):
        within = used & (columns >= block.start) & (columns < block.stop)
        equations[:, :width, index] = equations[:, index, :width] = size * within
        right[:, index] = size
    try:
        solution = np.linalg.solve(equations, right[:, :, None])[:, :width, 0]
    except np.linalg.LinAlgError:  # the steps go on from where they are
        solution = np.take_along_axis(weights, columns, axis=1)
    optimum: Float[np.ndarray, "m width"] = solution
    return optimum


def _project(blocks: Blocks, values: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m n"]:
    """Return the nearest weights to each row, block by block."""
    if len(blocks.slices) == 1:
        return project_to_simplex(values)
    parts = [project_to_simplex(values[:, block]) for block in blocks.slices]
    return np.concatenate(parts, axis=1)


def project_to_simplex(values: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m n"]:
    """Return the nearest point of the simplex to each row.

    The answer is max(0, values - threshold), with the threshold at which the sum is 1.

    >>> project_to_simplex(np.array([[0.5, 0.9, -3.0]])).round(6).tolist()
    [[0.3, 0.7, 0.0]]
    """
    falling = -np.sort(-values, axis=1)
    surplus = np.cumsum(falling, axis=1) - 1
    positive = (falling * np.arange(1, values.shape[1] + 1) > surplus).sum(axis=1)
    # Huge values lose the 1 in rounding; the largest of a row always stays.
    positive = np.maximum(positive, 1)
    threshold = np.take_along_axis(surplus, positive[:, None] - 1, axis=1) / positive[:, None]
    projected: Float[np.ndarray, "m n"] = np.maximum(values - threshold, 0)
    return projected

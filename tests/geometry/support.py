"""Slow, independent answers: one point at a time, by scipy."""

import numpy as np
from scipy.optimize import linprog, minimize, nnls
from scipy.stats import skew


def by_nnls(vertices, x):
    """Distance to a hull: non-negative least squares whose sum is free along each ray."""
    offsets = (vertices - x).astype(np.float64)
    size = np.abs(offsets).max() or 1.0
    rows = np.vstack([offsets.T / size, np.ones(len(vertices))])
    weights, _ = nnls(rows, np.append(np.zeros(offsets.shape[1]), 1.0))
    return float(np.linalg.norm(weights / weights.sum() @ offsets))


def by_qp(vertices, x):
    """Distance to a hull: sequential quadratic programming over the weights."""
    offsets = vertices - x
    n = len(offsets)
    answer = minimize(
        lambda a: np.square(a @ offsets).sum(),
        np.full(n, 1 / n),
        jac=lambda a: 2 * offsets @ (a @ offsets),
        bounds=[(0, 1)] * n,
        constraints={"type": "eq", "fun": lambda a: a.sum() - 1, "jac": lambda a: np.ones(n)},
        method="SLSQP",
        options={"ftol": 1e-17, "maxiter": 1000},
    )
    return float(np.sqrt(answer.fun))


def contains(vertices, x):
    """Whether a point is in a hull: a linear program."""
    equations = np.vstack([vertices.T, np.ones(len(vertices))])
    answer = linprog(np.zeros(len(vertices)), A_eq=equations, b_eq=np.append(x, 1.0))
    return answer.status == 0


def rotation(rng, d):
    """A random orthogonal matrix."""
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


def mean_distances(points, k=10):
    """Mean distance of each point to its k nearest others, one at a time."""
    wide = points.astype(np.float64)
    return np.array(
        [
            np.sort(np.linalg.norm(np.delete(wide, row, axis=0) - wide[row], axis=1))[:k].mean()
            for row in range(len(wide))
        ]
    )


def mean_cosines(points, k=10):
    """Mean cosine of each point with its k most similar others; that of a zero vector is 0."""
    wide = points.astype(np.float64)
    unit = np.array([row / (np.linalg.norm(row) or 1.0) for row in wide])
    return np.array(
        [np.sort(np.delete(unit, row, axis=0) @ unit[row])[-k:].mean() for row in range(len(unit))]
    )


def hubness(neighbours, n):
    """Skewness of how often each of n points is a neighbour."""
    return float(skew(np.bincount(neighbours.ravel(), minlength=n)))

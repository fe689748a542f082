"""Tables of points that can be calculated with: checked once, float64 from then on.

Convention: a row is a point, (points, d); embeddings come in float32 or float64, all geometry is in
float64.
"""

import numpy as np
from jaxtyping import Float

from ..errors import LibraryError

# Squares of these still fit: distances stay finite.
_LARGEST = 1e100


def check_points(
    points: Float[np.ndarray, "..."], *, name: str, dim: int | None = None, least: int = 1
) -> Float[np.ndarray, "n d"]:
    """Return the points in float64.

    Args:
        points: (n, d).
        name: what a message calls them.
        dim: the d they must have; None: any from 1.
        least: the least n.

    Raises:
        LibraryError: another shape, too few points, or a number that is no place.
    """
    if points.ndim != 2 or points.shape[1] == 0 or len(points) < least:
        raise LibraryError(
            f"{name}.shape={points.shape} is no table of points; "
            f"give (n, d) numbers with n >= {least} and d >= 1."
        )
    if dim is not None and points.shape[1] != dim:
        raise LibraryError(
            f"{name}.shape={points.shape} does not fit points of d={dim}; "
            "use embeddings of one space."
        )
    wide: Float[np.ndarray, "n d"] = points.astype(np.float64)
    good = (np.abs(wide) <= _LARGEST).all(axis=1)  # also False for NaN
    if not good.all():
        raise LibraryError(
            f"{name} has numbers at row {int(np.argmin(good))} that are NaN, infinite or above "
            f"{_LARGEST:g}; leave out what has no usable embedding."
        )
    return wide


def squared_distances(
    first: Float[np.ndarray, "m d"], second: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "m n"]:
    """Return the squared distance of every pair, by one matrix product.

    Both are moved by the mean of `second` first: far from the origin the product would lose the
    digits that count.
    """
    centre = second.mean(axis=0)
    first, second = first - centre, second - centre
    ours, theirs = np.einsum("md,md->m", first, first), np.einsum("nd,nd->n", second, second)
    squares: Float[np.ndarray, "m n"] = ours[:, None] + theirs - 2 * first @ second.T
    np.maximum(squares, 0, out=squares)
    return squares

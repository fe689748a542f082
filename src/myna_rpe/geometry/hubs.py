"""Hubs: a few tracks turn up among the neighbours of nearly all. Two ways to weigh them down.

Both compare a pair with how near the two tracks are to their own neighbours. They are for ranking
track to track; never for the hull, whose problem needs true distances. Tables are
(queries, tracks); the scale of a track is the mean over its own nearest neighbours.

Sources: Schnitzer et al. 2012, "Local and global scaling reduce hubs in space", equation 4 (NICDM);
Lample et al. 2018, "Word translation without parallel data", equation 2 (CSLS).
"""

import numpy as np
from jaxtyping import Float


def nicdm(
    distances: Float[np.ndarray, "m n"],
    first: Float[np.ndarray, " m"],
    second: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "m n"]:
    """Return distances over the geometric mean of both scales; smaller is nearer.

    Args:
        distances: of every pair, >= 0.
        first: mean distance of each query to its nearest tracks.
        second: the same of each track.
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
        first: mean cosine of each query with its nearest tracks.
        second: the same of each track.
    """
    scaled: Float[np.ndarray, "m n"] = (
        2 * similarities.astype(np.float64) - first[:, None] - second[None, :]
    )
    return scaled

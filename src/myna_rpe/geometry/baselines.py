"""What the hull has to beat: the nearest member, and the centroid; and the contest itself.

A way of ranking is judged by what a listener has already put together: of each playlist some
members are held out, all other tracks are ranked by their distance to the rest, and the places of
those held out are counted. All ways see the same playlists and the same members held out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ..errors import LibraryError
from .hull import Hull
from .points import check_points, squared_distances

Ranking = Callable[[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"]], Float[np.ndarray, " m"]]
"""Members and other tracks -> a distance of each of these; smaller is nearer."""


def nearest_member(
    vertices: Float[np.ndarray, "..."], x: Float[np.ndarray, "..."]
) -> Float[np.ndarray, " m"]:
    """Return the distance of each track to the nearest member.

    Args:
        vertices: (n, d), the members.
        x: (m, d).

    Raises:
        LibraryError: tables of points that are none.
    """
    members, points = _both(vertices, x)
    best = np.full(len(points), np.inf)
    for member in members:
        best = np.minimum(best, np.square(points - member).sum(axis=1))
    distances: Float[np.ndarray, " m"] = np.sqrt(best)
    return distances


def centroid(
    vertices: Float[np.ndarray, "..."], x: Float[np.ndarray, "..."]
) -> Float[np.ndarray, " m"]:
    """Return the distance of each track to the mean of the members; else as `nearest_member`."""
    members, points = _both(vertices, x)
    squares = squared_distances(points, members.mean(axis=0, keepdims=True))
    distances: Float[np.ndarray, " m"] = np.sqrt(squares[:, 0])
    return distances


def hull(
    vertices: Float[np.ndarray, "..."], x: Float[np.ndarray, "..."]
) -> Float[np.ndarray, " m"]:
    """Return the distance of each track to the members' hull; else as `nearest_member`."""
    return Hull(vertices).distances(x).values


RANKINGS: dict[str, Ranking] = {
    "hull": hull,
    "nearest member": nearest_member,
    "centroid": centroid,
}


@dataclass(frozen=True)
class Standing:
    """How one way of ranking did, a number per playlist, the mean of all draws.

    Attributes:
        auc: how often a member that was held out is before a stranger; 0.5 is chance.
        precision: share of those held out among the first k, of as many as there could be.
    """

    auc: Float[np.ndarray, " playlists"]
    precision: Float[np.ndarray, " playlists"]


def compare(
    x: Float[np.ndarray, "..."],
    playlists: Sequence[Int[np.ndarray, " n"]],
    *,
    rng: np.random.Generator,
    rankings: Mapping[str, Ranking] = RANKINGS,
    share: float = 0.5,
    draws: int = 20,
    k: int = 10,
) -> dict[str, Standing]:
    """Return how well each way of ranking finds members that were held out.

    Args:
        x: (m, d), all tracks.
        playlists: rows of the tracks of each, at least two, none twice.
        rng: draws who is held out.
        rankings: the ways, by name.
        share: of each playlist to hold out, at least one track and never all; in (0, 1).
        draws: how often, >= 1.
        k: of the precision, >= 1.

    Raises:
        LibraryError: a row that is none or is there twice, a playlist that leaves nothing to hold
            out or nothing to find it among, or a share, draws or k out of range.
    """
    points = check_points(x, name="x")
    if not 0 < share < 1 or draws < 1 or k < 1:
        raise LibraryError(
            f"share={share}, draws={draws} and k={k} make no contest; "
            "use 0 < share < 1, draws >= 1 and k >= 1."
        )
    for playlist in playlists:
        _check_playlist(playlist, len(points))
    outcomes = np.empty((len(rankings), len(playlists), 2))
    for number, playlist in enumerate(playlists):
        orders = [rng.permutation(playlist) for _ in range(draws)]
        held_out = min(len(playlist) - 1, max(1, round(share * len(playlist))))
        for way, rank in enumerate(rankings.values()):
            outcomes[way, number] = np.mean(
                [_judged(points, rank, o[held_out:], o[:held_out], k) for o in orders], axis=0
            )
    return {
        name: Standing(auc=values[:, 0], precision=values[:, 1])
        for name, values in zip(rankings, outcomes, strict=True)
    }


def _judged(
    points: Float[np.ndarray, "m d"],
    rank: Ranking,
    kept: Int[np.ndarray, " kept"],
    out: Int[np.ndarray, " out"],
    k: int,
) -> tuple[float, float]:
    """Return AUC and precision of one draw."""
    others = np.setdiff1d(np.arange(len(points)), kept)
    distances = rank(points[kept], points[others])
    ours = np.isin(others, out)
    less = (distances[ours][:, None] < distances[~ours]).mean()
    # Ties count half, so that a ranking that cannot tell is neither lucky nor not.
    equal = (distances[ours][:, None] == distances[~ours]).mean()
    first = np.argsort(distances, kind="stable")[:k]
    return float(less + equal / 2), float(ours[first].sum() / min(k, len(out)))


def _check_playlist(playlist: Int[np.ndarray, " n"], tracks: int) -> None:
    if len(set(playlist.tolist())) != len(playlist):
        raise LibraryError(f"playlist={playlist.tolist()} repeats a track; give each once.")
    if playlist.size and not 0 <= playlist.min() <= playlist.max() < tracks:
        raise LibraryError(
            f"playlist={playlist.tolist()} names none of {tracks} tracks; "
            f"use rows 0 to {tracks - 1}."
        )
    if not 2 <= len(playlist) < tracks:
        raise LibraryError(
            f"playlist={playlist.tolist()} leaves nothing to find, or nothing to find it among; "
            f"use 2 to {tracks - 1} of the {tracks} tracks."
        )


def _both(
    vertices: Float[np.ndarray, "..."], x: Float[np.ndarray, "..."]
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"]]:
    members = check_points(vertices, name="vertices")
    return members, check_points(x, name="x", dim=members.shape[1], least=0)

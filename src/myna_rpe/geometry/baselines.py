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
    """How one way of ranking did.

    Attributes:
        name: of the way.
        mean_percentile: mean place of the tracks held out, 0 first and 1 last; 0.5 is chance.
        recall: share of them within the first k.
    """

    name: str
    mean_percentile: float
    recall: float


@dataclass(frozen=True)
class Contest:
    """How several ways of ranking did on the same tracks.

    Attributes:
        standings: the lowest mean percentile first.
        held_out: how many tracks were looked for.
        k: of the recall.
    """

    standings: tuple[Standing, ...]
    held_out: int
    k: int

    def __str__(self) -> str:
        rows = [
            f"{standing.name}: mean percentile {100 * standing.mean_percentile:.2f} %, "
            f"recall@{self.k} {100 * standing.recall:.1f} %"
            for standing in self.standings
        ]
        hulls = [s.mean_percentile for s in self.standings if s.name == "hull"]
        others = [s for s in self.standings if s.name != "hull"]
        if hulls and others and others[0].mean_percentile <= hulls[0]:
            rows.append(f"The hull does not win here: {others[0].name} is as good or better.")
        return "\n".join([*rows, f"{self.held_out} tracks held out."])


def compare(
    x: Float[np.ndarray, "..."],
    playlists: Sequence[Int[np.ndarray, " n"]],
    *,
    rng: np.random.Generator,
    rankings: Mapping[str, Ranking] = RANKINGS,
    share: float = 0.2,
    k: int = 100,
) -> Contest:
    """Return how well each way of ranking finds members that were held out.

    Args:
        x: (m, d), all tracks.
        playlists: rows of the tracks of each, without repeats; one of fewer than two is left out.
        rng: draws who is held out.
        rankings: the ways, by name.
        share: of each playlist to hold out, at least one track and never all; in (0, 1).
        k: of the recall, >= 1.

    Raises:
        LibraryError: a row that is none or is there twice, a share or k out of range, no way of
            ranking, or no playlist of at least two tracks.
    """
    points = check_points(x, name="x")
    if not 0 < share < 1 or k < 1 or not rankings:
        raise LibraryError(
            f"share={share}, k={k} and {len(rankings)} rankings make no contest; "
            "use 0 < share < 1, k >= 1 and at least one ranking."
        )
    places: dict[str, list[float]] = {name: [] for name in rankings}
    hits: dict[str, list[bool]] = {name: [] for name in rankings}
    for playlist in playlists:
        if len(set(playlist.tolist())) != len(playlist):
            raise LibraryError(f"playlist={playlist.tolist()} repeats a track; give each once.")
        if playlist.size and not 0 <= playlist.min() <= playlist.max() < len(points):
            raise LibraryError(
                f"playlist={playlist.tolist()} names none of {len(points)} tracks; "
                f"use rows 0 to {len(points) - 1}."
            )
        if len(playlist) < 2:
            continue
        mixed = rng.permutation(playlist)
        held = min(len(mixed) - 1, max(1, round(share * len(mixed))))
        out, kept = mixed[:held], mixed[held:]
        others = np.setdiff1d(np.arange(len(points)), kept)
        for name, rank in rankings.items():
            distances = rank(points[kept], points[others])
            for track in np.searchsorted(others, out):
                # Ties count half, so that a ranking that cannot tell is neither lucky nor not.
                less = int((distances < distances[track]).sum())
                equal = int((distances == distances[track]).sum()) - 1
                place = less + equal / 2
                places[name].append(place / max(1, len(others) - 1))
                hits[name].append(place < k)
    held_out = len(next(iter(places.values())))
    if not held_out:
        raise LibraryError("playlists=0 of at least two tracks; give one to hold a track out of.")
    standings = [
        Standing(name, float(np.mean(places[name])), float(np.mean(hits[name])))
        for name in rankings
    ]
    ordered = sorted(standings, key=lambda standing: standing.mean_percentile)
    return Contest(tuple(ordered), held_out, k)


def _both(
    vertices: Float[np.ndarray, "..."], x: Float[np.ndarray, "..."]
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"]]:
    members = check_points(vertices, name="vertices")
    return members, check_points(x, name="x", dim=members.shape[1], least=0)

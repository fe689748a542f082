"""The tracks nearest to a playlist's hull: pruned, full, many at once, one by one.

    python -m benchmarks geometry

100,000 tracks in 32 dimensions, in 300 clusters, of fading spread as after a PCA; a playlist of 10,
30 or 100 tracks is drawn around a few of them. "Full" is every distance and a sort; "one by one" is
Wolfe's method on some of the tracks. With 100 members, the search with a coreset of 60 stands
beside the exact one, its error in units of the hull's radius. One thread.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .harness import Candidate, Row, compare, measure, relative_error

DIM = 32
TOP = 200
ALONE = 300


def rows(*, quick: bool = False) -> list[Row]:
    """Return the rows of the table; --quick takes a tenth of the tracks."""
    tracks = 10_000 if quick else 100_000
    rounds = 1 if quick else 2
    table: list[Row] = []
    for members in (10, 30, 100):
        setting = {"members": members, "tracks": tracks}
        names = ("pruned", "full", *(("coreset",) if members > 60 else ()))
        times = measure(
            {name: Candidate(f"{__name__}:{name}", setting) for name in names}, rounds=rounds
        )
        error = relative_error(times["pruned"], times["full"])
        table.append(
            compare(
                f"top {TOP} of {tracks:,}, {members} members: pruned / full",
                times["pruned"],
                times["full"],
                speed_up=True,
                note=f"differ by {error:.0e}; {solved(**setting):,} distances worked out",
            )
        )
        if "coreset" in times:
            table.append(
                compare(
                    f"top {TOP} of {tracks:,}, {members} members: coreset of 60 / exact",
                    times["coreset"],
                    times["pruned"],
                    speed_up=True,
                    note=f"Hausdorff error {coreset_error(**setting):.2f} of the radius",
                )
            )
        few = {"members": members, "tracks": ALONE}
        pair = measure(
            {name: Candidate(f"{__name__}:{name}", few) for name in ("together", "one_by_one")},
            rounds=rounds,
        )
        table.append(
            compare(
                f"{ALONE} distances, {members} members: at once / one by one",
                pair["together"],
                pair["one_by_one"],
                speed_up=True,
                unit="distances/s",
                per=ALONE,
                note=f"differ by {relative_error(pair['together'], pair['one_by_one']):.0e}",
            )
        )
    return table


# --- input ---------------------------------------------------------------------------------------


def library(members: int, tracks: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a playlist (members, 32) and the tracks (tracks, 32), float32."""
    rng = np.random.default_rng(0)
    spread = np.linspace(2.0, 0.3, DIM)
    centres = rng.normal(size=(300, DIM)) * spread
    x = centres[rng.integers(0, len(centres), tracks)] + rng.normal(size=(tracks, DIM)) * spread / 2
    playlist = centres[rng.integers(0, 4, members)] + rng.normal(size=(members, DIM)) * spread / 2
    return playlist.astype(np.float32), x.astype(np.float32)


def solved(members: int, tracks: int) -> int:
    """Return how many distances the pruned search works out."""
    from myna_rpe.geometry import Hull, nearest

    playlist, x = library(members, tracks)
    return nearest(Hull(playlist), x, TOP).solved


def coreset_error(members: int, tracks: int) -> float:
    """Return the error of 60 vertices, in units of the radius."""
    from myna_rpe.geometry import Hull, coreset

    playlist, _ = library(members, tracks)
    return coreset(playlist, 60).error / Hull(playlist).radius


# --- candidates: each sets up and returns what is timed ------------------------------------------


def pruned(members: int, tracks: int) -> Callable[[], Tensor]:
    from myna_rpe.geometry import Hull, nearest

    playlist, x = library(members, tracks)
    return lambda: torch.from_numpy(nearest(Hull(playlist), x, TOP).distances.values)


def coreset(members: int, tracks: int) -> Callable[[], Tensor]:
    from myna_rpe.geometry import Hull, nearest
    from myna_rpe.geometry import coreset as reduced

    playlist, x = library(members, tracks)

    def run() -> Tensor:
        hull = Hull(playlist[reduced(playlist, 60).indices])
        return torch.from_numpy(nearest(hull, x, TOP).distances.values)

    return run


def full(members: int, tracks: int) -> Callable[[], Tensor]:
    from myna_rpe.geometry import Hull

    playlist, x = library(members, tracks)
    return lambda: torch.from_numpy(np.sort(Hull(playlist).distances(x).values)[:TOP])


def together(members: int, tracks: int) -> Callable[[], Tensor]:
    from myna_rpe.geometry import Hull

    playlist, x = library(members, tracks)
    hull = Hull(playlist)
    return lambda: torch.from_numpy(hull.distances(x).values)


def one_by_one(members: int, tracks: int) -> Callable[[], Tensor]:
    from myna_rpe.geometry import Hull

    playlist, x = library(members, tracks)
    hull = Hull(playlist)
    return lambda: torch.tensor([hull.distance(point).value for point in x], dtype=torch.float64)

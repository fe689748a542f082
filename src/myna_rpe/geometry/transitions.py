"""A playlist that leads from one playlist to another.

Slot k of K stands at t_k on the way from A to B, and has the region a `Path` gives there, whose
nearest tracks are its candidates. Of all sequences of candidates without repeats, with artists kept
apart, the one is returned that stays nearest to its regions with the smallest steps between
neighbours (`sequence`).

    cost = sum_k dist(x_k, region(t_k)) + smoothness sum_k |x_k+1 - x_k|
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from ..errors import LibraryError
from .hull import Distances
from .matching import Path
from .points import check_points, squared_distances
from .search import nearest
from .sequence import ArtistWindow, Rule, Slot, best_sequence


@dataclass(frozen=True, eq=False)
class Transition:
    """Tracks that lead from A to B.

    Attributes:
        indices: rows of the table they were chosen from, in order, each once.
        times: where each slot stands, from 0 (A) to 1 (B).
        distances: of each track to the region of its slot.
        cost: see the module.
        exact: whether no sequence of the candidates costs less.
    """

    indices: Int[np.ndarray, " slots"]
    times: Float[np.ndarray, " slots"]
    distances: Distances
    cost: float
    exact: bool


def slot_times(count: int) -> Float[np.ndarray, " count"]:
    """Return where the slots stand: evenly from 0 to 1; a single one in the middle.

    Raises:
        LibraryError: count < 1.
    """
    if count < 1:
        raise LibraryError(f"count={count} is no transition; use count >= 1.")
    return np.linspace(0.0, 1.0, count) if count > 1 else np.array([0.5])


def transition(
    path: Path,
    x: Float[np.ndarray, "..."],
    *,
    count: int,
    per_slot: int = 30,
    smoothness: float | int = 0.5,
    used: Iterable[int] = (),
    artists: Sequence[Hashable] | None = None,
    artist_window: int = 0,
) -> Transition:
    """Return the best sequence of tracks along a path.

    Args:
        path: `Matched` or `Minkowski`.
        x: (m, d), the tracks to choose from.
        count: how many, >= 1.
        per_slot: candidates of each slot, >= 1; at least `count` are taken, so that no slot can be
            left with nothing but tracks that others took.
        smoothness: what steps count beside distances, >= 0.
        used: rows that must not be chosen.
        artists: of each row; None for an unknown one, which clashes with none.
        artist_window: an artist comes again only after this many other tracks.

    Raises:
        LibraryError: a number out of range, artists that do not fit, or no sequence keeps the
            rules.
    """
    points = check_points(x, name="x", least=0)
    if per_slot < 1 or not 0 <= smoothness < np.inf or artist_window < 0:
        raise LibraryError(
            f"per_slot={per_slot}, smoothness={smoothness} and artist_window={artist_window} make "
            "no transition; use per_slot >= 1 and the others >= 0."
        )
    if artists is not None and len(artists) != len(points):
        raise LibraryError(
            f"artists={len(artists)} do not fit {len(points)} tracks; give one for each, or None."
        )
    if artists is None and artist_window:
        raise LibraryError(
            f"artist_window={artist_window} cannot be kept without artists; give them."
        )
    times = slot_times(count)
    barred = set(used)
    free = np.array([row for row in range(len(points)) if row not in barred], dtype=np.int64)
    if len(free) < count:
        raise LibraryError(
            f"tracks={len(free)} cannot fill {count} slots; give more, or ask for fewer."
        )
    found = [nearest(path.at(float(t)), points[free], max(per_slot, count)) for t in times]
    slots = [Slot(free[each.indices], each.distances.values) for each in found]
    steps = [
        float(smoothness) * np.sqrt(squared_distances(points[one.tracks], points[two.tracks]))
        for one, two in pairwise(slots)
    ]
    rules: list[Rule] = [] if artists is None else [ArtistWindow(artists, artist_window)]
    chosen = best_sequence(slots, steps, rules=rules)
    rows = list(zip(found, chosen.positions.tolist(), strict=True))
    distances = Distances(
        np.array([each.distances.values[at] for each, at in rows]),
        np.array([each.distances.lowers[at] for each, at in rows]),
        np.stack([each.distances.weights[at] for each, at in rows]),
    )
    return Transition(chosen.tracks, times, distances, chosen.cost, chosen.exact)

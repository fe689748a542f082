"""Which tracks make up a batch, and how long its views are; pure functions of a generator.

Tracks are positions in an array ``room`` (tracks,): the greatest length, in frames, whose views
fit into each. A batch has one length, and only tracks with room for it.

Source: drawing with weights and without replacement, Efraimidis & Spirakis 2006.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ..config import SamplingConfig
from ..errors import ConfigError
from .splits import split_key
from .tracks import Track


class Draw(NamedTuple):
    """One batch: its tracks, and the length of its views in frames."""

    tracks: Int[np.ndarray, " batch"]
    length: int


def draw_epoch(
    room: Int[np.ndarray, " tracks"],
    lengths: Sequence[int],
    batch_size: int,
    rng: np.random.Generator,
) -> list[Draw]:
    """Return a batch for each of `lengths`, in random order; no track is in two of them.

    The longest is served first, at random from all tracks with room for it that are left. Where
    they are too few, the longest of the others join them and the batch is shortened to fit. Which
    tracks are in no batch at all is random, whatever their length.

    Args:
        room: greatest length of each track; at least ``len(lengths) * batch_size`` tracks.
        lengths: what is asked for, in any order; greater or equal to what every track has room for.
        batch_size: tracks in a batch.
        rng: decides.
    """
    used = rng.permutation(len(room))[: len(lengths) * batch_size]
    by_room = used[np.argsort(-room[used], kind="stable")]
    draws = []
    pool, taken = by_room[:0], 0  # tracks that fit; how many of `by_room` ever were in the pool
    for length in sorted(lengths, reverse=True):
        fitting = int(np.searchsorted(-room[by_room], -length, side="right"))
        enough = taken + batch_size - len(pool)
        if (grown := max(fitting, enough)) > taken:
            pool = rng.permutation(np.concatenate([pool, by_room[taken:grown]]))
            taken = grown
        shortened = min(length, int(room[by_room[taken - 1]]))
        draws.append(Draw(pool[:batch_size], shortened))
        pool = pool[batch_size:]
    return [draws[i] for i in rng.permutation(len(draws))]


def draw_weighted(
    room: Int[np.ndarray, " tracks"],
    length: int,
    weights: Float[np.ndarray, " tracks"],
    batch_size: int,
    rng: np.random.Generator,
) -> Draw:
    """Return one batch of different tracks, drawn one after the other with these weights.

    Where too few tracks have room for the length, the batch is shortened until there are enough.
    """
    length = min(length, int(np.partition(room, -batch_size)[-batch_size]))
    fitting = np.flatnonzero(room >= length)
    # The first to ring of so many alarm clocks, each with its weight as its rate.
    times = rng.exponential(size=len(fitting)) / weights[fitting]
    first = np.argpartition(times, batch_size - 1)[:batch_size]
    return Draw(fitting[first[np.argsort(times[first])]], length)


def balancing_weights(
    tracks: Sequence[Track], config: SamplingConfig
) -> Float[np.ndarray, " tracks"] | None:
    """Return how often to draw each track, relative to others; None: each once an epoch.

    A track of a group of n weighs n^-strength, so with strength 1 every group weighs the same. A
    track of several tags weighs their mean; those without any tag are a group of their own. A
    track without an artist counts for its folder.

    Raises:
        ConfigError: to be balanced by tag, but no track has one.
    """
    match config.by:
        case None:
            return None
        case "folder":
            groups: list[tuple[str, ...]] = [(track.group,) for track in tracks]
        case "artist":
            groups = [(split_key(track),) for track in tracks]
        case "tag":
            if not any(track.tags for track in tracks):
                raise ConfigError(
                    "sampling.by='tag' needs tags, and no track has any; prepare a data set with "
                    "tags, or balance by 'folder' or 'artist'."
                )
            groups = [track.tags or ("",) for track in tracks]
    sizes = Counter(group for names in groups for group in names)
    return np.array([np.mean([sizes[n] ** -config.strength for n in names]) for names in groups])

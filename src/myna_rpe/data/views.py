"""Tracks -> batches of views, as a pure function of (seed, step).

Nothing here has state to save: the order of an epoch follows from (seed, epoch), the excerpts of a
track from (seed, epoch, track). So a run resumes by asking for its next step, and neither threads
nor prefetching can change what it sees.

Shapes: views (batch, views, mel_bands, frames) float32, in the front end's unit.
"""

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from ..errors import ConfigError
from .shards import ShardSet

# First word of each random stream, so that no two of them ever coincide.
_ORDER, _EXCERPTS = 0, 1


@runtime_checkable
class Views(Protocol):
    """Says where the views of a track lie; all tracks get the same number and length of them."""

    @property
    def num_views(self) -> int:
        """Views per track."""
        ...

    @property
    def num_frames(self) -> int:
        """Frames per view."""
        ...

    def starts(self, track_frames: int, rng: np.random.Generator) -> list[int]:
        """Return the first frame of each view, in a track of at least ``num_frames`` frames."""
        ...


@dataclass(frozen=True)
class TwoExcerpts:
    """Two excerpts of `num_frames` frames, anywhere in the track, independent of each other.

    Source:
        Spijkervet & Burgoyne 2021 (CLMR), section 3.1; Phillips & Koh 2026.
    """

    num_frames: int = 256
    num_views: int = 2

    def starts(self, track_frames: int, rng: np.random.Generator) -> list[int]:
        """Return two first frames, uniform over all places where an excerpt fits."""
        last = track_frames - self.num_frames
        starts: list[int] = rng.integers(0, last, size=self.num_views, endpoint=True).tolist()
        return starts


@dataclass(frozen=True)
class Batch:
    """Views of some tracks; ``tracks`` are their indices in the shard set, in the same order.

    In memory ``views`` stays frame-major, as the shards are: the encoder gathers a tenth of its
    patches, so transposing all of it would be a wasted copy.
    """

    views: Float32[Tensor, "batch views mel_bands frames"]
    tracks: tuple[int, ...]


class Batches:
    """All batches of a run, by step.

    An epoch is one random order of the tracks that are long enough for a view, cut into batches;
    a last incomplete one is left out.

    Args:
        shards: the tracks.
        views: strategy that places the excerpts.
        batch_size: tracks in a batch.
        seed: of order and excerpts.

    Raises:
        ConfigError: no track is long enough, there is only one, or not enough for a batch.
    """

    def __init__(self, shards: ShardSet, views: Views, *, batch_size: int, seed: int) -> None:
        self.shards = shards
        self.views = views
        self.batch_size = batch_size
        self.seed = seed
        self.tracks = [i for i, t in enumerate(shards.tracks) if t.frames >= views.num_frames]
        self._check()

    def _check(self) -> None:
        count, num_frames = len(self.tracks), self.views.num_frames
        longest = max(track.frames for track in self.shards.tracks)
        if not count:
            raise ConfigError(
                f"views.num_frames={num_frames} is longer than every track, the longest has "
                f"{longest} frames; use views.num_frames <= {longest}."
            )
        if count == 1:
            raise ConfigError(
                f"tracks=1 of {num_frames} frames or more gives no negatives; "
                "prepare at least 2 tracks."
            )
        if count < self.batch_size:
            raise ConfigError(
                f"batch_size={self.batch_size} is larger than the data set of {count} tracks (of "
                f"{num_frames} frames or more); use batch_size <= {count}."
            )

    @property
    def num_dropped(self) -> int:
        """How many tracks are too short for a view."""
        return len(self.shards) - len(self.tracks)

    @property
    def steps_per_epoch(self) -> int:
        """Complete batches in one pass over the tracks."""
        return len(self.tracks) // self.batch_size

    def order(self, epoch: int) -> list[int]:
        """Return the tracks in the order of an epoch."""
        rng = np.random.default_rng([self.seed, _ORDER, epoch])
        order: list[int] = rng.permutation(self.tracks).tolist()
        return order

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0 over all epochs."""
        epoch, position = divmod(step, self.steps_per_epoch)
        first = position * self.batch_size
        return self._read(epoch, self.order(epoch)[first : first + self.batch_size])

    def stream(
        self, start: int = 0, *, prefetch: int = 3, threads: int = 1
    ) -> Generator[Batch, None, None]:
        """Yield the batches from step `start` on, without end, read ahead in the background.

        Args:
            start: first step.
            prefetch: batches kept ready.
            threads: that read them.
        """
        with ThreadPoolExecutor(threads, thread_name_prefix="batches") as pool:
            ready: deque[Future[Batch]] = deque()
            step = start
            try:
                while True:
                    while len(ready) <= prefetch:
                        ready.append(pool.submit(self.batch, step))
                        step += 1
                    yield ready.popleft().result()
            finally:
                for future in ready:
                    future.cancel()

    def _read(self, epoch: int, tracks: Sequence[int]) -> Batch:
        num_views, num_frames = self.views.num_views, self.views.num_frames
        excerpts = []
        for track in tracks:
            rng = np.random.default_rng([self.seed, _EXCERPTS, epoch, track])
            starts = self.views.starts(self.shards.tracks[track].frames, rng)
            excerpts += [self.shards.stored(track, start, num_frames) for start in starts]
        stored = torch.from_numpy(np.stack(excerpts))  # (batch x views, frames, mel_bands)
        views = self.shards.settings.decode(stored).transpose(1, 2)
        return Batch(views.view(len(tracks), num_views, -1, num_frames), tuple(tracks))

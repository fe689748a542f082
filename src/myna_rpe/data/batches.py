"""Shards -> batches of kept patches, as a pure function of (seed, step).

The kept patches of a view are chosen before anything is read, and only they are read from the
memory map. So a view may be a whole track at the cost of the patches that are kept of it, and
nothing else travels to the device.

There is no state to save: which tracks a batch has follows from (seed, epoch), where the views of
a track lie and what is kept of them from (seed, epoch, track), or (seed, step, track) where a track
may come again in an epoch. A run resumes by asking for its next step; threads, processes,
prefetching and the number of ranks cannot change what it sees.

Shapes: values (tracks x views, tokens, mel_bands, frames) float32 in the front end's unit, where
mel_bands and frames are those of a patch; the views of a track follow each other.
"""

import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int, Shaped
from torch.utils.data import DataLoader

from ..config import RatioPatchoutConfig, RunConfig, TokenBudgetConfig
from ..errors import ConfigError
from ..model.patches import Patches, RatioPatchout, count_columns
from .augment import Augment, Change
from .sampling import Draw, balancing_weights, draw_epoch, draw_weighted
from .shards import STORAGES, ShardSet
from .views import Span, build_views, log_uniform

# First word of each random stream, so that no two of them ever coincide.
_ORDER, _VIEWS, _BUDGET, _AUGMENT = range(4)


class ViewGroup(NamedTuple):
    """Views of one kind, already cut: ``num_views`` of each track, a `Patches` per patch shape."""

    num_views: int
    patches: tuple[Patches, ...]


class Batch(NamedTuple):
    """Views of some tracks; ``tracks`` are their indices in the shard set, in the same order."""

    groups: tuple[ViewGroup, ...]
    tracks: tuple[int, ...]

    def pin_memory(self) -> "Batch":
        """Return the batch in memory that a GPU can fetch from by itself."""

        def pinned(patches: Patches) -> Patches:
            values, time, freq = (x.pin_memory() for x in patches[:3])
            valid = None if patches.valid is None else patches.valid.pin_memory()
            return Patches(values, time, freq, valid=valid)

        groups = (ViewGroup(n, tuple(map(pinned, patches))) for n, patches in self.groups)
        return Batch(tuple(groups), self.tracks)


class _View(NamedTuple):
    """One view: its kept tokens in order, for each patch shape, and what happens to it."""

    track: int
    span: Span
    kept: tuple[Int[np.ndarray, " tokens"], ...]
    change: Change | None


class Batches:
    """All batches of a run, by step.

    An epoch is ``steps_per_epoch`` batches. Where sampling is not balanced they hold each track at
    most once; a last incomplete batch is left out.

    Args:
        shards: the tracks.
        config: views, patchout, augmentations, sampling, batch size (over all ranks) and seed.
        tracks: indices of the tracks that may be used; None: all.
        rank: which contiguous share of each batch is read, counted from 0.
        world: how many shares there are.

    Attributes:
        tracks: indices of the tracks in use: those that may be, and have room for the views.
        num_dropped: how many may be used but are too short.
        num_views: views per track, those of all groups together.

    Raises:
        ConfigError: the tracks do not suffice, are too short or have no tags to balance; the batch
            cannot be shared; or the front end does not permit an augmentation.
    """

    def __init__(
        self,
        shards: ShardSet,
        config: RunConfig,
        tracks: Sequence[int] | None = None,
        *,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.shards = shards
        self.config = config
        self.rank = rank
        self.world = world
        self.views = build_views(config.views)
        self.num_views = sum(self.views.groups)
        self._usable = range(len(shards)) if tracks is None else tracks
        room = {i: self.views.room(shards.tracks[i].frames) for i in self._usable}
        self.tracks = [i for i, frames in room.items() if frames >= self.views.shortest]
        self.num_dropped = len(room) - len(self.tracks)
        self._check()
        self._indices = np.array(self.tracks)
        self._room = np.array([room[i] for i in self.tracks])
        self._weights = balancing_weights([shards.tracks[i] for i in self.tracks], config.sampling)
        self._augment = Augment(config.augment, shards.front_end)
        self._shapes = config.architecture.model.patches
        self._rows = [shards.front_end.n_mels // shape.mel_bands for shape in self._shapes]
        self._epoch = lru_cache(maxsize=2)(self._plan)

    def _check(self) -> None:
        count, shortest = len(self.tracks), self.views.shortest
        setting = f"views.{self.views.setting}"
        if not self._usable:
            raise ConfigError("tracks=0 are left to train on; hold out fewer or prepare more.")
        longest = max(self.shards.tracks[i].frames for i in self._usable)
        if not count:
            room = self.views.room(longest)
            remedy = f"use {setting} <= {room}" if room > 0 else "use fewer views or a smaller gap"
            raise ConfigError(
                f"{setting}={shortest} is longer than every track has room for, the longest has "
                f"{longest} frames; {remedy}."
            )
        if count == 1:
            raise ConfigError(
                f"tracks=1 with room for {setting}={shortest} gives no negatives; "
                "prepare at least 2 tracks."
            )
        batch_size = self.config.batch_size
        if count < batch_size:
            raise ConfigError(
                f"batch_size={batch_size} is larger than the data set of {count} tracks (with "
                f"room for {setting}={shortest}); use batch_size <= {count}."
            )
        if batch_size % self.world:
            raise ConfigError(
                f"batch_size={batch_size} cannot be shared evenly by {self.world} processes; "
                f"use a multiple of {self.world}."
            )

    def __reduce__(self) -> tuple[Callable[..., "Batches"], tuple[Any, ...]]:
        # Memory maps stay where they are: another process opens the folder itself.
        return _reopen, (self.shards.folder, self.config, self._usable, self.rank, self.world)

    @property
    def steps_per_epoch(self) -> int:
        """Complete batches in one pass over the tracks."""
        return len(self.tracks) // self.config.batch_size

    def draw(self, step: int) -> Draw:
        """Return the tracks (of all ranks, as indices in the shard set) and the length of a step.

        Steps are counted from 0 over all epochs.
        """
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._weights is None:
            draw = self._epoch(epoch)[position]
        else:
            rng = self._rng(_ORDER, epoch, position)
            length = self.views.draw_length(rng)
            draw = draw_weighted(self._room, length, self._weights, self.config.batch_size, rng)
        return Draw(self._indices[draw.tracks], draw.length)

    def batch(self, step: int) -> Batch:
        """Return this rank's share of the batch of a step, counted from 0 over all epochs."""
        draw = self.draw(step)
        num_kept = self._num_kept(step)
        share = self.config.batch_size // self.world
        tracks = draw.tracks[self.rank * share : (self.rank + 1) * share].tolist()
        # A track comes once an epoch, or, where sampling is balanced, once a step at most.
        occasion = step // self.steps_per_epoch if self._weights is None else step
        views = [self._choose(track, draw.length, num_kept, occasion) for track in tracks]
        groups, first = [], 0
        for num_views in self.views.groups:
            group = [view for those in views for view in those[first : first + num_views]]
            patches = (self._read(group, number) for number in range(len(self._shapes)))
            groups.append(ViewGroup(num_views, tuple(patches)))
            first += num_views
        return Batch(tuple(groups), tuple(tracks))

    def stream(
        self, start: int = 0, *, workers: int = 0, prefetch: int = 3, threads: int = 1
    ) -> Generator[Batch, None, None]:
        """Yield the batches from step `start` on, without end, read ahead in the background.

        The batches are the same whoever reads them. Where there is a GPU they come in pinned
        memory.

        Args:
            start: first step.
            workers: processes that read them; 0: threads of this one do.
            prefetch: batches kept ready.
            threads: how many, without `workers`.
        """
        if workers:
            yield from DataLoader(
                range(start, sys.maxsize),  # type: ignore[arg-type]
                batch_size=None,
                collate_fn=self.batch,  # type: ignore[arg-type]
                num_workers=workers,
                prefetch_factor=max(1, -(-prefetch // workers)),
                pin_memory=torch.cuda.is_available(),
                worker_init_fn=_ignore_signals,
                generator=torch.Generator(),  # or it would draw from the one that all share
            )
            return
        with ThreadPoolExecutor(threads, thread_name_prefix="batches") as pool:
            ready: deque[Future[Batch]] = deque()
            step = start
            try:
                while True:
                    while len(ready) <= prefetch:
                        ready.append(pool.submit(self._prepare, step))
                        step += 1
                    yield ready.popleft().result()
            finally:
                for future in ready:
                    future.cancel()

    def _prepare(self, step: int) -> Batch:
        batch = self.batch(step)
        return batch.pin_memory() if torch.cuda.is_available() else batch

    def _rng(self, *words: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, *words])

    def _plan(self, epoch: int) -> list[Draw]:
        """Return all batches of an epoch in which no track comes twice."""
        rng = self._rng(_ORDER, epoch)
        lengths = [self.views.draw_length(rng) for _ in range(self.steps_per_epoch)]
        return draw_epoch(self._room, lengths, self.config.batch_size, rng)

    def _num_kept(self, step: int) -> Callable[[int], int]:
        """Return the rule that says how many tokens of a view are kept in this batch."""
        match self.config.patchout:
            case RatioPatchoutConfig(ratio=ratio):
                return RatioPatchout(ratio).num_kept
            case TokenBudgetConfig(min_tokens=low, max_tokens=high):
                budget = log_uniform(self._rng(_BUDGET, step), low, high)
                return lambda num_tokens: min(num_tokens, budget)

    def _choose(
        self, track: int, length: int, num_kept: Callable[[int], int], occasion: int
    ) -> list[_View]:
        """Return the views of a track; nothing of it is read."""
        rng = self._rng(_VIEWS, occasion, track)
        views: list[_View] = []
        for span in self.views.place(self.shards.tracks[track].frames, length, rng):
            kept = []
            for shape, rows in zip(self._shapes, self._rows, strict=True):
                num_tokens = count_columns(span.frames, shape) * rows
                tokens = rng.choice(num_tokens, num_kept(num_tokens), replace=False, shuffle=False)
                tokens.sort()
                kept.append(tokens)
            change = None
            if self._augment.active:
                change = self._augment.draw(
                    span.frames, self._rng(_AUGMENT, occasion, track, len(views))
                )
            views.append(_View(track, span, tuple(kept), change))
        return views

    def _read(self, views: Sequence[_View], number: int) -> Patches:
        """Return the kept patches of some views, for the patch shape of this number."""
        shape, rows = self._shapes[number], self._rows[number]
        kept = [view.kept[number] for view in views]
        counts = np.array([len(tokens) for tokens in kept])
        index = np.zeros((len(views), counts.max()), np.int64)  # (batch, tokens)
        for line, tokens in zip(index, kept, strict=True):
            line[: len(tokens)] = tokens
        valid = np.arange(counts.max()) < counts[:, None]
        time, freq = np.divmod(index, rows)
        spans = np.array([view.span for view in views])  # (batch, 2)
        # A track as lines of one patch's width; a patch is every `rows`th of them.
        line = (spans[:, :1] + time * shape.frames) * rows + freq
        step = np.arange(shape.frames) * rows

        settings = self.shards.settings
        size = (*index.shape, shape.frames, shape.mel_bands)
        stored = np.empty(size, STORAGES[settings.storage][0])
        for view, lines, out in zip(views, line, stored, strict=True):
            track = self._track(view.track).reshape(-1, shape.mel_bands)
            # Clipped at the end of the track: what lies past it becomes floor below.
            np.take(track, lines[:, None] + step, axis=0, out=out, mode="clip")
        values = settings.decode(torch.from_numpy(stored))
        for i, view in enumerate(views):
            if view.change is not None:
                music = (i, slice(counts[i]))
                self._alter(values.numpy()[music], time[music], freq[music], view, view.change)

        real = np.where(valid, spans[:, 1:] - time * shape.frames, 0)  # frames from the view
        if (real < shape.frames).any():
            values.numpy()[np.arange(shape.frames) >= real[..., None]] = settings.front_end.floor
        return Patches(
            values.transpose(2, 3),  # (batch, tokens, mel_bands, frames)
            torch.from_numpy(time),
            torch.from_numpy(freq),
            valid=None if valid.all() else torch.from_numpy(valid),
        )

    def _alter(
        self,
        patches: Float32[np.ndarray, "tokens frames mel_bands"],
        time: Int[np.ndarray, " tokens"],
        freq: Int[np.ndarray, " tokens"],
        view: _View,
        change: Change,
    ) -> None:
        """Make a view's change to its patches of one shape, in place."""
        _, frames, mel_bands = patches.shape
        if change.semitones:
            track = self._track(view.track)
            at = view.span.start + time[:, None] * frames + np.arange(frames)
            columns = torch.from_numpy(track[np.minimum(at, len(track) - 1)])
            decoded = self.shards.settings.decode(columns).numpy()  # (tokens, frames, n_mels)
            patches[:] = self._augment.shift_pitch(decoded, freq, mel_bands, change.semitones)
        self._augment.change_levels_(patches, freq, change)
        self._augment.mask_(patches, time, freq, change)

    def _track(self, track: int) -> Shaped[np.ndarray, "frames n_mels"]:
        return self.shards.stored(track, 0, self.shards.tracks[track].frames)


def _ignore_signals(worker: int) -> None:
    """Leave it to the main process to end a run; its workers end with it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _reopen(folder: Path, *arguments: Any) -> Batches:
    """Return the batches that were pickled; the shards were verified where they were opened."""
    config, tracks, rank, world = arguments
    shards = ShardSet.open(folder, verify=False)
    return Batches(shards, config, tracks, rank=rank, world=world)

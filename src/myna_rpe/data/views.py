"""Where the views of a track lie: strategies, pure and without torch.

Views come in groups (long ones and short ones); those of a group are of one kind, and all but
global-local have a single group. What a batch has in common is one number, its *length*: tracks
with `Views.room` for it can be in that batch. Lengths and places are in frames.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..config import (
    ExcerptsConfig,
    GlobalLocalConfig,
    VariableLengthConfig,
    ViewsConfig,
    WholeTrackConfig,
)


class Span(NamedTuple):
    """One view: its first frame in the track, and how many there are."""

    start: int
    frames: int


class Views(ABC):
    """Says how many views a track has and where they lie.

    ``shortest`` is the least length of a batch: a track without room for it cannot be used.
    ``setting`` is its name in the configuration, for messages.
    """

    shortest: int
    setting: str

    @property
    @abstractmethod
    def groups(self) -> tuple[int, ...]:
        """How many views each group has."""

    def draw_length(self, rng: np.random.Generator) -> int:
        """Return the length of a batch, at least `shortest`."""
        return self.shortest

    @abstractmethod
    def room(self, track_frames: int) -> int:
        """Return the greatest length whose views all fit into a track; below 1 if none does."""

    @abstractmethod
    def place(self, track_frames: int, length: int, rng: np.random.Generator) -> list[Span]:
        """Return the views of a track that has room for this length, group after group."""


@dataclass(frozen=True)
class Spacing:
    """Places excerpts of one length at random, under at most one rule.

    ``min_gap``: frames between any two at least; ``min_overlap``: frames that each shares with the
    first at least. Both None: anywhere, independently.
    """

    num_views: int = 2
    min_gap: int | None = None
    min_overlap: int | None = None

    def room(self, track_frames: int) -> int:
        """Return the greatest length that fits into a track, below 1 if none does."""
        if self.min_gap is None:
            return track_frames
        return (track_frames - (self.num_views - 1) * self.min_gap) // self.num_views

    def place(self, track_frames: int, length: int, rng: np.random.Generator) -> list[Span]:
        """Return excerpts, uniform over all valid places."""
        last = track_frames - length
        if self.min_gap is not None:
            starts = self._apart(track_frames, length + self.min_gap, rng)
        elif self.min_overlap is not None:
            first = rng.integers(0, last, endpoint=True)
            reach = length - self.min_overlap
            low, high = max(0, first - reach), min(last, first + reach)
            others = rng.integers(low, high, size=self.num_views - 1, endpoint=True)
            starts = [int(first), *others.tolist()]
        else:
            starts = rng.integers(0, last, size=self.num_views, endpoint=True).tolist()
        return [Span(start, length) for start in starts]

    def _apart(self, track_frames: int, stride: int, rng: np.random.Generator) -> list[int]:
        """Return starts at least `stride` apart, each choice of them equally likely.

        Without what lies between them at least, such starts are a sorted choice *with* repetition
        from the frames that are left over. Adding its rank to each makes it one *without*, which
        is drawn uniformly.
        """
        assert self.min_gap is not None
        spare = track_frames + self.min_gap - self.num_views * stride
        order = np.arange(self.num_views)
        distinct = rng.choice(spare + self.num_views, size=self.num_views, replace=False)
        starts = np.sort(distinct) - order + order * stride
        shuffled: list[int] = rng.permutation(starts).tolist()
        return shuffled


@dataclass(frozen=True)
class Excerpts(Views):
    """Excerpts whose length, one per batch, is log-uniform from `shortest` to `longest`.

    Source:
        Spijkervet & Burgoyne 2021 (CLMR), section 3.1; Phillips & Koh 2026.
    """

    spacing: Spacing
    shortest: int
    longest: int
    setting: str = "num_frames"

    @property
    def groups(self) -> tuple[int, ...]:
        """One group."""
        return (self.spacing.num_views,)

    def draw_length(self, rng: np.random.Generator) -> int:
        """Return a length in frames, both ends included."""
        return log_uniform(rng, self.shortest, self.longest)

    def room(self, track_frames: int) -> int:
        """Return the greatest length that leaves each view its place."""
        return self.spacing.room(track_frames)

    def place(self, track_frames: int, length: int, rng: np.random.Generator) -> list[Span]:
        """Return excerpts of this length."""
        return self.spacing.place(track_frames, length, rng)


@dataclass(frozen=True)
class GlobalLocal(Views):
    """Long views first, then short ones, anywhere in the track and independent of each other.

    A track shorter than `global_frames` is taken whole; None takes every track whole.
    """

    num_globals: int
    num_locals: int
    global_frames: int | None
    shortest: int
    setting: str = "local_frames"

    @property
    def groups(self) -> tuple[int, ...]:
        """The globals and the locals."""
        return (self.num_globals, self.num_locals)

    def room(self, track_frames: int) -> int:
        """Return all of the track."""
        return track_frames

    def place(self, track_frames: int, length: int, rng: np.random.Generator) -> list[Span]:
        """Return the globals, then the locals of this length."""
        longest = min(self.global_frames or track_frames, track_frames)
        return [
            *Spacing(self.num_globals).place(track_frames, longest, rng),
            *Spacing(self.num_locals).place(track_frames, length, rng),
        ]


@dataclass(frozen=True)
class WholeTrack(Views):
    """The whole track, several times: only the kept patches differ."""

    num_views: int
    shortest: int
    setting: str = "min_frames"

    @property
    def groups(self) -> tuple[int, ...]:
        """One group."""
        return (self.num_views,)

    def room(self, track_frames: int) -> int:
        """Return all of the track."""
        return track_frames

    def place(self, track_frames: int, length: int, rng: np.random.Generator) -> list[Span]:
        """Return the track, whatever the length of its batch."""
        return [Span(0, track_frames)] * self.num_views


def build_views(config: ViewsConfig) -> Views:
    """Return the strategy a configuration describes."""
    match config:
        case ExcerptsConfig():
            frames = config.num_frames
            return Excerpts(_spacing(config), frames, frames)
        case VariableLengthConfig():
            return Excerpts(_spacing(config), config.min_frames, config.max_frames, "min_frames")
        case GlobalLocalConfig():
            return GlobalLocal(
                config.num_globals, config.num_locals, config.global_frames, config.local_frames
            )
        case WholeTrackConfig():
            return WholeTrack(config.num_views, config.min_frames)


def _spacing(config: ExcerptsConfig | VariableLengthConfig) -> Spacing:
    return Spacing(config.num_views, config.min_gap, config.min_overlap)


def log_uniform(rng: np.random.Generator, low: int, high: int) -> int:
    """Return an integer from `low` to `high`, both included, with a uniform logarithm."""
    drawn = math.exp(rng.uniform(math.log(low), math.log(high + 1)))
    return min(max(int(drawn), low), high)

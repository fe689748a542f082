"""Contexts: which spans of a track's frames are read, each in one forward pass of the encoder."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ..errors import ConfigError


@runtime_checkable
class Context(Protocol):
    """Says which spans of frames are read; the embedding is the mean of theirs."""

    @property
    def suffix(self) -> str:
        """What this context adds to the space id; empty for the default."""
        ...

    def spans(self, num_frames: int, *, frame_rate: float) -> list[slice]:
        """Return the spans of a track of `num_frames` >= 1 frames, in order of time."""
        ...


@dataclass(frozen=True)
class WholeTrack:
    """The whole track in one forward pass."""

    @property
    def suffix(self) -> str:
        """Nothing: this is the default."""
        return ""

    def spans(self, num_frames: int, *, frame_rate: float) -> list[slice]:
        """Return one span that holds everything."""
        return [slice(0, num_frames)]


@dataclass(frozen=True)
class Windows:
    """Windows of equal length; for comparison with `WholeTrack`.

    The last window ends where the track ends, so no window is padded, and with a hop of at most
    the length every frame is read. A track shorter than a window is one window.

    Args:
        seconds: length of a window, > 0.
        hop_seconds: from one window's start to the next; None: `seconds`, no overlap.

    Raises:
        ConfigError: a length or hop that is not a positive number.

    Example:
        >>> Windows(8.0, hop_seconds=4.0).spans(100, frame_rate=5.0)
        [slice(0, 40, None), slice(20, 60, None), slice(40, 80, None), slice(60, 100, None)]
    """

    seconds: float
    hop_seconds: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("seconds", self.seconds), ("hop_seconds", self.hop)):
            if not 0.0 < value < math.inf:
                raise ConfigError(f"window {name}={value} is no length of time; use a number > 0.")

    @property
    def hop(self) -> float:
        """Seconds from one window's start to the next."""
        return self.seconds if self.hop_seconds is None else self.hop_seconds

    @property
    def suffix(self) -> str:
        """``/windows8.2s``, with ``-hop4.1s`` where windows overlap or leave gaps."""
        hop = "" if self.hop == self.seconds else f"-hop{self.hop:.10g}s"
        return f"/windows{self.seconds:.10g}s{hop}"

    def spans(self, num_frames: int, *, frame_rate: float) -> list[slice]:
        """Return the windows, all of the same number of frames."""
        length = min(num_frames, max(1, round(self.seconds * frame_rate)))
        hop = max(1, round(self.hop * frame_rate))
        starts = list(range(0, num_frames - length + 1, hop))
        if starts[-1] + length < num_frames:
            starts.append(num_frames - length)
        return [slice(start, start + length) for start in starts]


WHOLE_TRACK = WholeTrack()

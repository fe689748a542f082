"""Music file -> mono waveform at the asked rate, whole or in blocks.

A file is read in short blocks, averaged to mono and resampled by one soxr stream (HQ) as it goes,
so that a track of hours never sits in memory but for the mono waveform the caller keeps. A start
is sought, not decoded up to, and begins on the resampler's grid, so that an excerpt has the samples
the whole track has there.

Conventions: waveforms are (samples,) float32, nominally in [-1, 1]; times are in seconds.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

import numpy as np
import soxr
from jaxtyping import Float32

from ..errors import AudioError
from .readers import AudioInfo, Mono, Reader, open_reader

__all__ = ["AudioInfo", "decode", "decode_blocks", "probe", "resampled"]

# A file is truncated when this much of the length it announces does not decode. Less is ordinary:
# encoder delay, rounding in containers, a damaged packet.
_MISSING_SECONDS = 0.5
_MISSING_SHARE = 0.01

# The resampler is fed this much before the start of an excerpt; its filter is shorter.
_RESAMPLER_SECONDS = 0.05


def probe(path: str | PathLike[str]) -> AudioInfo:
    """Return sample rate (Hz), channels, duration (s) and codec of a file.

    Raises:
        AudioError: the file is missing, unreadable, or not audio.
    """
    with contextlib.closing(open_reader(Path(path))) as reader:
        return reader.info


def decode(
    path: str | PathLike[str],
    *,
    sample_rate: int,
    start: float = 0.0,
    duration: float | None = None,
) -> Float32[np.ndarray, " samples"]:
    """Return the mono waveform of a file, or of an excerpt of it.

    Args:
        path: the file.
        sample_rate: samples per second of the result, in Hz; > 0.
        start: where to begin, in s; >= 0.
        duration: how much to decode, in s; None for all. Less where the track ends before.

    Raises:
        AudioError: the file is missing, unreadable, truncated, not audio or without samples, holds
            NaN or infinity, or `start` is beyond its end.
    """
    blocks = decode_blocks(path, sample_rate=sample_rate, start=start, duration=duration)
    return np.concatenate(list(blocks))


def decode_blocks(
    path: str | PathLike[str],
    *,
    sample_rate: int,
    start: float = 0.0,
    duration: float | None = None,
    block_seconds: float = 30.0,
) -> Iterator[Float32[np.ndarray, " samples"]]:
    """Yield what `decode` returns in blocks of `block_seconds`; the last may be shorter.

    Joined, they are `decode`'s waveform to the last bit. Memory is that of a block.

    Raises:
        AudioError: as `decode`, when the damage is reached.
    """
    if not block_seconds > 0:
        raise AudioError(f"block_seconds={block_seconds} is not positive; use e.g. 30.")
    size = max(1, round(block_seconds * sample_rate))
    block, filled = np.empty(size, np.float32), 0
    for piece in _waveform(Path(path), _Window(sample_rate, start, duration)):
        while len(piece):
            taken = piece[: size - filled]
            block[filled : filled + len(taken)] = taken
            filled += len(taken)
            piece = piece[len(taken) :]
            if filled == size:
                yield block
                block, filled = np.empty(size, np.float32), 0
    if filled:
        yield block[:filled]


class _Window:
    """The samples asked for, at the asked rate: from `first` on, `length` of them or all."""

    def __init__(self, sample_rate: int, start: float, duration: float | None) -> None:
        if sample_rate <= 0:
            raise AudioError(f"sample_rate={sample_rate} Hz is not positive; use e.g. 16000.")
        if not (start >= 0 and math.isfinite(start)):
            raise AudioError(f"start={start} s is not a time in the track; use start >= 0.")
        if duration is not None and not (duration > 0 and math.isfinite(duration)):
            raise AudioError(f"duration={duration} s is not a length; use duration > 0.")
        self.sample_rate = sample_rate
        self.start = start
        self.first = round(start * sample_rate)
        self.length = None if duration is None else max(1, round(duration * sample_rate))

    def source_start(self, rate: int) -> tuple[int, int]:
        """Return the sample to begin at in a source of `rate`, and that sample's place in ours.

        Both rates have a sample at every multiple of 1 / gcd seconds; beginning on one of those,
        the resampler gives the samples it gives when it begins at 0.
        """
        if rate == self.sample_rate:
            return self.first, self.first
        divisor = math.gcd(rate, self.sample_rate)
        seconds = max(0.0, self.first / self.sample_rate - _RESAMPLER_SECONDS)
        steps = int(seconds * divisor)
        return steps * (rate // divisor), steps * (self.sample_rate // divisor)


def _waveform(path: Path, window: _Window) -> Iterator[Mono]:
    """Yield the samples of the window, in pieces of no particular length."""
    subject = f"file={str(path)!r}"
    with contextlib.closing(open_reader(path)) as reader:
        source_first, begin = window.source_start(reader.info.sample_rate)
        end = math.inf if window.length is None else window.first + window.length
        position, blocks = begin, _verified(reader, subject, source_first, window.start)
        for piece in resampled(blocks, window.sample_rate):
            skip = max(0, window.first - position)
            keep = int(min(len(piece), end - position))
            position += len(piece)
            if keep > skip:
                yield piece[skip:keep]
            if position >= end:
                return
        if position > window.first:
            return
        if window.first == 0:
            raise AudioError(f"{subject} holds no samples; export it again with sound in it.")
        length = position / window.sample_rate if position > begin else reader.info.duration
        raise AudioError(
            f"start={window.start:g} s is beyond the end of {subject}"
            f"{'' if length is None else f' ({length:.3f} s)'}; start earlier."
        )


def _verified(reader: Reader, subject: str, first: int, start: float) -> Iterator[tuple[int, Mono]]:
    """Yield the reader's blocks; raise where they are not finite or end too soon."""
    begin = seconds = first / reader.info.sample_rate
    for rate, block in reader.blocks(first):
        # The sum is finite if all samples are, but for absurdly loud ones.
        with np.errstate(invalid="ignore", over="ignore"):
            suspicious = not np.isfinite(block.sum())
        if suspicious and not np.isfinite(block).all():
            at = seconds + int(np.argmin(np.isfinite(block))) / rate
            raise AudioError(
                f"{subject} holds NaN or infinity at {at:.3f} s, samples must be finite; "
                "export it again."
            )
        yield rate, block
        seconds += len(block) / rate
    announced = reader.announced
    if announced is None or start >= announced:
        return
    if start > 0 and seconds == begin:
        raise AudioError(
            f"{subject} announces {announced:.1f} s but nothing decodes at start={start:g} s, "
            "it is truncated or damaged; fetch it again."
        )
    if announced - seconds > max(_MISSING_SECONDS, _MISSING_SHARE * announced):
        raise AudioError(
            f"{subject} announces {announced:.1f} s but only {seconds:.1f} s decode, "
            "it is truncated or damaged; fetch it again."
        )


def resampled(blocks: Iterable[tuple[int, Mono]], sample_rate: int) -> Iterator[Mono]:
    """Yield blocks, each with its rate in Hz, at `sample_rate`; at least one sample of any music.

    Joined, the result does not depend on how the music was cut into blocks.
    """
    first: Mono | None = None
    num_samples = 0

    def remembered() -> Iterator[tuple[int, Mono]]:
        nonlocal first
        for rate, block in blocks:
            if first is None and len(block):
                first = block[:1].copy()
            yield rate, block

    for piece in _streamed(remembered(), sample_rate):
        num_samples += len(piece)
        yield piece
    if num_samples == 0 and first is not None:
        yield first  # less than one sample at this rate is still something


def _streamed(blocks: Iterable[tuple[int, Mono]], sample_rate: int) -> Iterator[Mono]:
    """Yield the blocks at `sample_rate`; where their own rate changes, a new stream begins."""
    stream, stream_rate = None, sample_rate
    nothing = np.empty(0, np.float32)
    for rate, block in blocks:
        if rate != stream_rate:
            if stream is not None:
                yield stream.resample_chunk(nothing, last=True)
            stream_rate = rate
            stream = None if rate == sample_rate else soxr.ResampleStream(rate, sample_rate, 1)
        yield block if stream is None else stream.resample_chunk(block)
    if stream is not None:
        yield stream.resample_chunk(nothing, last=True)

"""Source -> track: files and waveforms become the spectrograms that the encoder reads.

A file is decoded in blocks that go straight into the front end, so what is held of a track is its
spectrogram (1 hour at 31.25 frames a second: 58 MB). Reading is the work of threads, which run
ahead of the encoder by a bounded amount.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from ..audio.decode import decode_blocks, resampled
from ..audio.melspectrogram import SMALLEST_POWER, MelSpectrogram
from ..config import FrontEndConfig
from ..errors import AudioError, ConfigError, MynaError

Source = str | os.PathLike[str] | npt.NDArray[Any]
"""An audio file, or a mono waveform (samples,) of floats in [-1, 1]."""

_BLOCK_SECONDS = 30.0
# No further track is begun while this many frames (67 MB of 128 bands) wait for the encoder.
_FRAMES_AHEAD = 131_072


class SilentTrackWarning(UserWarning):
    """A track holds nothing but silence: its embedding is defined, and says nothing."""


class _StoppedError(Exception):
    """Nobody waits for this track any more."""


@dataclass(frozen=True, eq=False)
class Track:
    """A track as the encoder reads it.

    Attributes:
        path: the file; ``waveform`` where there is none.
        spectrogram: on the CPU, at least one frame.
        duration: in seconds.
        silent: whether it holds nothing but silence.
    """

    path: Path
    spectrogram: Float[Tensor, "mel_bands frames"]
    duration: float
    silent: bool

    @property
    def num_frames(self) -> int:
        """Frames of the spectrogram."""
        return self.spectrogram.shape[-1]

    @property
    def warning(self) -> str | None:
        """One sentence if the embedding should not be trusted."""
        if not self.silent:
            return None
        return "the track is silent; its embedding says nothing about music."


@dataclass(frozen=True)
class Failed:
    """One file that has no embedding, and why, in one sentence."""

    path: Path
    error: str


class TrackReader:
    """Reads tracks for one front end. Several threads may share it."""

    def __init__(self, config: FrontEndConfig) -> None:
        self.config = config
        self._front_end = MelSpectrogram(config)

    def read(self, source: Source, *, sample_rate: int | None = None) -> Track:
        """Return the track of a file or waveform.

        Args:
            source: an audio file, or a mono waveform.
            sample_rate: the waveform's rate, in Hz; only with a waveform, and then required.

        Raises:
            AudioError: a file that cannot be read, or a waveform that is none: wrong shape or
                type, empty, or with values that are not finite.
            ConfigError: a sample rate given for a file.
        """
        if isinstance(source, np.ndarray):
            waveform = _checked(source, sample_rate)
            assert sample_rate is not None, "checked"
            return self._read(Path("waveform"), self._blocks(waveform, sample_rate))
        if sample_rate is not None:
            raise ConfigError(
                f"sample_rate={sample_rate} Hz is given for a file, which states its own; "
                "pass it with waveforms only."
            )
        return self._read_file(Path(source), stopped=lambda: False)

    def read_ahead(
        self, paths: Iterable[str | os.PathLike[str]], *, workers: int
    ) -> Generator[Track | Failed, None, None]:
        """Yield tracks in order while threads decode the next ones; close it to stop them.

        Memory holds two tracks per worker, or fewer where they are long.
        """
        stop = Event()
        pending: deque[Future[Track | Failed]] = deque()

        def frames_ahead() -> int:
            ready = (future.result() for future in pending if future.done())
            return sum(track.num_frames for track in ready if isinstance(track, Track))

        with ThreadPoolExecutor(workers, thread_name_prefix="read") as pool:
            try:
                for path in paths:
                    pending.append(pool.submit(self._read_or_say_why, Path(path), stop))
                    while len(pending) > 2 * workers or frames_ahead() > _FRAMES_AHEAD:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)

    def _read_or_say_why(self, path: Path, stop: Event) -> Track | Failed:
        try:
            return self._read_file(path, stopped=stop.is_set)
        except MynaError as error:
            return Failed(path, str(error))
        except _StoppedError:
            raise
        except Exception as error:  # decoders fail in ways nobody has listed yet
            reason = f"{type(error).__name__}: {error}".rstrip(".")
            return Failed(path, f"file={str(path)!r} cannot be read ({reason}); export it again.")

    def _read_file(self, path: Path, *, stopped: Callable[[], bool]) -> Track:
        def blocks() -> Iterator[npt.NDArray[np.float32]]:
            for block in decode_blocks(
                path, sample_rate=self.config.sample_rate, block_seconds=_BLOCK_SECONDS
            ):
                if stopped():
                    raise _StoppedError
                yield block

        return self._read(path, blocks())

    def _read(self, path: Path, blocks: Iterable[npt.NDArray[np.float32]]) -> Track:
        num_samples = 0

        def counted() -> Iterator[npt.NDArray[np.float32]]:
            nonlocal num_samples
            for block in blocks:
                num_samples += block.size
                yield block

        with torch.inference_mode():
            spectrogram = self._front_end.stream(counted())
        silent = bool(spectrogram.max() <= self.config.floor + SMALLEST_POWER)
        return Track(path, spectrogram, num_samples / self.config.sample_rate, silent)

    def _blocks(
        self, waveform: npt.NDArray[np.float32], sample_rate: int
    ) -> Iterator[npt.NDArray[np.float32]]:
        """Yield a waveform at the front end's rate."""
        step = max(1, int(_BLOCK_SECONDS * sample_rate))
        blocks = ((sample_rate, waveform[i : i + step]) for i in range(0, waveform.size, step))
        return resampled(blocks, self.config.sample_rate)


def _checked(waveform: npt.NDArray[Any], sample_rate: int | None) -> npt.NDArray[np.float32]:
    if sample_rate is None:
        raise AudioError("waveform comes without a sample_rate; pass its rate in Hz.")
    if sample_rate <= 0:
        raise AudioError(f"sample_rate={sample_rate} Hz is not a rate; pass a number > 0.")
    if waveform.ndim != 1:
        raise AudioError(
            f"waveform.shape={waveform.shape} is not (samples,); "
            "pass one channel, as the mean over channels."
        )
    if not np.issubdtype(waveform.dtype, np.floating):
        raise AudioError(
            f"waveform.dtype={waveform.dtype} is not floating point; scale it to [-1, 1], "
            "16-bit integers by 1 / 32768."
        )
    if waveform.size == 0:
        raise AudioError("waveform holds no samples; pass at least one.")
    if not np.isfinite(waveform).all():
        raise AudioError("waveform holds NaN or infinity; samples must be finite, repair them.")
    return waveform.astype(np.float32, copy=False)

"""Waveform -> mel-spectrogram: the front end every embedding begins with.

The four presets of ``config.FRONT_ENDS`` are librosa's melspectrogram (Hann window, centred frames,
power 2, Slaney mel bands) with or without decibels; ``myna-16k`` is nnAudio's. Decibels are
relative to the maximum of each track and end at the floor, as librosa's ``power_to_db(ref=np.max)``
and ``amplitude_to_db(ref=np.max)``. One deviation: a silent track, which librosa calls 0 dB, its
loudest, is floor everywhere here.

Speed comes from locality: frames are taken 256 at a time, so that windowed frames and their
spectra stay in the cache, and mel bands are folded from the few FFT bins they overlap, 16 bands at
a time. Frames are cut into the same 256 however a track arrives, so ``stream`` and one-shot calls
give the same bits.

Shapes: a waveform is (*batch, samples), a spectrogram (*batch, mel_bands, frames). float64 input is
computed in float64, any other in float32.
"""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..config import FrontEndConfig
from ..errors import AudioError, ConfigError

FRAMES_PER_BLOCK = 256
BANDS_PER_GROUP = 16
FRAMES_PER_GPU_BLOCK = 16_384
# A stream is collected in slabs so large (64 MB at 128 bands) that the system gets each back when
# it is freed; malloc keeps small ones. Their unused pages are never touched.
FRAMES_PER_SLAB = 131_072

# Powers below this count as silence (librosa's amin, 1e-5 as an amplitude).
SMALLEST_POWER = 1e-10


def mel_filterbank(
    *, sample_rate: int, n_fft: int, n_mels: int, fmin: float = 0.0, fmax: float | None = None
) -> Float[Tensor, "mel_bands fft_bins"]:
    """Return the weights that fold FFT bins into mel bands.

    Args:
        sample_rate: samples per second, in Hz; > 0.
        n_fft: samples per FFT; fft_bins = n_fft // 2 + 1.
        n_mels: number of bands, triangles of equal area spaced evenly in mel.
        fmin: lower edge of the lowest band, in Hz.
        fmax: upper edge of the highest band, in Hz; half of the sample rate by default.

    Returns:
        Weights, non-negative, float64.

    Raises:
        ConfigError: fmax is above sample_rate / 2, or not above fmin.

    Source:
        Slaney 1998 (Auditory Toolbox); agrees with librosa.filters.mel.
    """
    top = sample_rate / 2 if fmax is None else fmax
    if top > sample_rate / 2:
        raise ConfigError(
            f"fmax={top:g} Hz is above half of sample_rate={sample_rate} Hz; "
            f"use fmax <= {sample_rate / 2:g}."
        )
    if not 0 <= fmin < top:
        raise ConfigError(f"fmin={fmin:g} Hz is not below fmax={top:g} Hz; use fmin < {top:g}.")
    edges = mel_to_hz(np.linspace(hz_to_mel(fmin), hz_to_mel(top), n_mels + 2))
    bins = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    lower, centre, upper = (edges[i : i + n_mels, None] for i in range(3))
    rising, falling = (bins - lower) / (centre - lower), (upper - bins) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return torch.from_numpy(triangles * (2.0 / (upper - lower)))


# Slaney's mel scale: linear to 1 kHz (15 mel), then 27 steps for each factor of 6.4.
_HZ_PER_MEL = 200.0 / 3.0
_LOG_FROM_HZ, _LOG_FROM_MEL = 1000.0, 15.0
_LOG_STEP = math.log(6.4) / 27.0


def hz_to_mel(hz: float) -> float:
    """Return a frequency on Slaney's mel scale: linear below 1 kHz, logarithmic above."""
    if hz < _LOG_FROM_HZ:
        return hz / _HZ_PER_MEL
    return _LOG_FROM_MEL + math.log(hz / _LOG_FROM_HZ) / _LOG_STEP


def mel_to_hz(mel: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """Return the frequencies of points on Slaney's mel scale, in Hz."""
    exponential = _LOG_FROM_HZ * np.exp(
        _LOG_STEP * (np.maximum(mel, _LOG_FROM_MEL) - _LOG_FROM_MEL)
    )
    return np.where(mel < _LOG_FROM_MEL, _HZ_PER_MEL * mel, exponential)


class _Constants(NamedTuple):
    """What the transform multiplies with, on one device in one dtype."""

    window: Float[Tensor, " n_fft"]
    # For some neighbouring bands: the first of the interleaved squares (re² and im² of each FFT
    # bin) they overlap, and their weights from there on, (interleaved_bins, bands).
    bands: list[tuple[int, Float[Tensor, "interleaved_bins bands"]]]


class MelSpectrogram(nn.Module):
    """The front end a configuration describes, on CPU or GPU; nothing in it is learned.

    It follows the device of its input, adds nothing to a state dict, and is not changed by
    ``.half()`` or autocast.

    >>> front_end = MelSpectrogram(FrontEndConfig())
    >>> front_end(torch.zeros(2, 16_000)).shape
    torch.Size([2, 128, 32])
    """

    def __init__(self, config: FrontEndConfig) -> None:
        super().__init__()
        self.config = config
        self._pad = config.n_fft // 2
        # Not buffers: casting a model to bfloat16 must not round the filters.
        self._constants: dict[tuple[torch.device, torch.dtype], _Constants] = {}

    def num_frames(self, samples: int) -> int:
        """Return the number of frames of so many samples: one centred on every hop."""
        return 1 + (samples + 2 * self._pad - self.config.n_fft) // self.config.hop_length

    @torch.no_grad()
    def forward(
        self, waveform: Float[Tensor, "*batch samples"]
    ) -> Float[Tensor, "*batch mel_bands frames"]:
        """Return the spectrogram, `scale` of `power`.

        Raises:
            AudioError: the waveform has no samples.
        """
        return self._scale_(self.power(waveform))

    @torch.no_grad()
    def power(
        self, waveform: Float[Tensor, "*batch samples"]
    ) -> Float[Tensor, "*batch mel_bands frames"]:
        """Return the power mel spectrogram, before any logarithm.

        Raises:
            AudioError: the waveform has no samples.
        """
        *batch, num_samples = waveform.shape
        _require_samples(num_samples)
        tracks = waveform.reshape(-1, num_samples).to(_compute_dtype(waveform.dtype))
        num_frames = self.num_frames(num_samples)
        mel = tracks.new_empty(len(tracks), self.config.n_mels, num_frames)
        # On the CPU one track at a time: that fits the cache, and the bits of a track do not
        # depend on its batch.
        per_call = 1 if waveform.device.type == "cpu" else max(1, len(tracks))
        step = _frames_per_block(waveform.device, per_call)
        for track, out in zip(
            torch.split(tracks, per_call), torch.split(mel, per_call), strict=True
        ):
            left, right = self._surroundings(track)
            frames = self._frames(torch.cat([left, track, right], dim=-1))
            for at in range(0, num_frames, step):
                out[..., at : at + step] = self._fold(frames[:, at : at + step])
        return mel.reshape(*batch, self.config.n_mels, num_frames)

    def scale(
        self, power: Float[Tensor, "*batch mel_bands frames"]
    ) -> Float[Tensor, "*batch mel_bands frames"]:
        """Return a power mel spectrogram on the configured scale.

        Decibels are relative to the maximum over all bands and frames of each track. A silent
        track is floor everywhere.
        """
        return self._scale_(power.clone())

    @torch.no_grad()
    def stream(
        self,
        blocks: Iterable[Float[np.ndarray, " _"]],
        *,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "mel_bands frames"]:
        """Return the spectrogram of a waveform that arrives in blocks of any lengths.

        The bits are those of a single call with the joined waveform, but memory holds only the
        spectrogram and a block or two.

        Args:
            blocks: consecutive pieces of one track, from ``decode_blocks``.
            device: where to compute; the CPU by default.

        Raises:
            AudioError: the blocks hold no samples.
        """
        slabs: list[Tensor] = []
        num_frames = 0
        for frames in self._streamed_frames(blocks, device):
            folded = self._fold(frames)
            at = num_frames % FRAMES_PER_SLAB
            if at == 0:
                slabs.append(folded.new_empty(self.config.n_mels, FRAMES_PER_SLAB))
            slabs[-1][:, at : at + folded.shape[-1]] = folded
            num_frames += folded.shape[-1]
        power = slabs[0].new_empty(self.config.n_mels, num_frames)
        while slabs:  # from the last, freeing each: the spectrogram is never held twice
            at = (len(slabs) - 1) * FRAMES_PER_SLAB
            power[:, at:num_frames] = slabs.pop()[:, : num_frames - at]
            num_frames = at
        return self._scale_(power)

    def _streamed_frames(
        self, blocks: Iterable[np.ndarray], device: torch.device | str | None
    ) -> Iterator[Float[Tensor, "frames n_fft"]]:
        """Yield all frames of a track, as many at a time as a single call would take."""
        waiting: Tensor | None = None
        left: Tensor | None = None
        for block in blocks:
            samples = torch.from_numpy(np.require(block, requirements=["C", "W"]))
            samples = samples.to(device, _compute_dtype(samples.dtype))
            waiting = samples if waiting is None else torch.cat([waiting, samples])
            if left is None:
                if len(waiting) <= self._pad:  # too short for its own reflection
                    continue
                left, _ = self._surroundings(waiting)
                waiting = torch.cat([left, waiting])
            step = _frames_per_block(waiting.device, 1)
            # What the reflection at the end of the track would need stays behind.
            frames = self._frames(waiting[: len(waiting) - self._pad - 1])
            whole = frames.shape[0] - frames.shape[0] % step
            if whole:
                yield from torch.split(frames[:whole], step)
            waiting = waiting[whole * self.config.hop_length :]
        _require_samples(0 if waiting is None else len(waiting))
        assert waiting is not None
        before, after = self._surroundings(waiting)
        waiting = torch.cat([waiting, after] if left is not None else [before, waiting, after])
        yield from torch.split(self._frames(waiting), _frames_per_block(waiting.device, 1))

    def _surroundings(
        self, samples: Float[Tensor, "*tracks samples"]
    ) -> tuple[Float[Tensor, "*tracks pad"], Float[Tensor, "*tracks pad"]]:
        """Return what is put before and after a track, so that frames can be centred on its ends.

        Reflection goes back and forth where a track is shorter than the pad, as numpy's does.
        """
        if self.config.pad_mode == "constant":
            zeros = samples.new_zeros(*samples.shape[:-1], self._pad)
            return zeros, zeros
        length = samples.shape[-1]
        period = max(1, 2 * (length - 1))
        places = torch.arange(self._pad, device=samples.device)
        before, after = (places - self._pad) % period, (places + length) % period
        return tuple(  # type: ignore[return-value]
            samples[..., torch.where(index < length, index, period - index)]
            for index in (before, after)
        )

    def _frames(
        self, samples: Float[Tensor, "*tracks samples"]
    ) -> Float[Tensor, "*tracks frames n_fft"]:
        """Return a view of the frames that fit; none where there are too few samples."""
        n_fft, hop = self.config.n_fft, self.config.hop_length
        if samples.shape[-1] < n_fft:
            return samples.new_empty(*samples.shape[:-1], 0, n_fft)
        return samples.unfold(-1, n_fft, hop)

    def _fold(
        self, frames: Float[Tensor, "*tracks frames n_fft"]
    ) -> Float[Tensor, "*tracks mel_bands frames"]:
        """Return the power mel spectrogram of frames."""
        window, bands = self._constants_for(frames.device, frames.dtype)
        with torch.autocast(frames.device.type, enabled=False):
            spectrum = torch.fft.rfft(frames * window)  # (*, frames, fft_bins)
            # Folding re² and im² with the same weight saves a pass that would add them.
            squares = torch.view_as_real(spectrum).square_().flatten(-2)  # (*, frames, 2 fft_bins)
            folded = [
                squares[..., first : first + len(weights)] @ weights for first, weights in bands
            ]
            return torch.cat(folded, dim=-1).mT  # (*, mel_bands, frames)

    def _constants_for(self, device: torch.device, dtype: torch.dtype) -> _Constants:
        if (device, dtype) not in self._constants:
            config = self.config
            left = (config.n_fft - config.win_length) // 2
            window = F.pad(
                torch.hann_window(config.win_length, dtype=torch.float64),
                (left, config.n_fft - config.win_length - left),
            )
            filters = mel_filterbank(
                sample_rate=config.sample_rate,
                n_fft=config.n_fft,
                n_mels=config.n_mels,
                fmin=config.fmin,
                fmax=config.fmax,
            )
            # A GPU would rather do one dense product than many small ones.
            per_group = BANDS_PER_GROUP if device.type == "cpu" else config.n_mels
            bands = []
            for group in torch.split(filters.repeat_interleave(2, dim=1), per_group):
                overlapped = group.any(dim=0).nonzero().flatten().tolist() or [0]
                first, last = overlapped[0], overlapped[-1]
                weights = group[:, first : last + 1].T.contiguous()
                bands.append((first, weights.to(dtype).to(device)))
            self._constants[device, dtype] = _Constants(window.to(dtype).to(device), bands)
        return self._constants[device, dtype]

    def _scale_(
        self, power: Float[Tensor, "*batch mel_bands frames"]
    ) -> Float[Tensor, "*batch mel_bands frames"]:
        """Scale in place."""
        if self.config.scale == "power":
            return power
        if self.config.scale == "amplitude_to_db":
            power.square_()
        loudest = power.amax(dim=(-2, -1), keepdim=True)
        reference = 10.0 * loudest.clamp(min=SMALLEST_POWER).log10()
        decibels = power.clamp_(min=SMALLEST_POWER).log10_().mul_(10.0).sub_(reference)
        decibels.clamp_(min=self.config.floor)
        return decibels.masked_fill_(loudest <= SMALLEST_POWER, self.config.floor)


def _compute_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _frames_per_block(device: torch.device, tracks: int) -> int:
    if device.type == "cpu":
        return FRAMES_PER_BLOCK
    return max(1, FRAMES_PER_GPU_BLOCK // tracks)


def _require_samples(samples: int) -> None:
    if samples == 0:
        raise AudioError("waveform=0 samples has nothing to hear; give at least one sample.")

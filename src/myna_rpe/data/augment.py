"""Random changes of a view, made to its kept patches only.

A `Change` is drawn once for each view, so its patches change alike whatever their shape; only the
noise is drawn for each cell. Cells at the floor are silence: no level changes there.

Shapes: patches (tokens, frames, mel_bands), frame-major as shards are; ``time`` and ``freq``
(tokens,) are their places in the grid. Levels are in the front end's dB, pitch in semitones.
Source: Park et al. 2019 (SpecAugment), without warping.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int

from ..audio.melspectrogram import hz_to_mel, mel_to_hz
from ..config import AugmentConfig, FrontEndConfig

_EQ_WAVES = 4  # of the cosines an equaliser's curve is made of: about an octave and a half each


class Mask(NamedTuple):
    """Frames, or mel bands, from `start` up to but not including `stop`."""

    start: int
    stop: int


class Change(NamedTuple):
    """What happens to one view; ``rng`` draws its noise."""

    semitones: float
    gain_db: float
    eq_db: Float32[np.ndarray, " n_mels"] | None
    noise_db: float
    frame_masks: tuple[Mask, ...]
    band_masks: tuple[Mask, ...]
    rng: np.random.Generator


class Augment:
    """Draws changes and makes them.

    Args:
        config: how much may change.
        front_end: scale and mel bands of the spectrograms.

    Attributes:
        active: whether anything changes at all.

    Raises:
        ConfigError: gain, colour or noise in dB for a front end without a logarithm.
    """

    def __init__(self, config: AugmentConfig, front_end: FrontEndConfig) -> None:
        self.config = config
        self.front_end = front_end
        config.check(front_end)
        self.active = config != AugmentConfig()

    def draw(self, frames: int, rng: np.random.Generator) -> Change:
        """Return what happens to a view of so many frames."""
        config = self.config
        semitones = rng.uniform(-config.pitch_semitones, config.pitch_semitones)
        gain_db = rng.uniform(-config.gain_db, config.gain_db)
        noise_db = rng.uniform(0.0, config.noise_db)
        frame_masks: tuple[Mask, ...] = ()
        band_masks: tuple[Mask, ...] = ()
        if masks := config.spec_augment:
            frame_masks = _draw_masks(masks.time_masks, masks.max_frames, frames, rng)
            band_masks = _draw_masks(masks.band_masks, masks.max_bands, self.front_end.n_mels, rng)
        eq_db = self._draw_curve(rng) if config.eq_db else None
        return Change(semitones, gain_db, eq_db, noise_db, frame_masks, band_masks, rng)

    def _draw_curve(self, rng: np.random.Generator) -> Float32[np.ndarray, " n_mels"]:
        """Return a sum of the slowest cosines over the bands; its greatest value is drawn."""
        waves = np.arange(1, _EQ_WAVES + 1)[:, None]
        bands = (np.arange(self.front_end.n_mels) + 0.5) / self.front_end.n_mels
        curve = rng.standard_normal(_EQ_WAVES) @ np.cos(np.pi * waves * bands)
        peak = rng.uniform(0.0, self.config.eq_db)
        scaled: Float32[np.ndarray, " n_mels"] = (curve * (peak / np.abs(curve).max())).astype("f4")
        return scaled

    def shift_pitch(
        self,
        columns: Float32[np.ndarray, "tokens frames n_mels"],
        freq: Int[np.ndarray, " tokens"],
        mel_bands: int,
        semitones: float,
    ) -> Float32[np.ndarray, "tokens frames mel_bands"]:
        """Return patches of `mel_bands` bands cut from whole columns, higher by so much.

        A band takes what lay where its centre comes from, interpolated in mel between the two
        nearest centres. What would come from outside the spectrogram is floor.
        """
        source = self._sources(semitones)
        # One band of floor below and one above, so that edges fade into it.
        padded = np.pad(columns, ((0, 0), (0, 0), (1, 1)), constant_values=self.front_end.floor)
        source = np.clip(source + 1, 0, self.front_end.n_mels + 1)
        below = np.minimum(source.astype(np.int64), self.front_end.n_mels)
        share = (source - below).astype(np.float32)

        bands = freq[:, None] * mel_bands + np.arange(mel_bands)  # (tokens, mel_bands)
        below, share = below[bands][:, None], share[bands][:, None]  # (tokens, 1, mel_bands)
        low = np.take_along_axis(padded, below, axis=2)
        high = np.take_along_axis(padded, below + 1, axis=2)
        shifted: Float32[np.ndarray, "tokens frames mel_bands"] = low + share * (high - low)
        return shifted

    def _sources(self, semitones: float) -> Float[np.ndarray, " n_mels"]:
        """Return where each band comes from, in bands; outside 0 to n_mels - 1 is nothing."""
        lowest, step = self._scale
        centres = mel_to_hz(lowest + step * np.arange(self.front_end.n_mels))
        sources = centres * 2.0 ** (-semitones / 12)
        return (np.array([hz_to_mel(hz) for hz in sources]) - lowest) / step

    @cached_property
    def _scale(self) -> tuple[float, float]:
        """Centre of the lowest band, and the distance from band to band, in mel."""
        low = hz_to_mel(self.front_end.fmin)
        step = (hz_to_mel(self.front_end.top_frequency) - low) / (self.front_end.n_mels + 1)
        return low + step, step

    def change_levels_(
        self,
        patches: Float32[np.ndarray, "tokens frames mel_bands"],
        freq: Int[np.ndarray, " tokens"],
        change: Change,
    ) -> None:
        """Add gain, colour and noise in place, within the range of the front end."""
        if not change.gain_db and change.eq_db is None and not change.noise_db:
            return
        floor = self.front_end.floor
        music = patches > floor
        change_db = np.full(patches.shape, change.gain_db, np.float32)
        if change.eq_db is not None:
            mel_bands = patches.shape[2]
            band = freq[:, None] * mel_bands + np.arange(mel_bands)  # (tokens, mel_bands)
            change_db += change.eq_db[band][:, None]
        if change.noise_db:
            noise = change.rng.standard_normal(patches.shape, np.float32)
            change_db += np.float32(change.noise_db) * noise
        np.add(patches, change_db, out=patches, where=music)
        np.clip(patches, floor, 0.0, out=patches)

    def mask_(
        self,
        patches: Float32[np.ndarray, "tokens frames mel_bands"],
        time: Int[np.ndarray, " tokens"],
        freq: Int[np.ndarray, " tokens"],
        change: Change,
    ) -> None:
        """Fill what lies in a mask with floor, in place."""
        _, frames, mel_bands = patches.shape
        at = time[:, None] * frames + np.arange(frames)  # (tokens, frames) of the view
        for start, stop in change.frame_masks:
            patches[(start <= at) & (at < stop)] = self.front_end.floor
        band = freq[:, None] * mel_bands + np.arange(mel_bands)  # (tokens, mel_bands)
        for start, stop in change.band_masks:
            patches.swapaxes(1, 2)[(start <= band) & (band < stop)] = self.front_end.floor


def _draw_masks(
    num_masks: int, widest: int, length: int, rng: np.random.Generator
) -> tuple[Mask, ...]:
    """Return masks of uniform width, anywhere within `length`."""
    masks = []
    for _ in range(num_masks):
        width = int(rng.integers(0, min(widest, length), endpoint=True))
        start = int(rng.integers(0, length - width, endpoint=True))
        masks.append(Mask(start, start + width))
    return tuple(masks)

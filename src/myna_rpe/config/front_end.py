"""How a waveform becomes a spectrogram. Lengths in samples, rates and frequencies in Hz."""

from typing import Literal

import pydantic
from pydantic import Field

from ..errors import ConfigError, unknown_name
from .base import Config


class FrontEndConfig(Config):
    """How a waveform becomes the spectrogram the encoder reads.

    Names and meaning are librosa's. ``scale`` says what is done to the power mel spectrogram:
    ``power`` nothing; ``power_to_db`` 10 log10 relative to the track maximum; ``amplitude_to_db``
    20 log10 *of the power*, as the published Myna-RPE checkpoints were fed.
    """

    sample_rate: int = Field(16_000, ge=1_000, le=384_000)
    n_fft: int = Field(2048, ge=16)
    win_length: int = Field(2048, ge=2)
    hop_length: int = Field(512, ge=1)
    n_mels: int = Field(128, ge=1)
    fmin: float = Field(0.0, ge=0.0)
    fmax: float | None = None
    pad_mode: Literal["constant", "reflect"] = "constant"
    scale: Literal["power", "power_to_db", "amplitude_to_db"] = "power_to_db"
    top_db: float = Field(80.0, gt=0.0)

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "FrontEndConfig":
        if self.win_length > self.n_fft:
            raise ConfigError(
                f"win_length={self.win_length} is longer than n_fft={self.n_fft}; "
                f"use win_length <= {self.n_fft}."
            )
        if self.hop_length > self.win_length:
            raise ConfigError(
                f"hop_length={self.hop_length} skips samples between windows of "
                f"win_length={self.win_length}; use hop_length <= {self.win_length}."
            )
        nyquist = self.sample_rate / 2
        if self.fmax is not None and self.fmax > nyquist:
            raise ConfigError(
                f"fmax={self.fmax:g} Hz is above half of sample_rate={self.sample_rate} Hz; "
                f"use fmax <= {nyquist:g}."
            )
        if self.fmin >= self.top_frequency:
            raise ConfigError(
                f"fmin={self.fmin:g} Hz is not below fmax={self.top_frequency:g} Hz; "
                f"use fmin < {self.top_frequency:g}."
            )
        return self

    @property
    def top_frequency(self) -> float:
        """Upper edge of the highest mel band, in Hz: ``fmax``, or half of the sample rate."""
        return self.sample_rate / 2 if self.fmax is None else self.fmax

    @property
    def frame_rate(self) -> float:
        """Frames per second, in Hz."""
        return self.sample_rate / self.hop_length

    @property
    def floor(self) -> float:
        """The quietest value the spectrogram can take; padding takes it (0 dB is the loudest)."""
        return 0.0 if self.scale == "power" else -self.top_db


FRONT_ENDS: dict[str, FrontEndConfig] = {
    # Phillips & Koh 2026: 100 frames a second.
    "rpe-44k": FrontEndConfig(sample_rate=44_100, win_length=1103, hop_length=441),
    # This project's default: 31.25 frames a second.
    "rpe-16k": FrontEndConfig(),
    # The same with half the width of each band: low notes a semitone apart are told apart.
    "fine-16k": FrontEndConfig(n_fft=4096, win_length=4096, n_mels=256),
    # Yonay et al. 2025: nnAudio's defaults, no logarithm.
    "myna-16k": FrontEndConfig(scale="power", pad_mode="reflect"),
    # What the published Myna-RPE checkpoints were fed.
    "rpecl-44k": FrontEndConfig(sample_rate=44_100, scale="amplitude_to_db"),
}


def lookup_front_end(name: str) -> FrontEndConfig:
    """Return the front-end preset of that name.

    Raises:
        ConfigError: no such preset; the valid names are listed.
    """
    if name not in FRONT_ENDS:
        raise ConfigError(unknown_name("front_end", name, FRONT_ENDS))
    return FRONT_ENDS[name]

"""What training sees of a track: where its views lie, how they change, what is kept of them.

Lengths are in frames of the spectrogram, levels in dB, pitch in semitones.
"""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from ..errors import ConfigError
from .base import Config
from .front_end import FrontEndConfig

# --- where views lie -----------------------------------------------------------------------------


class _Spaced(Config):
    """Several excerpts of one length, placed at random under at most one rule.

    ``min_gap``: at least so many frames between any two; 0 forbids overlap only. ``min_overlap``:
    each shares at least so many frames with the first. Both null: anywhere, independently.
    """

    num_views: int = Field(2, ge=2)
    min_gap: int | None = Field(None, ge=0)
    min_overlap: int | None = Field(None, ge=1)

    @pydantic.model_validator(mode="after")
    def _one_rule(self) -> "_Spaced":
        if self.min_gap is not None and self.min_overlap is not None:
            raise ConfigError(
                f"min_gap={self.min_gap} and min_overlap={self.min_overlap} contradict each other; "
                "give one of them."
            )
        return self


class ExcerptsConfig(_Spaced):
    """Views: excerpts of ``num_frames`` frames (the paper: two of 256, independent)."""

    name: Literal["excerpts"] = "excerpts"
    num_frames: int = Field(256, ge=1)

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "ExcerptsConfig":
        if self.min_overlap is not None and self.min_overlap > self.num_frames:
            raise ConfigError(
                f"min_overlap={self.min_overlap} is longer than num_frames={self.num_frames}; "
                f"use min_overlap <= {self.num_frames}."
            )
        return self

    @property
    def longest(self) -> int | None:
        """Frames of the longest view there can be; None: as long as a track."""
        return self.num_frames


class VariableLengthConfig(_Spaced):
    """Views: excerpts of one length per batch, from short phrases to near-full tracks.

    Lengths are log-uniform from ``min_frames`` to ``max_frames``; long ones go to tracks that are
    long enough, and where there are too few, the batch is shortened.
    """

    name: Literal["variable-length"] = "variable-length"
    min_frames: int = Field(94, ge=1)
    max_frames: int = Field(5625, ge=1)

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "VariableLengthConfig":
        if self.max_frames < self.min_frames:
            raise ConfigError(
                f"max_frames={self.max_frames} is below min_frames={self.min_frames}; "
                f"use max_frames >= {self.min_frames}."
            )
        if self.min_overlap is not None and self.min_overlap > self.min_frames:
            raise ConfigError(
                f"min_overlap={self.min_overlap} is longer than min_frames={self.min_frames}; "
                f"use min_overlap <= {self.min_frames}."
            )
        return self

    @property
    def longest(self) -> int | None:
        """Frames of the longest view there can be."""
        return self.max_frames


class GlobalLocalConfig(Config):
    """Views: ``num_globals`` long ones against ``num_locals`` short excerpts of the same track.

    ``global_frames`` null is the whole track. The globals come first among the views.
    """

    name: Literal["global-local"] = "global-local"
    local_frames: int = Field(256, ge=1)
    num_locals: int = Field(1, ge=1)
    global_frames: int | None = Field(None, ge=1)
    num_globals: int = Field(1, ge=1)

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "GlobalLocalConfig":
        if self.global_frames is not None and self.global_frames < self.local_frames:
            raise ConfigError(
                f"global_frames={self.global_frames} is shorter than "
                f"local_frames={self.local_frames}; use global_frames >= {self.local_frames}."
            )
        return self

    @property
    def longest(self) -> int | None:
        """Frames of the longest view there can be; None: as long as a track."""
        return self.global_frames


class WholeTrackConfig(Config):
    """Views: the whole track, ``num_views`` times; only the kept tokens differ.

    ``min_frames``: shorter tracks are left out.
    """

    name: Literal["whole-track"] = "whole-track"
    num_views: int = Field(2, ge=2)
    min_frames: int = Field(256, ge=1)

    @property
    def longest(self) -> int | None:
        """None: as long as a track."""
        return None


ViewsConfig = Annotated[
    ExcerptsConfig | VariableLengthConfig | GlobalLocalConfig | WholeTrackConfig,
    Field(discriminator="name"),
]

# --- what is kept of them ------------------------------------------------------------------------


class RatioPatchoutConfig(Config):
    """A share of each view's tokens is dropped: keep = max(1, N - floor(ratio N)) (the paper)."""

    name: Literal["ratio"] = "ratio"
    ratio: float = Field(0.9, ge=0.0, lt=1.0)


class TokenBudgetConfig(Config):
    """A number of tokens is kept of each view, whatever its length.

    Drawn once per batch, log-uniform from ``min_tokens`` to ``max_tokens``; equal ones fix it.
    A view of fewer tokens keeps all it has.
    """

    name: Literal["token-budget"] = "token-budget"
    min_tokens: int = Field(32, ge=1)
    max_tokens: int = Field(256, ge=1)

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "TokenBudgetConfig":
        if self.max_tokens < self.min_tokens:
            raise ConfigError(
                f"max_tokens={self.max_tokens} is below min_tokens={self.min_tokens}; "
                f"use max_tokens >= {self.min_tokens}."
            )
        return self


PatchoutConfig = Annotated[RatioPatchoutConfig | TokenBudgetConfig, Field(discriminator="name")]

# --- how they change -----------------------------------------------------------------------------


class SpecAugmentConfig(Config):
    """Masks of random width and place, filled with the floor (Park et al. 2019, without warping).

    Widths are uniform from 0 to ``max_frames`` frames and to ``max_bands`` mel bands.
    """

    time_masks: int = Field(1, ge=0)
    max_frames: int = Field(32, ge=0)
    band_masks: int = Field(1, ge=0)
    max_bands: int = Field(16, ge=0)


class AugmentConfig(Config):
    """Random changes of each view; all are off by default.

    ``gain_db``: louder or softer by up to so much. ``eq_db``: coloured by a smooth curve over the
    mel bands, drawn for each view, of up to so much either way: two views of a track then differ in
    their mastering, which cannot be what they are recognised by. ``noise_db``: Gaussian noise of up
    to this standard deviation, per cell. ``pitch_semitones``: shifted by up to so much (mind that
    key is then lost). ``spec_augment``: masks.
    """

    gain_db: float = Field(0.0, ge=0.0)
    eq_db: float = Field(0.0, ge=0.0)
    noise_db: float = Field(0.0, ge=0.0)
    pitch_semitones: float = Field(0.0, ge=0.0, le=24.0)
    spec_augment: SpecAugmentConfig | None = None

    def check(self, front_end: FrontEndConfig) -> None:
        """Refuse what cannot be done to the spectrograms of a front end.

        Raises:
            ConfigError: gain, colour or noise in dB, where there is no logarithm.
        """
        for name in ("gain_db", "eq_db", "noise_db"):
            value = getattr(self, name)
            if value and front_end.scale == "power":
                raise ConfigError(
                    f"augment.{name}={value:g} is in dB, but scale='power' has no logarithm; "
                    f"use augment.{name}=0 or a front end in dB."
                )


# --- how often each track is seen ----------------------------------------------------------------


class SamplingConfig(Config):
    """How often each track is seen.

    ``by`` null: once an epoch. Otherwise tracks are drawn so that each folder, artist or tag is
    seen equally often (``strength`` 1), as often as it has tracks (0), or in between.
    """

    by: Literal["folder", "artist", "tag"] | None = None
    strength: float = Field(1.0, ge=0.0, le=1.0)

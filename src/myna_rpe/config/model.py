"""Sizes, patches and positions of an encoder, and the presets."""

from typing import Literal

import pydantic
from pydantic import Field

from ..errors import ConfigError, unknown_name
from .base import Config
from .front_end import FRONT_ENDS, FrontEndConfig
from .positions import AlibiConfig, RopeConfig, SchemeConfig, SinusoidalConfig

Pooling = Literal["cls", "mean"]
"""Tokens -> embedding: the class token, or the mean of all others."""


class PatchShape(Config):
    """Extent of one patch of the spectrogram, in mel bands by frames."""

    mel_bands: int = Field(16, ge=1)
    frames: int = Field(16, ge=1)

    def __str__(self) -> str:
        return f"{self.mel_bands}x{self.frames}"


class ModelConfig(Config):
    """A ViT over mel-spectrogram patches (method: Phillips & Koh 2026).

    More than one patch shape is a hybrid: one set of blocks reads the spectrogram once per shape
    and the embeddings are concatenated, in order (Myna-Hybrid, Yonay et al. 2025).

    ``positions`` are combined; an empty tuple is no positions at all.
    ``train_tokens``, where given, scales the logits by log(keys) / log(train_tokens).
    ``projection_dim`` is the width of the linear head that only the objective sees.
    """

    n_mels: int = Field(128, ge=1)
    patches: tuple[PatchShape, ...] = (PatchShape(),)
    dim: int = Field(384, ge=1)
    depth: int = Field(12, ge=1)
    heads: int = Field(6, ge=1)
    head_dim: int = Field(64, ge=1)
    mlp_dim: int = Field(1536, ge=1)
    pooling: Pooling = "cls"
    positions: tuple[SchemeConfig, ...] = (AlibiConfig(),)
    train_tokens: int | None = Field(None, ge=2)
    projection_dim: int = Field(128, ge=1)

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "ModelConfig":
        if not self.patches:
            raise ConfigError("patches=() leaves nothing to read; give at least one patch shape.")
        for patch in self.patches:
            if self.n_mels % patch.mel_bands:
                raise ConfigError(
                    f"patch.mel_bands={patch.mel_bands} does not divide n_mels={self.n_mels}; "
                    f"use a divisor of {self.n_mels}."
                )
        names = [scheme.name for scheme in self.positions]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"positions name {name!r} twice; name each scheme once.")
        for scheme in self.positions:
            if (
                isinstance(scheme, AlibiConfig)
                and isinstance(scheme.slopes, tuple)
                and len(scheme.slopes) != self.heads
            ):
                raise ConfigError(
                    f"slopes={scheme.slopes} has {len(scheme.slopes)} values for "
                    f"heads={self.heads}; give one slope per head."
                )
            divisor = {"rope-1d": 2, "rope-2d": 4}.get(scheme.name, 1)
            if self.head_dim % divisor:
                raise ConfigError(
                    f"head_dim={self.head_dim} cannot be rotated by {scheme.name}; "
                    f"use a multiple of {divisor}."
                )
            divisor = 4 if scheme.name == "sinusoidal-2d" else 2
            if isinstance(scheme, SinusoidalConfig) and self.dim % divisor:
                raise ConfigError(
                    f"dim={self.dim} does not fit {scheme.name}; use a multiple of {divisor}."
                )
        return self

    @property
    def embedding_dim(self) -> int:
        """Width of the embedding: ``dim`` for each patch shape."""
        return self.dim * len(self.patches)


class Architecture(Config):
    """What it takes to rebuild a model without its weights: encoder and front end."""

    model: ModelConfig = ModelConfig()
    front_end: FrontEndConfig = FrontEndConfig()

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "Architecture":
        if self.model.n_mels != self.front_end.n_mels:
            raise ConfigError(
                f"model.n_mels={self.model.n_mels} differs from "
                f"front_end.n_mels={self.front_end.n_mels}; make them equal."
            )
        return self


_TINY = ModelConfig(dim=192, heads=3, mlp_dim=768)

ARCHITECTURES: dict[str, Architecture] = {
    "tiny-16k": Architecture(model=_TINY, front_end=FRONT_ENDS["rpe-16k"]),
    # Twice the mel bands, read in squares and in columns.
    "tiny-hybrid-16k": Architecture(
        model=_TINY.with_(
            n_mels=256,
            patches=(
                PatchShape(mel_bands=32, frames=16),
                PatchShape(mel_bands=256, frames=2),
            ),
            positions=(RopeConfig(name="rope-2d"),),
        ),
        front_end=FRONT_ENDS["fine-16k"],
    ),
    "small-16k": Architecture(front_end=FRONT_ENDS["rpe-16k"]),
    # The paper's 22M parameters.
    "small-44k": Architecture(front_end=FRONT_ENDS["rpe-44k"]),
}


def lookup_architecture(name: str) -> Architecture:
    """Return the architecture preset of that name.

    Raises:
        ConfigError: no such preset; the valid names are listed.
    """
    if name not in ARCHITECTURES:
        raise ConfigError(unknown_name("architecture", name, ARCHITECTURES))
    return ARCHITECTURES[name]

"""Every setting of the package as frozen, validated data.

Conventions: no torch here, so that ``myna --help`` stays instant; a configuration is complete
(defaults are filled in when it is made), round-trips through JSON, and refuses unknown keys.
Lengths are in samples, rates in Hz, frequencies in Hz, decibels relative to the track's maximum.
"""

import json
import math
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import Field

from .errors import ConfigError, unknown_name

ConfigT = TypeVar("ConfigT", bound="Config")


class Config(pydantic.BaseModel):
    """Base of all configurations: frozen, strict about keys, errors as one sentence."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except pydantic.ValidationError as error:
            raise ConfigError(_sentence(type(self), error)) from error

    @classmethod
    def from_dict(cls: type[ConfigT], data: object) -> ConfigT:
        """Return the configuration a plain mapping describes.

        Raises:
            ConfigError: an unknown key, a wrong type or an impossible combination.
        """
        try:
            return cls.model_validate(data)
        except pydantic.ValidationError as error:
            raise ConfigError(_sentence(cls, error)) from error

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-compatible data; ``from_dict`` of it is equal to this."""
        return self.model_dump(mode="json")

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, no spaces. Equal configurations give equal text."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    def override(self: ConfigT, *assignments: str) -> ConfigT:
        """Return a copy with dotted settings replaced.

        Args:
            assignments: ``"a.b=value"``; the value is read as JSON, else taken as text.

        Raises:
            ConfigError: a key that does not exist (the valid keys are listed) or a bad value.

        >>> FrontEndConfig().override("n_mels=64").n_mels
        64
        """
        data = self.to_dict()
        for assignment in assignments:
            path, equals, text = assignment.partition("=")
            if not equals:
                raise ConfigError(f"setting={assignment!r} has no '='; write it as a.b=value.")
            try:
                value = json.loads(text)
            except ValueError:
                value = text
            *parents, last = path.strip().split(".")
            node: Any = data
            for key in [*parents, last]:
                if not isinstance(node, dict) or key not in node:
                    valid = sorted(node) if isinstance(node, dict) else []
                    raise ConfigError(unknown_name(f"setting {path!r}: key", key, valid))
                if key is not last:
                    node = node[key]
            node[last] = value
        return type(self).from_dict(data)


def _sentence(cls: type[Config], error: pydantic.ValidationError) -> str:
    first = error.errors()[0]
    location = ".".join(str(part) for part in first["loc"]) or cls.__name__
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):
        return str(cause)
    if first["type"] == "extra_forbidden":
        return unknown_name(f"{cls.__name__}: key", location, cls.model_fields)
    if first["type"] == "union_tag_invalid":
        valid = [name.strip(" '") for name in first["ctx"]["expected_tags"].split(",")]
        return unknown_name(f"{location}.name", first["ctx"]["tag"], valid)
    message = first["msg"].removeprefix("Value error, ")
    return f"{location}={first['input']!r} is not valid for {cls.__name__}: {message}."


# --- front end -----------------------------------------------------------------------------------


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
    # Yonay et al. 2025: nnAudio's defaults, no logarithm.
    "myna-16k": FrontEndConfig(scale="power", pad_mode="reflect"),
    # What the published Myna-RPE checkpoints were fed.
    "rpecl-44k": FrontEndConfig(sample_rate=44_100, scale="amplitude_to_db"),
}


# --- positions -----------------------------------------------------------------------------------

Slopes = Literal["press", "geometric", "learned"] | tuple[float, ...]


class AlibiConfig(Config):
    """Attention with linear biases; the name says which axes the distance is measured along.

    ``slopes``: ``press`` (Press et al. 2021), ``geometric`` (2^(-8h/heads), h from 1),
    ``learned`` (positive, from Press), or one explicit number of any sign per head.
    """

    name: Literal["alibi-2d", "alibi-1d", "alibi-freq"] = "alibi-2d"
    slopes: Slopes = "press"


class RopeConfig(Config):
    """Rotary positions: along time, or half the channels along time and half along frequency."""

    name: Literal["rope-1d", "rope-2d"] = "rope-2d"
    base: float = Field(10_000.0, gt=1.0)


class SinusoidalConfig(Config):
    """Fixed sines and cosines added to the tokens: both axes, one axis, or raster order."""

    name: Literal["sinusoidal-2d", "sinusoidal-time", "sinusoidal-freq", "sinusoidal-raster"] = (
        "sinusoidal-2d"
    )
    temperature: float = Field(10_000.0, gt=1.0)


class LearnedFrequencyConfig(Config):
    """One learned embedding per frequency row, added to the tokens ("F-Embed")."""

    name: Literal["learned-freq"] = "learned-freq"


class LearnedTimeConfig(Config):
    """One learned embedding per time column; tracks of more columns are refused."""

    name: Literal["learned-time"] = "learned-time"
    max_columns: int = Field(512, ge=1)


SchemeConfig = Annotated[
    AlibiConfig | RopeConfig | SinusoidalConfig | LearnedFrequencyConfig | LearnedTimeConfig,
    Field(discriminator="name"),
]


# --- model ---------------------------------------------------------------------------------------


class PatchShape(Config):
    """Extent of one patch of the spectrogram, in mel bands by frames."""

    mel_bands: int = Field(16, ge=1)
    frames: int = Field(16, ge=1)


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
    pooling: Literal["cls", "mean"] = "cls"
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


def lookup_front_end(name: str) -> FrontEndConfig:
    """Return the front-end preset of that name.

    Raises:
        ConfigError: no such preset; the valid names are listed.
    """
    if name not in FRONT_ENDS:
        raise ConfigError(unknown_name("front_end", name, FRONT_ENDS))
    return FRONT_ENDS[name]


def press_slopes(heads: int) -> tuple[float, ...]:
    """Return ALiBi's slopes, one per head, in the published order.

    For a power of two they are 2^(-8h/heads), h from 1. Otherwise the largest power of two below
    gives the first ones, and every other slope of twice that power the rest.

    Source:
        Press et al. 2021, section 3 and its reference implementation.

    >>> press_slopes(6)
    (0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125)
    """
    power = 2 ** math.floor(math.log2(heads))
    slopes = geometric_slopes(power)
    extra = geometric_slopes(2 * power)[::2][: heads - power]
    return slopes + extra


def geometric_slopes(heads: int) -> tuple[float, ...]:
    """Return 2^(-8h/heads) for h from 1 to ``heads``."""
    return tuple(2.0 ** (-8.0 * head / heads) for head in range(1, heads + 1))


# --- training ------------------------------------------------------------------------------------


class TwoExcerptsConfig(Config):
    """Views: two excerpts of each track, of this many frames, drawn independently (the paper)."""

    name: Literal["two-excerpts"] = "two-excerpts"
    num_frames: int = Field(256, ge=1)


# Becomes a union, discriminated by name, with the second strategy.
ViewsConfig = TwoExcerptsConfig


class InfoNceConfig(Config):
    """Contrastive loss between the views of a track; the rest of the batch is the negatives."""

    weight: float = Field(1.0, gt=0.0)
    temperature: float = Field(0.1, gt=0.0)
    symmetric: bool = True


class ObjectivesConfig(Config):
    """What is minimised: the weighted sum of the objectives that are not null, by name."""

    info_nce: InfoNceConfig | None = InfoNceConfig()

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "ObjectivesConfig":
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ConfigError(
                "objectives are all null, which leaves nothing to minimise; "
                f"give at least one of: {', '.join(type(self).model_fields)}."
            )
        return self


class OptimConfig(Config):
    """AdamW with a linear warm-up and a cosine decay to zero, both measured in shares of the run.

    ``weight_decay`` spares norms, biases, positions and the class token.
    """

    learning_rate: float = Field(2e-4, gt=0.0)
    weight_decay: float = Field(1e-4, ge=0.0)
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: float = Field(0.05, ge=0.0, lt=1.0)

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "OptimConfig":
        for beta in self.betas:
            if not 0.0 <= beta < 1.0:
                raise ConfigError(f"betas={self.betas} hold {beta:g}; use 0 <= beta < 1.")
        return self


class BudgetConfig(Config):
    """How long to train: whichever of the given limits is reached first.

    ``epochs`` counts passes over the tracks. ``max_minutes`` counts training time on the wall
    clock, across resumes; the learning rate then follows the larger of the shares of steps and
    of time, so that it always ends where it should. Runs limited by time are not reproducible to
    the bit.
    """

    max_steps: int | None = Field(None, ge=1)
    epochs: int | None = Field(None, ge=1)
    max_minutes: float | None = Field(None, gt=0.0)

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "BudgetConfig":
        if self.max_steps is None and self.epochs is None and self.max_minutes is None:
            raise ConfigError(
                "budget has no limit, so training would never end; "
                "give max_steps, epochs or max_minutes."
            )
        return self


class RunConfig(Config):
    """One complete pretraining run: what `train` needs beside the shards and a folder.

    ``recipe`` is the name the run started from. ``batch_size`` counts tracks, each in two views.
    ``patchout_ratio`` is the share of tokens dropped. ``seed`` decides the initial weights, the
    order of tracks, the excerpts and the patches; each is derived from it and the step, so a
    resumed run repeats an uninterrupted one. ``log_every`` and ``checkpoint_every`` are in steps;
    ``keep_checkpoints`` newest ones stay.
    """

    recipe: str
    architecture: Architecture
    views: ViewsConfig = TwoExcerptsConfig()
    patchout_ratio: float = Field(0.9, ge=0.0, lt=1.0)
    objectives: ObjectivesConfig = ObjectivesConfig()
    optim: OptimConfig = OptimConfig()
    budget: BudgetConfig
    batch_size: int = Field(64, ge=2)
    precision: Literal["fp32", "bf16-mixed"] = "bf16-mixed"
    compile: bool = False
    seed: int = Field(0, ge=0)
    log_every: int = Field(10, ge=1)
    checkpoint_every: int = Field(500, ge=1)
    keep_checkpoints: int = Field(3, ge=1)

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "RunConfig":
        model = self.architecture.model
        for scheme in model.positions:
            if isinstance(scheme, LearnedTimeConfig):
                for patch in model.patches:
                    columns = math.ceil(self.views.num_frames / patch.frames)
                    if columns > scheme.max_columns:
                        raise ConfigError(
                            f"views.num_frames={self.views.num_frames} makes {columns} time "
                            f"columns, more than learned-time has (max_columns="
                            f"{scheme.max_columns}); shorten the views or raise max_columns."
                        )
        return self


def differences(left: Config, right: Config) -> dict[str, tuple[Any, Any]]:
    """Return the settings in which two configurations differ, by dotted name.

    >>> differences(FRONT_ENDS["rpe-16k"], FRONT_ENDS["myna-16k"])
    {'pad_mode': ('constant', 'reflect'), 'scale': ('power_to_db', 'power')}
    """
    flat_left, flat_right = _flat(left.to_dict()), _flat(right.to_dict())
    return {
        key: (flat_left.get(key), flat_right.get(key))
        for key in {**flat_left, **flat_right}
        if flat_left.get(key) != flat_right.get(key)
    }


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat

"""One complete pretraining run."""

import math
from typing import Literal

import pydantic
from pydantic import Field

from ..errors import ConfigError
from .base import Config
from .model import Architecture
from .objectives import ObjectivesConfig
from .positions import LearnedTimeConfig
from .views import (
    AugmentConfig,
    ExcerptsConfig,
    PatchoutConfig,
    RatioPatchoutConfig,
    SamplingConfig,
    ViewsConfig,
)


class OptimConfig(Config):
    """AdamW with a linear warm-up and a cosine decay to zero, both measured in shares of the run.

    ``weight_decay`` spares norms, biases, positions and the class token. ``clip_norm``: greatest
    length of the gradient; null: any. ``accumulate``: batches whose gradients are averaged for one
    step, each with its own negatives. ``ema_decay``: the trained model is an exponential moving
    average of the weights; null: the last ones.
    """

    learning_rate: float = Field(2e-4, gt=0.0)
    weight_decay: float = Field(1e-4, ge=0.0)
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: float = Field(0.05, ge=0.0, lt=1.0)
    clip_norm: float | None = Field(None, gt=0.0)
    accumulate: int = Field(1, ge=1)
    ema_decay: float | None = Field(None, gt=0.0, lt=1.0)

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


class ValidationConfig(Config):
    """What is measured on tracks that are not trained on, and when.

    Prepared data with official splits uses its validation split; otherwise ``share`` of the tracks
    is held out, whole artists (or folders, where no artist is known) at a time. ``every`` is in
    steps. At most ``max_tracks`` are embedded for retrieval (at most their first 5625 frames),
    whole and in windows of ``window_frames``. ``patience``: end the run after so
    many validations without a lower loss; null: never.
    """

    share: float = Field(0.05, gt=0.0, lt=1.0)
    every: int = Field(500, ge=1)
    max_tracks: int = Field(32, ge=2)
    window_frames: int = Field(256, ge=1)
    patience: int | None = Field(None, ge=1)


class RunConfig(Config):
    """One complete pretraining run: what `train` needs beside the shards and a folder.

    ``recipe`` is the name the run started from. ``init``: the space id of the model whose weights
    it started from; null: random ones. ``batch_size`` counts tracks, over all processes.
    ``micro_batch_size``: the encoder sees so many tracks at a time, with the gradient of the whole
    batch (cached gradients, Gao et al. 2021); null: all at once. ``recompute``: activations are
    computed again in the backward pass instead of kept. ``precision`` auto: bf16-mixed where the
    hardware multiplies bfloat16, else fp32; a run's folder says which. ``seed`` decides the initial
    weights, the order of tracks, the views and the kept patches; each is derived from it and the
    step, so a resumed run repeats an uninterrupted one. ``log_every`` and ``checkpoint_every`` are
    in steps; ``keep_checkpoints`` newest ones stay, and the best.
    """

    recipe: str
    architecture: Architecture
    init: str | None = None
    views: ViewsConfig = ExcerptsConfig()
    patchout: PatchoutConfig = RatioPatchoutConfig()
    augment: AugmentConfig = AugmentConfig()
    sampling: SamplingConfig = SamplingConfig()
    objectives: ObjectivesConfig = ObjectivesConfig()
    optim: OptimConfig = OptimConfig()
    budget: BudgetConfig
    validation: ValidationConfig | None = None
    batch_size: int = Field(64, ge=2)
    micro_batch_size: int | None = Field(None, ge=1)
    precision: Literal["auto", "fp32", "bf16-mixed", "bf16"] = "auto"
    recompute: bool = False
    compile: bool = False
    seed: int = Field(0, ge=0)
    log_every: int = Field(10, ge=1)
    checkpoint_every: int = Field(500, ge=1)
    keep_checkpoints: int = Field(3, ge=1)

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "RunConfig":
        self.augment.check(self.architecture.front_end)
        model = self.architecture.model
        longest = self.views.longest
        for scheme in model.positions:
            if isinstance(scheme, LearnedTimeConfig):
                if longest is None:
                    raise ConfigError(
                        f"views.name={self.views.name!r} shows whole tracks, which learned-time "
                        f"(max_columns={scheme.max_columns}) cannot place; choose views of a "
                        "limited length, or another scheme."
                    )
                for patch in model.patches:
                    columns = math.ceil(longest / patch.frames)
                    if columns > scheme.max_columns:
                        raise ConfigError(
                            f"views of {longest} frames make {columns} time columns, more than "
                            f"learned-time has (max_columns={scheme.max_columns}); shorten the "
                            "views or raise max_columns."
                        )
        return self

"""What pretraining minimises: one node per objective, null where it is not wanted.

Beside its weight, a node holds the arguments of the module of the same name in
`myna_rpe.objectives`.
"""

from typing import Literal

import pydantic
from pydantic import Field

from ..errors import ConfigError
from .base import Config

# Those that tell tracks apart; the others shape the space beside them.
CONTRASTIVE = ("info_nce", "nt_xent", "an_info_nce")


class _ContrastConfig(Config):
    """Which pairs of views meet, how sharply, and whether each of a pair looks for the other.

    ``pairs``: "all" pairs of views, or the "first" view with every other: of global and local
    views, a global one comes first. Where temperatures are learned, ``temperature`` is the first
    one and ``min_temperature`` a bound.
    """

    weight: float = Field(1.0, gt=0.0)
    temperature: float = Field(0.1, gt=0.0)
    min_temperature: float = Field(0.01, gt=0.0)
    symmetric: bool = True
    pairs: Literal["all", "first"] = "all"

    def _check_bound(self) -> None:
        if self.temperature < self.min_temperature:
            raise ConfigError(
                f"temperature={self.temperature} is below min_temperature={self.min_temperature}; "
                f"use temperature >= {self.min_temperature}, or a lower min_temperature."
            )


class InfoNceConfig(_ContrastConfig):
    """Contrastive loss between the views of a track; the rest of the batch is the negatives.

    ``learn_temperature``: else it stays as it is.
    """

    learn_temperature: bool = False

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "InfoNceConfig":
        if self.learn_temperature:
            self._check_bound()
        return self


class NtXentConfig(Config):
    """SimCLR's contrastive loss: every view of every other track is a negative."""

    weight: float = Field(1.0, gt=0.0)
    temperature: float = Field(0.1, gt=0.0)


class AnInfoNceConfig(_ContrastConfig):
    """InfoNCE with a learned temperature for every dimension."""

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "AnInfoNceConfig":
        self._check_bound()
        return self


class KMeansConfig(Config):
    """Pulls every view to the nearest of ``num_clusters`` centroids, which follow the views.

    ``variant``: "dcn" takes squared distances to running means, "spherical" cosines to centroids
    of length 1. For ``warmup_steps`` the centroids only gather. One that no view chose in
    ``reseed_after`` steps starts again at a random view.
    """

    weight: float = Field(0.1, gt=0.0)
    num_clusters: int = Field(64, ge=2)
    variant: Literal["dcn", "spherical"] = "dcn"
    warmup_steps: int = Field(500, ge=1)
    reseed_after: int = Field(100, ge=1)


class HullCombinationConfig(Config):
    """Pulls every view to a weighted mean of the track's others, the most similar ones first.

    ``temperature`` divides the similarities the weights come from.
    """

    weight: float = Field(0.1, gt=0.0)
    temperature: float = Field(0.1, gt=0.0)


class HullPullConfig(Config):
    """Pulls every view to the convex hull of the track's others."""

    weight: float = Field(0.1, gt=0.0)


class HullSpreadConfig(Config):
    """Widens the batch along ``num_directions`` random directions, drawn anew each step."""

    weight: float = Field(0.1, gt=0.0)
    num_directions: int = Field(128, ge=1)


class ObjectivesConfig(Config):
    """What is minimised: the weighted sum of the objectives that are not null, by name."""

    info_nce: InfoNceConfig | None = InfoNceConfig()
    nt_xent: NtXentConfig | None = None
    an_info_nce: AnInfoNceConfig | None = None
    k_means: KMeansConfig | None = None
    hull_combination: HullCombinationConfig | None = None
    hull_pull: HullPullConfig | None = None
    hull_spread: HullSpreadConfig | None = None

    @pydantic.model_validator(mode="after")
    def _possible(self) -> "ObjectivesConfig":
        chosen = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if not chosen:
            raise ConfigError(
                "objectives are all null, which leaves nothing to minimise; "
                f"give at least one of: {', '.join(type(self).model_fields)}."
            )
        if not set(CONTRASTIVE) & set(chosen):
            raise ConfigError(
                f"objectives={'+'.join(chosen)} cannot tell one track from another, so that alone "
                f"they would collapse; give one of these as well: {', '.join(CONTRASTIVE)}."
            )
        return self

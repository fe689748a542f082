"""Every setting of the package as frozen, validated data.

Conventions: no torch here, so that ``myna --help`` stays instant; a configuration is complete
(defaults are filled in when it is made), round-trips through JSON, and refuses unknown keys.
Lengths are in samples, rates in Hz, frequencies in Hz, decibels relative to the track's maximum.
"""

from .base import Config, differences
from .front_end import FRONT_ENDS, FrontEndConfig, lookup_front_end
from .model import (
    ARCHITECTURES,
    Architecture,
    ModelConfig,
    PatchShape,
    Pooling,
    lookup_architecture,
)
from .objectives import (
    CONTRASTIVE,
    AnInfoNceConfig,
    HullCombinationConfig,
    HullPullConfig,
    HullSpreadConfig,
    InfoNceConfig,
    KMeansConfig,
    NtXentConfig,
    ObjectivesConfig,
)
from .positions import (
    AlibiConfig,
    LearnedFrequencyConfig,
    LearnedTimeConfig,
    RopeConfig,
    SchemeConfig,
    SinusoidalConfig,
    geometric_slopes,
    press_slopes,
)
from .run import BudgetConfig, OptimConfig, RunConfig, ValidationConfig
from .views import (
    AugmentConfig,
    ExcerptsConfig,
    GlobalLocalConfig,
    PatchoutConfig,
    RatioPatchoutConfig,
    SamplingConfig,
    SpecAugmentConfig,
    TokenBudgetConfig,
    VariableLengthConfig,
    ViewsConfig,
    WholeTrackConfig,
)

__all__ = [
    "ARCHITECTURES",
    "CONTRASTIVE",
    "FRONT_ENDS",
    "AlibiConfig",
    "AnInfoNceConfig",
    "Architecture",
    "AugmentConfig",
    "BudgetConfig",
    "Config",
    "ExcerptsConfig",
    "FrontEndConfig",
    "GlobalLocalConfig",
    "HullCombinationConfig",
    "HullPullConfig",
    "HullSpreadConfig",
    "InfoNceConfig",
    "KMeansConfig",
    "LearnedFrequencyConfig",
    "LearnedTimeConfig",
    "ModelConfig",
    "NtXentConfig",
    "ObjectivesConfig",
    "OptimConfig",
    "PatchShape",
    "PatchoutConfig",
    "Pooling",
    "RatioPatchoutConfig",
    "RopeConfig",
    "RunConfig",
    "SamplingConfig",
    "SchemeConfig",
    "SinusoidalConfig",
    "SpecAugmentConfig",
    "TokenBudgetConfig",
    "ValidationConfig",
    "VariableLengthConfig",
    "ViewsConfig",
    "WholeTrackConfig",
    "differences",
    "geometric_slopes",
    "lookup_architecture",
    "lookup_front_end",
    "press_slopes",
]

"""Essentia's KeyExtractor as a key detector.

Essentia is licensed AGPL-3.0 and no dependency of this package: who wants its answers installs it.

Source: Bogdanov et al. 2013; essentia.upf.edu, KeyExtractor. Its default profiles ``bgate`` are
meant for electronic music (Faraldo et al. 2017); ``krumhansl`` and ``temperley`` for the classics.
"""

import numpy as np
from jaxtyping import Float32

from ...errors import ConfigError
from ..keys import KEYS, key_name
from .base import KeyDetector, optional_module


class EssentiaKey(KeyDetector):
    """1 for the key that essentia hears, 0 for the others.

    Raises:
        ConfigError: essentia is not installed, or does not know the profiles.
    """

    name = "essentia"
    sample_rate = 44_100

    def __init__(self, *, profiles: str = "bgate") -> None:
        essentia = optional_module("essentia", remedy="run pip install essentia (AGPL-3.0)")
        essentia.log.infoActive = False  # it talks when it is imported
        standard = optional_module("essentia.standard", remedy="install a complete essentia")
        try:
            self._extractor = standard.KeyExtractor(
                sampleRate=self.sample_rate, profileType=profiles
            )
        except RuntimeError as error:
            raise ConfigError(
                f"profiles={profiles!r} are unknown to essentia; use e.g. bgate or temperley."
            ) from error
        self.space_id = f"key/{profiles}/essentia{essentia.__version__}"

    def features(self, waveform: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, " dim"]:
        """Return the answer as scores of `KEYS`."""
        tonic, mode, _ = self._extractor(waveform)
        scores = np.zeros(self.dim, dtype=np.float32)
        scores[KEYS.index(key_name(tonic, mode))] = 1.0
        return scores

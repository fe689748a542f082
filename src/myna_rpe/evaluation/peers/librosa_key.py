"""librosa as a key detector: CQT chroma against the key profiles of listeners and scores.

A key's score is the correlation of the mean chroma with the key's profile (Krumhansl & Schmuckler).

Sources:
    ``krumhansl``: Krumhansl & Kessler 1982, probe-tone ratings; in Krumhansl 1990, table 2.1.
    ``temperley``: Temperley 1999, "What's Key for Key?", Music Perception 17 (1).
"""

import numpy as np
from jaxtyping import Float, Float32

from ...errors import ConfigError, unknown_name
from .base import KeyDetector
from .chroma import ChromaExtractor

# How much each pitch class belongs to C major and to C minor.
PROFILES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "krumhansl": (
        (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
        (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
    ),
    "temperley": (
        (5.0, 2.0, 3.5, 2.0, 4.5, 4.0, 2.0, 4.5, 2.0, 3.5, 1.5, 4.0),
        (5.0, 2.0, 3.5, 4.5, 2.0, 4.0, 2.0, 4.5, 3.5, 2.0, 1.5, 4.0),
    ),
}


class LibrosaKey(KeyDetector):
    """Correlations of the mean CQT chroma with the profiles of all keys.

    Raises:
        ConfigError: no such profiles, or librosa is not installed.
    """

    name = "librosa"

    def __init__(self, *, profiles: str = "krumhansl") -> None:
        if profiles not in PROFILES:
            raise ConfigError(unknown_name("profiles", profiles, PROFILES))
        self._chroma = ChromaExtractor()
        self.sample_rate = self._chroma.sample_rate
        self._profiles = np.stack(
            [
                _standardised(np.roll(profile, n))
                for profile in PROFILES[profiles]
                for n in range(12)
            ]
        )
        self.space_id = f"key/{profiles}/{self._chroma.space_id}"

    def features(self, waveform: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, " dim"]:
        """Return the correlation of each key, in [-1, 1]; 0 of all where chroma is constant."""
        chroma = _standardised(self._chroma.features(waveform).astype(np.float64))
        return np.asarray(self._profiles @ chroma, dtype=np.float32)


def _standardised(values: Float[np.ndarray, " values"]) -> Float[np.ndarray, " values"]:
    """Return values of zero mean and unit length: their products are correlations."""
    centred = values - values.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-12))

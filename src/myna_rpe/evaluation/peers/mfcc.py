"""MFCC statistics: mean and standard deviation over time, the classical lower reference.

Source: Davis & Mermelstein 1980; librosa.feature.mfcc with its defaults.
"""

import numpy as np
from jaxtyping import Float32

from .base import WaveformExtractor, import_librosa, mean_and_std


class MfccExtractor(WaveformExtractor):
    """Mean, then standard deviation, of the first `num_coefficients` MFCCs.

    Raises:
        ConfigError: librosa is not installed.
    """

    name = "mfcc"
    sample_rate = 22_050

    def __init__(self, *, num_coefficients: int = 20) -> None:
        self._librosa = import_librosa()
        self._num_coefficients = num_coefficients
        self.dim = 2 * num_coefficients
        self.space_id = f"mfcc/{num_coefficients}/librosa{self._librosa.__version__}"

    def features(self, waveform: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, " dim"]:
        """Return the statistics of a waveform."""
        return mean_and_std(
            self._librosa.feature.mfcc(
                y=waveform, sr=self.sample_rate, n_mfcc=self._num_coefficients
            )
        )

"""CQT chroma: how much of each pitch class a track has; the lower reference for key.

Twelve numbers, C to B. A probe on them is a far harder baseline for key than MFCC.

Source: librosa.feature.chroma_cqt with its defaults, tuning estimated.
"""

import numpy as np
from jaxtyping import Float32

from .base import WaveformExtractor, import_librosa


class ChromaExtractor(WaveformExtractor):
    """Mean over time of the CQT chroma.

    Raises:
        ConfigError: librosa is not installed.
    """

    name = "chroma"
    dim = 12
    sample_rate = 22_050

    def __init__(self) -> None:
        self._librosa = import_librosa()
        self.space_id = f"chroma/cqt/librosa{self._librosa.__version__}"

    def features(self, waveform: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, " dim"]:
        """Return the mean chroma of a waveform."""
        chroma = self._librosa.feature.chroma_cqt(y=waveform, sr=self.sample_rate)
        return np.asarray(chroma.mean(axis=1), dtype=np.float32)

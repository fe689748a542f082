"""Mel statistics: what a track says by its average spectrum alone, without an encoder."""

import hashlib

import numpy as np
import torch
from jaxtyping import Float32

from ...audio.melspectrogram import MelSpectrogram
from ...config import FrontEndConfig
from .base import WaveformExtractor, mean_and_std


class MelExtractor(WaveformExtractor):
    """Mean, then standard deviation, of every mel band of a front end; None: the default one."""

    name = "mel"

    def __init__(self, front_end: FrontEndConfig | None = None) -> None:
        front_end = front_end or FrontEndConfig()
        self._front_end = MelSpectrogram(front_end)
        self.sample_rate = front_end.sample_rate
        self.dim = 2 * front_end.n_mels
        settings = front_end.model_dump_json()
        self.space_id = f"mel/{hashlib.sha256(settings.encode()).hexdigest()[:16]}"

    def features(self, waveform: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, " dim"]:
        """Return the statistics of a waveform."""
        return mean_and_std(self._front_end(torch.from_numpy(waveform)).numpy())

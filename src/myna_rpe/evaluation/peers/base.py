"""What every peer gives: one vector per file or excerpt, from a named space.

A `FeatureExtractor` turns music into features for probes and retrieval. A `KeyDetector` is one
whose 24 features are scores of the keys, so that ready-made answers are cached and timed like any
other features.

Conventions: start and duration in seconds; waveforms are (samples,) float32; features (dim,).
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from ...audio.decode import decode
from ...errors import ConfigError, MynaError
from ..examples import Dataset
from ..keys import KEYS
from ..reading import Reading


class Span(NamedTuple):
    """What is read of a file: from `start` for `duration` seconds; None: to its end."""

    path: Path
    start: float = 0.0
    duration: float | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole file."""
        return self.start == 0.0 and self.duration is None


class FeatureExtractor(ABC):
    """Music -> one vector.

    Attributes:
        name: what a report calls it.
        dim: length of a vector.
        space_id: names the function from file to vector, versions and settings included; vectors
            may be compared, and found again, only under the same id.
        reading: how it reads, where that can be chosen.
    """

    name: str
    dim: int
    space_id: str
    reading: Reading | None = None

    def answers(self, dataset: Dataset) -> bool:
        """Return whether it has anything to say about a task; most have, about all."""
        return True

    @abstractmethod
    def extract(
        self, path: Path, *, start: float = 0.0, duration: float | None = None
    ) -> Float32[np.ndarray, " dim"]:
        """Return the features of a file, or of an excerpt of it.

        Raises:
            AudioError: the file cannot be read, or `start` is beyond its end.
        """

    def extract_many(
        self, spans: Sequence[Span]
    ) -> Generator[Float32[np.ndarray, " dim"] | str, None, None]:
        """Yield the features of each span, in order, or why there are none, in one sentence."""
        for span in spans:
            yield self._extract_or_say_why(span)

    def _extract_or_say_why(self, span: Span) -> Float32[np.ndarray, " dim"] | str:
        try:
            return self.extract(span.path, start=span.start, duration=span.duration)
        except MynaError as error:
            return str(error)
        except Exception as error:  # peers fail in ways nobody has listed yet
            reason = f"{type(error).__name__}: {error}".rstrip(".")
            return f"file={str(span.path)!r} gave {self.name} trouble ({reason}); leave it out."


class WaveformExtractor(FeatureExtractor):
    """One that hears a mono waveform at `sample_rate`, in Hz."""

    sample_rate: int

    def extract(
        self, path: Path, *, start: float = 0.0, duration: float | None = None
    ) -> Float32[np.ndarray, " dim"]:
        """Return the features of a file, or of an excerpt of it."""
        waveform = decode(path, sample_rate=self.sample_rate, start=start, duration=duration)
        return self.features(waveform)

    @abstractmethod
    def features(self, waveform: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, " dim"]:
        """Return the features of a waveform at `sample_rate`."""


class KeyDetector(WaveformExtractor):
    """One whose features are scores of `KEYS`: the highest is the answer."""

    dim = len(KEYS)

    def answers(self, dataset: Dataset) -> bool:
        """Whether it is keys that are asked for."""
        return dataset.kind == "key"

    def detect(
        self, path: Path, *, start: float = 0.0, duration: float | None = None
    ) -> tuple[str, str]:
        """Return tonic and mode, ``("Db", "major")``, of a file or an excerpt of it.

        Raises:
            AudioError: the file cannot be read, or `start` is beyond its end.
        """
        scores = self.extract(path, start=start, duration=duration)
        tonic, mode = best_keys(scores[None])[0].split()
        return tonic, mode


def best_keys(scores: Float[np.ndarray, "examples keys"]) -> list[str]:
    """Return the name of the key with the highest score, of each row.

    >>> best_keys(np.eye(24)[[0, 21]])
    ['C major', 'A minor']
    """
    return [KEYS[index] for index in scores.argmax(axis=1)]


def optional_module(name: str, *, remedy: str) -> ModuleType:
    """Return a module that only some peers need.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"package={name.partition('.')[0]} is not installed; {remedy}."
        ) from error


def import_librosa() -> ModuleType:
    """Return librosa.

    Raises:
        ConfigError: it is not installed.
    """
    return optional_module("librosa", remedy="run pip install 'myna-rpe[eval]'")


def mean_and_std(values: Float[np.ndarray, "rows frames"]) -> Float32[np.ndarray, " twice_rows"]:
    """Return the mean over time of every row, then the standard deviation of every row."""
    return np.concatenate([values.mean(axis=1), values.std(axis=1)]).astype(np.float32)

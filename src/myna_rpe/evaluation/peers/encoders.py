"""Encoders of this package: any trained model, and an untrained one of equal size.

Whole files go through `Embedder.embed_many`, which decodes ahead and batches; excerpts are decoded
and embedded one by one.
"""

import os
from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from ...audio.decode import decode
from ...config import Architecture
from ...embedder import Embedder, Failed, WholeTrack, Windows, load_model
from ...model.checkpoint import MynaModel
from ..reading import Reading
from .base import FeatureExtractor, Span


class EmbedderExtractor(FeatureExtractor):
    """The embeddings of an `Embedder`."""

    def __init__(self, embedder: Embedder, *, name: str, reading: Reading | None = None) -> None:
        self.embedder = embedder
        self.name = name
        self.reading = reading
        self.dim = embedder.dim
        self.space_id = embedder.space_id

    def extract(
        self, path: Path, *, start: float = 0.0, duration: float | None = None
    ) -> Float32[np.ndarray, " dim"]:
        """Return the embedding of a file, or of an excerpt of it."""
        if Span(path, start, duration).is_whole:
            return self.embedder.embed(path)
        rate = self.embedder.model.architecture.front_end.sample_rate
        waveform = decode(path, sample_rate=rate, start=start, duration=duration)
        return self.embedder.embed(waveform, sample_rate=rate)

    def extract_many(
        self, spans: Sequence[Span]
    ) -> Generator[Float32[np.ndarray, " dim"] | str, None, None]:
        """Yield the embedding of each span, in order, or why there is none."""
        for is_whole, group in groupby(spans, key=lambda span: span.is_whole):
            if not is_whole:
                yield from super().extract_many(list(group))
                continue
            with closing(self.embedder.embed_many(span.path for span in group)) as records:
                for record in records:
                    yield record.error if isinstance(record, Failed) else record.embedding


class MynaExtractor(EmbedderExtractor):
    """A model by name, folder or file, as `load_model` finds it.

    Args:
        model: name, folder or file; or the model itself, which several readings may share.
        reading: how it is to read; None: whole tracks, as it was trained.
        name: what the report calls it; None: the name of its folder.
        device: as torch names it, or ``auto``.

    Raises:
        CheckpointError: no such model, or a damaged one.
        ConfigError: a window, layer, pooling or device that does not exist.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | MynaModel,
        *,
        reading: Reading | None = None,
        name: str | None = None,
        device: str = "auto",
    ) -> None:
        reading = reading or Reading()
        if not isinstance(model, MynaModel):
            loaded = load_model(model)
            model, name = loaded.model, name or Path(loaded.source).name
        embedder = Embedder(
            model,
            context=WholeTrack() if reading.window is None else Windows(reading.window),
            layer=reading.layer,
            pooling=reading.pooling,
            device=device,
        )
        super().__init__(embedder, name=name or "myna", reading=reading)


class UntrainedExtractor(EmbedderExtractor):
    """An encoder with the random weights of a seed: what an architecture is worth by itself.

    Raises:
        ConfigError: a preset or device that does not exist.
    """

    def __init__(
        self,
        architecture: str | Architecture = "tiny-16k",
        *,
        seed: int = 0,
        name: str = "untrained",
        device: str = "auto",
    ) -> None:
        model = MynaModel.untrained(architecture, seed=seed)
        super().__init__(Embedder(model, device=device), name=name)

    @classmethod
    def like(cls, models: Sequence[FeatureExtractor]) -> list["UntrainedExtractor"]:
        """Return one of each architecture that the models have; of the smallest preset if none."""
        trained = {
            model.embedder.model.architecture: model.name
            for model in reversed(models)
            if isinstance(model, MynaExtractor)
        }
        if not trained:
            return [cls()]
        return [
            cls(architecture, name=f"untrained, as {name}")
            for architecture, name in reversed(trained.items())
        ]

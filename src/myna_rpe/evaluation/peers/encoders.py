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
from ...embedder import Context, Embedder, Failed, WholeTrack, load_model
from ...model.checkpoint import MynaModel
from .base import FeatureExtractor, Span


class EmbedderExtractor(FeatureExtractor):
    """The embeddings of an `Embedder`."""

    def __init__(self, embedder: Embedder, *, name: str) -> None:
        self.embedder = embedder
        self.name = name
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

    Raises:
        CheckpointError: no such model, or a damaged one.
        ConfigError: a layer or device that does not exist.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        context: Context | None = None,
        layer: int | None = None,
        device: str = "auto",
    ) -> None:
        embedder = load_model(model, context=context or WholeTrack(), layer=layer, device=device)
        super().__init__(embedder, name=Path(embedder.source).name)


class UntrainedExtractor(EmbedderExtractor):
    """An encoder with the random weights of a seed: what an architecture is worth by itself.

    Raises:
        ConfigError: a preset, layer or device that does not exist.
    """

    def __init__(
        self,
        architecture: str | Architecture = "tiny-16k",
        *,
        seed: int = 0,
        context: Context | None = None,
        layer: int | None = None,
        device: str = "auto",
    ) -> None:
        model = MynaModel.untrained(architecture, seed=seed)
        embedder = Embedder(model, context=context or WholeTrack(), layer=layer, device=device)
        super().__init__(embedder, name="untrained")

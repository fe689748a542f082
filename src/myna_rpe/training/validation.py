"""What a run is worth, measured on tracks it does not train on.

Three things: the contrastive loss of the held-out tracks, always on the same views; how well
tracks are found again, read whole and as the mean of windows, because reading whole tracks is what
the method is for; and the health of the embedding space.

Retrieval is precision at 1 by cosine similarity: `halves` asks whether the first half of a track is
nearest to its own second half; `artist` whether the nearest other track is of the same artist (or
folder, where no artist is known), over the tracks that have such another.
"""

import copy
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..config import (
    CONTRASTIVE,
    AugmentConfig,
    LearnedTimeConfig,
    ModelConfig,
    RunConfig,
    SamplingConfig,
    ValidationConfig,
)
from ..data.batches import Batches
from ..data.shards import ShardSet
from ..data.splits import split_key
from ..embedder import Context, Embedder, WholeTrack, Windows
from ..errors import ConfigError
from ..model.checkpoint import MynaModel
from ..objectives import WeightedSum
from ..objectives.health import measure_health
from .step import Projector

# The held-out loss is the mean over at most so many batches.
_MAX_BATCHES = 8

# Of each track, at most so many frames are embedded: three minutes at 31 frames a second.
_MAX_FRAMES = 5625


class Validation:
    """Measures a model on held-out tracks of a shard set.

    Args:
        shards: the tracks.
        config: of the run; its views and patchout are those of the held-out loss.
        settings: when and how much.
        held_out: indices of the held-out tracks.

    Raises:
        ConfigError: fewer than two of them are long enough for the views.
    """

    def __init__(
        self,
        shards: ShardSet,
        config: RunConfig,
        settings: ValidationConfig,
        held_out: Sequence[int],
    ) -> None:
        self.shards = shards
        # The same views as in training, but of every track alike, and as they are.
        plain = config.with_(sampling=SamplingConfig(), augment=AugmentConfig())
        try:
            long_enough = Batches(shards, plain.with_(batch_size=2), held_out).tracks
        except ConfigError as error:
            raise ConfigError(
                f"validation.share={settings.share} holds out {len(held_out)} tracks, which do not "
                f"suffice ({error}); raise it, or train with validation=null."
            ) from error
        size = min(config.batch_size, len(long_enough))
        self.batches = Batches(shards, plain.with_(batch_size=size), held_out)
        window = settings.window_frames
        # A half is to hold a window at least.
        candidates = [track for track in held_out if shards.tracks[track].frames >= 2 * window]
        rng = np.random.default_rng(config.seed)
        self.tracks = rng.permutation(candidates)[: settings.max_tracks].tolist()
        self.longest = int(min(_MAX_FRAMES, *_placeable(config.architecture.model)))
        self.mixed = config.precision != "fp32"
        self.contexts: dict[str, Context] = {
            "track": WholeTrack(),
            "windows": Windows(window / shards.front_end.frame_rate),
        }

    def measure(self, model: MynaModel, objectives: WeightedSum, fabric: Any) -> dict[str, float]:
        """Return all numbers by name; the model and the objectives come out as they went in."""
        if any(parameter.dtype != torch.float32 for parameter in model.parameters()):
            model = copy.deepcopy(model).float()
        before = model.training, objectives.training, model.encoder.runtime
        model.eval()
        objectives.eval()
        if self.mixed:
            model.encoder.runtime = replace(model.encoder.runtime, precision="mixed")
        try:
            with torch.inference_mode():
                return self._loss(model, objectives, fabric) | self._retrieval(model, fabric.device)
        finally:
            model.train(before[0])
            objectives.train(before[1])
            model.encoder.runtime = before[2]

    def _loss(self, model: MynaModel, objectives: WeightedSum, fabric: Any) -> dict[str, float]:
        projector = Projector(model)
        count = min(_MAX_BATCHES, self.batches.steps_per_epoch)
        batches = map(self.batches.batch, range(count))
        with torch.autocast(fabric.device.type, dtype=torch.bfloat16, enabled=self.mixed):
            parts = [objectives(projector(fabric.to_device(b.groups)))[1] for b in batches]
        # What shapes the space beside the contrast may warm up or draw at random.
        losses = [
            sum(objectives.weights[n] * p[n].item() for n in CONTRASTIVE if n in p) for p in parts
        ]
        return {"loss": float(np.mean(losses))}

    def _retrieval(self, model: MynaModel, device: torch.device) -> dict[str, float]:
        if len(self.tracks) < 2:
            return {}
        values: dict[str, float] = {}
        labels = [split_key(self.shards.tracks[track]) for track in self.tracks]
        for name, context in self.contexts.items():
            embedder = Embedder(model, context=context, device=str(device))
            spectrograms = [self._spectrogram(track) for track in self.tracks]
            middles = [spectrogram.shape[1] // 2 for spectrogram in spectrograms]
            firsts = [s[:, :middle] for s, middle in zip(spectrograms, middles, strict=True)]
            seconds = [s[:, middle:] for s, middle in zip(spectrograms, middles, strict=True)]
            parts = embedder.embed_spectrograms([*firsts, *seconds, *spectrograms])
            first, second, whole = torch.from_numpy(np.stack(parts)).chunk(3)
            values[f"halves_p1/{name}"] = halves_precision(first, second)
            if (precision := label_precision(whole, labels)) is not None:
                values[f"artist_p1/{name}"] = precision
            if name == "track":
                values |= measure_health(torch.stack((first, second), dim=1))
        return values

    def _spectrogram(self, track: int) -> Float[Tensor, "mel_bands frames"]:
        frames = min(self.longest, self.shards.tracks[track].frames)
        return torch.from_numpy(self.shards.excerpt(track, 0, frames)).T


def _placeable(model: ModelConfig) -> Iterator[float]:
    """Yield how many frames each scheme can place in patches of each shape."""
    yield math.inf
    for scheme in model.positions:
        if isinstance(scheme, LearnedTimeConfig):
            yield from (scheme.max_columns * patch.frames for patch in model.patches)


def halves_precision(first: Float[Tensor, "n dim"], second: Float[Tensor, "n dim"]) -> float:
    """Return the share of first halves whose nearest second half is their own."""
    similarity = _cosine(first, second)
    own = torch.arange(len(first))
    return float((similarity.argmax(dim=1) == own).float().mean())


def label_precision(embeddings: Float[Tensor, "n dim"], labels: Sequence[str]) -> float | None:
    """Return the share of tracks whose nearest other track has the same label.

    Tracks whose label nobody shares are not asked, but can be found; None where nobody is asked.
    """
    counts = Counter(labels)
    asked = [index for index, label in enumerate(labels) if counts[label] > 1]
    if not asked:
        return None
    nearest = _cosine(embeddings, embeddings).fill_diagonal_(-torch.inf).argmax(dim=1).tolist()
    return float(np.mean([labels[nearest[index]] == labels[index] for index in asked]))


def _cosine(left: Tensor, right: Tensor) -> Tensor:
    normalize = torch.nn.functional.normalize
    return normalize(left, dim=1) @ normalize(right, dim=1).T

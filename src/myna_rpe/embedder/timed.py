"""Embeddings along a track: the tokens of one whole-track pass, averaged in bins of time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64

from ..config import PatchShape
from ..errors import ConfigError
from ..model.patches import Tokens


@dataclass(frozen=True, eq=False)
class TimedEmbedding:
    """Embeddings along a track.

    Attributes:
        seconds: (time,), the middle of what each embedding describes, from the track's start.
        embeddings: (time, dim).
    """

    seconds: Float64[np.ndarray, " time"]
    embeddings: Float32[np.ndarray, "time dim"]


def check_resolution(
    resolution: float, patches: Sequence[PatchShape], *, frame_rate: float
) -> None:
    """Check that every bin of `resolution` seconds will hold a token of every patch shape.

    Raises:
        ConfigError: the bins are shorter than a patch.
    """
    patch_seconds = max(patch.frames for patch in patches) / frame_rate
    if not patch_seconds <= resolution < math.inf:
        raise ConfigError(
            f"resolution={resolution:g} s is shorter than a patch of the model; "
            f"use at least {patch_seconds:g} s."
        )


def mean_in_bins(
    outputs: Sequence[Tokens],
    patches: Sequence[PatchShape],
    *,
    num_frames: int,
    frame_rate: float,
    resolution: float,
) -> TimedEmbedding:
    """Return the mean of the tokens in each bin of time, patch shapes side by side.

    Args:
        outputs: tokens of one track (batch of 1), for each patch shape.
        patches: the shapes.
        num_frames: real frames of the track.
        frame_rate: in Hz.
        resolution: seconds per bin; a token belongs where the middle of its time column lies. The
            last bin ends with the track.
    """
    bins = []
    for tokens, patch in zip(outputs, patches, strict=True):
        start = tokens.coords.time.cpu() * patch.frames
        middle = (start + (start + patch.frames).clamp(max=num_frames)).double() / 2
        bins.append((middle / frame_rate / resolution).long())
    # Near the end a wide patch may have no middle where a narrow one does: the last bin that every
    # shape reaches takes the rest.
    num_bins = min(int(bin_of.max()) for bin_of in bins) + 1
    means = []
    for tokens, bin_of in zip(outputs, bins, strict=True):
        values = tokens.values[0].float().cpu()  # (tokens, dim)
        index = bin_of.clamp(max=num_bins - 1)
        total = torch.zeros(num_bins, values.shape[-1]).index_add_(0, index, values)
        means.append(total / torch.bincount(index, minlength=num_bins)[:, None])
    edges = np.arange(num_bins + 1) * resolution
    edges[-1] = num_frames / frame_rate
    return TimedEmbedding((edges[:-1] + edges[1:]) / 2, torch.cat(means, dim=-1).numpy())

"""Spectrogram -> tokens: the patch grid, its coordinates, patchout, and the patch embedding.

Tokens are ordered time-major: all frequency rows of time column 0 (low row first), then column 1.
Their coordinates are named and travel with them, so every positional scheme sees the same places
whatever has been dropped or reordered. A last partial patch is padded with the spectrogram's
floor; its tokens are valid because they hold at least one real frame.

Shapes: a spectrogram is (batch, mel_bands, frames), tokens are (batch, tokens, dim).
Source: Phillips & Koh 2026; patchout from Koutini et al. 2022 (PaSST).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..config import PatchShape
from ..errors import ConfigError


class Grid(NamedTuple):
    """Numbers of time columns and frequency rows of a complete, time-major grid of patches."""

    columns: int
    rows: int


@dataclass(frozen=True)
class Coords:
    """Where tokens lie: time column and frequency row, counted in patches from 0.

    Shared by the batch (tokens,) or per sample (batch, tokens). ``grid`` is set only while the
    tokens are the complete grid in time-major order; dropping or reordering forgets it.
    """

    time: Int[Tensor, "*batch tokens"]
    freq: Int[Tensor, "*batch tokens"]
    grid: Grid | None = None

    @classmethod
    def of_grid(cls, columns: int, rows: int, device: torch.device | None = None) -> "Coords":
        """Return the coordinates of a complete grid, time-major."""
        index = torch.arange(columns * rows, device=device)
        return cls(index // rows, index % rows, Grid(columns, rows))

    def __len__(self) -> int:
        return self.time.shape[-1]

    def gather(self, index: Int[Tensor, "*batch kept"]) -> "Coords":
        """Return the coordinates of the tokens at `index`, in that order."""
        if self.time.ndim == 1:
            return Coords(self.time[index], self.freq[index])
        return Coords(self.time.gather(-1, index), self.freq.gather(-1, index))

    def shift(self, columns: int) -> "Coords":
        """Return the same places, `columns` later."""
        return Coords(self.time + columns, self.freq, self.grid)


class Patches(NamedTuple):
    """Patches of one shape with their places, before they are embedded.

    ``values`` are in the front end's unit; ``time``, ``freq`` and ``grid`` are those of `Coords`.
    ``valid`` marks the patches that hold music where samples of a batch differ in number; None
    says that all do. Named tuples travel through data loaders and distributed wrappers.
    """

    values: Float[Tensor, "batch tokens mel_bands frames"]
    time: Int[Tensor, "*batch tokens"]
    freq: Int[Tensor, "*batch tokens"]
    grid: Grid | None = None
    valid: Bool[Tensor, "batch tokens"] | None = None

    @property
    def coords(self) -> Coords:
        """Where they lie."""
        return Coords(self.time, self.freq, self.grid)


@dataclass(frozen=True)
class Tokens:
    """Token vectors with their places.

    ``valid`` marks the tokens that hold music where samples of a batch differ in length;
    None says that all do.
    """

    values: Float[Tensor, "batch tokens dim"]
    coords: Coords
    valid: Bool[Tensor, "batch tokens"] | None = None


class Patchout(ABC):
    """Says how many tokens of a training view are kept, and draws from an explicit generator."""

    generator: torch.Generator | None

    @abstractmethod
    def num_kept(self, num_tokens: int) -> int:
        """Return how many of `num_tokens` tokens are kept; at least 1, at most all."""


@dataclass(frozen=True)
class RatioPatchout(Patchout):
    """Drops a share of the tokens, uniformly and without replacement.

    keep = max(1, N - floor(ratio N)), the paper's rule with ratio 0.9.
    """

    ratio: float = 0.9
    generator: torch.Generator | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not 0.0 <= self.ratio < 1.0:
            raise ConfigError(
                f"patchout_ratio={self.ratio} is not a share that can be dropped; "
                "use 0 <= patchout_ratio < 1."
            )

    def num_kept(self, num_tokens: int) -> int:
        """Return max(1, N - floor(ratio N))."""
        # The ratio is meant in decimals: 0.9 of 10 is 9, though 0.9 * 10 in binary may not be.
        return max(1, num_tokens - math.floor(round(self.ratio * num_tokens, 9)))


def choose_kept(
    batch: int,
    num_tokens: int,
    patchout: Patchout,
    *,
    valid: Bool[Tensor, "batch tokens"] | None = None,
    device: torch.device | None = None,
) -> Int[Tensor, "batch kept"]:
    """Return the kept token indices of each sample, in increasing order.

    One batched top-k of random scores: uniform without replacement, per sample. Invalid tokens are
    taken only where a sample has too few valid ones; the caller's mask stays right either way.
    """
    generator = patchout.generator
    scores = torch.rand(
        batch,
        num_tokens,
        generator=generator,
        device=generator.device if generator is not None else device,
    ).to(device)
    if valid is not None:
        scores = scores.masked_fill(~valid, -1.0)
    kept = scores.topk(patchout.num_kept(num_tokens), dim=1, sorted=False).indices
    return kept.sort(dim=1).values


def count_columns(frames: int, shape: PatchShape) -> int:
    """Return how many time columns `frames` frames fill, a partial last one included."""
    return -(-frames // shape.frames)


def cut_patches(
    spectrogram: Float[Tensor, "batch mel_bands frames"],
    shape: PatchShape,
    *,
    floor: float,
    num_frames: Int[Tensor, " batch"] | None = None,
    patchout: Patchout | None = None,
) -> Patches:
    """Return the patches of a batch of spectrograms, time-major, or a random subset of them.

    Args:
        spectrogram: any number of frames >= 1; a multiple of ``shape.mel_bands`` mel bands.
        shape: mel bands and frames of one patch.
        floor: what padding is filled with, the quietest value of the front end.
        num_frames: real frames of each sample; the rest is taken as padding, whatever it holds.
        patchout: draws the patches to keep; None keeps all.

    Raises:
        ConfigError: no frame at all, or mel bands that patches do not fit.
    """
    batch, mel_bands, frames = spectrogram.shape
    if mel_bands % shape.mel_bands or frames == 0:
        raise ConfigError(
            f"spectrogram={mel_bands} mel bands x {frames} frames cannot be cut into patches of "
            f"{shape.mel_bands} mel bands; use a multiple of them and at least one frame."
        )
    columns, rows = count_columns(frames, shape), mel_bands // shape.mel_bands
    spectrogram = F.pad(spectrogram, (0, columns * shape.frames - frames), value=floor)
    valid = None
    if num_frames is not None:
        frame = torch.arange(spectrogram.shape[-1], device=spectrogram.device)
        spectrogram = spectrogram.masked_fill(frame >= num_frames[:, None, None], floor)
        # A column is valid if its first frame is real.
        valid = frame[:: shape.frames] < num_frames[:, None]  # (batch, columns)
        valid = valid.repeat_interleave(rows, dim=1)  # (batch, tokens)

    # (batch, columns, rows, mel_bands, frames) of one patch: a view, nothing is copied yet.
    patches = spectrogram.unflatten(1, (rows, shape.mel_bands))
    patches = patches.unflatten(3, (columns, shape.frames)).permute(0, 3, 1, 2, 4)
    coords = Coords.of_grid(columns, rows, spectrogram.device)
    if patchout is None:
        return Patches(patches.flatten(1, 2), coords.time, coords.freq, coords.grid, valid)
    kept = choose_kept(batch, len(coords), patchout, valid=valid, device=spectrogram.device)
    coords = coords.gather(kept)
    valid = None if valid is None else valid.gather(1, kept)
    sample = torch.arange(batch, device=spectrogram.device)[:, None]
    # (batch, kept, mel_bands, frames)
    values = patches[sample, coords.time, coords.freq]
    return Patches(values, coords.time, coords.freq, None, valid)


class PatchEmbedding(nn.Module):
    """LayerNorm -> Linear -> LayerNorm of the patches that are asked for, and of no others.

    Args:
        shape: mel bands and frames of one patch.
        n_mels: mel bands of the spectrogram; a multiple of ``shape.mel_bands``.
        dim: width of a token.
    """

    def __init__(self, shape: PatchShape, *, n_mels: int, dim: int) -> None:
        super().__init__()
        self.shape = shape
        self.rows = n_mels // shape.mel_bands
        size = shape.mel_bands * shape.frames
        self.norm_in = nn.LayerNorm(size)
        self.linear = nn.Linear(size, dim)
        self.norm_out = nn.LayerNorm(dim)

    def forward(self, patches: Patches) -> Tokens:
        """Return the patches as tokens, each by itself."""
        values = patches.values.flatten(2)  # (batch, tokens, mel_bands x frames)
        values = self.norm_out(self.linear(self.norm_in(values)))
        return Tokens(values, patches.coords, patches.valid)

"""musicnn: its network in torch, with the weights that the ``musicnn`` package ships.

TensorFlow is not needed: the checkpoint is read by `tensorflow_checkpoint`, from the user's own
copy of the package (``pip install --no-deps musicnn``; its code is never imported).

A track is cut into patches of 187 frames (3 s) without overlap, as the package does; what is left
at the end is not heard, and a track shorter than a patch is repeated. Features are the mean over
the patches. (The package's own ``extractor()['penultimate']`` holds the first patch in every row.)

Shapes: patches are (patches, frames, bands); feature maps (patches, channels, frames).

Sources:
    Pons & Serra 2019, musicnn: pre-trained convolutional neural networks for music audio tagging;
    github.com/jordipons/musicnn, ISC licence, copyright 2019 Music Technology Group, Universitat
    Pompeu Fabra, code developed by Jordi Pons: ``models.py`` for the layers, ``extractor.py`` for
    what they are fed. The outputs agree with those of TensorFlow 2.15.1 to 2e-6.
"""

import hashlib
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor, nn

from ...audio.melspectrogram import MelSpectrogram
from ...config import FrontEndConfig
from ...errors import CheckpointError, ConfigError, unknown_name
from .base import WaveformExtractor
from .tensorflow_checkpoint import read_checkpoint

# librosa's defaults when the weights were trained.
FRONT_END = FrontEndConfig(
    n_fft=512, win_length=512, hop_length=256, n_mels=96, pad_mode="reflect", scale="power"
)
PATCH_FRAMES = 187
# Networks with these layers in the package; the letters say what they were trained on.
NETWORKS = ("MTT_musicnn", "MSD_musicnn")
LAYERS = {"penultimate": 200, "taggram": 50}

_BATCH_PATCHES = 8
_TEMPORAL = (128, 64, 32)  # frames that the filters for rhythm see
_EPSILON = 1e-3  # of TensorFlow's batch norms
# What the optimiser left in the checkpoint.
_SLOTS = ("/Adam", "/Adam_1", "beta1_power", "beta2_power")


class Musicnn(nn.Module):
    """The network, in eval mode: patches -> penultimate layer and tags.

    Args:
        variables: by TensorFlow's names; names number the layers in the order they were made.

    Raises:
        CheckpointError: a variable is missing, left over, or of another shape.
    """

    def __init__(self, variables: Mapping[str, npt.NDArray[np.float32]]) -> None:
        super().__init__()
        self.input_norm = nn.BatchNorm2d(1, eps=_EPSILON)
        self.timbral = nn.ModuleList(_conv(1, 204, 7, bands) for bands in (38, 67))
        self.temporal = nn.ModuleList(_conv(1, 51, frames, 1) for frames in _TEMPORAL)
        self.front_norms = nn.ModuleList(
            nn.BatchNorm1d(channels, eps=_EPSILON) for channels in (204, 204, 51, 51, 51)
        )
        self.middle = nn.ModuleList(_conv(1, 64, 7, channels) for channels in (561, 64, 64))
        self.middle_norms = nn.ModuleList(nn.BatchNorm1d(64, eps=_EPSILON) for _ in range(3))
        self.pool_norm = nn.BatchNorm1d(1506, eps=_EPSILON)
        self.dense = nn.Linear(1506, 200)
        self.dense_norm = nn.BatchNorm1d(200, eps=_EPSILON)
        self.tags = nn.Linear(200, 50)

        convolutions = [*self.timbral, *self.temporal, *self.middle]
        norms = [self.input_norm, *self.front_norms, *self.middle_norms]
        norms += [self.pool_norm, self.dense_norm]
        left = {
            name: torch.from_numpy(values)
            for name, values in variables.items()
            if not name.endswith(_SLOTS)
        }
        for layers, kind in (
            (convolutions, "conv2d"),
            (norms, "batch_normalization"),
            ([self.dense, self.tags], "dense"),
        ):
            for number, layer in enumerate(layers):
                _load(layer, f"{kind}_{number}" if number else kind, left)
        if left:
            raise CheckpointError(
                f"variables={', '.join(sorted(left))} have no place in musicnn; "
                f"use a checkpoint of {' or '.join(NETWORKS)}."
            )
        self.eval().requires_grad_(False)

    def forward(
        self, patches: Float[Tensor, "patches frames bands"]
    ) -> tuple[Float[Tensor, "patches units"], Float[Tensor, "patches tags"]]:
        """Return the penultimate layer and the probabilities of the tags."""
        x = self.input_norm(patches[:, None])  # (patches, 1, frames, bands)
        convolutions = [*self.timbral, *self.temporal]
        front = torch.cat(
            [
                _loudest_band(conv(_pad_frames(x, length)), norm)
                for conv, norm, length in zip(
                    convolutions, self.front_norms, (7, 7, *_TEMPORAL), strict=True
                )
            ],
            dim=1,
        )  # (patches, 561, frames)
        layers = [front]
        for conv, norm in zip(self.middle, self.middle_norms, strict=True):
            padded = _pad_frames(layers[-1].mT[:, None], 7)  # (patches, 1, frames + 6, channels)
            one = norm(F.relu(conv(padded)[..., 0]))  # (patches, 64, frames)
            layers.append(one if len(layers) == 1 else one + layers[-1])
        features = torch.cat(layers, dim=1)  # (patches, 753, frames)
        pooled = torch.stack([features.amax(dim=-1), features.mean(dim=-1)], dim=-1).flatten(1)
        penultimate = self.dense_norm(F.relu(self.dense(self.pool_norm(pooled))))
        return penultimate, torch.sigmoid(self.tags(penultimate))


class MusicnnExtractor(WaveformExtractor):
    """The penultimate layer, 200 numbers, or the probabilities of 50 tags.

    Args:
        layer: ``penultimate`` or ``taggram``.
        network: ``MTT_musicnn`` or ``MSD_musicnn``.
        weights: folder of the network's checkpoint; None: in the installed package.

    Raises:
        ConfigError: no such layer or network.
        CheckpointError: the package is not installed, or its weights cannot be used.
    """

    name = "musicnn"
    sample_rate = FRONT_END.sample_rate

    def __init__(
        self,
        *,
        layer: str = "penultimate",
        network: str = "MTT_musicnn",
        weights: Path | None = None,
    ) -> None:
        if layer not in LAYERS:
            raise ConfigError(unknown_name("layer", layer, LAYERS))
        if network not in NETWORKS:
            raise ConfigError(unknown_name("network", network, NETWORKS))
        variables = read_checkpoint(f"{weights or _installed(network)}/")
        self._network = Musicnn(variables)
        self._front_end = MelSpectrogram(FRONT_END)
        self._layer = layer
        self.dim = LAYERS[layer]
        digest = hashlib.sha256()
        for name, values in sorted(variables.items()):
            digest.update(name.encode() + values.tobytes())
        self.space_id = f"musicnn-{digest.hexdigest()[:16]}/{layer}"

    def features(self, waveform: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, " dim"]:
        """Return the mean over the patches of a waveform."""
        patches = self.patches(torch.from_numpy(waveform))
        with torch.inference_mode():
            vectors = torch.cat([self._one_layer(batch) for batch in patches.split(_BATCH_PATCHES)])
        mean: Float32[np.ndarray, " dim"] = vectors.mean(dim=0).numpy()
        return mean

    def patches(self, waveform: Float[Tensor, " samples"]) -> Float[Tensor, "patches frames bands"]:
        """Return the log-mel patches of a waveform."""
        power = self._front_end(waveform).T
        power = power.half().float()  # as the package stores them
        frames = torch.log10(10_000 * power + 1)
        if len(frames) < PATCH_FRAMES:
            frames = frames.repeat(-(-PATCH_FRAMES // len(frames)), 1)
        num_patches = len(frames) // PATCH_FRAMES
        return frames[: num_patches * PATCH_FRAMES].reshape(num_patches, PATCH_FRAMES, -1)

    def _one_layer(
        self, patches: Float[Tensor, "patches frames bands"]
    ) -> Float[Tensor, "patches dim"]:
        penultimate: Tensor
        penultimate, tags = self._network(patches)
        return penultimate if self._layer == "penultimate" else tags


def _installed(network: str) -> Path:
    try:
        return Path(str(distribution("musicnn").locate_file(f"musicnn/{network}")))
    except PackageNotFoundError as error:
        raise CheckpointError(
            "package=musicnn, which holds the weights, is not installed; "
            "run pip install --no-deps musicnn (29 MB; TensorFlow is not needed)."
        ) from error


# --- layers as TensorFlow has them ---------------------------------------------------------------


def _conv(channels: int, filters: int, frames: int, bands: int) -> nn.Conv2d:
    return nn.Conv2d(channels, filters, (frames, bands))


def _loudest_band(
    maps: Float[Tensor, "patches channels frames bands"], norm: nn.Module
) -> Float[Tensor, "patches channels frames"]:
    """Return the maximum over bands of norm(relu(maps)), of the bands that can be it.

    The norm is linear in each channel: a weight below 0 turns the minimum into the maximum.
    """
    lowest, highest = torch.aminmax(maps, dim=-1)
    falls = (norm.get_parameter("weight") < 0)[:, None]
    loudest: Tensor = norm(F.relu(torch.where(falls, lowest, highest)))
    return loudest


def _pad_frames(
    maps: Float[Tensor, "patches 1 frames bands"], length: int
) -> Float[Tensor, "patches 1 padded bands"]:
    """Pad with zeros so that a filter of `length` frames gives one value per frame."""
    before = (length - 1) // 2
    return F.pad(maps, (0, 0, before, length - 1 - before))


def _load(layer: nn.Module, name: str, left: dict[str, Tensor]) -> None:
    """Take the variables of a layer out of `left`."""
    for ours, theirs in _names(layer):
        target = layer.get_buffer(ours) if ours.startswith("running") else layer.get_parameter(ours)
        values = left.pop(f"{name}/{theirs}", None)
        if values is not None and theirs == "kernel":  # TensorFlow: (..., inputs, outputs)
            values = values.permute(3, 2, 0, 1) if values.ndim == 4 else values.T
        if values is None or values.shape != target.shape:
            found = "missing" if values is None else f"{tuple(values.shape)}"
            raise CheckpointError(
                f"variable={name}/{theirs} is {found}, musicnn needs {tuple(target.shape)}; "
                f"use a checkpoint of {' or '.join(NETWORKS)}."
            )
        target.data.copy_(values)


def _names(layer: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield our name and TensorFlow's for each variable of a layer."""
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        yield from (("weight", "gamma"), ("bias", "beta"))
        yield from (("running_mean", "moving_mean"), ("running_var", "moving_variance"))
    else:
        yield from (("weight", "kernel"), ("bias", "bias"))

"""A model as a whole, and its way to disk and to the hub and back.

`MynaModel` is an encoder, the linear head that only the objective sees, and the front end that
makes its spectrograms. On disk it is `model.safetensors` and `config.json` (`manifest.py`), which
`save_pretrained`, `from_pretrained` and `push_to_hub` use as well.

**Space id.** Two embeddings may be compared only if they come from the same function of the
waveform, and the space id names that function: a hash of the encoder's weights, its settings and
the front end. The head has no part in it, nor has provenance. Weights are hashed as float32, so
that what is stored in half precision has one id, on disk and in memory, before and after a save.
Settings are hashed where they differ from their defaults, so that a setting added later, whose
default keeps the old behaviour, keeps every old id.

Memory is float32: whatever precision the file has, `load` gives a float32 model.
"""

import copy
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from ..audio.melspectrogram import MelSpectrogram
from ..config import Architecture, lookup_architecture
from ..errors import CheckpointError, ConfigError
from .encoder import Encoder
from .manifest import (
    CONFIG_FILE,
    FORMAT_VERSION,
    MIGRATIONS,
    WEIGHTS_FILE,
    Manifest,
    checkpoint_folder,
)
from .patches import Patches
from .registry import ModelRecord, list_models, models_folder, resolve_model

__all__ = [
    "FORMAT_VERSION",
    "MIGRATIONS",
    "ModelRecord",
    "MynaModel",
    "fill",
    "list_models",
    "models_folder",
    "move_checkpoint",
    "resolve_model",
]


class MynaModel(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="myna-rpe",
    license="mit",
    pipeline_tag="feature-extraction",
    tags=["music", "audio-embeddings"],
):
    """Front end, encoder and head: waveform to spectrogram to embedding to projection.

    Args:
        architecture: what to build.
        provenance: where the weights come from, as JSON-compatible data; saved with them.

    Example:
        >>> model = MynaModel.untrained("tiny-16k").eval()
        >>> embedding = model(model.front_end(torch.zeros(1, 16000)))
        >>> embedding.shape, model.project(embedding).shape
        (torch.Size([1, 192]), torch.Size([1, 128]))
    """

    def __init__(
        self, architecture: Architecture, provenance: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.provenance = dict(provenance or {})
        self.front_end = MelSpectrogram(architecture.front_end)
        self.encoder = Encoder(architecture.model, floor=architecture.front_end.floor)
        self.head = nn.Linear(self.encoder.embedding_dim, architecture.model.projection_dim)

    @classmethod
    def untrained(cls, architecture: str | Architecture, *, seed: int = 0) -> "MynaModel":
        """Return a model with random weights, in training mode; the global generator is untouched.

        Args:
            architecture: the name of a preset, or an architecture.
            seed: equal seeds give equal weights.

        Raises:
            ConfigError: no preset has that name.
        """
        if isinstance(architecture, str):
            architecture = lookup_architecture(architecture)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(architecture)

    def forward(
        self, spectrogram: Float[Tensor, "batch mel_bands frames"], **options: Any
    ) -> Float[Tensor, "batch embedding_dim"]:
        """Return the embeddings; options and errors are those of `Encoder.forward`."""
        embedding: Tensor = self.encoder(spectrogram, **options)
        return embedding

    def encode(
        self, patches: Sequence[Patches], **options: Any
    ) -> Float[Tensor, "batch embedding_dim"]:
        """Return the embeddings of patches that are cut already: `Encoder.encode`."""
        embedding: Tensor = self.encoder.encode(patches, **options)
        return embedding

    def project(
        self, embedding: Float[Tensor, "*batch embedding_dim"]
    ) -> Float[Tensor, "*batch projection_dim"]:
        """Return what the objective compares; downstream uses the embedding itself."""
        projection: Tensor = self.head(embedding)
        return projection

    @property
    def space_id(self) -> str:
        """``myna-`` and 16 hexadecimal digits that name the function from waveform to embedding.

        Computed from the weights as they are now: under a second, but not for an inner loop.
        """
        digest = hashlib.sha256(_function_settings(self.architecture).encode())
        for name, tensor in sorted(self.encoder.state_dict().items()):
            values = tensor.detach().to("cpu", torch.float32).contiguous()
            digest.update(f"{name}{tuple(values.shape)}".encode())
            digest.update(values.numpy().astype("<f4", copy=False).tobytes())
        return f"myna-{digest.hexdigest()[:16]}"

    # --- disk ------------------------------------------------------------------------------------

    def rounded(self) -> "MynaModel":
        """Return a model with the nearest weights of half precision: another space, half the file.

        `save` writes such weights in half precision.
        """
        model = copy.deepcopy(self)
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.copy_(tensor.to(torch.float16))
        return model

    def part(self, patch: str) -> "MynaModel":
        """Return a model that reads one patch shape of a hybrid, at its share of the cost.

        Its embedding is that shape's part of the hybrid's. Where the shapes have not learnt equally
        much, one of them may be the better model.

        Args:
            patch: mel bands x frames, as ``256x2``.

        Raises:
            ConfigError: the model does not read that shape.
        """
        config = self.architecture.model
        shapes = [str(shape) for shape in config.patches]
        if patch not in shapes:
            raise ConfigError(
                f"patch={patch!r} is not read by this model; use one of {', '.join(shapes)}."
            )
        index = shapes.index(patch)
        own = f"encoder.stems.{index}."
        state = {
            name.replace(own, "encoder.stems.0."): tensor
            for name, tensor in self.state_dict().items()
            if name.startswith(own) or not name.startswith("encoder.stems.")
        }
        place = slice(index * config.dim, (index + 1) * config.dim)
        state["head.weight"] = state["head.weight"][:, place]
        own_config = config.with_(patches=(config.patches[index],))
        part = MynaModel.untrained(self.architecture.with_(model=own_config))
        part.provenance = {**self.provenance, "part_of": self.space_id}
        part.load_state_dict(state)
        return part.train(self.training)

    @classmethod
    def mean(cls, models: Sequence["MynaModel"]) -> "MynaModel":
        """Return the model whose weights are the means of those of several.

        It costs what one of them costs, and may be better than each. That holds for trainings that
        started from the same weights; means of unrelated ones are worth nothing.

        Args:
            models: of one architecture. Provenance is that of the first.

        Raises:
            ConfigError: fewer than two models, or they differ in more than their weights.

        Source:
            Wortsman et al. 2022, "Model soups" (the uniform one).
        """
        if len(models) < 2:
            raise ConfigError(f"models={len(models)} have no mean; give two or more.")
        first = models[0]
        for number, other in enumerate(models[1:], start=2):
            if other.architecture != first.architecture:
                raise ConfigError(
                    f"model {number} of {len(models)} has another architecture than the first; "
                    "average models that differ in their weights alone."
                )
        mean = copy.deepcopy(first)
        mean.provenance["mean_of"] = [model.space_id for model in models]
        states = [model.state_dict() for model in models]
        with torch.no_grad():
            for name, tensor in mean.state_dict().items():
                tensor.copy_(torch.stack([state[name] for state in states]).mean(dim=0))
        return mean

    def save(self, folder: str | Path) -> None:
        """Write `model.safetensors` and `config.json`; other files in the folder stay.

        Weights that are all numbers of half precision (`rounded`) are stored so.

        Both are written and flushed beside their final places first, then moved there: a full disk
        or a crash leaves what was there before. Should the machine stop between the two moves, the
        space ids disagree and `load` says so.

        Raises:
            CheckpointError: the folder cannot be written, or the provenance is not JSON.
        """
        folder = Path(folder)
        manifest = Manifest(
            architecture=self.architecture, space_id=self.space_id, provenance=self.provenance
        )
        text = manifest.text()
        tensors = _smallest({name: value.detach() for name, value in self.state_dict().items()})
        is_new = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as staging:
                    # Not `save_file`, which lets nobody but the owner read what it writes.
                    data = to_safetensors(tensors, metadata={"format": "pt"})
                    Path(staging, WEIGHTS_FILE).write_bytes(data)
                    Path(staging, CONFIG_FILE).write_text(text, encoding="utf-8")
                    move_checkpoint(Path(staging), folder)
            except BaseException:
                if is_new:
                    folder.rmdir()
                raise
        except OSError as error:
            raise CheckpointError(
                f"folder={folder} cannot take the checkpoint ({error}); "
                "free some space or choose another folder."
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> "MynaModel":
        """Return the model of a checkpoint, float32, on the CPU, in eval mode.

        Args:
            path: the folder, or one of its two files; for names see `resolve_model`.

        Raises:
            CheckpointError: a file is missing, damaged or of a newer format; the weights lack or
                add tensors, or have other shapes; or they are not those the configuration
                was saved with.
        """
        folder = checkpoint_folder(Path(path))
        manifest = Manifest.read(folder)
        weights = folder / WEIGHTS_FILE
        try:
            tensors = load_file(weights)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"weights={weights} are not a readable safetensors file ({error}); "
                "copy or download them again."
            ) from error
        model = cls.untrained(manifest.architecture)
        model.provenance = dict(manifest.provenance)
        fill(model, tensors, source=weights)
        if model.space_id != manifest.space_id:
            raise CheckpointError(
                f"weights={weights} have space_id={model.space_id}, but {CONFIG_FILE} says "
                f"{manifest.space_id}: one of them was changed; use the two files that were "
                "saved together."
            )
        return model.eval()

    # --- hub: the same two files -----------------------------------------------------------------

    def _save_pretrained(self, save_directory: Path) -> None:
        self.save(save_directory)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **model_kwargs: Any,
    ) -> "MynaModel":
        # `model_kwargs` repeats what the mixin found in config.json, unchecked; `load` reads it
        # again with migrations and checks.
        if Path(model_id).is_dir():
            return cls.load(model_id)
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            path = hf_hub_download(
                model_id,
                name,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
                token=token,
            )
        return cls.load(Path(path).parent)


def _smallest(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors, float32 ones in half precision where that changes none of them."""
    halves = {name: tensor.to(torch.float16) for name, tensor in tensors.items()}
    exact = all(
        it.dtype == torch.float32 and torch.equal(halves[name].float(), it)
        for name, it in tensors.items()
    )
    return {name: it.contiguous() for name, it in (halves if exact else tensors).items()}


def fill(model: nn.Module, tensors: Mapping[str, Tensor], *, source: object) -> None:
    """Copy `tensors` into the model's weights of the same names, all of them and no others.

    Raises:
        CheckpointError: names or shapes differ, or a tensor is not of floating point; the first
            few of each kind are named.
    """
    expected = model.state_dict()
    missing = [name for name in expected if name not in tensors]
    extra = [name for name in tensors if name not in expected]
    unfit = [
        f"{name} {tuple(tensors[name].shape)} for {tuple(weight.shape)}"
        for name, weight in expected.items()
        if name in tensors
        and (tensors[name].shape != weight.shape or not tensors[name].is_floating_point())
    ]
    faults = [
        f"{len(names)} {kind} ({first_few(names)})"
        for kind, names in (("missing", missing), ("extra", extra), ("of another shape", unfit))
        if names
    ]
    if faults:
        raise CheckpointError(
            f"weights={source} do not fit the configured model: tensors {', '.join(faults)}; "
            "use the weights and configuration that belong together."
        )
    model.load_state_dict(dict(tensors))


def first_few(names: Iterable[str], limit: int = 3) -> str:
    """Return at most `limit` of the names for a message, and a mark where there are more."""
    names = list(names)
    return ", ".join([*names[:limit], *(["..."] if len(names) > limit else [])])


def move_checkpoint(staging: Path, folder: Path) -> None:
    """Move the two files of a checkpoint into `folder` on the same disk, replacing any there.

    Raises:
        OSError: the disk refuses; until the first move, nothing has changed.
    """
    for name in (WEIGHTS_FILE, CONFIG_FILE):
        with (staging / name).open("rb+") as file:
            os.fsync(file.fileno())
    for name in (WEIGHTS_FILE, CONFIG_FILE):
        (staging / name).replace(folder / name)


def _function_settings(architecture: Architecture) -> str:
    """Return canonical JSON of the settings that shape embeddings, defaults left out."""
    model = architecture.model.model_dump(mode="json", exclude_defaults=True)
    model.pop("projection_dim", None)
    # A scheme's name may be its class's default, but no two schemes may look alike.
    model["positions"] = [
        {"name": scheme.name, **scheme.model_dump(mode="json", exclude_defaults=True)}
        for scheme in architecture.model.positions
    ]
    front_end = architecture.front_end.model_dump(mode="json", exclude_defaults=True)
    return json.dumps({"model": model, "front_end": front_end}, sort_keys=True)

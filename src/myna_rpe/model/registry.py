"""Models by name: architecture presets, the weights of this package, and installed checkpoints.

Installed checkpoints are the folders below `models_folder()`. Under one name an installed model
comes before one of the package, that before a preset, and a name before a path: it means the same
in every working directory (write ``./name`` for the folder).
"""

import os
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import platformdirs
import torch

from ..config import ARCHITECTURES, FRONT_ENDS, Architecture, ModelConfig
from ..errors import CheckpointError, unknown_name
from .encoder import Encoder
from .manifest import CONFIG_FILE, Manifest, checkpoint_folder

DEFAULT_MODEL = "myna-5m"
"""The model that is used where none is named."""

_SHIPPED = Path(__file__).parents[1] / "weights"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class ModelRecord:
    """One line of `myna models list`.

    ``path`` is None for a preset, which has no weights. ``error`` says why an installed checkpoint
    cannot be described; its architecture is then None.
    """

    name: str
    architecture: Architecture | None
    path: Path | None = None
    space_id: str | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def front_end(self) -> str:
        """Name of the front-end preset, or ``custom``."""
        if self.architecture is None:
            return ""
        presets = (name for name, it in FRONT_ENDS.items() if it == self.architecture.front_end)
        return next(presets, "custom")

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-compatible data; ``parameters`` counts the encoder's."""
        facts: dict[str, Any] = {
            "name": self.name,
            "kind": "architecture" if self.path is None else "checkpoint",
            "path": None if self.path is None else str(self.path),
            "space_id": self.space_id,
            "error": self.error,
        }
        if self.architecture is not None:
            model = self.architecture.model
            facts |= {
                "parameters": count_parameters(model),
                "dim": model.embedding_dim,
                "front_end": self.front_end,
                "positions": [scheme.name for scheme in model.positions],
            }
        return facts


def models_folder() -> Path:
    """Return where installed models lie: ``$MYNA_HOME/models``, else in the user's data folder."""
    home = os.environ.get("MYNA_HOME")
    return (
        Path(home) if home else platformdirs.user_data_path("myna-rpe", appauthor=False)
    ) / "models"


def installed_folder(name: str) -> Path:
    """Return the folder in which a model of that name is or would be installed.

    Raises:
        CheckpointError: the name could not be a folder's on every system.
    """
    if not _NAME.fullmatch(name):
        raise CheckpointError(
            f"name={name!r} cannot name a model; "
            "use letters, digits, '.', '_' and '-', a letter or digit first."
        )
    return models_folder() / name


def list_models() -> list[ModelRecord]:
    """Return the architecture presets, the package's models, then the installed ones by name.

    A damaged checkpoint is listed with its reason and hides no other.
    """
    folders = [*_folders(_SHIPPED), *_folders(models_folder())]
    return [*map(_preset, ARCHITECTURES), *map(_installed, folders)]


def find_model(name: str | Path) -> ModelRecord:
    """Return the record of an installed model, a checkpoint's path, or an architecture preset.

    Raises:
        CheckpointError: there is no such model, or its checkpoint cannot be read.
    """
    if name in ARCHITECTURES and _named(str(name)) is None:
        return _preset(str(name))
    return _checkpoint(resolve_model(name))


def resolve_model(name: str | Path) -> Path:
    """Return the checkpoint folder of a model's name, a folder, or one of its files.

    Raises:
        CheckpointError: there is no such checkpoint, it is incomplete, or the name is that of an
            architecture, which has no weights.
    """
    if (folder := _named(str(name))) is not None:
        return checkpoint_folder(folder)
    if isinstance(name, Path) or (name and Path(name).exists()):
        return checkpoint_folder(Path(name))
    if name in ARCHITECTURES:
        raise CheckpointError(
            f"model={name!r} is an architecture without weights; train it with `myna pretrain`, or "
            f"get weights with `myna models pull REPO_ID` or `myna models import FILE -o FOLDER`."
        )
    if re.fullmatch(rf"{_NAME.pattern}/{_NAME.pattern}", name):
        raise CheckpointError(
            f"model={name!r} is neither a path here nor an installed name; "
            f"if it is a repository of the hub, run `myna models pull {name}`."
        )
    if os.sep in name:
        return checkpoint_folder(Path(name))  # says that it is missing
    known = [folder.name for root in (models_folder(), _SHIPPED) for folder in _folders(root)]
    raise CheckpointError(unknown_name("model", name, [*known, *ARCHITECTURES]))


def name_of(folder: Path) -> str:
    """Return what a checkpoint's folder is called everywhere: a model's name, or the whole path."""
    return folder.name if _named(folder.name) == folder else str(folder.resolve())


def check_vacant(folder: Path, space_id: str) -> None:
    """Refuse a folder that holds the checkpoint of another model.

    Raises:
        CheckpointError: it does, or what it holds cannot be read.
    """
    if not (folder / CONFIG_FILE).exists():
        return
    holder = Manifest.read(folder).space_id
    if holder != space_id:
        raise CheckpointError(
            f"folder={folder} already holds another model ({holder}); "
            "choose another name, or replace it with --force."
        )


@lru_cache
def count_parameters(config: ModelConfig) -> int:
    """Return the encoder's number of parameters; the head, which only training uses, is left out.

    >>> count_parameters(ARCHITECTURES["tiny-16k"].model)
    5379968
    """
    with torch.device("meta"):  # shapes without memory
        return sum(parameter.numel() for parameter in Encoder(config).parameters())


def _preset(name: str) -> ModelRecord:
    return ModelRecord(name, ARCHITECTURES[name])


def _checkpoint(folder: Path) -> ModelRecord:
    manifest = Manifest.read(folder)
    return ModelRecord(
        name=folder.resolve().name,
        architecture=manifest.architecture,
        path=folder,
        space_id=manifest.space_id,
        provenance=manifest.provenance,
    )


def _installed(folder: Path) -> ModelRecord:
    try:
        return _checkpoint(checkpoint_folder(folder))
    except CheckpointError as error:
        return ModelRecord(folder.name, None, folder, error=str(error))


def _named(name: str) -> Path | None:
    """Return the folder of the installed or shipped model of a name."""
    if _NAME.fullmatch(name) is None:
        return None
    folders = (root / name for root in (models_folder(), _SHIPPED))
    return next((folder for folder in folders if folder.is_dir()), None)


def _folders(root: Path) -> list[Path]:
    """Return the folders of models below a root, by name."""
    if not root.is_dir():
        return []
    return sorted(it for it in root.iterdir() if _NAME.fullmatch(it.name) and it.is_dir())

"""The `config.json` of a checkpoint: everything but the weights.

A checkpoint is a folder with two files, `model.safetensors` and `config.json`, local or on the
Hugging Face hub. The manifest holds the architecture to rebuild, the space id that the weights
must have, where they come from, and the version of this format. Older versions are carried
forward by `MIGRATIONS`; newer ones are refused. No torch here.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field

from ..config import Architecture, Config
from ..errors import CheckpointError, ConfigError

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"

FORMAT_VERSION = 1

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Version -> named function from that version's `config.json` to the next one's."""


class Manifest(Config):
    """What `config.json` says, in the current format."""

    format_version: int = Field(default=FORMAT_VERSION, ge=FORMAT_VERSION, le=FORMAT_VERSION)
    architecture: Architecture
    space_id: str = Field(pattern=r"^myna-[0-9a-f]{16}$")
    provenance: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Return the manifest of the checkpoint in `folder`, migrated to the current format.

        Raises:
            CheckpointError: the file is missing, is not JSON, has unknown or impossible settings,
                or is of a format this version cannot read.
        """
        path = folder / CONFIG_FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise CheckpointError(
                f"config={path} cannot be read ({error.strerror}); "
                f"a checkpoint is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}."
            ) from error
        except (ValueError, RecursionError) as error:
            raise CheckpointError(
                f"config={path} is not JSON ({error}); restore the file saved with the weights."
            ) from error
        try:
            return cls.from_dict(_migrate(data))
        except ConfigError as error:
            raise CheckpointError(f"config={path} does not describe a model: {error}") from error

    def text(self) -> str:
        """Return the text of `config.json`.

        Raises:
            CheckpointError: the provenance holds something JSON cannot express.
        """
        try:
            return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        except ValueError as error:
            raise CheckpointError(
                f"provenance={self.provenance!r} is not JSON ({error}); "
                "keep to text, finite numbers, lists and mappings."
            ) from error


def checkpoint_folder(path: Path) -> Path:
    """Return the folder of the checkpoint that `path` names: the folder or one of its two files.

    Raises:
        CheckpointError: nothing is there, or it is not a complete checkpoint.
    """
    if path.is_file() and path.name in (WEIGHTS_FILE, CONFIG_FILE):
        path = path.parent
    if path.is_file():
        raise CheckpointError(
            f"checkpoint={path} is not a file of a checkpoint ({WEIGHTS_FILE}, {CONFIG_FILE}); "
            "bring published weights in with `myna models import FILE -o FOLDER`."
        )
    if not path.is_dir():
        raise CheckpointError(
            f"checkpoint={path} does not exist; check the path, or see `myna models list`."
        )
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (path / name).is_file():
            raise CheckpointError(
                f"checkpoint={path} has no {name}; "
                f"a checkpoint is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}."
            )
    return path


def _migrate(data: object) -> dict[str, Any]:
    """Return the configuration in the current format."""
    if not isinstance(data, dict) or type(data.get("format_version")) is not int:
        raise ConfigError("format_version is missing or not a whole number; restore the file.")
    if data["format_version"] > FORMAT_VERSION:
        raise ConfigError(
            f"format_version={data['format_version']} is newer than this version of myna-rpe reads "
            f"(up to {FORMAT_VERSION}); upgrade it: pip install --upgrade myna-rpe."
        )
    for version in range(data["format_version"], FORMAT_VERSION):
        if version not in MIGRATIONS:
            raise ConfigError(
                f"format_version={version} is older than any this version of myna-rpe reads; "
                "open and save the checkpoint with an earlier version."
            )
        data = {**MIGRATIONS[version](data), "format_version": version + 1}
    return data

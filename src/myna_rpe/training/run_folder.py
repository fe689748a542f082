"""The folder of one training run: everything needed to resume, compare and repeat it.

    config.json                   the complete `RunConfig`
    run.json                      versions, git commit, data: where the run came from
    metrics.jsonl                 one line per step
    validation.jsonl              one line per validation
    tensorboard/                  the same numbers for TensorBoard
    checkpoints/step-00001000.pt  weights, optimiser, step: the newest few
    checkpoints/best.pt           the one with the lowest validation loss
    model/                        the trained model, at the end

Every file but the metrics is written atomically. The metrics may run ahead of the newest
checkpoint; resuming cuts them back to it.
"""

import json
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from ..config import RunConfig, differences
from ..errors import TrainingError
from ..storage import atomic_write, write_json


class RunFolder:
    """Reads and writes the parts of a run. Make it with `create` or `reopen`.

    Args:
        path: the folder.
        writes: False where another process of the same run does the writing.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path = path
        self.writes = writes
        self.model = path / "model"
        self.best = path / "checkpoints" / "best.pt"
        self.metrics = path / "metrics.jsonl"
        self.validation = path / "validation.jsonl"

    @classmethod
    def create(cls, path: Path, config: RunConfig, origin: dict[str, Any]) -> "RunFolder":
        """Return the folder of a new run.

        Raises:
            TrainingError: a run is there already, or the folder cannot be made.
        """
        if (path / "config.json").exists():
            raise TrainingError(
                f"out={path} holds a run already; go on with --resume, or choose another folder."
            )
        try:
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
            write_json(path / "run.json", {"id": secrets.token_hex(4)} | origin)
            write_json(path / "config.json", config.to_dict())
        except OSError as error:
            raise TrainingError(
                f"out={path} cannot hold a run: {error.strerror or error}; choose another folder."
            ) from error
        return cls(path)

    @classmethod
    def reopen(cls, path: Path, config: RunConfig, origin: dict[str, Any]) -> "RunFolder":
        """Return the folder of a run to go on with.

        Raises:
            TrainingError: there is none, or it was made with another configuration or other data;
                the message shows what differs.
        """
        try:
            before = RunConfig.from_dict(json.loads((path / "config.json").read_bytes()))
            data = json.loads((path / "run.json").read_bytes())["data"]
        except FileNotFoundError as error:
            raise TrainingError(
                f"out={path} holds no run to resume; start one without --resume."
            ) from error
        changed = differences(before, config)
        if data["fingerprint"] != origin["data"]["fingerprint"]:
            changed["data"] = (data["fingerprint"], origin["data"]["fingerprint"])
        if changed:
            words = ", ".join(f"{key}: {old} -> {new}" for key, (old, new) in changed.items())
            raise TrainingError(
                f"out={path} cannot be resumed with another configuration ({words}); "
                "undo that, or start a new run in another folder."
            )
        return cls(path)

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints, oldest first."""
        return sorted((self.path / "checkpoints").glob("step-*.pt"))

    def save_checkpoint(
        self, step: int, state: dict[str, Any], *, keep: int, is_best: bool = False
    ) -> None:
        """Write a checkpoint, then remove all but the `keep` newest and the best.

        Raises:
            TrainingError: it cannot be written; the older ones are still there.
        """
        if not self.writes:
            return
        try:
            path = self.path / "checkpoints" / f"step-{step:08d}.pt"
            with atomic_write(path) as file:
                torch.save(state, file)
            if is_best:
                with atomic_write(self.best) as file, path.open("rb") as newest:
                    shutil.copyfileobj(newest, file)
        except (OSError, RuntimeError) as error:
            raise TrainingError(
                f"checkpoint of step={step} could not be written: {error}; mend that and go on "
                f"from {self.last_good} with --resume."
            ) from error
        for old in self.checkpoints()[:-keep]:
            old.unlink()

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return the state of the newest checkpoint, on the CPU; None before the first one.

        Raises:
            TrainingError: it is damaged.
        """
        return _load(paths[-1]) if (paths := self.checkpoints()) else None

    def load_best(self) -> dict[str, Any] | None:
        """Return the state of the best checkpoint, on the CPU; None before any validation.

        Raises:
            TrainingError: it is damaged.
        """
        return _load(self.best) if self.best.exists() else None

    @property
    def id(self) -> str:
        """A name that no other run has, the same after a resume."""
        run = json.loads((self.path / "run.json").read_bytes())
        return f"{self.path.resolve().name}-{run['id']}"

    @property
    def last_good(self) -> str:
        """The newest checkpoint, for a message."""
        return str(self.checkpoints()[-1]) if self.checkpoints() else "the start"

    def log(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append to the metrics, a line per row."""
        self._append(self.metrics, rows)

    def log_validation(self, row: dict[str, Any]) -> None:
        """Append a line to the validation metrics."""
        self._append(self.validation, [row])

    def rewind(self, step: int) -> None:
        """Forget the metrics after `step`, which a resumed run will write again."""
        for path in (self.metrics, self.validation):
            if not self.writes or not path.exists():
                continue
            kept = []
            for line in path.read_bytes().splitlines(keepends=True):
                # A kill may have cut the last line short.
                if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                    break
                kept.append(line)
            with atomic_write(path) as file:
                file.writelines(kept)

    def _append(self, path: Path, rows: Iterable[dict[str, Any]]) -> None:
        if not self.writes:
            return
        try:
            with path.open("a", encoding="ascii") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
        except OSError as error:
            raise TrainingError(
                f"metrics={path} could not be written: {error.strerror or error}; mend that and go "
                f"on from {self.last_good} with --resume."
            ) from error


def _load(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged zip or pickle raises
        raise TrainingError(
            f"checkpoint={path} cannot be read ({error}); delete it and resume from the one before."
        ) from error
    return state

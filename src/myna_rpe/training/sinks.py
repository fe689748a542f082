"""Where metrics go beside the run's own JSON lines: TensorBoard, and Weights & Biases."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..config import RunConfig
from ..errors import ConfigError
from .run_folder import RunFolder


@runtime_checkable
class MetricSink(Protocol):
    """Takes the numbers of one step at a time, steps increasing."""

    def write(self, step: int, values: dict[str, float]) -> None:
        """Take the numbers of a step, by name."""

    def close(self) -> None:
        """Write what is left."""


def check_installed(wandb: str | None) -> None:
    """Refuse a project of Weights & Biases where its library is missing.

    Raises:
        ConfigError: it is.
    """
    if wandb is None:
        return
    try:
        import wandb as _  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"wandb={wandb!r} needs Weights & Biases; run: pip install wandb"
        ) from error


def open_sinks(
    run: RunFolder, config: RunConfig, *, step: int, wandb: str | None
) -> Iterator[MetricSink]:
    """Yield the sinks of a run that goes on after `step`, in the process that writes.

    TensorBoard gets its events wherever it is installed.
    """
    if not run.writes:
        return
    if importlib.util.find_spec("tensorboard"):
        yield TensorBoardSink(run.path / "tensorboard", step)
    if wandb is not None:
        yield WandbSink(wandb, run.id, run.path, config.to_dict())


class TensorBoardSink:
    """Event files below a folder; a resumed run hides what it will write again.

    Args:
        folder: of the event files.
        step: the last step that counts.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Take the numbers of a step, by name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class WandbSink:
    """A Weights & Biases run; a resumed run goes on with the same one.

    Args:
        project: its project there.
        name: of the run; also its id, so that resuming finds it.
        folder: where W&B keeps its files.
        config: shown with the run.
    """

    def __init__(self, project: str, name: str, folder: Path, config: dict[str, Any]) -> None:
        import wandb

        self._run: Any = wandb.init(
            project=project, id=name, name=name, dir=str(folder), config=config, resume="allow"
        )

    def write(self, step: int, values: dict[str, float]) -> None:
        """Take the numbers of a step, by name."""
        self._run.log(values, step=step)

    def close(self) -> None:
        """Write what is left."""
        self._run.finish()

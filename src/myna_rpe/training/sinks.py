"""Where metrics go beside the run's own JSON lines: TensorBoard, and Weights & Biases."""

import importlib.util
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..config import RunConfig
from ..errors import ConfigError, TrainingError
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
    """An event file below a folder; a resumed run hides what it will write again.

    Events are written by the caller's thread, unlike those of TensorBoard's own writer, so that a
    full disk is an error like any other.

    Args:
        folder: of the event files.
        step: the last step that counts.

    Raises:
        TrainingError: the disk refuses, here or later.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        self._path = folder / f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}"
        with self._writing():
            folder.mkdir(exist_ok=True)
            self._file = self._path.open("wb")
            self._records = RecordWriter(self._file)
            self._write(file_version="brain.Event:2")
            self._write(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, step: int, values: dict[str, float]) -> None:
        """Take the numbers of a step, by name."""
        pairs = values.items()
        scalars = [self._summary.Value(tag=name, simple_value=value) for name, value in pairs]
        with self._writing():
            self._write(step=step, summary=self._summary(value=scalars))

    def close(self) -> None:
        """Write what is left."""
        with self._writing():
            self._file.close()

    def _write(self, **fields: Any) -> None:
        event = self._event(wall_time=time.time(), **fields)
        self._records.write(event.SerializeToString())
        self._file.flush()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"tensorboard={self._path} could not be written: {error.strerror or error}; mend "
                "that and go on with --resume."
            ) from error


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

"""Contrastive pretraining: batches of views -> patchout -> encoder -> head -> objectives.

The loop is readable from top to bottom; Lightning Fabric only places it on a device and in a
precision (and, later, on several processes). All randomness is a function of (seed, step): a run
that was killed and resumed on the same machine repeats the uninterrupted one to the bit, and a
checkpoint holds no generator.

Shapes: views (batch, views, mel_bands, frames); projections (batch, views, projection_dim).
Source: Phillips & Koh 2026.
"""

import logging
import math
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from .. import __version__
from ..config import RunConfig, differences
from ..data.shards import ShardSet
from ..data.views import Batch, Batches, TwoExcerpts
from ..errors import ConfigError, TrainingError
from ..model.checkpoint import MynaModel
from ..model.patches import Patchout, RatioPatchout
from ..objectives import build_objectives
from .optim import Budget, build_optimizer, learning_rate_factor
from .run_folder import RunFolder

_log = logging.getLogger(__name__)

# First word of the patchout's random stream (`data.views` has 0 and 1).
_PATCHOUT = 2


@dataclass(frozen=True)
class TrainProgress:
    """Where a run is: ``total_steps`` is a guess where only time is limited."""

    step: int
    total_steps: int
    epoch: int
    loss: float
    excerpts_per_second: float


class Projector(nn.Module):
    """A model as the objectives see it: views in, projections out."""

    def __init__(self, model: MynaModel, patchout: Patchout) -> None:
        super().__init__()
        self.model = model
        self.patchout = patchout

    def forward(
        self, views: Float[Tensor, "batch views mel_bands frames"]
    ) -> Float[Tensor, "batch views projection_dim"]:
        """Return the projection of every view, with patches dropped in training mode."""
        # (batch x views, mel_bands, frames) -> (batch x views, dim)
        embedding = self.model(views.flatten(0, 1), patchout=self.patchout)
        projection: Tensor = self.model.project(embedding)  # (batch x views, projection_dim)
        return projection.view(*views.shape[:2], -1)


def train(
    config: RunConfig,
    shards: Path,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    report: Callable[[TrainProgress], None] | None = None,
) -> Path:
    """Pretrain a model; everything goes to the folder `out`.

    Args:
        config: the complete run.
        shards: folder that `prepare_shards` made.
        out: folder of the run; must not hold one, or with `resume` must hold this one.
        resume: go on from the newest checkpoint.
        device: ``auto``, ``cpu`` or ``cuda``.
        report: told every ``log_every`` steps.

    Returns:
        The folder of the trained model, which `load_model` takes.

    Raises:
        ConfigError: the configuration does not fit the data, or Fabric is not installed.
        ShardError: the shards are missing or damaged.
        TrainingError: the loss is not a number any more, or `out` does not fit `resume`.
        KeyboardInterrupt: after Ctrl-C, once a checkpoint is written.
    """
    data = ShardSet.open(shards)
    _check_front_end(config, data)
    views = TwoExcerpts(config.views.num_frames)
    batches = Batches(data, views, batch_size=config.batch_size, seed=config.seed)
    if batches.num_dropped:
        _log.warning(
            "%d of %d tracks are shorter than a view of %d frames and are left out",
            *(batches.num_dropped, len(data), views.num_frames),
        )
    fabric = _fabric(config, device)
    origin = _origin(data, batches)
    run = (RunFolder.reopen if resume else RunFolder.create)(out, config, origin)

    model = MynaModel.untrained(config.architecture, seed=config.seed)
    objectives = fabric.to_device(build_objectives(config.objectives))
    generator = torch.Generator(device=fabric.device)
    projector = Projector(model, RatioPatchout(config.patchout_ratio, generator)).train()
    optimizer = build_optimizer((projector, objectives), config.optim)
    compiled = torch.compile(projector) if config.compile else projector
    network, wrapped_optimizer = fabric.setup(compiled, optimizer)

    budget = Budget.of(config.budget, steps_per_epoch=batches.steps_per_epoch)
    step, seconds_before = 0, 0.0
    if resume and (state := run.load_checkpoint()) is not None:
        step, seconds_before = state["step"], state["seconds"]
        model.load_state_dict(state["model"])
        objectives.load_state_dict(state["objectives"])
        optimizer.load_state_dict(state["optimizer"])
    run.rewind(step)
    journal = _Journal(run, config, batches, budget, report)
    clock = _Clock(seconds_before)

    def save() -> None:
        journal.flush(clock.seconds)
        state = {
            "step": step,
            "seconds": clock.seconds,
            "model": model.state_dict(),
            "objectives": objectives.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        run.save_checkpoint(step, state, keep=config.keep_checkpoints)

    with closing(batches.stream(step)) as stream, _interrupt_between_steps() as interrupted:
        while budget.done(step, clock.seconds) < 1 and not interrupted.is_set():
            batch = next(stream)
            done = min(1.0, budget.done(step + 0.5, clock.seconds))
            rate = config.optim.learning_rate * learning_rate_factor(
                done, warmup=config.optim.warmup
            )
            for group in optimizer.param_groups:
                group["lr"] = rate

            generator.manual_seed(_seed(config.seed, _PATCHOUT, step))
            projections = network(fabric.to_device(batch.views))
            loss, parts = objectives(projections)
            fabric.backward(loss)
            gradients = [p.grad for p in projector.parameters() if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            wrapped_optimizer.step()
            wrapped_optimizer.zero_grad()

            step += 1
            journal.add(_Step(step, batch, loss.detach(), norm, parts, rate))
            if step % config.checkpoint_every == 0:
                save()
            elif step % config.log_every == 0:
                journal.flush(clock.seconds)

        if step % config.checkpoint_every or not step:
            save()
    if interrupted.is_set():
        raise KeyboardInterrupt
    model.provenance = origin | {"config": config.to_dict(), "steps": step}
    model.save(run.model)
    return run.model


# --- before the first step -----------------------------------------------------------------------


def _check_front_end(config: RunConfig, data: ShardSet) -> None:
    if changed := differences(data.front_end, config.architecture.front_end):
        words = ", ".join(f"{key} is {old}, not {new}" for key, (old, new) in changed.items())
        raise ConfigError(
            f"shards={data.folder} were prepared for another front end than the model's ({words}); "
            "prepare them again with the model's, or choose a model of theirs."
        )


def _fabric(config: RunConfig, device: str) -> Any:
    # An extra, so that reading and embedding music does not need it.
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise ConfigError(
            "lightning-fabric is not installed, and pretraining needs it; "
            "run: pip install 'myna-rpe[train]'"
        ) from error
    # It announces itself on stderr, between the progress.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator=device,
        devices=1,
        precision="bf16-mixed" if config.precision == "bf16-mixed" else "32-true",
    )
    fabric.launch()
    return fabric


def _origin(data: ShardSet, batches: Batches) -> dict[str, Any]:
    """Return where a run comes from, as JSON data."""
    frames = sum(track.frames for track in data.tracks)
    return {
        "versions": {
            "myna-rpe": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "git_commit": _git_commit(),
        "data": {
            "fingerprint": data.fingerprint,
            "tracks": len(batches.tracks),
            "too_short": batches.num_dropped,
            "hours": round(frames / data.front_end.frame_rate / 3600, 3),
            "storage": data.settings.storage,
        },
    }


def _git_commit() -> str | None:
    """Return the commit of this code where it runs from a repository, "+" if it was changed."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # a virtual environment inside one is not it
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _seed(*words: int) -> int:
    """Return a 63-bit seed, independent for every sequence of words."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]) >> 1


# --- during it -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Step:
    """What is known of a step before its numbers have left the device."""

    step: int
    batch: Batch
    loss: Tensor
    gradient_norm: Tensor
    parts: dict[str, Tensor]
    learning_rate: float


class _Clock:
    """Seconds of training, those before a resume included."""

    def __init__(self, before: float) -> None:
        self._start = time.perf_counter() - before

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start


@dataclass
class _Journal:
    """Collects steps and writes them several at a time, because each reading stalls a GPU.

    A loss that is not a number is found here, and always before the next checkpoint.
    """

    run: RunFolder
    config: RunConfig
    batches: Batches
    budget: Budget
    report: Callable[[TrainProgress], None] | None
    steps: list[_Step] = field(default_factory=list)
    since: float = field(default_factory=time.perf_counter)

    def add(self, step: _Step) -> None:
        self.steps.append(step)

    def flush(self, seconds: float) -> None:
        """Check, write and report the collected steps; `seconds` are those of the whole run."""
        if not self.steps:
            return
        rows = [self._row(step) for step in self.steps]
        last = rows[-1]
        excerpts = len(rows) * self.config.batch_size * self.batches.views.num_views
        now = time.perf_counter()
        last["excerpts_per_second"] = round(excerpts / (now - self.since), 2)
        last["seconds"] = round(seconds, 3)
        self.since = now
        for index, row in enumerate(rows):
            if not (math.isfinite(row["loss"]) and math.isfinite(row["gradient_norm"])):
                self.run.log(rows[:index])
                self._stop(self.steps[index], row)
        self.run.log(rows)
        self.steps.clear()
        if self.report:
            total = self.budget.total_steps
            done = self.budget.done(last["step"], seconds)
            if self.budget.total_seconds:
                total = max(last["step"], round(last["step"] / done))
            assert total is not None
            self.report(
                TrainProgress(
                    last["step"], total, last["epoch"], last["loss"], last["excerpts_per_second"]
                )
            )

    def _row(self, step: _Step) -> dict[str, Any]:
        return {
            "step": step.step,
            "epoch": (step.step - 1) // self.batches.steps_per_epoch,
            "loss": step.loss.item(),
            **{name: part.item() for name, part in step.parts.items()},
            "gradient_norm": step.gradient_norm.item(),
            "learning_rate": step.learning_rate,
        }

    def _stop(self, step: _Step, row: dict[str, Any]) -> None:
        ids = ", ".join(self.batches.shards.tracks[track].id for track in step.batch.tracks[:8])
        more = ", ..." if len(step.batch.tracks) > 8 else ""
        raise TrainingError(
            f"loss={row['loss']} with gradient_norm={row['gradient_norm']} at step={step.step} is "
            f"not a finite number (tracks {ids}{more}); lower optim.learning_rate or mend those "
            f"tracks, the last good checkpoint is {self.run.last_good}"
        )


@contextmanager
def _interrupt_between_steps() -> Iterator[threading.Event]:
    """Let Ctrl-C end the run after the current step; a second one ends it at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event  # only the main thread may handle signals
        return

    def handle(signum: int, frame: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)

"""Contrastive pretraining: batches of views -> encoder -> head -> objectives -> step.

The loop is readable from top to bottom; its parts are beside it: `launch` (devices, processes),
`step` (the gradient of a joint batch), `optim`, `validation`, `journal` (metrics), `run_folder`
(files), `signals`. All randomness is a function of (seed, step): a run that was killed and resumed
on the same machine repeats the uninterrupted one to the bit, and a checkpoint holds no generator.

Source: Phillips & Koh 2026.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..config import RunConfig, differences
from ..data.batches import Batches
from ..data.shards import ShardSet
from ..data.splits import hold_out, trainable
from ..errors import ConfigError, TrainingError
from ..model.checkpoint import MynaModel, fill
from ..objectives import WeightedSum, build_objectives
from ..processes import is_first_process
from .journal import Journal, TrainProgress
from .launch import Hardware, check_fabric, launch, settle_precision
from .optim import Budget, build_optimizer, clip_gradients, learning_rate_factor, set_learning_rate
from .origin import describe_origin
from .run_folder import RunFolder
from .signals import StopRequest, stop_between_steps
from .sinks import check_installed, open_sinks
from .step import Projector, backward_all
from .validation import Validation

_log = logging.getLogger(__name__)


def train(
    config: RunConfig,
    shards: Path,
    out: Path,
    *,
    init: MynaModel | None = None,
    resume: bool = False,
    hardware: Hardware | None = None,
    wandb: str | None = None,
    report: Callable[[TrainProgress], None] | None = None,
) -> Path:
    """Pretrain a model; everything goes to the folder `out`.

    Args:
        config: the complete run; ``precision=auto`` is settled, and recorded, before it begins.
        shards: folder that `prepare_shards` made.
        out: folder of the run; must not hold one, or with `resume` must hold this one.
        init: the model to go on from, whose space id ``config.init`` is; None: random weights.
        resume: go on from the newest checkpoint.
        hardware: devices and processes; None: one, the best there is.
        wandb: project of Weights & Biases to report to.
        report: told every ``log_every`` steps, in the first process.

    Returns:
        The folder of the trained model, which `load_model` takes.

    Raises:
        ConfigError: the configuration does not fit the data or the hardware, or a library is not
            installed.
        ShardError: the shards are missing or damaged.
        CheckpointError: the weights of `init` do not fit.
        TrainingError: the loss is not a number any more, or `out` does not fit `resume`.
        KeyboardInterrupt: after Ctrl-C, once a checkpoint is written.
        SystemExit: after SIGTERM, once a checkpoint is written.
    """
    hardware = hardware or Hardware()
    config = settle_precision(config, hardware)
    plan = _plan(config, shards, out, init=init, resume=resume, hardware=hardware, wandb=wandb)
    with launch(config, hardware) as fabric:
        return _run(plan, fabric, workers=hardware.workers, wandb=wandb, report=report)


def _run(
    plan: "Plan",
    fabric: Any,
    *,
    workers: int,
    wandb: str | None,
    report: Callable[[TrainProgress], None] | None,
) -> Path:
    """Take the steps of a plan from its newest checkpoint to its end; return the model's folder."""
    config, run, model = plan.config, plan.run, plan.model
    ranks = {"rank": fabric.global_rank, "world": fabric.world_size}
    batches = Batches(plan.data, config, plan.trained_on, **ranks)
    model.encoder.runtime = replace(model.encoder.runtime, recompute=config.recompute)
    dim = config.architecture.model.projection_dim
    objectives = build_objectives(config.objectives, dim=dim, seed=config.seed).train()
    objectives.to(fabric.device)
    projector = Projector(model).train()
    optimizer = build_optimizer((projector, objectives), config.optim)
    compiled = torch.compile(projector) if config.compile else projector
    network, stepper = fabric.setup(compiled, optimizer)
    state = State(model, objectives, optimizer, _average(model, config.optim.ema_decay))
    if plan.resume and (saved := run.load_checkpoint()) is not None:
        state.load(saved)
    run.rewind(state.step)
    _check_same_step(fabric, state.step, run.path)

    accumulate = config.optim.accumulate
    budget = Budget.of(config.budget, steps_per_epoch=max(1, batches.steps_per_epoch // accumulate))
    patience = (config.validation and config.validation.patience) or math.inf
    with ExitStack() as stack:
        opened = open_sinks(run, config, step=state.step, wandb=wandb)
        sinks = [stack.enter_context(closing(sink)) for sink in opened]
        stream = batches.stream(state.step * accumulate, workers=workers)
        stack.enter_context(closing(stream))
        request = stack.enter_context(stop_between_steps())
        pulse = Pulse(fabric, state.seconds, request, every=config.log_every)
        told = report if run.writes else None
        journal = Journal(run, sinks, batches, budget, config.optim.warmup, told)

        def validate() -> bool:
            """Measure on the held-out tracks; tell whether the loss is the lowest so far."""
            journal.flush(pulse.seconds)
            values: dict[str, float] = {}
            if fabric.global_rank == 0 and plan.validation is not None:
                values = plan.validation.measure(state.trained, objectives, fabric)
            values = fabric.broadcast(values)
            journal.add_validation(state.step, values)
            state.validated_at = state.step
            return state.best.update(values["loss"], state.step)

        def save(*, is_best: bool = False) -> None:
            journal.flush(pulse.seconds)
            state.seconds, state.saved_at = pulse.seconds, state.step
            saved = state.to_dict()
            run.save_checkpoint(state.step, saved, keep=config.keep_checkpoints, is_best=is_best)

        while not pulse.stopped(state.step):
            if budget.done(state.step, pulse.seconds) >= 1 or state.best.waited >= patience:
                break
            done = min(1.0, budget.done(state.step + 0.5, pulse.seconds))
            factor = learning_rate_factor(done, warmup=config.optim.warmup)
            rate = set_learning_rate(optimizer, factor * config.optim.learning_rate)

            taken = [next(stream) for _ in range(accumulate)]
            groups = [fabric.to_device(batch.groups) for batch in taken]
            micro = config.micro_batch_size
            outcomes = backward_all(fabric, network, objectives, groups, micro_batch_size=micro)
            norm = clip_gradients((projector, objectives), config.optim.clip_norm)
            stepper.step()
            stepper.zero_grad()
            if state.average is not None:
                state.average.update_parameters(model)

            state.step += 1
            journal.add(state.step, taken, outcomes, gradient_norm=norm, learning_rate=rate)
            if config.validation and state.step % config.validation.every == 0 and validate():
                save(is_best=True)
            elif state.step % config.checkpoint_every == 0:
                save()
            elif state.step % config.log_every == 0:
                journal.flush(pulse.seconds)

        unmeasured = config.validation and state.validated_at < state.step
        if unmeasured and not request and validate():
            save(is_best=True)
        if state.saved_at < state.step or not state.step:
            save()
        if request:
            request.raise_it()

    if run.writes:
        if patience < math.inf and (saved := run.load_best()) is not None:
            state.load(saved)
        trained = state.trained.float()
        trained.provenance = plan.origin | {"config": config.to_dict(), "steps": state.step}
        trained.save(run.model)
    fabric.barrier()
    return run.model


# --- before the first step -----------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """A run that nothing refuses any more: data, first weights, where it comes from and goes."""

    config: RunConfig
    data: ShardSet
    trained_on: Sequence[int]
    validation: Validation | None
    model: MynaModel
    origin: dict[str, Any]
    run: RunFolder
    resume: bool


def _plan(
    config: RunConfig,
    shards: Path,
    out: Path,
    *,
    init: MynaModel | None,
    resume: bool,
    hardware: Hardware,
    wandb: str | None,
) -> Plan:
    """Return what a run starts from; all that can be refused is refused before it has a folder."""
    data = ShardSet.open(shards, verify=is_first_process())
    _check_front_end(config, data)
    trained_on, held_out = _split(config, data)
    batches = Batches(data, config, trained_on, world=hardware.num_processes)
    validation = None
    if config.validation is not None:
        validation = Validation(data, config, config.validation, held_out)
    model = MynaModel.untrained(config.architecture, seed=config.seed)
    if init is not None:
        fill(model, init.state_dict(), source=f"init={config.init}")
    check_fabric()
    check_installed(wandb)
    dropped = batches.num_dropped
    origin = describe_origin(data, trained_on=batches.tracks, held_out=held_out, too_short=dropped)
    if is_first_process():
        if dropped:
            _log.warning(
                "%d of %d tracks are too short for the views and are left out",
                *(dropped, len(trained_on)),
            )
        run = (RunFolder.reopen if resume else RunFolder.create)(out, config, origin)
    else:
        run = RunFolder(out, writes=False)
    return Plan(config, data, trained_on, validation, model, origin, run, resume)


def _check_front_end(config: RunConfig, data: ShardSet) -> None:
    if changed := differences(data.front_end, config.architecture.front_end):
        words = ", ".join(f"{key} is {old}, not {new}" for key, (old, new) in changed.items())
        raise ConfigError(
            f"shards={data.folder} were prepared for another front end than the model's ({words}); "
            "prepare them again with the model's, or choose a model of theirs."
        )


def _split(config: RunConfig, data: ShardSet) -> tuple[Sequence[int], Sequence[int]]:
    """Return the tracks to train on and those to measure on; what is marked as test is neither."""
    if config.validation is not None:
        return hold_out(data.tracks, config.validation.share, config.seed)
    return trainable(data.tracks), ()


def _check_same_step(fabric: Any, step: int, out: Path) -> None:
    first = fabric.broadcast(step)
    if first != step:
        raise TrainingError(
            f"out={out} is at step={step} on this machine and at step={first} on the first one; "
            "use a folder that all machines share."
        )


# --- what a run is made of -----------------------------------------------------------------------


@dataclass
class Best:
    """The lowest validation loss so far, and how many validations it has stood."""

    loss: float = math.inf
    step: int = 0
    waited: int = 0

    def update(self, loss: float, step: int) -> bool:
        """Take a validation loss; return whether it is the lowest so far."""
        is_best = loss < self.loss
        if is_best:
            self.loss, self.step, self.waited = loss, step, 0
        else:
            self.waited += 1
        return is_best


@dataclass
class State:
    """Everything of a run that changes, and so everything a checkpoint holds."""

    model: MynaModel
    objectives: WeightedSum
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    best: Best = field(default_factory=Best)
    step: int = 0
    seconds: float = 0.0
    validated_at: int = 0
    saved_at: int = 0

    @property
    def trained(self) -> MynaModel:
        """The model that a run gives: the average where there is one."""
        return self.model if self.average is None else cast(MynaModel, self.average.module)

    def to_dict(self) -> dict[str, Any]:
        """Return tensors and plain data."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "validated_at": self.validated_at,
            "best": asdict(self.best),
            "model": self.model.state_dict(),
            "objectives": self.objectives.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Take over what `to_dict` returned."""
        self.step = self.saved_at = saved["step"]
        self.seconds, self.validated_at = saved["seconds"], saved["validated_at"]
        self.best = Best(**saved["best"])
        self.model.load_state_dict(saved["model"])
        self.objectives.load_state_dict(saved["objectives"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])


class Pulse:
    """What all processes must decide alike: how long the run has taken, and whether to stop.

    One process asks its own clock and its own signals. Several agree every few steps, because
    each agreement stalls a GPU.
    """

    def __init__(self, fabric: Any, before: float, request: StopRequest, *, every: int) -> None:
        self._fabric = fabric
        self._request = request
        self._every = every
        self._clock = Clock(before)
        self._agreed = before

    @property
    def seconds(self) -> float:
        """Seconds of training, those before a resume included, as all processes see them."""
        return self._clock.seconds if self._fabric.world_size == 1 else self._agreed

    def stopped(self, step: int) -> bool:
        """Tell whether any process was asked to stop."""
        if self._fabric.world_size > 1:
            if step % self._every:
                return False
            seconds, signum = self._fabric.broadcast((self._clock.seconds, self._request.signum))
            self._agreed = seconds
            mine = self._request.signum or 0
            anyone = self._fabric.all_reduce(torch.tensor(float(mine)), reduce_op="max")
            self._request.signum = signum or int(anyone) or None
        return bool(self._request)


class Clock:
    """Seconds of training, those before a resume included."""

    def __init__(self, before: float) -> None:
        self._start = time.perf_counter() - before

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._start


def _average(model: MynaModel, decay: float | None) -> AveragedModel | None:
    if decay is None:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))

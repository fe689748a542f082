"""One pass fits many settings.

Those that see the same inputs (hidden size, batch size, scaling, dropout) are a stack: their
weights are tensors (settings, in, out), multiplied at once. They share the first weights, the
batches and the dropout noise, all drawn from the seed and the step alone, as runs of the published
code with one seed do. So a setting comes out the same alone or among others, up to rounding.
Settings that have stopped leave the stack. On the CPU, stacks are fitted side by side, one to a
core: the products are too small to be worth dividing.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.optim.adam import adam

from .grid import Setting
from .problem import Problem

HIDDEN_SIZE = 512
EVALUATE_EVERY = 8
PATIENCE = 256  # evaluations
MAX_STEPS = 10_000
_NUMBERS_AT_ONCE = 2**22  # in a layer, while outputs are computed

Weights = tuple[Tensor, ...]
"""Weight (in, out) and bias (out,) of each layer; stacked, with the settings before them."""


@dataclass(frozen=True)
class Fitted:
    """A probe: what was tried, how it went, and the best weights."""

    setting: Setting
    merge: str
    validation: float
    best_step: int
    steps: int
    capped: bool
    weights: Weights

    def logits(self, x: tuple[Tensor, Tensor]) -> Float[Tensor, "n classes"]:
        """Return the outputs before softmax or sigmoid."""
        weights = [weight[None] for weight in self.weights]
        return _outputs(weights, x[self.setting.standardise])[0]


class _Stack:
    """Settings that differ in nothing but learning rate and L2, fitted together."""

    def __init__(self, settings: Sequence[Setting], problem: Problem) -> None:
        self.settings = list(settings)
        self.problem = problem
        # What they have in common.
        self.hidden = settings[0].hidden
        self.batch_size = settings[0].batch_size
        self.dropout = settings[0].dropout
        self.x = problem.x[settings[0].standardise]
        self.x_valid = problem.x_valid[settings[0].standardise]
        self.device = self.x.device
        # The first weights, the batches and the noise come from generators of their own, so that
        # none depends on how much the others draw.
        sizes = [self.x.shape[-1], *[HIDDEN_SIZE] * self.hidden, problem.num_outputs]
        first = _first_weights(sizes, torch.Generator().manual_seed(3 * problem.seed))
        self.order = torch.Generator().manual_seed(3 * problem.seed + 1)
        self.noise = torch.Generator(self.device).manual_seed(3 * problem.seed + 2)
        n = len(self.settings)
        self.weights = [w.to(self.x).expand(n, *w.shape).contiguous() for w in first]
        self.means = [torch.zeros_like(w) for w in self.weights]
        self.squares = [torch.zeros_like(w) for w in self.weights]
        self.best = [w.clone() for w in self.weights]
        self.best_score = torch.full((n,), -torch.inf, dtype=torch.float64)
        self.best_step = torch.zeros(n, dtype=torch.long)
        self.best_merge = torch.zeros(n, dtype=torch.long)

    def fit(self, cancelled: threading.Event) -> list[Fitted]:
        """Return a probe for each setting, in the order in which they stop."""
        problem = self.problem
        done: list[Fitted] = []
        for step in range(problem.max_steps + 1):
            if step % EVALUATE_EVERY == 0:
                self._evaluate(step)
                # The best step and its 256 evaluations; patience ends at the same step for all
                # that were best at the same step.
                bored = step - self.best_step >= problem.patience * EVALUATE_EVERY
                if bored.any():
                    done += self._take(bored, step, capped=False)
            if not self.settings or cancelled.is_set():
                break
            if step < problem.max_steps:
                self._update(step)
        done += self._take(torch.ones(len(self.settings), dtype=torch.bool), step, capped=True)
        return done

    def _evaluate(self, step: int) -> None:
        """Take the validation metric, and keep the weights that are better than ever."""
        problem = self.problem
        with torch.no_grad():
            logits = _outputs(self.weights, self.x_valid)
            scores, merges = _best_merge(problem, logits)
        better = scores > self.best_score  # false where the score is NaN
        if better.any():
            self.best_score = torch.where(better, scores, self.best_score)
            self.best_merge = torch.where(better, merges, self.best_merge)
            self.best_step[better] = step
            rows = better.nonzero()[:, 0].to(self.device)
            for best, weight in zip(self.best, self.weights, strict=True):
                best[rows] = weight[rows]

    def _take(self, leaving: Tensor, step: int, *, capped: bool) -> list[Fitted]:
        """Return the probes of settings that are done, and go on without them."""
        merges = self.problem.tracks.merges(self.problem.kind)
        taken = [
            Fitted(
                self.settings[i],
                merges[int(self.best_merge[i])],
                float(self.best_score[i]),
                int(self.best_step[i]),
                step,
                capped,
                tuple(best[i].clone() for best in self.best),
            )
            for i in leaving.nonzero()[:, 0].tolist()
        ]
        stay = (~leaving).nonzero()[:, 0]
        self.settings = [self.settings[i] for i in stay.tolist()]
        self.best_score, self.best_step, self.best_merge = (
            values[stay] for values in (self.best_score, self.best_step, self.best_merge)
        )
        rows = stay.to(self.device)
        self.weights, self.best, self.means, self.squares = (
            [tensor[rows] for tensor in tensors]
            for tensors in (self.weights, self.best, self.means, self.squares)
        )
        return taken

    def _update(self, step: int) -> None:
        """Take a step of Adam, for all settings."""
        rows = torch.randperm(len(self.x), generator=self.order)[: self.batch_size]
        rows = rows.to(self.device)
        weights = [weight.requires_grad_() for weight in self.weights]
        gradients = torch.autograd.grad(self._loss(self.x[rows], self.problem.y[rows]), weights)
        for weight in weights:
            weight.requires_grad_(False)
        for i, setting in enumerate(self.settings):
            adam(
                [weight[i] for weight in weights],
                [gradient[i] for gradient in gradients],
                [mean[i] for mean in self.means],
                [square[i] for square in self.squares],
                [],
                [torch.tensor(float(step), device=self.device) for _ in weights],
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=setting.learning_rate,
                weight_decay=setting.l2,
                eps=1e-8,
                maximize=False,
            )

    def _loss(self, x: Float[Tensor, "batch dim"], y: Tensor) -> Tensor:
        """Return the sum of all settings' losses, so that each has its own gradient."""
        h = _layer(self.weights[:2], x * self._noise(x.shape))
        if self.hidden:
            h = _layer(self.weights[2:], h.relu() * self._noise(h.shape[1:]))
        each = y.expand(len(h), *y.shape)
        if self.problem.kind == "regression":
            return F.mse_loss(h, each, reduction="sum") / y.numel()
        if self.problem.kind == "multilabel":
            return F.binary_cross_entropy_with_logits(h, each, reduction="sum") / y.numel()
        return F.cross_entropy(h.flatten(0, 1), each.flatten(), reduction="sum") / y.numel()

    def _noise(self, shape: Sequence[int]) -> Tensor:
        """Return what dropout multiplies by: 0, or 1 over the share that is kept."""
        noise = torch.rand(tuple(shape), generator=self.noise, device=self.device)
        return (noise >= self.dropout).to(self.x) / (1 - self.dropout)


def _layer(weights: Sequence[Tensor], x: Tensor) -> Float[Tensor, "settings n out"]:
    """Return x of all settings, or of each, times weights (settings, in, out) plus biases."""
    weight, bias = weights
    return torch.baddbmm(bias[:, None], x.expand(len(weight), *x.shape[-2:]), weight)


def _first_weights(sizes: Sequence[int], generator: torch.Generator) -> list[Tensor]:
    """Return weights and biases as `torch.nn.Linear` has them: uniform within 1 / sqrt(in)."""
    weights = []
    for inputs, outputs in pairwise(sizes):
        for shape in ((inputs, outputs), (outputs,)):
            uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
            weights.append((2 * uniform - 1) / inputs**0.5)
    return weights


def _outputs(
    weights: Sequence[Tensor], x: Float[Tensor, "n dim"]
) -> Float[Tensor, "settings n classes"]:
    """Return the outputs of all settings, without dropout."""
    widest = max(weight.shape[-1] for weight in weights)
    parts = []
    for part in x.split(max(1, _NUMBERS_AT_ONCE // (len(weights[0]) * widest))):
        h = _layer(weights[:2], part)
        parts.append(_layer(weights[2:], h.relu()) if len(weights) > 2 else h)
    return torch.cat(parts, dim=1)


def _best_merge(problem: Problem, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return, on the CPU, the validation score of each setting and the strategy that gave it."""
    scores = torch.stack(
        [
            problem.measure(
                problem.y_valid,
                problem.tracks.merge(problem.kind, merge, logits),
                problem.classes,
            )
            for merge in problem.tracks.merges(problem.kind)
        ]
    ).cpu()
    best = scores.nan_to_num(-torch.inf).max(dim=0)
    return best.values.double(), best.indices


def fit_settings(settings: Sequence[Setting], problem: Problem) -> list[Fitted]:
    """Return a probe for each setting, in their order."""
    stacks: dict[tuple[object, ...], list[Setting]] = {}
    for setting in dict.fromkeys(settings):
        alike = (setting.hidden, setting.batch_size, setting.standardise, setting.dropout)
        stacks.setdefault(alike, []).append(setting)
    # The longest first, so that the cores end together.
    order = sorted(stacks, reverse=True)
    threads = torch.get_num_threads()
    workers = threads if problem.y.device.type == "cpu" else 1
    cancelled = threading.Event()
    pool = ThreadPoolExecutor(workers, initializer=lambda: torch.set_num_threads(1))
    try:
        running = [
            pool.submit(lambda s: _Stack(s, problem).fit(cancelled), stacks[k]) for k in order
        ]
        fitted = {probe.setting: probe for stack in running for probe in stack.result()}
    finally:
        cancelled.set()  # an interrupt must not wait for the rest
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
    return [fitted[setting] for setting in settings]

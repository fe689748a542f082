"""Probes: small models on frozen embeddings, under the protocol of Castellon et al. 2021.

A probe is linear or has one hidden layer of 512 units with ReLU. Inputs are standardised by the
training set, or not. Dropout acts on the input and after the ReLU. Adam minimises cross-entropy
(classification, key), binary cross-entropy of every tag (multilabel) or the squared error of
z-scored targets (regression). Every step draws a batch from the whole training set, without
replacement. The validation metric is taken before the first step and every 8 steps; training stops
after 256 of them without a better one, and the best weights count. L2 is added to the gradient of
all weights and biases, as the ``weight_decay`` of torch's Adam, because the published code does so.

The setting is chosen on validation, then the test set is read once: the test labels are asked for
in one place, after everything else. ``myna-compat`` reproduces the published evaluation of Myna
instead, which chose the setting on the test set, and says so in its result.

**One pass fits many settings.** Those that see the same inputs (hidden size, batch size, scaling,
dropout) are a stack: their weights are tensors (settings, in, out), multiplied at once. They share
the first weights, the batches and the dropout noise, all drawn from the seed and the step alone, as
runs of the published code with one seed do. So a setting comes out the same alone or among others,
up to rounding. Settings that have stopped leave the stack. On the CPU, stacks are fitted side by
side, one to a core: the products are too small to be worth dividing.

One departure: the published code trains until patience ends, however long; here `MAX_STEPS` is the
last step, and every setting says whether it was stopped by it.

Source: Castellon, Donahue & Liang 2021, "Codified audio language modeling learns useful
representations for music information retrieval", and its code, p-lambda/jukemir.
"""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise, product
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.optim.adam import adam

from ..errors import ConfigError, TaskError, unknown_name
from .examples import Kind, Label
from .metrics import METRICS, Measure, lookup_measure, score

try:
    from sklearn.base import BaseEstimator
    from sklearn.preprocessing import StandardScaler
except ImportError as error:
    raise ConfigError(
        "scikit-learn is not installed, and probes need it; run: pip install 'myna-rpe[eval]'"
    ) from error

HIDDEN_SIZE = 512
EVALUATE_EVERY = 8
PATIENCE = 256  # evaluations
MAX_STEPS = 10_000
_NUMBERS_AT_ONCE = 2**22  # in a layer, while outputs are computed

Protocol = Literal["castellon", "myna-compat"]
PROTOCOL_NOTES: dict[Protocol, str] = {
    "castellon": "The setting was chosen on validation; the test set was read once.",
    "myna-compat": (
        "The setting was chosen on the TEST set, as the published evaluation of Myna did: this "
        "figure is too good, and serves only for comparison with published ones."
    ),
}

MERGES: dict[Kind, tuple[str, ...]] = {
    "classification": ("mean", "gmean", "max", "vote"),
    "key": ("mean", "gmean", "max", "vote"),
    "multilabel": ("mean", "max"),
    "regression": ("mean",),
}
"""How the outputs of several excerpts become one per track, chosen on validation.

``mean`` of probabilities (of values, in regression), ``gmean``: of logits, ``max``: of logits,
``vote``: share of excerpts. The first is taken among equals.
"""


@dataclass(frozen=True, order=True)
class Setting:
    """One point of the grid; the order of fields is the order settings are fitted in."""

    hidden: bool
    batch_size: int
    standardise: bool
    dropout: float
    learning_rate: float
    l2: float


# The 216 of the paper.
_FULL = tuple(
    Setting(*values)
    for values in product(
        (False, True),
        (64, 256),
        (False, True),
        (0.25, 0.5, 0.75),
        (1e-5, 1e-4, 1e-3),
        (0.0, 1e-4, 1e-3),
    )
)

GRIDS: dict[str, tuple[Setting, ...]] = {
    "full": _FULL,
    "linear": tuple(setting for setting in _FULL if not setting.hidden),
    # 12 that learn quickly: batches of 64, either learning rate that ends soon, and at the higher
    # one little or much dropout.
    "fast": tuple(
        Setting(hidden, 64, standardise, dropout, learning_rate, 1e-4)
        for hidden, standardise in product((False, True), (False, True))
        for learning_rate, dropout in ((1e-4, 0.5), (1e-3, 0.25), (1e-3, 0.75))
    ),
}

Grid = str | Sequence[Setting]
"""The name of a grid, or the settings themselves."""


def lookup_grid(grid: Grid) -> tuple[Setting, ...]:
    """Return the settings of a grid, in the order of their fields.

    Raises:
        ConfigError: the name is unknown, or there is no setting.
    """
    if isinstance(grid, str):
        if grid not in GRIDS:
            raise ConfigError(unknown_name("grid", grid, GRIDS))
        return GRIDS[grid]
    if not grid:
        raise ConfigError("grid=() has nothing to fit; give at least one setting.")
    return tuple(grid)


# Labels ------------------------------------------------------------------------------------------


def encode(kind: Kind, classes: Sequence[str], labels: Sequence[Label]) -> np.ndarray:
    """Return labels as numbers: class indices (n,), tags (n, tags), or targets (n, targets).

    Raises:
        TaskError: a label is not of the vocabulary, or not of the kind.
    """
    place = {name: index for index, name in enumerate(classes)}

    def index(label: object, name: object) -> int:
        if name not in place:
            raise TaskError(unknown_name(f"label {label!r}: class", name, classes))
        return place[str(name)]

    if kind == "regression":
        targets = np.array([tuple(label) for label in labels], dtype=np.float64)
        if targets.shape != (len(labels), len(classes)) or not np.isfinite(targets).all():
            raise TaskError(
                f"labels of regression must be {len(classes)} finite numbers each "
                f"({', '.join(classes)}); mend or leave out the examples that differ."
            )
        return targets
    if kind == "multilabel":
        tags = np.zeros((len(labels), len(classes)))
        for row, label in enumerate(labels):
            for name in (label,) if isinstance(label, str) else label:
                tags[row, index(label, name)] = 1
        return tags
    return np.array([index(label, label) for label in labels], dtype=np.int64)


# Data --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ProbeData:
    """The embeddings of one split.

    Attributes:
        embeddings: one per example.
        labels: one per example; see `examples.Label`.
        tracks: what the outputs of several excerpts are merged by; None: every example is a track.
    """

    embeddings: Float[np.ndarray, "n dim"]
    labels: Sequence[Label]
    tracks: Sequence[str] | None = None


@dataclass(frozen=True)
class _Tracks:
    """Which examples belong to which track; tracks are in the order they first appear."""

    names: tuple[str, ...]
    place: Int[Tensor, " n"]
    first: Int[np.ndarray, " tracks"]  # an example of each

    @staticmethod
    def of(tracks: Sequence[str] | None, n: int) -> "_Tracks":
        names = [str(i) for i in range(n)] if tracks is None else list(tracks)
        if len(names) != n:
            raise TaskError(f"tracks={len(names)} do not fit {n} embeddings; give one for each.")
        order = {name: index for index, name in enumerate(dict.fromkeys(names))}
        place = np.array([order[name] for name in names], dtype=np.int64)
        _, first = np.unique(place, return_index=True)
        return _Tracks(tuple(order), torch.from_numpy(place), first)

    def merges(self, kind: Kind) -> tuple[str, ...]:
        """Return the strategies that can differ."""
        return MERGES[kind] if len(self.names) < len(self.place) else MERGES[kind][:1]

    def labels(self, targets: np.ndarray) -> np.ndarray:
        """Return the targets of tracks.

        Raises:
            TaskError: the excerpts of a track differ in their labels.
        """
        merged: np.ndarray = targets[self.first]
        different = (merged[self.place.numpy()] != targets).reshape(len(targets), -1).any(axis=1)
        if different.any():
            name = self.names[int(self.place[int(different.argmax())])]
            raise TaskError(
                f"track={name!r} has excerpts with different labels, which cannot be merged; "
                "give its excerpts one label, or different tracks."
            )
        return merged

    def merge(
        self, kind: Kind, merge: str, logits: Float[Tensor, "*settings n classes"]
    ) -> Float[Tensor, "*settings tracks classes"]:
        """Return probabilities, or values, of tracks."""
        place = self.place.to(logits.device)
        if merge == "vote":
            votes = F.one_hot(logits.argmax(dim=-1), logits.shape[-1]).to(logits)
            return self._mean(votes, place)
        if merge == "mean":
            return self._mean(_activate(kind, logits), place)
        if merge == "gmean":
            return _activate(kind, self._mean(logits, place))
        index = place[:, None].expand(logits.shape)
        highest = logits.new_zeros(*logits.shape[:-2], len(self.names), logits.shape[-1])
        highest.scatter_reduce_(-2, index, logits, "amax", include_self=False)
        return _activate(kind, highest)

    def _mean(self, values: Tensor, place: Tensor) -> Tensor:
        if len(self.names) == len(place):
            return values  # place is 0, 1, 2, ...
        sums = values.new_zeros(*values.shape[:-2], len(self.names), values.shape[-1])
        counts = torch.bincount(place, minlength=len(self.names))[:, None]
        return sums.index_add_(-2, place, values) / counts


def _activate(kind: Kind, logits: Tensor) -> Tensor:
    if kind == "regression":
        return logits
    return logits.sigmoid() if kind == "multilabel" else logits.softmax(dim=-1)


# One stack of settings ---------------------------------------------------------------------------

Weights = tuple[Tensor, ...]
"""Weight (in, out) and bias (out,) of each layer; stacked, with the settings before them."""


@dataclass(frozen=True)
class _Problem:
    """What all settings share; tensors are on the device. Inputs are (raw, standardised)."""

    kind: Kind
    measure: Measure
    classes: tuple[str, ...]
    x: tuple[Tensor, Tensor]  # (n, dim)
    y: Tensor
    x_valid: tuple[Tensor, Tensor]  # (valid, dim)
    y_valid: Tensor  # of tracks
    tracks: _Tracks
    num_outputs: int
    seed: int
    max_steps: int
    patience: int


@dataclass(frozen=True)
class _Fitted:
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

    def __init__(self, settings: Sequence[Setting], problem: _Problem) -> None:
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

    def fit(self, cancelled: threading.Event) -> list[_Fitted]:
        """Return a probe for each setting, in the order in which they stop."""
        problem = self.problem
        done: list[_Fitted] = []
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

    def _take(self, leaving: Tensor, step: int, *, capped: bool) -> list[_Fitted]:
        """Return the probes of settings that are done, and go on without them."""
        merges = self.problem.tracks.merges(self.problem.kind)
        taken = [
            _Fitted(
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


def _best_merge(problem: _Problem, logits: Tensor) -> tuple[Tensor, Tensor]:
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


def _fit(settings: Sequence[Setting], problem: _Problem) -> list[_Fitted]:
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


# Preparing ---------------------------------------------------------------------------------------


class _Inputs:
    """The training set's scales: of embeddings, and of the targets of regression."""

    def __init__(self, kind: Kind, embeddings: np.ndarray, targets: np.ndarray) -> None:
        self.kind = kind
        self.scaler = StandardScaler().fit(embeddings.astype(np.float64))
        self.dim = embeddings.shape[1]
        self.targets = StandardScaler().fit(targets) if kind == "regression" else StandardScaler()

    def x(self, embeddings: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return embeddings (n, dim) as they are, and standardised."""
        scaled = self.scaler.transform(embeddings.astype(np.float64))
        raw, standardised = (
            torch.from_numpy(values.astype(np.float32)).to(device)
            for values in (embeddings, scaled)
        )
        return raw, standardised

    def y(self, targets: np.ndarray, device: torch.device) -> Tensor:
        """Return what the loss takes: indices as integers, all else as float32."""
        if self.kind == "regression":
            targets = self.targets.transform(targets)
        whole = self.kind in ("classification", "key")
        return torch.from_numpy(targets).to(device, torch.long if whole else torch.float32)

    def outputs(self, merged: Tensor) -> np.ndarray:
        """Return probabilities, or values in the targets' own unit."""
        values = merged.double().cpu().numpy()
        if self.kind == "regression":
            values = self.targets.inverse_transform(values)
        return np.asarray(values)


def _check_embeddings(split: str, embeddings: np.ndarray, n: int, dim: int) -> None:
    if len(embeddings) == 0:
        raise TaskError(f"{split}=0 examples leave nothing to work on; give some to every split.")
    if len(embeddings) != n:
        raise TaskError(
            f"{split}: {len(embeddings)} embeddings do not fit {n} labels; give one for each."
        )
    if embeddings.shape[1] != dim:
        raise TaskError(
            f"{split}: embeddings of {embeddings.shape[1]} numbers do not fit those of {dim} in "
            "train; embed all splits with one model."
        )
    if not np.isfinite(embeddings).all():
        raise TaskError(
            f"{split}: {int((~np.isfinite(embeddings)).any(axis=1).sum())} embeddings are not "
            "finite, and no probe can read them; embed those files again or leave them out."
        )


def _check_train(
    kind: Kind, embeddings: np.ndarray, targets: np.ndarray, classes: Sequence[str]
) -> None:
    if len(embeddings) > 1 and (embeddings == embeddings[0]).all():
        raise TaskError(
            f"train: all {len(embeddings)} embeddings are equal, which tells nothing apart; "
            "look for a collapsed model or silent files."
        )
    if kind == "regression":
        spread = targets.std(axis=0).tolist()
        missing = [name for name, std in zip(classes, spread, strict=True) if not std]
        rule = "does not vary in train"
    else:
        counts = targets.sum(axis=0) if kind == "multilabel" else np.bincount(targets)
        present = set(counts.nonzero()[0].tolist())
        missing = [name for place, name in enumerate(classes) if place not in present]
        rule = "has no example in train"
    if missing:
        raise TaskError(
            f"class={', '.join(missing)} {rule} ({len(targets)} examples), so it cannot be "
            "learned; give it examples or leave it out of the classes."
        )


def _problem(
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    tracks: Sequence[str] | None,
    *,
    kind: Kind,
    metric: str | None,
    classes: Sequence[str],
    seed: int,
    max_steps: int,
    patience: int,
    device: str,
) -> tuple[_Problem, _Inputs]:
    """Return what is to be solved, from embeddings and encoded labels of two splits."""
    dim = train[0].shape[1]
    _check_embeddings("train", train[0], len(train[1]), dim)
    _check_embeddings("valid", valid[0], len(valid[1]), dim)
    _check_train(kind, *train, classes)
    inputs = _Inputs(kind, *train)
    where = torch.device(device)
    merged = _Tracks.of(tracks, len(valid[0]))
    name = metric or METRICS[kind][0]
    y_valid = inputs.y(merged.labels(valid[1]), where)
    problem = _Problem(
        kind=kind,
        measure=lookup_measure(name, kind),
        classes=tuple(classes),
        x=inputs.x(train[0], where),
        y=inputs.y(train[1], where),
        x_valid=inputs.x(valid[0], where),
        y_valid=y_valid,
        tracks=merged,
        num_outputs=len(classes),
        seed=seed,
        max_steps=max_steps,
        patience=patience,
    )
    chance = torch.zeros(len(y_valid), len(classes), device=where)
    if problem.measure(y_valid, chance, problem.classes).isnan():
        raise TaskError(
            f"valid: {name} of {len(y_valid)} tracks has no value, because no class or target "
            "varies among them; give a larger validation set."
        )
    return problem, inputs


# The estimator -----------------------------------------------------------------------------------


class Probe(BaseEstimator):  # type: ignore[misc]
    """A probe with scikit-learn's interface: fits a grid, keeps the best on validation.

    Args:
        kind: "classification", "key", "multilabel" or "regression".
        grid: "full", "linear", "fast", or settings.
        metric: what is chosen by; None: the kind's primary one.
        seed: of first weights, batches, dropout, and of the validation set where none is given.
        max_steps: the last step of any setting.
        patience: evaluations without improvement after which a setting stops.
        device: as torch names it.

    Attributes:
        classes_: the labels; indices of tags or targets, where those are columns.
        setting_: the one that was chosen.
        validation_: its score.
        n_features_in_: length of an embedding.
    """

    def __init__(
        self,
        kind: Kind = "classification",
        *,
        grid: Grid = "fast",
        metric: str | None = None,
        seed: int = 0,
        max_steps: int = MAX_STEPS,
        patience: int = PATIENCE,
        device: str = "cpu",
    ) -> None:
        self.kind = kind
        self.grid = grid
        self.metric = metric
        self.seed = seed
        self.max_steps = max_steps
        self.patience = patience
        self.device = device

    def fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        X_valid: Any = None,  # noqa: N803
        y_valid: Any = None,
    ) -> "Probe":
        """Fit on train, choose on validation; without one, a fifth of train is held out.

        Args:
            X: (n, dim).
            y: (n,) labels; (n, tags) 0 or 1 of multilabel; (n,) or (n, targets) of regression.
            X_valid: as X.
            y_valid: as y.

        Raises:
            TaskError: the data cannot be learned from: see `run_probe`.
            ConfigError: kind, grid or metric is unknown.
        """
        _check_kind(self.kind)
        x, labels = np.asarray(X), np.asarray(y)
        if X_valid is None:
            order = np.random.default_rng(self.seed).permutation(len(x))
            held = order[: max(1, len(x) // 5)]
            kept = order[len(held) :]
            x_valid, labels_valid = x[held], labels[held]
            x, labels = x[kept], labels[kept]
        else:
            x_valid, labels_valid = np.asarray(X_valid), np.asarray(y_valid)
        single = self.kind in ("classification", "key")
        columns = labels if labels.ndim == 2 else labels[:, None]
        self.classes_ = np.unique(labels) if single else np.arange(columns.shape[1])
        classes = [str(name) for name in self.classes_]
        problem, self._inputs = _problem(
            (x, self._encode(labels)),
            (x_valid, self._encode(labels_valid)),
            None,
            kind=self.kind,
            metric=self.metric,
            classes=classes,
            seed=self.seed,
            max_steps=self.max_steps,
            patience=self.patience,
            device=self.device,
        )
        fitted = _fit(lookup_grid(self.grid), problem)
        self._probe = max(fitted, key=lambda probe: probe.validation)
        self.setting_ = self._probe.setting
        self.validation_ = self._probe.validation
        self.n_features_in_ = x.shape[1]
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return labels; of multilabel 0 or 1 for each tag; of regression values."""
        outputs = self.predict_proba(X)
        if self.kind == "regression":
            return outputs
        if self.kind == "multilabel":
            return (outputs > 0.5).astype(np.int64)
        return np.asarray(self.classes_[outputs.argmax(axis=1)])

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return probabilities (n, classes); of regression, values (n, targets)."""
        x = np.asarray(X)
        _check_embeddings("X", x, len(x), self.n_features_in_)
        with torch.no_grad():
            logits = self._probe.logits(self._inputs.x(x, torch.device(self.device)))
        return self._inputs.outputs(_activate(self.kind, logits))

    def score(self, X: Any, y: Any) -> float:  # noqa: N803
        """Return the metric that was chosen by."""
        classes = [str(name) for name in self.classes_]
        scores = score(self.kind, self._encode(np.asarray(y)), self.predict_proba(X), classes)
        return scores[self.metric or METRICS[self.kind][0]]

    def _encode(self, labels: np.ndarray) -> np.ndarray:
        if self.kind not in ("classification", "key"):
            columns = labels if labels.ndim == 2 else labels[:, None]
            return columns.astype(np.float64)
        place = np.searchsorted(self.classes_, labels).clip(max=len(self.classes_) - 1)
        strange = self.classes_[place] != labels
        if strange.any():
            raise TaskError(unknown_name("class", labels[strange][0], map(str, self.classes_)))
        return np.asarray(place, dtype=np.int64)


# The protocol ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tried:
    """A setting of the grid and how it went.

    Attributes:
        setting: the point of the grid.
        merge: the strategy of `MERGES` that was best on validation.
        validation: its best validation score.
        best_step: the step that score was reached at.
        steps: how many were taken.
        capped: it was stopped by `max_steps` rather than by patience.
        test: the test score, of "myna-compat" only; None: it was never computed.
    """

    setting: Setting
    merge: str
    validation: float
    best_step: int
    steps: int
    capped: bool
    test: float | None = None


@dataclass(frozen=True)
class SeedRun:
    """The chosen setting, trained with one seed.

    Attributes:
        seed: of first weights, batches and dropout.
        merge: the strategy that was chosen on validation.
        validation: its score.
        test: all metrics of the kind, the primary one first.
        outputs: probabilities, or values, per test track and class.
    """

    seed: int
    merge: str
    validation: float
    test: Mapping[str, float]
    outputs: Float[np.ndarray, "tracks classes"]


@dataclass(frozen=True)
class ProbeResult:
    """What a probe reached, with everything that it was chosen from.

    Attributes:
        kind: of the task.
        metric: what was chosen by.
        protocol: "castellon" or "myna-compat".
        note: one sentence for the report: what the setting was chosen on.
        chosen: the setting.
        tried: all settings, in the grid's order, with the first seed.
        runs: the chosen setting with every seed; the first is that of the grid.
        classes: names of the columns of outputs.
        tracks: names of their rows.
        targets: encoded labels of the tracks.
    """

    kind: Kind
    metric: str
    protocol: Protocol
    note: str
    chosen: Setting
    tried: tuple[Tried, ...]
    runs: tuple[SeedRun, ...]
    classes: tuple[str, ...]
    tracks: tuple[str, ...]
    targets: np.ndarray

    @property
    def test(self) -> Mapping[str, float]:
        """The metrics with the first seed."""
        return self.runs[0].test

    @property
    def outputs(self) -> Float[np.ndarray, "tracks classes"]:
        """The outputs with the first seed."""
        return self.runs[0].outputs

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data of how it was chosen, without tracks, targets and outputs."""
        data = asdict(self)
        for large in ("classes", "tracks", "targets"):
            del data[large]
        for run in data["runs"]:
            del run["outputs"]
        return data


def run_probe(
    train: ProbeData,
    valid: ProbeData,
    test: ProbeData,
    *,
    kind: Kind,
    classes: Sequence[str],
    metric: str | None = None,
    grid: Grid = "full",
    seeds: Sequence[int] = (0,),
    protocol: Protocol = "castellon",
    max_steps: int = MAX_STEPS,
    patience: int = PATIENCE,
    device: str = "cpu",
) -> ProbeResult:
    """Fit a grid of probes, choose one on validation, and read the test set once.

    The grid is fitted with the first seed. The chosen setting is then trained with the others as
    well, which shows the spread that first weights, batches and dropout make.

    Args:
        train: excerpts are examples of their own.
        valid: excerpts are merged into tracks, by the strategy that is best here.
        test: its labels are asked for after everything else.
        kind: of the task; not retrieval.
        classes: see `examples.Dataset`.
        metric: what is chosen by; None: the kind's primary one.
        grid: "full", "linear", "fast", or settings.
        seeds: at least one.
        protocol: "myna-compat" chooses on test instead, with the first seed, and says so.
        max_steps: the last step of any setting.
        patience: evaluations without improvement after which a setting stops.
        device: as torch names it.

    Raises:
        ConfigError: kind, metric, grid or protocol is unknown, or there is no seed.
        TaskError: a split is empty, does not fit the others, or holds embeddings that are not
            finite; the training embeddings are all equal; a class has no training example; a label
            is not of the classes; a metric has no value.
    """
    _check_kind(kind)
    settings = lookup_grid(grid)
    if protocol not in PROTOCOL_NOTES:
        raise ConfigError(unknown_name("protocol", protocol, PROTOCOL_NOTES))
    if not seeds:
        raise ConfigError("seeds=() leave nothing to train; give at least one.")
    encoded_train = encode(kind, classes, train.labels)
    encoded_valid = encode(kind, classes, valid.labels)
    dim = train.embeddings.shape[1]
    _check_embeddings("test", test.embeddings, len(test.labels), dim)
    name = metric or METRICS[kind][0]
    tracks = _Tracks.of(test.tracks, len(test.embeddings))

    def fit(settings: Sequence[Setting], seed: int) -> tuple[list[_Fitted], _Inputs]:
        problem, inputs = _problem(
            (train.embeddings, encoded_train),
            (valid.embeddings, encoded_valid),
            valid.tracks,
            kind=kind,
            metric=name,
            classes=classes,
            seed=seed,
            max_steps=max_steps,
            patience=patience,
            device=device,
        )
        return _fit(settings, problem), inputs

    first, inputs = fit(settings, seeds[0])
    x_test = inputs.x(test.embeddings, torch.device(device))

    def outputs(probe: _Fitted) -> np.ndarray:
        with torch.no_grad():
            return inputs.outputs(tracks.merge(kind, probe.merge, probe.logits(x_test)))

    tried = [
        Tried(
            probe.setting,
            probe.merge,
            probe.validation,
            probe.best_step,
            probe.steps,
            probe.capped,
        )
        for probe in first
    ]
    if protocol == "castellon":
        best = max(range(len(first)), key=lambda i: first[i].validation)
        probes = [first[best]]
        probes += [fit([first[best].setting], seed)[0][0] for seed in seeds[1:]]
        given = [outputs(probe) for probe in probes]
        # Everything is chosen and predicted: only now are the test labels read.
        targets = tracks.labels(encode(kind, classes, test.labels))
    else:
        targets = tracks.labels(encode(kind, classes, test.labels))
        scores = [score(kind, targets, outputs(probe), classes)[name] for probe in first]
        best = max(range(len(first)), key=lambda i: scores[i])
        tried = [
            Tried(**{**vars(setting), "test": value})
            for setting, value in zip(tried, scores, strict=True)
        ]
        probes = [first[best]]
        probes += [fit([first[best].setting], seed)[0][0] for seed in seeds[1:]]
        given = [outputs(probe) for probe in probes]
    return ProbeResult(
        kind=kind,
        metric=name,
        protocol=protocol,
        note=PROTOCOL_NOTES[protocol],
        chosen=first[best].setting,
        tried=tuple(tried),
        runs=tuple(
            SeedRun(
                seed, probe.merge, probe.validation, score(kind, targets, values, classes), values
            )
            for seed, probe, values in zip(seeds, probes, given, strict=True)
        ),
        classes=tuple(classes),
        tracks=tracks.names,
        targets=targets,
    )


def _check_kind(kind: Kind) -> None:
    if kind not in MERGES:
        raise ConfigError(unknown_name("kind of probe", kind, MERGES))

"""What a probe is to solve: labels as numbers, inputs on their scales, what cannot be learned."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from ...errors import ConfigError, TaskError, unknown_name
from ..examples import Kind, Label
from ..metrics import METRICS, Measure, lookup_measure
from .tracks import MERGES, Tracks


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


@dataclass(frozen=True)
class Problem:
    """What all settings share; tensors are on the device. Inputs are (raw, standardised)."""

    kind: Kind
    measure: Measure
    classes: tuple[str, ...]
    x: tuple[Tensor, Tensor]  # (n, dim)
    y: Tensor
    x_valid: tuple[Tensor, Tensor]  # (valid, dim)
    y_valid: Tensor  # of tracks
    tracks: Tracks
    num_outputs: int
    seed: int
    max_steps: int
    patience: int


class Inputs:
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


def check_embeddings(split: str, embeddings: np.ndarray, n: int, dim: int) -> None:
    """Refuse embeddings that are none, do not fit the labels or train, or are not finite."""
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


def pose(
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
) -> tuple[Problem, Inputs]:
    """Return what is to be solved, from embeddings and encoded labels of two splits."""
    dim = train[0].shape[1]
    check_embeddings("train", train[0], len(train[1]), dim)
    check_embeddings("valid", valid[0], len(valid[1]), dim)
    _check_train(kind, *train, classes)
    inputs = Inputs(kind, *train)
    where = torch.device(device)
    merged = Tracks.of(tracks, len(valid[0]))
    name = metric or METRICS[kind][0]
    y_valid = inputs.y(merged.labels(valid[1]), where)
    problem = Problem(
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


def check_kind(kind: Kind) -> None:
    """Refuse what no probe is for: retrieval."""
    if kind not in MERGES:
        raise ConfigError(unknown_name("kind of probe", kind, MERGES))

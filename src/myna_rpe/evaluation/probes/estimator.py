"""A probe as an estimator of scikit-learn."""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator

from ...errors import TaskError, unknown_name
from ..examples import Kind
from ..metrics import METRICS, score
from .grid import Grid, lookup_grid
from .problem import check_embeddings, check_kind, pose
from .stack import MAX_STEPS, PATIENCE, fit_settings
from .tracks import activate


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
        check_kind(self.kind)
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
        problem, self._inputs = pose(
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
        fitted = fit_settings(lookup_grid(self.grid), problem)
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
        check_embeddings("X", x, len(x), self.n_features_in_)
        with torch.no_grad():
            logits = self._probe.logits(self._inputs.x(x, torch.device(self.device)))
        return self._inputs.outputs(activate(self.kind, logits))

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

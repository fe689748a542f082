"""What a model reached on a task, and the evidence: what each track was given.

The evidence is enough to compute every number again, on any resample of the tracks: so intervals,
and differences between two models on the same tracks, are computed from it and nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from ..errors import TaskError
from .examples import Kind
from .metrics import METRICS
from .reading import Reading
from .statistics import Interval, Spread, Statistic, bootstrap, of_outputs, of_values, over_seeds


@runtime_checkable
class Evidence(Protocol):
    """What each track, or excerpt, was given.

    Attributes:
        names: of the tracks or excerpts.
        clusters: which of them are only drawn together; None: each alone.
    """

    @property
    def names(self) -> Sequence[str]: ...  # noqa: D102

    @property
    def clusters(self) -> Sequence[str] | None: ...  # noqa: D102

    @property
    def metrics(self) -> Sequence[str]:
        """The names of the metrics, the primary one first."""
        ...

    def statistic(self, metric: str) -> Statistic:
        """Return a metric as a function of resamples of the names."""
        ...

    def spread(self, metric: str) -> Spread | None:
        """Return mean and deviation over seeds; None where there is one seed, or no seed."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data; `evidence_from_dict` of it is equal to this."""
        ...


@dataclass(frozen=True, eq=False)
class Queries:
    """What each query found.

    Attributes:
        names: of the queries that have something to find.
        values: metric -> the value of each query.
        clusters: see `Evidence`.
    """

    names: Sequence[str]
    values: Mapping[str, Float[np.ndarray, " queries"]]
    clusters: Sequence[str] | None = None

    @property
    def metrics(self) -> Sequence[str]:
        """The names of the metrics, the primary one first."""
        return tuple(self.values)

    def statistic(self, metric: str) -> Statistic:
        """Return the mean over the queries that are drawn."""
        return of_values(self.values[metric])

    def spread(self, metric: str) -> Spread | None:
        """Return None: nothing is drawn at random."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data."""
        return {
            "names": list(self.names),
            "values": {name: value.tolist() for name, value in self.values.items()},
            "clusters": None if self.clusters is None else list(self.clusters),
        }


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a probe, or a detector, gave out for each track of the test set.

    Attributes:
        kind: of the task.
        classes: names of the columns.
        names: of the tracks.
        targets: encoded labels, see `metrics`.
        values: probabilities, or values; (seeds, tracks, classes), one seed of a detector.
        clusters: see `Evidence`.
    """

    kind: Kind
    classes: tuple[str, ...]
    names: Sequence[str]
    targets: np.ndarray
    values: Float[np.ndarray, "seeds tracks classes"]
    clusters: Sequence[str] | None = None

    @property
    def metrics(self) -> Sequence[str]:
        """The names of the metrics, the primary one first."""
        return METRICS[self.kind]

    def statistic(self, metric: str) -> Statistic:
        """Return the mean over seeds of the metric of the tracks that are drawn."""
        each = [
            of_outputs(metric, self.kind, self.targets, values, self.classes)
            for values in self.values
        ]
        return lambda rows: np.mean([statistic(rows) for statistic in each], axis=0)

    def spread(self, metric: str) -> Spread | None:
        """Return mean and deviation over seeds; None of one seed."""
        if len(self.values) == 1:
            return None
        rows = np.arange(len(self.names))[None]
        return over_seeds(
            [
                float(of_outputs(metric, self.kind, self.targets, values, self.classes)(rows)[0])
                for values in self.values
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data."""
        return {
            "kind": self.kind,
            "classes": list(self.classes),
            "names": list(self.names),
            "targets": self.targets.tolist(),
            "values": self.values.tolist(),
            "clusters": None if self.clusters is None else list(self.clusters),
        }


def evidence_from_dict(data: Mapping[str, Any]) -> Queries | Outputs:
    """Return what `to_dict` of an evidence described."""
    if "targets" not in data:
        values = {name: np.array(value, float) for name, value in data["values"].items()}
        return Queries(data["names"], values, data["clusters"])
    whole = data["kind"] in ("classification", "key")
    return Outputs(
        data["kind"],
        tuple(data["classes"]),
        data["names"],
        np.array(data["targets"], np.int64 if whole else np.float64),
        np.array(data["values"], np.float64),
        data["clusters"],
    )


@dataclass(frozen=True, eq=False)
class Score:
    """What a model reached on a task.

    Attributes:
        task: name of the data set.
        kind: what was asked.
        length: seconds of each track that were read, from its middle; None: all of it.
        model: what the report calls the model.
        reading: how it was asked to read; None of peers, which have one way only.
        space_id: of its features.
        metrics: by name, the primary one first; over seeds, their means.
        spreads: over seeds, of the metrics that have several.
        evidence: what each track was given: all that the metrics come from.
        num_examples: files and excerpts that were read; ``num_failed`` could not be.
        seconds_per_track: to read and embed one, decoding included.
        details: everything else, as JSON data: ``notes`` of the task, ``failed`` files and why; of
            probes ``protocol``, one sentence, and ``probes``, one for each fold, with the setting
            that was chosen and all that were tried; of retrieval ``space``: hubness, alignment,
            uniformity and coherence (k -> share of one's label among the k nearest).
    """

    task: str
    kind: Kind
    length: float | None
    model: str
    reading: Reading | None
    space_id: str
    metrics: Mapping[str, Interval]
    spreads: Mapping[str, Spread]
    evidence: Queries | Outputs
    num_examples: int
    num_failed: int
    seconds_per_track: float
    details: Mapping[str, Any]

    @property
    def primary(self) -> str:
        """Name of the metric that counts first."""
        return next(iter(self.metrics))

    @property
    def label(self) -> str:
        """The model and how it read, as a report calls them."""
        reading = str(self.reading or "")
        return f"{self.model}, {reading}" if reading else self.model

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data; `from_dict` of it is equal to this."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return plain | {
            "reading": self.reading and self.reading.to_dict(),
            "metrics": {name: asdict(value) for name, value in self.metrics.items()},
            "spreads": {name: asdict(value) for name, value in self.spreads.items()},
            "evidence": self.evidence.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Score":
        """Return the score that `to_dict` described."""
        return cls(
            **{
                **data,
                "reading": data["reading"] and Reading(**data["reading"]),
                "metrics": {name: Interval(**value) for name, value in data["metrics"].items()},
                "spreads": {name: Spread(**value) for name, value in data["spreads"].items()},
                "evidence": evidence_from_dict(data["evidence"]),
            }
        )


def measure(evidence: Evidence) -> tuple[dict[str, Interval], dict[str, Spread]]:
    """Return the metrics with their intervals over tracks, and their spreads over seeds.

    Raises:
        TaskError: a metric has no value.
    """
    metrics = {
        name: bootstrap(evidence.statistic(name), len(evidence.names), clusters=evidence.clusters)
        for name in evidence.metrics
    }
    spreads = {name: evidence.spread(name) for name in evidence.metrics}
    return metrics, {name: spread for name, spread in spreads.items() if spread is not None}


def read_score(path: Path) -> Score:
    """Return a score that `evaluate` has kept.

    Raises:
        TaskError: the file is no score, or damaged.
    """
    try:
        return Score.from_dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TaskError(
            f"file={str(path)!r} is no score ({type(error).__name__}: {error}); "
            "remove it and run `myna evaluate` again."
        ) from error

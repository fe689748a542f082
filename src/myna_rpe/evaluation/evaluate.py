"""Models x tasks -> scores with intervals: what `myna evaluate` runs.

A task of kind retrieval is answered by the features themselves: tracks look for those of their
label, or, where it has queries (split ``test``), excerpts for the track they are from. Every other
kind is answered by a probe that is chosen on validation (`probes.run_probe`). Intervals are
percentile bootstraps over tracks.

Features are cached by space (`features`), and each score is a file of its own, so an evaluation
that was interrupted goes on where it was. What was asked for is hashed into the file's name.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..config import Config
from ..errors import TaskError
from ..storage import write_json
from .examples import Dataset, Example
from .features import Features, extract_features
from .metrics import METRICS, identification_ranks, retrieval_per_query
from .peers import FeatureExtractor
from .statistics import Interval, bootstrap, of_outputs, of_values

_RECALL_AT = (1, 5, 10)


class Protocol(Config):
    """How probes are fitted and chosen; see `probes.run_probe`."""

    grid: Literal["full", "fast"] = "full"
    seeds: tuple[int, ...] = (0,)
    name: Literal["castellon", "myna-compat"] = "castellon"


@dataclass(frozen=True)
class Score:
    """What a model reached on a task.

    Attributes:
        task: name of the data set.
        model: what the report calls the model.
        space_id: of its features.
        metrics: by name, the primary one first.
        num_examples: files and excerpts that were read; ``num_failed`` could not be.
        seconds_per_track: to read and embed one, decoding included.
        details: everything else that the numbers come from, as JSON data: the setting that was
            chosen, all that were tried, what each track was given.
    """

    task: str
    model: str
    space_id: str
    metrics: dict[str, Interval]
    num_examples: int
    num_failed: int
    seconds_per_track: float
    details: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data; `from_dict` of it is equal to this."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Score":
        """Return the score that `to_dict` described."""
        metrics = {name: Interval(**value) for name, value in data["metrics"].items()}
        return cls(**data | {"metrics": metrics})


def evaluate(
    models: Sequence[FeatureExtractor],
    datasets: Sequence[Dataset],
    out: Path,
    *,
    protocol: Protocol | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Score]:
    """Return the scores of all models on all tasks, task by task; each is kept in `out`.

    Args:
        models: models and peers.
        datasets: the tasks.
        out: folder of caches and scores.
        protocol: of probes.
        progress: told what is being read, and how many of how many files are done.

    Raises:
        TaskError: a task has too few examples left, or no metric has a value.
        EmbeddingError: a cache cannot be used.
    """
    protocol = protocol or Protocol()
    scores = []
    for dataset in datasets:
        for model in models:
            path = out / "scores" / dataset.name / f"{_key(dataset, model, protocol)}.json"
            if path.exists():
                scores.append(Score.from_dict(json.loads(path.read_bytes())))
                continue

            def tell(done: int, total: int, what: str = f"{dataset.name}: {model.name}") -> None:
                if progress:
                    progress(what, done, total)

            features = extract_features(model, dataset.examples, out / "features", progress=tell)
            score = score_features(dataset, features, model=model.name, protocol=protocol)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, score.to_dict())
            scores.append(score)
    return scores


def score_features(
    dataset: Dataset, features: Features, *, model: str, protocol: Protocol | None = None
) -> Score:
    """Return what features are worth on a task.

    Args:
        dataset: the task.
        features: of its examples.
        model: what the report calls them.
        protocol: of probes.

    Raises:
        TaskError: too few examples have features, or no metric has a value.
    """
    if not features.examples:
        raise TaskError(
            f"task={dataset.name!r} has no example that {model} can read, the first of "
            f"{len(features.failures)}: {features.failures[0].error}"
        )
    if dataset.kind != "retrieval":
        metrics, details = _probe(dataset, features, protocol or Protocol())
    elif dataset.of_split("test"):
        metrics, details = _identify(features)
    else:
        metrics, details = _retrieve(features)
    details["notes"] = dict(dataset.notes)
    details["failed"] = {failure.example.id: failure.error for failure in features.failures}
    return Score(
        task=dataset.name,
        model=model,
        space_id=features.space_id,
        metrics=metrics,
        num_examples=len(features.examples),
        num_failed=len(features.failures),
        seconds_per_track=features.seconds_per_track,
        details=json.loads(json.dumps(details)),  # as it will be read again
    )


Metrics = dict[str, Interval]


def _retrieve(features: Features) -> tuple[Metrics, dict[str, Any]]:
    examples = features.examples
    labels = [str(example.label) for example in examples]
    groups = [example.group for example in examples]
    values = retrieval_per_query(features.values, labels, groups)
    # Only tracks that have something to find are drawn: the others have no value.
    asked = ~np.isnan(values["map"])
    metrics = {
        name: bootstrap(of_values(value[asked]), int(asked.sum()))
        for name, value in values.items()
        if asked.any()
    }
    if not metrics:
        raise TaskError(
            f"labels of {len(labels)} tracks leave nothing to find: no two tracks of different "
            "groups share one; give more tracks of a label."
        )
    found = {
        example.id: None if math.isnan(value) else value
        for example, value in zip(examples, values["p_at_1"].tolist(), strict=True)
    }
    return metrics, {"p_at_1": found, "queries": int(asked.sum())}


def _identify(features: Features) -> tuple[Metrics, dict[str, Any]]:
    queries, references = _rows(features, "test"), _rows(features, "")
    examples = [features.examples[row] for row in queries]
    tracks = [example.track for example in examples]
    ranks = identification_ranks(
        features.values[queries],
        tracks,
        features.values[references],
        [features.examples[row].track for row in references],
    )
    metrics = {
        f"recall_at_{k}": bootstrap(
            of_values((ranks <= k).astype(np.float64)), len(ranks), clusters=tracks
        )
        for k in _RECALL_AT
    }
    found = zip(examples, ranks.tolist(), strict=True)
    return metrics, {"ranks": {example.id: rank for example, rank in found}}


def _probe(
    dataset: Dataset, features: Features, protocol: Protocol
) -> tuple[Metrics, dict[str, Any]]:
    # Needs scikit-learn, which retrieval does not.
    from .probes import ProbeData, run_probe

    def data(split: str) -> ProbeData:
        rows = _rows(features, split)
        examples = [features.examples[row] for row in rows]
        return ProbeData(
            features.values[rows],
            [example.label for example in examples],
            [_track(example) for example in examples],
        )

    result = run_probe(
        data("train"),
        data("valid"),
        data("test"),
        kind=dataset.kind,
        classes=dataset.classes,
        grid=protocol.grid,
        seeds=protocol.seeds,
        protocol=protocol.name,
    )
    metrics = {
        name: bootstrap(
            of_outputs(name, dataset.kind, result.targets, result.outputs, dataset.classes),
            len(result.targets),
        )
        for name in METRICS[dataset.kind]
    }
    return metrics, {"probe": result.to_dict()}


def _rows(features: Features, split: str) -> list[int]:
    return [row for row, example in enumerate(features.examples) if example.split == split]


def _track(example: Example) -> str:
    return example.track or example.id


def _key(dataset: Dataset, model: FeatureExtractor, protocol: Protocol) -> str:
    """Return a name for this question: the same examples, model and protocol, and no other."""
    examples = [
        (e.id, str(e.path), e.label, e.split, e.track, e.group, e.start, e.duration)
        for e in dataset.examples
    ]
    asked = protocol.to_dict() if dataset.kind != "retrieval" else None
    text = json.dumps([dataset.name, dataset.kind, dataset.classes, examples, asked, model.name])
    return hashlib.sha256(f"{text}{model.space_id}".encode("utf-8", "surrogateescape")).hexdigest()[
        :16
    ]

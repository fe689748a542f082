"""Models x tasks -> scores with intervals: what `myna evaluate` runs.

A task of kind retrieval is answered by the features themselves: tracks look for those of their
label, or, where it has queries (split ``test``), excerpts for the track they are from. Every other
kind is answered by a probe that is chosen on validation (`probes.run_probe`), once for each fold;
a key detector needs none. Intervals are percentile bootstraps over tracks.

Features are cached by space (`features`), and each score is a file of its own, so an evaluation
that was interrupted goes on where it was. What was asked for is hashed into the file's name.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from ..config import Config
from ..errors import TaskError
from ..storage import write_json
from .examples import Dataset, Example
from .features import Features, extract_features, stamp_of
from .metrics import (
    alignment,
    coherence,
    hubness,
    identification_ranks,
    retrieval_per_query,
    uniformity,
)
from .peers import FeatureExtractor, KeyDetector
from .scores import Outputs, Queries, Score, measure, read_score

# What a kept score looks like and how it is computed; a score of another format is not found.
_FORMAT = 2

_RECALL_AT = (1, 5, 10)
_COHERENCE_AT = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Protocol(Config):
    """How probes are fitted and chosen; see `probes.run_probe`."""

    grid: Literal["full", "linear", "fast"] = "full"
    seeds: tuple[int, ...] = (0,)
    name: Literal["castellon", "myna-compat"] = "castellon"


def evaluate(
    models: Sequence[FeatureExtractor],
    datasets: Sequence[Dataset],
    out: Path,
    *,
    protocol: Protocol | None = None,
    device: str = "cpu",
    progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[Score]:
    """Yield the scores of all models on all tasks, task by task; each is kept in `out`.

    What has nothing to say about a task, as a key detector about tempo, is left out of it.

    Args:
        models: models and peers.
        datasets: the tasks.
        out: folder of caches and scores.
        protocol: of probes.
        device: that probes are fitted on, as torch names it.
        progress: told what is being read, and how many of how many files are done.

    Raises:
        TaskError: a task has too few examples left, no metric has a value, or a kept score is
            damaged.
        EmbeddingError: a cache cannot be used.
    """
    protocol = protocol or Protocol()
    for dataset in datasets:
        for model in models:
            if not model.answers(dataset):
                continue
            path = out / "scores" / dataset.name / f"{_key(dataset, model, protocol)}.json"
            if path.exists():
                yield read_score(path)
                continue

            def tell(done: int, total: int, what: str = f"{dataset.name}: {model.name}") -> None:
                if progress:
                    progress(what, done, total)

            examples = dataset.examples
            if isinstance(model, KeyDetector):
                examples = dataset.of_split("test")
            features = extract_features(model, examples, out / "features", progress=tell)
            score = score_features(dataset, features, model=model, protocol=protocol, device=device)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, score.to_dict())
            yield score


def score_features(
    dataset: Dataset,
    features: Features,
    *,
    model: FeatureExtractor,
    protocol: Protocol | None = None,
    device: str = "cpu",
) -> Score:
    """Return what features are worth on a task.

    Args:
        dataset: the task.
        features: of its examples.
        model: whose they are.
        protocol: of probes.
        device: that probes are fitted on, as torch names it.

    Raises:
        TaskError: too few examples have features, or no metric has a value.
    """
    if not features.examples:
        raise TaskError(
            f"task={dataset.name!r} has no example that {model.name} can read, the first of "
            f"{len(features.failures)}: {features.failures[0].error}"
        )
    details: dict[str, Any] = {}
    if isinstance(model, KeyDetector):
        evidence: Queries | Outputs = _detect(dataset, features)
    elif dataset.kind != "retrieval":
        evidence, details = _probe(dataset, features, protocol or Protocol(), device)
    elif dataset.of_split("test"):
        evidence = _identify(features)
    else:
        evidence, details = _retrieve(features)
    metrics, spreads = measure(evidence)
    details["notes"] = dict(dataset.notes)
    details["failed"] = {failure.example.id: failure.error for failure in features.failures}
    return Score(
        task=dataset.name,
        kind=dataset.kind,
        length=dataset.length,
        model=model.name,
        reading=model.reading,
        space_id=features.space_id,
        metrics=metrics,
        spreads=spreads,
        evidence=evidence,
        num_examples=len(features.examples),
        num_failed=len(features.failures),
        seconds_per_track=features.seconds_per_track,
        details=json.loads(json.dumps(details)),  # as it will be read again
    )


def best_spaces(
    scores: Sequence[Score],
    models: Sequence[FeatureExtractor],
    datasets: Sequence[Dataset],
    out: Path,
) -> dict[str, tuple[Float32[np.ndarray, "n dim"], list[str]]]:
    """Return the features in which each task was answered best, and the labels, for a map.

    Of tasks in which every track has one label, and read as a whole: of the others a map says
    little. The features are those that `evaluate` has kept.

    Args:
        scores: of `evaluate`.
        models: as it was given them; so are the others.
        datasets: the tasks.
        out: folder of caches and scores.
    """
    spaces = {model.space_id: model for model in models if not isinstance(model, KeyDetector)}
    maps = {}
    for dataset in datasets:
        labelled = dataset.kind in ("classification", "key", "retrieval")
        of_tracks = [
            score
            for score in scores
            if score.task == dataset.name and score.length is None and score.space_id in spaces
        ]
        searched = dataset.kind == "retrieval" and dataset.of_split("test")  # each its own label
        if not labelled or searched or dataset.length is not None or not of_tracks:
            continue
        best = max(of_tracks, key=lambda score: score.metrics[score.primary].value)
        features = extract_features(spaces[best.space_id], dataset.examples, out / "features")
        labels = [str(example.label) for example in features.examples]
        maps[f"{dataset.name}: {best.label}"] = (features.values, labels)
    return maps


def _retrieve(features: Features) -> tuple[Queries, dict[str, Any]]:
    examples, values = features.examples, features.values
    labels = [str(example.label) for example in examples]
    groups = [example.group for example in examples]
    found = retrieval_per_query(values, labels, groups)
    # Only tracks that have something to find are drawn: the others have no value.
    asked = np.flatnonzero(~np.isnan(found["map"])).tolist()
    if not asked:
        raise TaskError(
            f"labels of {len(labels)} tracks leave nothing to find: no two tracks of different "
            "groups share one; give more tracks of a label."
        )
    queries = Queries(
        [examples[row].id for row in asked], {name: value[asked] for name, value in found.items()}
    )
    ks = sorted({k for k in _COHERENCE_AT if k < len(labels)} | {len(labels) - 1})
    space = {
        "hubness": hubness(values),
        "alignment": alignment(values, labels),
        "uniformity": uniformity(values),
        "coherence": coherence(values, labels, ks, groups),
    }
    return queries, {"space": space}


def _identify(features: Features) -> Queries:
    queries, references = _rows(features, "test"), _rows(features, "")
    examples = [features.examples[row] for row in queries]
    tracks = [example.track for example in examples]
    ranks = identification_ranks(
        features.values[queries],
        tracks,
        features.values[references],
        [features.examples[row].track for row in references],
    )
    values = {f"recall_at_{k}": (ranks <= k).astype(np.float64) for k in _RECALL_AT}
    return Queries([example.id for example in examples], values | {"mrr": 1 / ranks}, tracks)


def _detect(dataset: Dataset, features: Features) -> Outputs:
    # Needs scikit-learn, which retrieval does not.
    from .probes import encode

    return Outputs(
        dataset.kind,
        dataset.classes,
        [_track(example) for example in features.examples],
        encode(dataset.kind, dataset.classes, [example.label for example in features.examples]),
        features.values[None].astype(np.float64),
        _clusters(features.examples, [_track(example) for example in features.examples]),
    )


def _probe(
    dataset: Dataset, features: Features, protocol: Protocol, device: str
) -> tuple[Outputs, dict[str, Any]]:
    from .probes import ProbeData, run_probe

    row = {example.id: row for row, example in enumerate(features.examples)}

    def data(fold: Dataset, split: str) -> ProbeData:
        examples = [e for e in fold.examples if e.split == split and e.id in row]
        return ProbeData(
            features.values[[row[example.id] for example in examples]],
            [example.label for example in examples],
            [_track(example) for example in examples],
        )

    results = [
        run_probe(
            data(fold, "train"),
            data(fold, "valid"),
            data(fold, "test"),
            kind=dataset.kind,
            classes=dataset.classes,
            grid=protocol.grid,
            seeds=protocol.seeds,
            protocol=protocol.name,
            device=device,
        )
        for fold in dataset.in_folds()
    ]
    tracks = [track for result in results for track in result.tracks]
    outputs = Outputs(
        dataset.kind,
        dataset.classes,
        tracks,
        np.concatenate([result.targets for result in results]),
        np.concatenate(
            [np.stack([run.outputs for run in result.runs]) for result in results], axis=1
        ),
        _clusters(features.examples, tracks),
    )
    details = {"protocol": results[0].note, "probes": [result.to_dict() for result in results]}
    return outputs, details


def _rows(features: Features, split: str) -> list[int]:
    return [row for row, example in enumerate(features.examples) if example.split == split]


def _clusters(examples: Sequence[Example], tracks: Sequence[str]) -> list[str] | None:
    """Return the group of each track, as two renderings of a tune are no two witnesses."""
    groups = {_track(example): example.group for example in examples}
    if not any(groups[track] for track in tracks):
        return None
    return [f"group {groups[track]}" if groups[track] else f"track {track}" for track in tracks]


def _track(example: Example) -> str:
    return example.track or example.id


def _key(dataset: Dataset, model: FeatureExtractor, protocol: Protocol) -> str:
    """Return a name for this question: the same files, labels, model and protocol, and no other."""
    examples = [
        (e.id, str(e.path), e.label, e.split, e.track, e.group, e.start, e.duration)
        for e in dataset.examples
    ]
    paths = dict.fromkeys(example.path for example in dataset.examples)
    asked = {
        "format": _FORMAT,
        "examples": examples,
        "files": [stamp_of(path) for path in paths],
        "folds": [dict(fold) for fold in dataset.folds],
        "kind": dataset.kind,
        "classes": dataset.classes,
        "protocol": protocol.to_dict() if dataset.kind != "retrieval" else None,
        "model": model.name,
        "space_id": model.space_id,
    }
    text = json.dumps(asked).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:16]

"""Small scores, made of what each track was given."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from myna_rpe.evaluation.keys import KEYS
from myna_rpe.evaluation.probes import PROTOCOL_NOTES
from myna_rpe.evaluation.reading import Reading
from myna_rpe.evaluation.scores import Evidence, Outputs, Queries, Score, measure


def score_of(evidence: Evidence, *, task: str = "task", model: str = "m", **fields: Any) -> Score:
    metrics, spreads = measure(evidence)
    details = {"notes": {}, "failed": {}} | fields.pop("details", {})
    kind = evidence.kind if isinstance(evidence, Outputs) else "retrieval"
    plain = {
        "task": task,
        "kind": kind,
        "length": None,
        "model": model,
        "reading": None,
        "space_id": f"space-of-{model}",
        "metrics": metrics,
        "spreads": spreads,
        "evidence": evidence,
        "num_examples": len(evidence.names),
        "num_failed": len(details["failed"]),
        "seconds_per_track": 0.125,
        "details": details,
    }
    return Score(**plain | fields)


def retrieval(values: Mapping[str, float] | Sequence[float], **fields: Any) -> Score:
    """A score whose one metric is the mean of these values, of tracks t0, t1, ... or as named."""
    if not isinstance(values, Mapping):
        values = {f"t{number}": value for number, value in enumerate(values)}
    array = np.array(list(values.values()), dtype=np.float64)
    clusters = fields.pop("clusters", None)
    return score_of(Queries(list(values), {"map": array}, clusters), **fields)


SPACE = {
    "hubness": 1.25,
    "alignment": 0.5,
    "uniformity": -2.0,
    "coherence": {"1": 0.9, "5": 0.5, "20": 0.25},
}


def searched(values: Sequence[float], **fields: Any) -> Score:
    """A score of retrieval that also says how the vectors lie."""
    score = retrieval(values, **fields)
    return replace(score, details={**score.details, "space": SPACE})


def outputs(kind: str, classes: Sequence[str], *, n: int = 40, skill: float = 2.0, seeds: int = 1):
    """What a probe of some skill gives out; the same labels each time."""
    labels, noise = np.random.default_rng(0), np.random.default_rng(round(skill * 10))
    c = len(classes)
    if kind == "multilabel":
        targets = (labels.random((n, c)) < 0.3).astype(np.float64)
        given = skill * targets
    elif kind == "regression":
        targets = labels.normal(size=(n, c))
        given = skill * targets
    else:
        targets = labels.integers(0, c, n)
        given = skill * np.eye(c)[targets]
    values = given + noise.normal(size=(seeds, n, c))
    return Outputs(kind, tuple(classes), [f"t{i}" for i in range(n)], targets, values)


def probed(kind: str, classes: Sequence[str], *, protocol: str = "castellon", **fields: Any):
    evidence = outputs(kind, classes, **fields.pop("evidence", {}))
    details = fields.pop("details", {}) | {
        "protocol": PROTOCOL_NOTES[protocol],
        "probes": [{"protocol": protocol}],
    }
    return score_of(evidence, details=details, **fields)


def many_scores() -> list[Score]:
    """Tasks of every kind, a model in several readings and at several lengths, and a peer."""
    scores = [
        probed(
            "key",
            KEYS,
            task="rendered-key",
            model=model,
            length=length,
            reading=reading,
            evidence={"n": 50, "skill": skill},
        )
        for length in (None, 10.0)
        for skill, model, reading in (
            (3.0, "small", Reading()),
            (2.5, "small", Reading(window=8.192)),
            (2.0, "small", Reading(layer=1)),
            (1.0, "mfcc", None),
        )
    ]
    tags = ("rock", "pop", "jazz")
    scores += [
        probed("multilabel", tags, task="tags", model=model, evidence={"skill": skill})
        for model, skill in (("small", 2.0), ("mfcc", 1.0))
    ]
    scores.append(probed("regression", ("arousal", "valence"), task="mood"))
    scores.append(retrieval([1, 0, 0.5], task="composer", details={"failed": {"x": "is broken."}}))
    return scores


def keep(folder: Path, score: Score, name: str = "0123") -> Path:
    """Leave a score as `evaluate` does."""
    path = folder / "scores" / score.task / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(score.to_dict()))
    return path

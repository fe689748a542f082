"""Two scores of one task -> by how much the first is better, on the tracks that both have.

A track that one of the two could not read counts for neither; how many there are is said. Both are
judged on the same resamples of the same tracks, so what is hard for both does not count as noise.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..errors import TaskError
from .scores import Evidence, Outputs, Score
from .statistics import Difference, Statistic, paired_bootstrap


@dataclass(frozen=True)
class Comparison:
    """Two models on the tracks, or excerpts, that both have.

    Attributes:
        task: name of the data set.
        length: seconds of each track that were read; None: all of it.
        first: label of the first model.
        second: label of the other.
        num_pairs: tracks that both have.
        left_out: how many only the first has, and only the second.
        values: metric -> the value of each on the pairs.
        differences: metric -> first minus second, on the pairs.
    """

    task: str
    length: float | None
    first: str
    second: str
    num_pairs: int
    left_out: tuple[int, int]
    values: Mapping[str, tuple[float, float]]
    differences: Mapping[str, Difference]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data."""
        return asdict(self)


def compare(first: Score, second: Score, *, metrics: Sequence[str] | None = None) -> Comparison:
    """Return by how much the first score is better than the second, track by track.

    Args:
        first: what is judged.
        second: what it is judged against.
        metrics: names of metrics; None: all.

    Raises:
        TaskError: the scores are not of the same question, share no track, or a track has changed
            its label in between; or a metric has no value on the tracks that they share.
    """
    _check_question(first, second)
    ours, theirs = _keys(first.evidence), _keys(second.evidence)
    place = {key: row for row, key in enumerate(theirs)}
    pairs = np.array(
        [(row, place[key]) for row, key in enumerate(ours) if key in place], dtype=np.int64
    ).reshape(-1, 2)
    if not len(pairs):
        raise TaskError(
            f"task={first.task!r} was asked of {len(ours)} and {len(theirs)} tracks, and none is "
            "common to both; evaluate both models on the same music."
        )
    _check_labels(first, second, pairs)
    clusters = first.evidence.clusters
    together = None if clusters is None else [clusters[row] for row in pairs[:, 0]]
    everything = np.arange(len(pairs))[None]
    values, differences = {}, {}
    for metric in first.evidence.metrics if metrics is None else metrics:
        one = _of_rows(first.evidence.statistic(metric), pairs[:, 0])
        other = _of_rows(second.evidence.statistic(metric), pairs[:, 1])
        differences[metric] = paired_bootstrap(one, other, len(pairs), clusters=together)
        values[metric] = (float(one(everything)[0]), float(other(everything)[0]))
    return Comparison(
        first.task,
        first.length,
        first.label,
        second.label,
        len(pairs),
        (len(ours) - len(pairs), len(theirs) - len(pairs)),
        values,
        differences,
    )


def _check_question(first: Score, second: Score) -> None:
    for what, one, other in (
        ("task", first.task, second.task),
        ("length", _seconds(first.length), _seconds(second.length)),
        ("metrics", ", ".join(first.evidence.metrics), ", ".join(second.evidence.metrics)),
    ):
        if one != other:
            raise TaskError(
                f"{what}={one!r} of {first.label} and {other!r} of {second.label} are different "
                "questions; compare scores of one task, at one length."
            )


def _check_labels(first: Score, second: Score, pairs: Int[np.ndarray, "pairs 2"]) -> None:
    ours, theirs = _labels(first.evidence, pairs[:, 0]), _labels(second.evidence, pairs[:, 1])
    for row, one, other in zip(pairs[:, 0], ours, theirs, strict=True):
        if one != other:
            raise TaskError(
                f"track={first.evidence.names[row]!r} of task={first.task!r} has another label for "
                f"{second.label} than for {first.label}; evaluate both on the same labels."
            )


def _labels(evidence: Evidence, rows: Int[np.ndarray, " pairs"]) -> list[Any]:
    """Return what must be the same for both: the labels, by name, and what hangs together."""
    if isinstance(evidence, Outputs):
        classes = evidence.classes
        targets = evidence.targets[rows]
        if targets.ndim == 1:
            return [classes[int(target)] for target in targets]
        return [dict(zip(classes, target, strict=True)) for target in targets.tolist()]
    clusters = evidence.clusters
    return [None if clusters is None else clusters[row] for row in rows]


def _keys(evidence: Evidence) -> list[tuple[str, int]]:
    """Return the names, and of equal ones (a track that is in several folds) which it is."""
    seen: Counter[str] = Counter()
    keys = []
    for name in evidence.names:
        keys.append((name, seen[name]))
        seen[name] += 1
    return keys


def _of_rows(statistic: Statistic, rows: Int[np.ndarray, " pairs"]) -> Statistic:
    """Return a statistic of pairs: a resample of them draws their rows."""

    def of_pairs(drawn: Int[np.ndarray, "resamples n"]) -> Float[np.ndarray, " resamples"]:
        return statistic(rows[drawn])

    return of_pairs


def _seconds(length: float | None) -> str:
    return "full" if length is None else f"{length:.10g} s"

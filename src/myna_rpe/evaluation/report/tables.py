"""Scores -> tables, warnings and notes, as plain text; nothing here is of Markdown or HTML."""

from collections.abc import Iterable, Mapping, Sequence

from ...errors import TaskError
from ..compare import Comparison, compare
from ..scores import Score
from ..statistics import RESAMPLES, Difference, holm
from .contents import Failed, Part, Plot, Table, clean

HOW_TO_READ = (
    "The best model of a table comes first, by the first metric. Higher is better.",
    "[low, high] is the 95 % interval: the percentile bootstrap over tracks, "
    f"{RESAMPLES} resamples. Excerpts of one track are drawn together, and where a probe or "
    "detector answers, so are tracks of one group: renderings of a tune, tracks of an album. It "
    "says how far the number would move with other tracks of the same kind; not how far with "
    "another training run.",
    "sd is the standard deviation over seeds, of first weights, batches and dropout of the probe; "
    "the number beside it is their mean. Without sd there was one seed, or nothing random.",
    "Differences are of pairs: both models on the tracks that both have, by the same resamples. "
    f"p is two-sided, of the paired bootstrap ({RESAMPLES} resamples, so that no p is below "
    f"{2 / (RESAMPLES + 1):.3f}), corrected by Holm for the number of rows of its table. The model "
    "that the others are compared with was found on the same tracks, which is a little luck "
    "already: a small difference is no proof, and a large p no proof of equality.",
    "hubness is how unequally often tracks are among the 10 nearest of others: 0 is even, above 1 "
    "a few are everyone's neighbours. alignment is the mean squared distance of tracks of one "
    "label (0 to 4), uniformity how evenly all lie on the sphere (0 is one point, -4 the best).",
    "read and failed count files and excerpts; what failed counts for nothing else. s per track is "
    "the time to decode and embed one, on the machine that did it first. The space names weights, "
    "front end and reading: rows of one name, but of different spaces, are of different models.",
)

_SHOWN = 10  # failures of a model
_NONE = "-"


def by_length(scores: Sequence[Score]) -> dict[str, dict[float | None, list[Score]]]:
    """Return task -> length -> its scores, the best first; whole tracks before excerpts of them.

    Tasks are in the order they first come in; models that are equally good are by their labels.
    """
    tasks: dict[str, dict[float | None, list[Score]]] = {}
    for score in scores:
        tasks.setdefault(score.task, {}).setdefault(score.length, []).append(score)
    return {
        task: {
            length: ranked(lengths[length])
            for length in sorted(lengths, key=lambda x: (x is not None, -(x or 0.0)))
        }
        for task, lengths in tasks.items()
    }


def ranked(scores: Iterable[Score]) -> list[Score]:
    """Return scores of one task, the best first; among equals the next metrics count."""
    return sorted(
        scores,
        key=lambda score: ([-metric.value for metric in score.metrics.values()], score.label),
    )


def length_name(length: float | None) -> str:
    """Return what a heading calls a length."""
    return "whole tracks" if length is None else f"{length:.10g} s of each track"


def make_part(scores: Sequence[Score], *, heading: str, plots: Sequence[Plot]) -> Part:
    """Return everything there is to say about a task at one length.

    Args:
        scores: of it, the best first; at least one.
        heading: see `Part`.
        plots: see `Part`.
    """
    differences, problems = _differences(scores)
    best = scores[0]
    return Part(
        heading=heading,
        warnings=tuple(warnings_of(scores)),
        results=_results(scores),
        differences=differences,
        about_differences=clean(
            f"Differences: {best.primary} of each model minus that of the best, {best.label}"
        ),
        spaces=_spaces(scores),
        notes=(*_notes(scores), *problems),
        failed=tuple(_failed(score) for score in scores if score.num_failed),
        plots=tuple(plots),
    )


# Numbers -----------------------------------------------------------------------------------------


def _results(scores: Sequence[Score]) -> Table:
    metrics = list(dict.fromkeys(name for score in scores for name in score.metrics))
    counts = ["read", "failed", "s per track", "space"]
    return Table(
        ("model", *map(clean, metrics), *counts),
        tuple(
            (
                clean(score.label),
                *(_value(score, metric) for metric in metrics),
                str(score.num_examples),
                str(score.num_failed),
                f"{score.seconds_per_track:.3g}",
                clean(score.space_id),
            )
            for score in scores
        ),
    )


def _value(score: Score, metric: str) -> str:
    if metric not in score.metrics:
        return _NONE
    value = score.metrics[metric]
    text = f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"
    if metric not in score.spreads:
        return text
    spread = score.spreads[metric]
    return f"{text}, sd {spread.std:.3f} of {spread.n} seeds"


def _spaces(scores: Sequence[Score]) -> Table | None:
    """Return how the vectors lie of each model that was asked for neighbours."""
    names = ("hubness", "alignment", "uniformity")
    rows = tuple(
        (clean(score.label), *(f"{score.details['space'][name]:.3f}" for name in names))
        for score in scores
        if "space" in score.details
    )
    return Table(("space of", *names), rows) if rows else None


def _differences(scores: Sequence[Score]) -> tuple[Table | None, list[str]]:
    """Return a row for each score but the first, and why some cannot be compared."""
    best, *others = scores
    if not others:
        return None, []
    metric = best.primary
    compared = [_compared(score, best, metric) for score in others]
    problems = [text for text in compared if isinstance(text, str)]
    p_values = [c.differences[metric].p_value for c in compared if isinstance(c, Comparison)]
    corrected = iter(holm(p_values))
    rows = []
    for score, comparison in zip(others, compared, strict=True):
        cells = [_NONE] * 4
        if isinstance(comparison, Comparison):
            cells = [
                difference_text(comparison.differences[metric]),
                f"{next(corrected):.3f}",
                str(comparison.num_pairs),
                str(sum(comparison.left_out)),
            ]
        rows.append((clean(score.label), *cells))
    header = ("model", f"difference in {clean(metric)}", "p (Holm)", "pairs", "left out")
    return Table(header, tuple(rows)), problems


def difference_text(difference: Difference) -> str:
    """Return a difference and its interval, with their signs."""
    return f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def _compared(score: Score, best: Score, metric: str) -> Comparison | str:
    """Return the comparison, or why there is none: no reason to have no report."""
    try:
        return compare(score, best, metrics=[metric])
    except TaskError as error:
        return clean(f"{score.label} has no difference: {error}")


# Words -------------------------------------------------------------------------------------------


def warnings_of(scores: Sequence[Score]) -> list[str]:
    """Return what makes the numbers something else than they seem."""
    partial = _said([(score, _task_notes(score).get("partial")) for score in scores])
    foreign = _said([(s, text if _on_test(s) else None) for s, text in _protocols(scores)])
    return [
        *(f"Partial copy of the data set{of}: {text}" for text, of in partial),
        *(f"Protocol myna-compat{of}: {text}" for text, of in foreign),
    ]


def _notes(scores: Sequence[Score]) -> list[str]:
    """Return the task's notes, then what probes were chosen by."""
    names = dict.fromkeys(name for score in scores for name in _task_notes(score))
    notes = [
        f"{clean(name)}{of}: {text}"
        for name in names
        if name != "partial"
        for text, of in _said([(score, _task_notes(score).get(name)) for score in scores])
    ]
    protocols = [(s, None if _on_test(s) else text) for s, text in _protocols(scores)]
    return notes + [f"protocol{of}: {text}" for text, of in _said(protocols)]


def _protocols(scores: Sequence[Score]) -> list[tuple[Score, str]]:
    """Return what the probes say of themselves; retrieval and key detectors have none."""
    return [(score, score.details["protocol"]) for score in scores if "protocol" in score.details]


def _said(texts: Sequence[tuple[Score, str | None]]) -> list[tuple[str, str]]:
    """Return each text once, and whose it is, unless it is everyone's."""
    labels: dict[str, list[str]] = {}
    for score, text in texts:
        if text is not None:
            labels.setdefault(clean(text), []).append(clean(score.label))
    return [
        (text, "" if len(of) == len(texts) else f" of {', '.join(of)}")
        for text, of in labels.items()
    ]


def _failed(score: Score) -> Failed:
    reasons: Mapping[str, str] = score.details["failed"]
    total = score.num_examples + score.num_failed
    first = list(reasons.items())[:_SHOWN]
    return Failed(
        clean(f"{score.label}: {score.num_failed} of {total} could not be read"),
        tuple(clean(f"{name}: {reason}") for name, reason in first),
        score.num_failed - len(first),
    )


def _task_notes(score: Score) -> Mapping[str, str]:
    notes: Mapping[str, str] = score.details.get("notes", {})
    return notes


def _on_test(score: Score) -> bool:
    """Return whether the probe was chosen on the test set."""
    return any(probe["protocol"] == "myna-compat" for probe in score.details.get("probes", ()))

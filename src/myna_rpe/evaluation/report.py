"""Scores -> a page of Markdown: a table per task, a row per model."""

from collections.abc import Sequence
from itertools import groupby

from .evaluate import Score


def to_markdown(scores: Sequence[Score], *, heading: str = "Evaluation") -> str:
    """Return the scores as tables, tasks in the order they come in.

    Numbers are given with their 95 % intervals; the rows of a task with the best first.
    """
    lines = [f"# {heading}", ""]
    for task, rows in groupby(scores, key=lambda score: score.task):
        lines += _table(task, list(rows))
    return "\n".join(lines)


def _table(task: str, scores: Sequence[Score]) -> list[str]:
    names = list(scores[0].metrics)
    ranked = sorted(scores, key=lambda score: score.metrics[names[0]].value, reverse=True)
    header = ["model", *names, "read", "failed", "s per track", "space"]
    lines = [f"## {task}", "", _row(header), _row(["---"] * len(header))]
    for score in ranked:
        numbers = [f"{m.value:.3f} [{m.low:.3f}, {m.high:.3f}]" for m in score.metrics.values()]
        cost = f"{score.seconds_per_track:.2f}"
        counts = [str(score.num_examples), str(score.num_failed)]
        lines.append(_row([score.model, *numbers, *counts, cost, score.space_id]))
    notes = [f"- {name}: {text}" for name, text in scores[0].details["notes"].items()]
    protocols = {score.details["probe"]["note"] for score in scores if "probe" in score.details}
    notes += [f"- protocol: {note}" for note in sorted(protocols)]
    return [*lines, "", *notes, *([""] if notes else [])]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

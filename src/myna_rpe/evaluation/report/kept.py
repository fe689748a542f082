"""The scores that evaluations left in their folders: ``FOLDER/scores/TASK/HASH.json``.

One task, length and label may have several scores: of another protocol or other examples, or of a
model that was trained again under its name. Which of them counts is not for a date to say, as
files that are copied lose theirs: `check_unique` refuses them with the names of the files. A score
that was merely copied counts once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import TaskError
from ..scores import Score, read_score


@dataclass(frozen=True, eq=False)
class KeptScore:
    """A score and its file."""

    path: Path
    score: Score


def read_scores(folders: Iterable[Path]) -> list[KeptScore]:
    """Return the scores in folders of `evaluate`, folder by folder, by task and file name.

    Raises:
        TaskError: a folder holds none, or a file is no score.
    """
    kept: dict[bytes, KeptScore] = {}
    for folder in folders:
        paths = sorted(folder.glob("scores/*/*.json"))
        if not paths:
            raise TaskError(
                f"folder={str(folder)!r} holds no scores; "
                f"make them with `myna evaluate ... --out {folder}`."
            )
        for path in paths:
            score = read_score(path)
            kept.setdefault(path.read_bytes(), KeptScore(path, score))
    return list(kept.values())


def check_unique(kept: Sequence[KeptScore]) -> None:
    """Do nothing where each task, length and label has one score.

    Raises:
        TaskError: one has several; their files are named.
    """
    seen: dict[tuple[str, float | None, str], KeptScore] = {}
    for each in kept:
        score = each.score
        other = seen.setdefault((score.task, score.length, score.label), each)
        if other is not each:
            raise TaskError(
                f"model={score.label!r} has two scores on task={score.task!r}, {other.path} and "
                f"{each.path}, of other settings, examples or weights; "
                "remove the one that does not count."
            )

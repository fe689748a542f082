"""What every task gives, whatever it is about: examples with labels and splits.

A `Dataset` is what probes and retrieval take; where it comes from (a published data set in the
user's folder, or music that anyone can fetch) is the tasks' business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["classification", "key", "multilabel", "regression", "retrieval"]
"""What is asked of an embedding.

``classification``: one of several classes. ``key``: the same, of 24 keys, with the MIREX score.
``multilabel``: any of several tags. ``regression``: numbers. ``retrieval``: the nearest track.
"""

Split = Literal["train", "valid", "test", ""]
"""``valid`` is for choosing, ``test`` is read once; "" where a task has no splits (retrieval)."""

Label = str | tuple[str, ...] | tuple[float, ...]
"""A class, the tags, or the numbers of an example, by its task's kind; retrieval has classes."""


@dataclass(frozen=True)
class Example:
    """One track of a task, or one excerpt of it.

    ``track`` names what the predictions of several excerpts are merged by. ``start`` and
    ``duration``, in seconds, say which part of the file is read; None: to its end. ``group`` names
    what must not count as a neighbour (an album, a package, a tune); "" is none.
    """

    id: str
    path: Path
    label: Label
    split: Split = ""
    track: str = ""
    group: str = ""
    start: float = 0.0
    duration: float | None = None


@dataclass(frozen=True)
class Dataset:
    """All examples of a task.

    ``classes``: of classification and key; the tags of multilabel, the targets of regression.
    ``notes`` go into the report: what is missing, what was dropped and why.
    """

    name: str
    kind: Kind
    classes: tuple[str, ...]
    examples: Sequence[Example]
    notes: Mapping[str, str] = field(default_factory=dict)

    def of_split(self, split: Split) -> list[Example]:
        """Return the examples of one split, in order."""
        return [example for example in self.examples if example.split == split]

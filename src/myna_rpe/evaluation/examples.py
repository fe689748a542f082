"""What every task gives, whatever it is about: examples with labels and splits.

A `Dataset` is what probes and retrieval take; where it comes from (a published data set in the
user's folder, or music that anyone can fetch) is the tasks' business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..audio.decode import probe
from ..errors import AudioError, TaskError

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
    ``notes`` go into the report: what is missing, what was dropped and why. ``folds``, of a
    cross-validation: in each, the split of every example by its id; else examples say it
    themselves. ``length``: each track is cut to so many seconds, see `cut`. ``clip_seconds``: the
    published protocol cuts tracks into clips, see `cut_into_clips`.
    """

    name: str
    kind: Kind
    classes: tuple[str, ...]
    examples: Sequence[Example]
    notes: Mapping[str, str] = field(default_factory=dict)
    folds: Sequence[Mapping[str, Split]] = ()
    length: float | None = None
    clip_seconds: float | None = None

    def of_split(self, split: Split) -> list[Example]:
        """Return the examples of one split, in order."""
        return [example for example in self.examples if example.split == split]

    def in_folds(self) -> list["Dataset"]:
        """Return the data set as each fold has it; itself where there are none."""
        return [
            replace(
                self,
                examples=[replace(example, split=fold[example.id]) for example in self.examples],
                folds=(),
            )
            for fold in self.folds
        ] or [self]


def cut(dataset: Dataset, seconds: float) -> Dataset:
    """Return the data set with each example cut to its middle, in every split.

    What is no longer than that stays whole, and so does what cannot be read: whoever reads it will
    say why.

    Args:
        dataset: of tracks or clips.
        seconds: > 0.

    Raises:
        TaskError: that is no length.
    """
    if not seconds > 0:
        raise TaskError(f"length={seconds:g} s is nothing to read; use a number > 0.")
    examples = [_middle(example, seconds) for example in dataset.examples]
    return replace(dataset, examples=examples, length=seconds)


def cut_into_clips(dataset: Dataset) -> Dataset:
    """Return the clips of the published protocol, of one length and without overlap.

    A shorter rest is left out; what is shorter than one clip stays whole. All clips of a track
    share its ``track``, by which their predictions are merged.

    Raises:
        TaskError: the protocol knows no clips.
    """
    seconds = dataset.clip_seconds
    if seconds is None:
        raise TaskError(
            f"task={dataset.name!r} has no clips in its protocol; use --lengths full, or seconds."
        )
    clips = [clip for example in dataset.examples for clip in _clips(example, seconds)]
    return replace(dataset, name=f"{dataset.name}-clips", examples=clips)


def _middle(example: Example, seconds: float) -> Example:
    length = _length(example)
    if length <= seconds:
        return example
    # In ms, so that an excerpt has one name on every machine.
    start = example.start + int((length - seconds) / 2 * 1000) / 1000
    return replace(example, start=start, duration=seconds)


def _clips(example: Example, seconds: float) -> list[Example]:
    whole = replace(example, track=example.track or example.id)
    count = int(_length(example) / seconds + 1e-6)
    return [
        replace(
            whole,
            id=f"{example.id}-{number}",
            start=example.start + number * seconds,
            duration=seconds,
        )
        for number in range(count)
    ] or [whole]


def _length(example: Example) -> float:
    """Return how many seconds there are to read; 0 where that is not known."""
    if example.duration is not None:
        return example.duration
    try:
        whole = probe(example.path).duration
    except AudioError:
        whole = None
    return 0.0 if whole is None else whole - example.start

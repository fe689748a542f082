"""Who composed it? Retrieval and a probe over the music of `myna corpus fetch`.

A composer's tracks are mastered and encoded alike where they come from one album, and an embedding
may hear that instead of the music. So an album is a track's `group`, which retrieval leaves out
where labels allow it, and whole albums go to one fold of the probe where a composer has several.
The by-package figure stands beside it: it says how much of the rest is mastering.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from ...errors import TaskError
from ..examples import Dataset, Example, Split
from .manifest import CorpusTrack, read_corpus

By = Literal["composer", "package"]

_K = TypeVar("_K", bound=Hashable)

# Fewer folds than this leave nothing for one of train, valid and test.
_MIN_FOLDS = 3


def composer_retrieval(folder: Path, *, role: str = "dev", by: By = "composer") -> Dataset:
    """Return whole tracks, labelled with their composer.

    Args:
        folder: of `myna corpus fetch`.
        role: which packages: ``dev``, ``train`` or ``all``.
        by: ``package``: the same tracks, labelled with their package instead, and no groups.

    Raises:
        TaskError: the corpus is not there, or has no two tracks of a composer.
    """
    tracks = read_corpus(folder, role=role)
    known = [track for track in tracks if track.composer]
    counts = Counter(track.composer for track in known)
    kept = [track for track in known if counts[track.composer] > 1]
    if not kept:
        raise TaskError(
            f"corpus={str(folder)!r} has no two tracks of one composer in role {role}; "
            "fetch more packages with `myna corpus fetch`."
        )
    examples = [_example(folder, track, by) for track in kept]
    albums: defaultdict[str, set[str]] = defaultdict(set)
    for track in kept:
        albums[track.composer].add(track.group)
    across = {composer for composer, groups in albums.items() if len(groups) > 1}
    packages = {(track.composer, track.package) for track in kept}
    abroad = len(packages) - len(albums)
    notes = {
        "tracks": f"{len(kept)} of {len(tracks)}: composer unknown for "
        f"{len(tracks) - len(known)}, with one track only {len(known) - len(kept)}",
        "composers": f"{len(albums)}, {len(across)} of them on several albums: "
        f"{sum(counts[composer] for composer in across)} queries have an answer on another album",
        "packages": f"{abroad} composers in more than one package"
        f"{'' if abroad else ': what a package sounds like cannot be told from its composer'}",
    }
    classes = tuple(sorted({str(example.label) for example in examples}))
    return Dataset(f"corpus-{by}", "retrieval", classes, examples, notes)


def _example(folder: Path, track: CorpusTrack, by: By) -> Example:
    """Return a track as a task sees it."""
    label, group = (track.composer, track.group) if by == "composer" else (track.package, "")
    return Example(track.path, folder / track.path, label, track=track.path, group=group)


def composer_probe(
    folder: Path, *, role: str = "dev", by: By = "composer", num_folds: int = 5, seed: int = 0
) -> Dataset:
    """Return a cross-validation: a fold is the test, the next one valid, the others train.

    A composer takes part with as many tracks as there are folds at least, so that all splits have
    them. Whole albums stay in one fold where a composer has as many albums as folds.

    Args:
        folder: of `myna corpus fetch`.
        role: which packages.
        by: ``package``: those of the same tracks are to be told apart instead.
        num_folds: 3 or more.
        seed: of the order in which tracks are dealt out.

    Raises:
        TaskError: too few folds, or no two labels have enough tracks.
    """
    if num_folds < _MIN_FOLDS:
        raise TaskError(f"num_folds={num_folds} leaves a split empty; use 3 or more.")
    retrieval = composer_retrieval(folder, role=role, by=by)
    counts = Counter(example.label for example in retrieval.examples)
    examples = [example for example in retrieval.examples if counts[example.label] >= num_folds]
    classes = tuple(sorted({str(example.label) for example in examples}))
    if len(classes) < 2:
        raise TaskError(
            f"num_folds={num_folds} asks for as many tracks of each {by}, and {len(classes)} {by}s "
            "have them; use fewer folds, or fetch more packages."
        )
    fold = assign_folds(
        {example.id: (str(example.label), example.group) for example in examples},
        num_folds=num_folds,
        seed=seed,
    )
    grouped = [c for c in classes if _albums_suffice(examples, c, num_folds)]
    notes = {
        "tracks": f"{len(examples)} of {len(classes)} {by}s with {num_folds} tracks or more",
        "albums": f"whole albums in one fold for {len(grouped)} of {len(classes)} {by}s",
        "folds": f"{num_folds}, each the test once",
    }
    folds = [
        {example.id: _split(fold[example.id], test, num_folds) for example in examples}
        for test in range(num_folds)
    ]
    return Dataset(f"corpus-{by}-probe", "classification", classes, examples, notes, folds)


def _split(fold: int, test: int, num_folds: int) -> Split:
    """Return what a fold is for, when fold `test` is the test."""
    if fold == test:
        return "test"
    return "valid" if fold == (test + 1) % num_folds else "train"


def _albums_suffice(examples: Sequence[Example], label: str, num_folds: int) -> bool:
    """Tell whether a composer has an album for each fold."""
    albums = {example.group for example in examples if example.label == label}
    return len(albums) >= num_folds


def assign_folds(
    items: Mapping[_K, tuple[str, str]], *, num_folds: int, seed: int = 0
) -> dict[_K, int]:
    """Deal items out to folds, each label evenly.

    Args:
        items: label and group of each.
        num_folds: 1 or more.
        seed: of the order.

    Returns:
        The fold of each item. Where a label has as many groups as there are folds, or more, its
        groups stay whole; the largest go first, each to the fold with least of that label.
    """
    rng = np.random.default_rng(seed)
    folds: dict[_K, int] = {}
    taken = np.zeros(num_folds, int)
    for label in sorted({label for label, _ in items.values()}):
        own = sorted((item for item in items if items[item][0] == label), key=str)
        groups = sorted({items[item][1] for item in own})
        if len(groups) >= num_folds:
            parts = [[item for item in own if items[item][1] == group] for group in groups]
        else:
            parts = [[item] for item in own]
        parts = [parts[index] for index in rng.permutation(len(parts))]
        parts.sort(key=len, reverse=True)
        of_label = np.zeros(num_folds, int)
        for part in parts:
            # Of folds with equally little of the label, the one with least of all.
            fold = int(np.lexsort((taken, of_label))[0])
            of_label[fold] += len(part)
            taken[fold] += len(part)
            folds.update(dict.fromkeys(part, fold))
    return folds

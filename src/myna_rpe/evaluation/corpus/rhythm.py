"""How fast is it, and what is danced to it? Renderings of scores whose tempo and dance are known.

Tempo is that of the rendering, drawn for each alike whatever the tune, so it is exact; its splits
are those of the key task. Dances are those that O'Neill's collection names; chorales have none, so
tunes are dealt out to train, valid and test here, all renderings of one to the same.
"""

from dataclasses import replace
from pathlib import Path

from ...errors import TaskError
from ..examples import Dataset, Split
from .composer import assign_folds
from .key import as_example
from .render import read_renderings

TEMPI = {"slow": 0.0, "medium": 95.0, "fast": 125.0}
"""Class -> from how many quarter notes a minute on."""

# Of five folds: one for test, one for valid.
_SPLITS: tuple[Split, ...] = ("test", "valid", "train", "train", "train")


def rendered_tempo(folder: Path) -> Dataset:
    """Return the renderings of `myna corpus render`, labelled slow, medium or fast.

    Raises:
        TaskError: nothing was rendered there, or files are gone.
    """
    examples = [
        as_example(folder, rendering, tempo_class(rendering.tempo))
        for rendering in read_renderings(folder)
    ]
    return Dataset("rendered-tempo", "classification", tuple(TEMPI), examples)


def tempo_class(tempo: float) -> str:
    """Return the class of a tempo in quarter notes a minute.

    >>> tempo_class(94.9), tempo_class(95.0), tempo_class(150.0)
    ('slow', 'medium', 'fast')
    """
    return max((name for name, least in TEMPI.items() if tempo >= least), key=TEMPI.__getitem__)


def rendered_dance(folder: Path, *, seed: int = 0) -> Dataset:
    """Return the renderings of tunes whose dance is known.

    Args:
        folder: of `myna corpus render`.
        seed: of the order in which tunes are dealt out.

    Raises:
        TaskError: nothing was rendered there, files are gone, or a dance has under five tunes.
    """
    known = [rendering for rendering in read_renderings(folder) if rendering.dance]
    tunes = {rendering.tune: (rendering.dance, "") for rendering in known}
    dances = [dance for dance, _ in tunes.values()]
    kept = sorted({dance for dance in dances if dances.count(dance) >= len(_SPLITS)})
    if len(kept) < 2:
        raise TaskError(
            f"renderings={str(folder)!r} have {len(kept)} dances with {len(_SPLITS)} tunes or "
            "more; render more tunes."
        )
    fold = assign_folds(
        {tune: label for tune, label in tunes.items() if label[0] in kept},
        num_folds=len(_SPLITS),
        seed=seed,
    )
    examples = [
        replace(as_example(folder, r, r.dance), split=_SPLITS[fold[r.tune]])
        for r in known
        if r.tune in fold
    ]
    notes = {"dances": ", ".join(f"{dance}: {dances.count(dance)} tunes" for dance in kept)}
    return Dataset("rendered-dance", "classification", tuple(kept), examples, notes)

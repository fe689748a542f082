"""Which key is it in? Renderings of scores, 24 keys in equal shares.

Trained and chosen on traditional tunes, tested on Bach's chorales: what is learnt must hold for
other music. The labels are exact, since a score's key moves with its transposition. The pitch
classes of the notes themselves (`peers.NotesExtractor`) are the upper reference, and chroma of the
sound a far harder lower one than MFCC.
"""

from pathlib import Path

from ..examples import Dataset, Example
from ..keys import KEYS
from .render import Rendering, read_renderings


def rendered_key(folder: Path) -> Dataset:
    """Return the renderings of `myna corpus render`, labelled with their keys.

    Raises:
        TaskError: nothing was rendered there, or files are gone.
    """
    renderings = read_renderings(folder)
    examples = [as_example(folder, rendering, rendering.key) for rendering in renderings]
    notes = {
        split: f"{sum(r.split == split for r in renderings)} renderings of "
        f"{len({r.tune for r in renderings if r.split == split})} tunes"
        for split in ("train", "valid", "test")
    }
    return Dataset("rendered-key", "key", KEYS, examples, notes)


def as_example(folder: Path, rendering: Rendering, label: str) -> Example:
    """Return a rendering as a task sees it: its tune is what must not count as a neighbour."""
    return Example(
        rendering.path,
        folder / rendering.path,
        label,
        split=rendering.split,
        track=rendering.path,
        group=rendering.tune,
    )

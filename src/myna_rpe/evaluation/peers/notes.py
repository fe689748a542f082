"""The pitch classes of the notes that were rendered: the upper reference for key.

They are read from the scores, and no sound is heard; nothing that hears should do better.
"""

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from ...errors import TaskError
from ..corpus.render import read_renderings
from ..examples import Dataset
from .base import FeatureExtractor


class NotesExtractor(FeatureExtractor):
    """How long each pitch class sounds in a rendering: 12 shares, C first.

    Args:
        folder: of `myna corpus render`.

    Raises:
        TaskError: nothing was rendered there, or files are gone.
    """

    name = "notes"
    dim = 12

    def __init__(self, folder: Path) -> None:
        self._known = {
            folder / rendering.path: np.array(rendering.pitch_classes, np.float32)
            for rendering in read_renderings(folder)
        }
        shares = b"".join(self._known[path].tobytes() for path in sorted(self._known))
        self.space_id = f"notes-{hashlib.sha256(shares).hexdigest()[:16]}"

    def answers(self, dataset: Dataset) -> bool:
        """Whether all of it was rendered, and is asked for as a whole."""
        paths = {example.path for example in dataset.examples}
        return dataset.length is None and paths <= self._known.keys()

    def extract(
        self, path: Path, *, start: float = 0.0, duration: float | None = None
    ) -> Float32[np.ndarray, " dim"]:
        """Return the shares of a whole rendering.

        Raises:
            TaskError: it is none of the renderings.
        """
        if path not in self._known:
            raise TaskError(f"file={str(path)!r} is no rendering; use myna corpus render.")
        return self._known[path]

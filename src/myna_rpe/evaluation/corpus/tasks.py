"""The tasks that run anywhere, by the names the command line has for them.

Each reads the folder of `myna corpus fetch` and `myna corpus render`, which may be one.
"""

from collections.abc import Callable
from pathlib import Path

from ..examples import Dataset
from .composer import composer_probe, composer_retrieval
from .identification import LENGTHS, identification
from .key import rendered_key
from .rhythm import rendered_dance, rendered_tempo


def _identification(folder: Path) -> list[Dataset]:
    each = [identification(folder, seconds=seconds) for seconds in LENGTHS]
    return [data for data in each if data.of_split("test")]  # else no track is that long


CORPUS_TASKS: dict[str, Callable[[Path], list[Dataset]]] = {
    "composer": lambda folder: [composer_retrieval(folder)],
    "package": lambda folder: [composer_retrieval(folder, by="package")],
    "composer-probe": lambda folder: [composer_probe(folder)],
    "package-probe": lambda folder: [composer_probe(folder, by="package")],
    "identification": _identification,
    "rendered-key": lambda folder: [rendered_key(folder)],
    "rendered-tempo": lambda folder: [rendered_tempo(folder)],
    "rendered-dance": lambda folder: [rendered_dance(folder)],
}
"""Name -> the data sets of a folder. Raises TaskError where it does not hold what is asked."""

"""Published data sets: a file each, with citation, licence, source, counts, split and labels.

To add one, write a file with a `Task` and name it in `TASKS`.
"""

from ...errors import TaskError, unknown_name
from .base import SPLITS, Listing, Remote, Task
from .doctor import Diagnosis, Problem, SplitCount
from .emomusic import EMOMUSIC
from .giantsteps import GIANTSTEPS
from .gtzan import GTZAN
from .magnatagatune import MAGNATAGATUNE
from .mtg_jamendo import GENRE, INSTRUMENT, MOODTHEME, TOP50

__all__ = [
    "SPLITS",
    "TASKS",
    "Diagnosis",
    "Listing",
    "Problem",
    "Remote",
    "SplitCount",
    "Task",
    "find_task",
]

TASKS: dict[str, Task] = {
    "gtzan": GTZAN,
    "giantsteps": GIANTSTEPS,
    "emomusic": EMOMUSIC,
    "magnatagatune": MAGNATAGATUNE,
    "mtg-jamendo-top50": TOP50,
    "mtg-jamendo-genre": GENRE,
    "mtg-jamendo-instrument": INSTRUMENT,
    "mtg-jamendo-moodtheme": MOODTHEME,
}


def find_task(name: str) -> Task:
    """Return a task by its name.

    Raises:
        TaskError: there is none of that name.
    """
    if name not in TASKS:
        raise TaskError(unknown_name("task", name, TASKS))
    return TASKS[name]

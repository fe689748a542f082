"""All tasks by name, wherever their music comes from: a fetched corpus, or a user's own copy."""

from collections.abc import Mapping
from pathlib import Path

from ..errors import ConfigError, unknown_name
from .corpus.tasks import CORPUS_TASKS
from .examples import Dataset
from .tasks import TASKS


def load_task(
    name: str, *, corpus: Path | None, roots: Mapping[str, Path], allow_partial: bool = False
) -> list[Dataset]:
    """Return the data sets of a task; most have one.

    Args:
        name: of `CORPUS_TASKS` or `TASKS`.
        corpus: folder of `myna corpus fetch` and `render`.
        roots: published task -> folder of the user's copy.
        allow_partial: take an incomplete copy; the data set's notes say so.

    Raises:
        ConfigError: no such task, or its folder is not given.
        TaskError: the folder does not hold what is asked.
    """
    if name in TASKS:
        if name not in roots:
            raise ConfigError(
                f"task={name!r} has no folder; use --root {name}=DIR "
                f'(in a grid: root = {{{name} = "DIR"}}).'
            )
        return [TASKS[name].load(roots[name], allow_partial=allow_partial)]
    if name not in CORPUS_TASKS:
        raise ConfigError(unknown_name("task", name, [*CORPUS_TASKS, *TASKS]))
    if corpus is None:
        command = "render" if name.startswith("rendered") else "fetch"
        raise ConfigError(
            f"task={name!r} needs a corpus; make it with `myna corpus {command} DIR`, and give "
            "--corpus DIR."
        )
    return CORPUS_TASKS[name](corpus)

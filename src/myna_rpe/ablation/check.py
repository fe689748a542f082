"""What would make every cell fail is found before the first one starts."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from ..config import differences
from ..data.shards import ShardSet
from ..errors import ConfigError, unknown_name
from ..evaluation.catalogue import load_task
from ..evaluation.peers import KEY_DETECTORS, PEERS
from .grid import Cell, Grid


def check_inputs(grid: Grid, cells: Sequence[Cell]) -> str:
    """Return the fingerprint of the shards, once all that can be refused is accepted.

    Raises:
        ConfigError: shards of another front end than a cell's, an unknown task or peer, an option
            that is missing, or no matplotlib.
        ShardError: the shards are missing or damaged.
        TaskError: music that a task is about is missing.
    """
    if find_spec("matplotlib") is None:
        raise ConfigError("matplotlib is not installed; use pip install 'myna-rpe[train,eval]'.")
    shards = ShardSet.open(Path(grid.data), verify=False)
    for cell in cells:
        changed = differences(shards.front_end, cell.config.architecture.front_end)
        if changed:
            words = ", ".join(f"{key} is {old}, not {new}" for key, (old, new) in changed.items())
            raise ConfigError(
                f"{cell.name}: data={grid.data} was prepared for another front end ({words}); "
                "prepare it again with this one, or choose a model of that one."
            )
    asked = grid.evaluate
    for task in asked.tasks:
        load_task(
            task,
            corpus=None if asked.corpus is None else Path(asked.corpus),
            roots={name: Path(root) for name, root in asked.root.items()},
            allow_partial=asked.allow_partial,
        )
    peers = [*PEERS, *KEY_DETECTORS, "notes"]
    for peer in asked.peers:
        if peer not in peers:
            raise ConfigError(unknown_name("evaluate.peers", peer, peers))
    return shards.fingerprint

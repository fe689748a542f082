"""Music files -> spectrogram shards -> batches of views.

A source (sources/) lists the music there is; `prepare_shards` (prepare.py) writes what `ShardSet`
(shards.py) reads and `Batches` (batches.py) reads the kept patches of views from. `hold_out`
(splits.py) decides which tracks are trained on.
"""

from .batches import Batch, Batches, ViewGroup
from .prepare import PrepareReport, prepare_shards
from .shards import ShardSet
from .sources import AtSpeeds, Folder, MtgJamendo
from .splits import hold_out, split_key, trainable
from .tracks import Track

__all__ = [
    "AtSpeeds",
    "Batch",
    "Batches",
    "Folder",
    "MtgJamendo",
    "PrepareReport",
    "ShardSet",
    "Track",
    "ViewGroup",
    "hold_out",
    "prepare_shards",
    "split_key",
    "trainable",
]

"""Music files -> spectrogram shards -> batches of views.

`prepare_shards` (prepare.py) writes what `ShardSet` (shards.py) reads and `Batches` (views.py)
draws excerpts from.
"""

from .prepare import PrepareReport, prepare_shards
from .shards import ShardSet
from .views import Batch, Batches, TwoExcerpts, Views

__all__ = [
    "Batch",
    "Batches",
    "PrepareReport",
    "ShardSet",
    "TwoExcerpts",
    "Views",
    "prepare_shards",
]

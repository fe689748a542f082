"""Pretraining: `train` runs a complete `RunConfig` on a folder of shards."""

from .journal import TrainProgress
from .launch import Hardware
from .loop import train

__all__ = ["Hardware", "TrainProgress", "train"]

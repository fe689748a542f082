"""Pretraining: `train` runs a complete `RunConfig` on a folder of shards."""

from .loop import TrainProgress, train

__all__ = ["TrainProgress", "train"]

"""Peers: other ways from music to numbers, in the same table, on the same files, in one run.

`PEERS` are features for probes and retrieval, `KEY_DETECTORS` ready-made answers to what the key
is; each is made without arguments. Each is one file; what they have in common is in `base.py`.
Whatever only one of them needs is imported when it is made.
"""

from .base import (
    FeatureExtractor,
    KeyDetector,
    Span,
    WaveformExtractor,
    best_keys,
)
from .chroma import ChromaExtractor
from .encoders import EmbedderExtractor, MynaExtractor, UntrainedExtractor
from .essentia_key import EssentiaKey
from .librosa_key import LibrosaKey
from .mel import MelExtractor
from .mfcc import MfccExtractor
from .musicnn import MusicnnExtractor
from .notes import NotesExtractor

__all__ = [
    "KEY_DETECTORS",
    "PEERS",
    "ChromaExtractor",
    "EmbedderExtractor",
    "EssentiaKey",
    "FeatureExtractor",
    "KeyDetector",
    "LibrosaKey",
    "MelExtractor",
    "MfccExtractor",
    "MusicnnExtractor",
    "MynaExtractor",
    "NotesExtractor",
    "Span",
    "UntrainedExtractor",
    "WaveformExtractor",
    "best_keys",
]

PEERS: dict[str, type[FeatureExtractor]] = {
    "mfcc": MfccExtractor,
    "mel": MelExtractor,
    "chroma": ChromaExtractor,
    "untrained": UntrainedExtractor,
    "musicnn": MusicnnExtractor,
}

KEY_DETECTORS: dict[str, type[KeyDetector]] = {"essentia": EssentiaKey, "librosa": LibrosaKey}

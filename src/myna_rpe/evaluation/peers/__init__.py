"""Peers: other ways from music to numbers, in the same table, on the same files, in one run.

`PEERS` are features for probes and retrieval, `KEY_DETECTORS` ready-made answers to what the key
is. Each is one file; what they have in common is in `base.py`. Whatever only one of them needs is
imported when it is made.
"""

from ...errors import ConfigError, unknown_name
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
    "Span",
    "UntrainedExtractor",
    "WaveformExtractor",
    "best_keys",
    "lookup_key_detector",
    "lookup_peer",
]

PEERS: dict[str, type[FeatureExtractor]] = {
    "mfcc": MfccExtractor,
    "mel": MelExtractor,
    "chroma": ChromaExtractor,
    "untrained": UntrainedExtractor,
    "myna": MynaExtractor,  # needs a model
    "musicnn": MusicnnExtractor,
}

KEY_DETECTORS: dict[str, type[KeyDetector]] = {"essentia": EssentiaKey, "librosa": LibrosaKey}


def lookup_peer(name: str) -> type[FeatureExtractor]:
    """Return the peer of that name, to be made with its settings.

    Raises:
        ConfigError: no such peer; the valid names are listed.
    """
    if name not in PEERS:
        raise ConfigError(unknown_name("peer", name, PEERS))
    return PEERS[name]


def lookup_key_detector(name: str) -> type[KeyDetector]:
    """Return the key detector of that name, to be made with its settings.

    Raises:
        ConfigError: no such detector; the valid names are listed.
    """
    if name not in KEY_DETECTORS:
        raise ConfigError(unknown_name("key_detector", name, KEY_DETECTORS))
    return KEY_DETECTORS[name]

"""File or waveform -> embedding: the one path that the command line, evaluation and library use.

    path | waveform -> reading: decode, mel spectrogram of the whole track
                    -> contexts: which spans of it are read
                    -> embedder: encoder, in batches of similar length; mean over the spans

`WholeTrack`, the default context, is one span and one forward pass; `Windows` are many spans whose
embeddings are averaged. What shares a batch with what never changes a vector by more than float32
rounding.

Units: seconds for times and durations; spectrograms are (mel_bands, frames), relative to the
maximum of the whole track whatever the context; embeddings are (dim,) float32.
"""

from .contexts import Context, WholeTrack, Windows
from .embedder import Embedded, Embedder, load_model, resolve_device
from .reading import Failed, SilentTrackWarning, Source
from .timed import TimedEmbedding

__all__ = [
    "Context",
    "Embedded",
    "Embedder",
    "Failed",
    "SilentTrackWarning",
    "Source",
    "TimedEmbedding",
    "WholeTrack",
    "Windows",
    "load_model",
    "resolve_device",
]

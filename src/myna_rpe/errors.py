"""Every exception of the package.

A message has three parts: *subject=value, rule, remedy*, in one sentence:
``fmax=9000 Hz is above half of sample_rate=16000 Hz; use fmax <= 8000.``
The command line prints that sentence alone and exits with 1; it never catches anything else.
"""

import difflib
from collections.abc import Iterable


class MynaError(Exception):
    """Base of every error a user can cause and mend."""


class ConfigError(MynaError, ValueError):
    """A setting, name or combination of settings that cannot work."""


class AudioError(MynaError):
    """A file or waveform that cannot be read as music."""


class DatasetError(MynaError):
    """A data set cannot be downloaded, or is not what its publishers describe."""


class ShardError(MynaError):
    """A spectrogram shard or its manifest is missing, damaged or of another front end."""


class TrainingError(MynaError):
    """Training cannot start or go on: no negatives, a loss that is not a number, a foreign run."""


class CheckpointError(MynaError):
    """Weights or their configuration are missing, damaged, unsafe or do not fit each other."""


class EmbeddingError(MynaError):
    """A table of embeddings is unreadable, or embeddings of different spaces would be mixed."""


class TaskError(MynaError):
    """An evaluation data set is missing, incomplete or not what its publishers describe."""


class LibraryError(MynaError):
    """The music library's catalogue cannot be opened, locked or trusted."""


class ExportError(MynaError):
    """A playlist cannot be written or sent."""


def unknown_name(subject: str, name: object, valid: Iterable[str]) -> str:
    """Return the one-sentence message for a name that is not in a literal table.

    >>> unknown_name("model", "tiny", ["tiny-16k", "small-16k"])
    "model='tiny' is unknown; did you mean 'tiny-16k'? Valid: tiny-16k, small-16k."
    """
    names = list(valid)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? Valid: " if close else "valid: "
    return f"{subject}={name!r} is unknown; {hint}{', '.join(names)}."

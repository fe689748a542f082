"""What is known of a track: what its source says of it, and what it is once prepared.

A *source* (sources/, one file per data set) lists the music there is as entries; preparing turns
each entry into a `Track` or a `Rejected`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Labels:
    """What a data set, or a file's own tags, say of a track.

    Attributes:
        artist: a name or an identifier; empty: unknown.
        tags: ``category---name``, as MTG-Jamendo writes them: ``genre---rock``.
        split: official one, of `SPLITS`; empty: none.
        group: album or other group; empty: the folder the file lies in.
    """

    artist: str = ""
    tags: tuple[str, ...] = ()
    split: str = ""
    group: str = ""


NO_LABELS = Labels()


@dataclass(frozen=True)
class Entry:
    """A music file of a source.

    Attributes:
        file: where it lies.
        path: names the track, relative to the source's folder, with slashes.
        labels: None: those of the file's own tags, read together with its sound.
        speed: at which it is played: 2 is twice as fast and an octave higher; > 0.
    """

    file: Path
    path: str
    labels: Labels | None = None
    speed: float = 1.0


@dataclass(frozen=True)
class Rejected:
    """A file that became no track, and why.

    Attributes:
        path: as `Entry.path`.
        reason: what follows the path in a sentence.
        size: in bytes, -1 where unknown.
        mtime_ns: when it was last modified, -1 where unknown.
        seconds: its length, where that is all that is wrong with it.
        kind: the reason in a word or two, to be counted by.
    """

    path: str
    reason: str
    size: int = -1
    mtime_ns: int = -1
    seconds: float | None = None
    kind: str = "unreadable"


@dataclass(frozen=True)
class Listing:
    """All that a source knows of: files to prepare, and what is amiss before any file is read."""

    entries: Sequence[Entry]
    rejected: Sequence[Rejected] = ()


@runtime_checkable
class Source(Protocol):
    """Where music comes from: a folder, or a data set with files about its files."""

    def listing(self) -> Listing:
        """Return every file exactly once; no two entries share a path.

        Raises:
            AudioError: there is no music.
            DatasetError: the data set is not what its publishers describe.
        """
        ...


@dataclass(frozen=True)
class Track:
    """One recording in a shard.

    ``id`` is stable: a hash of ``path``, which is relative to the prepared folder. ``group`` is
    the folder it lay in (an album or an artist, as a rule), or the data set's album. ``size``
    (bytes) and ``mtime_ns`` tell when its file has changed; ``sha256`` is that of its stored
    frames. ``artist``, ``tags`` and ``split`` are as in `Labels`.
    """

    id: str
    path: str
    group: str
    frames: int
    shard: str
    offset: int
    sha256: str
    size: int
    mtime_ns: int
    artist: str = ""
    tags: tuple[str, ...] = ()
    split: str = ""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Track":
        """Return the track whose attributes `vars` gave, after a trip through JSON."""
        return cls(**data | {"tags": tuple(data.get("tags", ()))})

"""What `myna corpus fetch` leaves behind: the facts of every track, one JSON object a line.

``DIR/corpus.jsonl`` is made of the facts that each package's own folder holds, so that a run that
was cut never leaves a list that says more than there is.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ...errors import TaskError
from ...storage import write_json_lines
from .packages import packages_of

MANIFEST = "corpus.jsonl"


@dataclass(frozen=True)
class CorpusTrack:
    """One track. ``path`` is relative to the corpus; ``duration`` in s, ``sample_rate`` in Hz."""

    path: str
    package: str
    role: str
    album: str
    composer: str
    licence: str
    duration: float
    sample_rate: int
    bytes: int
    sha256: str

    @property
    def group(self) -> str:
        """Package and album: what is mastered and encoded alike."""
        return f"{self.package}/{self.album}" if self.album else self.package


def write_tracks(path: Path, tracks: Sequence[CorpusTrack]) -> None:
    """Write tracks as JSON lines, atomically."""
    write_json_lines(path, map(asdict, tracks))


def read_tracks(path: Path) -> list[CorpusTrack]:
    """Return the tracks of a file of JSON lines.

    Raises:
        TaskError: the file is not one of ours.
        OSError: it cannot be read.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        return [CorpusTrack(**json.loads(line)) for line in lines]
    except (ValueError, TypeError) as error:
        names = ", ".join(field.name for field in fields(CorpusTrack))
        raise TaskError(
            f"manifest={str(path)!r} is damaged, every line must hold {names}; "
            "run `myna corpus fetch` again."
        ) from error


def read_corpus(folder: Path, *, role: str = "dev") -> list[CorpusTrack]:
    """Return the tracks of a role in a fetched corpus, in a fixed order.

    Raises:
        ConfigError: no such role.
        TaskError: nothing was fetched there, the manifest is damaged, or files are gone.
    """
    names = {package.name for package in packages_of(role)}
    try:
        tracks = [track for track in read_tracks(folder / MANIFEST) if track.package in names]
    except OSError as error:
        raise TaskError(
            f"corpus={str(folder)!r} holds no {MANIFEST}; "
            f"run `myna corpus fetch {folder} --role {role}`."
        ) from error
    missing = [track.path for track in tracks if not (folder / track.path).is_file()]
    if missing or not tracks:
        gone = f"lacks {len(missing)} of its {len(tracks)} tracks of role {role}"
        raise TaskError(
            f"corpus={str(folder)!r} {gone if tracks else f'has no tracks of role {role}'}; "
            f"run `myna corpus fetch {folder} --role {role}`."
        )
    return tracks

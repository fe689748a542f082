"""What stays between runs: playlists by name, the end of a forced wait; in JSON files.

All lies in one folder of the user's configuration. A file that is damaged is named and left as it
is: it may hold decisions that were made by hand.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs

from ...errors import ExportError
from ...storage import atomic_write, write_json

_FILE = "state.json"


@dataclass(frozen=True)
class Remembered:
    """A playlist of ours: its id, and what it was when we last left it.

    ``snapshot`` is Spotify's name for that version, ``digest`` ours for the list we wanted.
    """

    id: str
    snapshot: str = ""
    digest: str = ""


class State:
    """The state file; every change is on the disk at once.

    Args:
        folder: where it lies; made with the first change.

    Raises:
        ExportError: the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        data = read_json(folder / _FILE)
        self._resume_at = float(data.get("resume_at", 0.0))
        self._playlists: dict[str, dict[str, str]] = dict(data.get("playlists", {}))
        self._making: dict[str, str] = dict(data.get("making", {}))

    @property
    def resume_at(self) -> float:
        """Seconds since 1970 before which Spotify wants to hear nothing; 0 for none."""
        return self._resume_at

    @resume_at.setter
    def resume_at(self, moment: float) -> None:
        self._resume_at = moment
        self._save()

    def playlist(self, name: str) -> Remembered | None:
        """Return the playlist that was pushed under a name; None before the first time."""
        fields = self._playlists.get(name)
        return Remembered(**fields) if fields else None

    def remember(self, name: str, playlist: Remembered) -> None:
        """Keep the playlist of a name, which is then no longer in the making."""
        self._playlists[name] = asdict(playlist)
        self._making.pop(name, None)
        self._save()

    def mark(self, name: str) -> str:
        """Return the mark of a playlist in the making, by which a later run finds it again.

        It is kept before Spotify is asked: whether the answer arrives or not, one is made.
        """
        if name not in self._making:
            self._making[name] = secrets.token_hex(8)
            self._save()
        return self._making[name]

    def is_making(self, name: str) -> bool:
        """Say whether a playlist was asked for, and no answer came."""
        return name in self._making

    def _save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        data = {
            "resume_at": self._resume_at,
            "playlists": self._playlists,
            "making": self._making,
        }
        write_json(self.folder / _FILE, data)


def spotify_folder() -> Path:
    """Return where everything lies that is kept for Spotify."""
    return platformdirs.user_config_path("myna-rpe", appauthor=False) / "spotify"


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one where there is no file.

    Raises:
        ExportError: it cannot be read, or holds something else.
    """
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(data, dict):
        raise _damaged(path, "it is no JSON object")
    return data


def write_private(path: Path, data: Mapping[str, Any]) -> None:
    """Write JSON that only its owner may read (mode 0600), atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        # Before there is anything to read in it.
        Path(file.name).chmod(0o600)
        file.write(json.dumps(data, indent=1).encode("ascii") + b"\n")


def _damaged(path: Path, reason: str) -> ExportError:
    return ExportError(
        f"file={str(path)!r} is damaged ({reason}); mend it, or move it away to start afresh."
    )

"""A list of tracks -> a playlist on Spotify: made once, then changed in place.

Whether a request that failed was carried out cannot be known from its failure. So a new playlist
bears a mark by which it is found again, and after a failed change the items are read back and the
work goes on from what is there. At the end the items are read once more and compared by position.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...errors import ExportError
from ..formats.entries import clean_text
from .changes import next_step
from .client import Client, RemotePlaylist, Visibility
from .http import UnsureError
from .state import Remembered

MOST_ITEMS = 10_000
"""Items that Spotify lets a playlist have."""

_FAILURES = 5  # in a row, of changes
_ROUNDS = 3  # that end with something else than was sent
_LONGEST_NAME = 100

Progress = Callable[[int, int], None]
"""Called with the items that are in place, and of how many."""


@dataclass(frozen=True)
class Pushed:
    """What became of a playlist; ``requests`` counts the changes that were sent."""

    playlist_id: str
    name: str
    items: int
    created: bool
    requests: int

    @property
    def url(self) -> str:
        """Its page."""
        return f"https://open.spotify.com/playlist/{self.playlist_id}"


def push_playlist(
    client: Client,
    name: str,
    uris: Sequence[str],
    *,
    visibility: Visibility = Visibility.private,
    progress: Progress = lambda done, total: None,
) -> Pushed:
    """Make the playlist of a name hold exactly these items, in this order.

    Args:
        client: logged in.
        name: a playlist that was pushed under it before is changed in place.
        uris: of tracks; 10,000 at most.
        visibility: of a new playlist.
        progress: called as work goes on.

    Raises:
        ExportError: too many items, or Spotify refuses or fails; what was done is kept, and the
            next run goes on from it.
    """
    name = " ".join(clean_text(name).split())[:_LONGEST_NAME] or "myna"
    if len(uris) > MOST_ITEMS:
        raise ExportError(
            f"items={len(uris)} are more than Spotify lets a playlist have ({MOST_ITEMS}); "
            "split it."
        )
    playlist, created = _find_or_make(client, name, visibility)
    digest = hashlib.sha256("\n".join(uris).encode("utf-8", "replace")).hexdigest()
    known = client.state.playlist(name)
    requests, snapshot = 0, playlist.snapshot
    if not snapshot or known != Remembered(playlist.id, snapshot, digest):
        work = _Work(client, playlist, list(uris), progress)
        work.run()
        requests, snapshot = work.requests, work.snapshot
    client.state.remember(name, Remembered(playlist.id, snapshot, digest))
    return Pushed(playlist.id, name, len(uris), created, requests)


def _find_or_make(client: Client, name: str, visibility: Visibility) -> tuple[RemotePlaylist, bool]:
    """Return the playlist of a name, and whether it is new.

    One that the user removed from the library is still there for those who know its id, but
    nobody would see it: it counts as gone.
    """
    state = client.state
    known = state.playlist(name)
    if known is not None or state.is_making(name):
        mark = state.mark(name) if state.is_making(name) else None
        for playlist in client.playlists():
            if known is not None and playlist.id == known.id:
                return playlist, False
            if mark is not None and mark in playlist.description:
                state.remember(name, Remembered(playlist.id))
                return playlist, False
    playlist = _make(client, name, visibility)
    state.remember(name, Remembered(playlist.id))
    return playlist, True


def _make(client: Client, name: str, visibility: Visibility) -> RemotePlaylist:
    mark = client.state.mark(name)
    for failures in range(_FAILURES):
        try:
            return client.create(name, f"Made with myna-rpe ({mark})", visibility)
        except UnsureError as error:
            reason = error
            client.http.sleep(2.0**failures)
        made = [playlist for playlist in client.playlists() if mark in playlist.description]
        if made:
            return made[0]
    raise _gave_up(reason)


class _Work:
    """The changes of one playlist."""

    def __init__(
        self, client: Client, playlist: RemotePlaylist, want: list[str], progress: Progress
    ) -> None:
        self._client = client
        self._id = playlist.id
        self._want = want
        self._progress = progress
        self.snapshot = playlist.snapshot
        self.requests = 0

    def run(self) -> None:
        """Change the playlist until it is what is wanted, as Spotify itself says."""
        failures = rounds = 0
        have, certain = self._read(), True
        while True:
            step = next_step(have, self._want)
            if step is None and certain:
                return
            if step is None:
                have, certain = self._read(), True
                rounds += have != self._want
                if rounds >= _ROUNDS:
                    raise ExportError(
                        f"playlist={self._id} is not what was sent, {rounds} times in a row; is "
                        "another program changing it? Run the same command again later."
                    )
                continue
            try:
                self.requests += 1
                self.snapshot = step.send(self._client, self._id, self.snapshot)
                have, certain, failures = step.applied(have), False, 0
            except UnsureError as error:
                failures += 1
                if failures >= _FAILURES:
                    raise _gave_up(error) from error
                self._client.http.sleep(2.0**failures)
                have, certain, self.snapshot = self._read(), True, ""
            self._progress(min(len(have), len(self._want)), len(self._want))

    def _read(self) -> list[str]:
        return [track.uri if track else "" for track in self._client.items(self._id)]


def _gave_up(error: Exception) -> ExportError:
    return ExportError(
        f"Spotify failed {_FAILURES} times in a row ({error}); what was done is kept, run the same "
        "command again to go on."
    )

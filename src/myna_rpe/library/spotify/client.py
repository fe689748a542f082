"""The endpoints of Spotify's Web API that are used here, as they are since February 2026.

``/playlists/{id}/items`` took the place of ``/tracks``, ``/me/playlists`` that of
``/users/{id}/playlists``; an item's track is under ``item``, formerly ``track``, and both are read.
Limits: 10 results of a search, 100 items of a change, 50 of a page. What a track lacks (Spotify
leaves ``external_ids`` out for some apps) is empty.

Source: https://developer.spotify.com/documentation/web-api/tutorials/february-2026-migration-guide
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import quote

import requests

from ...errors import ExportError
from .auth import Access, Login, log_in
from .http import Http
from .state import State

ACCOUNTS_URL = "https://accounts.spotify.com"
API_URL = "https://api.spotify.com/v1"

ITEMS_AT_ONCE = 100
"""Items that one change may name."""

_RESULTS = 10
_PAGE = 50


class Visibility(str, Enum):
    """Who may see a new playlist."""

    private = "private"
    public = "public"


@dataclass(frozen=True)
class SpotifyTrack:
    """A track as Spotify describes it; ``duration`` in seconds, text empty where it says none."""

    uri: str
    title: str = ""
    artists: tuple[str, ...] = ()
    album: str = ""
    duration: float = 0.0
    isrc: str = ""

    @classmethod
    def from_payload(cls, payload: object) -> "SpotifyTrack | None":
        """Return the track of a JSON object; None where it is none."""
        if not isinstance(payload, dict) or not isinstance(payload.get("uri"), str):
            return None
        artists = _list(payload, "artists")
        milliseconds = payload.get("duration_ms")
        return cls(
            payload["uri"],
            _text(payload, "name"),
            tuple(_text(artist, "name") for artist in artists),
            _text(payload.get("album"), "name"),
            milliseconds / 1000 if isinstance(milliseconds, int | float) else 0.0,
            _text(payload.get("external_ids"), "isrc").upper(),
        )


@dataclass(frozen=True)
class RemotePlaylist:
    """A playlist without its items; ``snapshot`` names its version."""

    id: str
    name: str
    description: str
    snapshot: str


class Client:
    """Spotify, as its user.

    Args:
        state: what stays between runs; tokens lie in its folder.
        sleep: waits so many seconds.
        clock: seconds since 1970.
        api_url: of the Web API.
        accounts_url: of the accounts service.
    """

    def __init__(
        self,
        state: State,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
        api_url: str = API_URL,
        accounts_url: str = ACCOUNTS_URL,
    ) -> None:
        self.state = state
        self.http = Http(state, sleep=sleep, clock=clock)
        self._api_url = api_url
        self._accounts_url = accounts_url
        self._access = Access(state.folder, self.http, accounts_url)

    def log_in(self, login: Login) -> None:
        """Ask the user for consent, and keep the tokens.

        Raises:
            ExportError: see `auth.log_in`.
        """
        log_in(login, self.http, self.state.folder, accounts_url=self._accounts_url)

    def search(self, query: str) -> list[SpotifyTrack]:
        """Return the tracks that a search finds, 10 at most, best first.

        Raises:
            ExportError: as every method here does, where Spotify refuses or cannot be reached.
        """
        fields = {"q": query, "type": "track", "limit": _RESULTS}
        found = self._call(self.http.ask, "GET", "/search", params=fields).get("tracks")
        tracks = [SpotifyTrack.from_payload(item) for item in _list(found, "items")]
        return [track for track in tracks if track is not None]

    def playlists(self) -> Iterator[RemotePlaylist]:
        """Yield the playlists in the user's library."""
        for payload in self._pages("/me/playlists"):
            if isinstance(payload, dict):
                yield _playlist(payload)

    def playlist(self, playlist_id: str) -> RemotePlaylist:
        """Return a playlist without its items."""
        return _playlist(self._call(self.http.ask, "GET", _path(playlist_id)))

    def items(self, playlist_id: str) -> list[SpotifyTrack | None]:
        """Return the items of a playlist in order; None for what is no longer there."""
        found: list[SpotifyTrack | None] = []
        for payload in self._pages(f"{_path(playlist_id)}/items"):
            item = payload if isinstance(payload, dict) else {}
            found.append(SpotifyTrack.from_payload(item.get("item") or item.get("track")))
        return found

    def create(self, name: str, description: str, visibility: Visibility) -> RemotePlaylist:
        """Make a playlist.

        Raises:
            UnsureError: no answer says whether it was made; so of all that follow.
        """
        public = visibility is Visibility.public
        fields = {"name": name, "description": description, "public": public}
        return _playlist(self._call(self.http.tell, "POST", "/me/playlists", json=fields))

    def replace(self, playlist_id: str, uris: Sequence[str]) -> str:
        """Make these, 100 at most, the only items; return the snapshot."""
        return self._change("PUT", playlist_id, {"uris": list(uris)})

    def insert(self, playlist_id: str, uris: Sequence[str], position: int) -> str:
        """Insert items, 100 at most, at a position; return the snapshot."""
        return self._change("POST", playlist_id, {"uris": list(uris), "position": position})

    def remove(self, playlist_id: str, uris: Sequence[str], snapshot: str) -> str:
        """Remove all items of these URIs, 100 at most, and return the snapshot.

        Args:
            playlist_id: of the playlist.
            uris: of its items.
            snapshot: version they were seen in; empty: the latest.
        """
        fields: dict[str, Any] = {"items": [{"uri": uri} for uri in uris]}
        if snapshot:
            fields["snapshot_id"] = snapshot
        return self._change("DELETE", playlist_id, fields)

    def _change(self, method: str, playlist_id: str, fields: Mapping[str, Any]) -> str:
        path = f"{_path(playlist_id)}/items"
        return _text(self._call(self.http.tell, method, path, json=fields), "snapshot_id")

    def _pages(self, path: str) -> Iterator[object]:
        offset = 0
        while True:
            fields = {"limit": _PAGE, "offset": offset}
            page = self._call(self.http.ask, "GET", path, params=fields)
            items = _list(page, "items")
            if not items:
                return
            yield from items
            offset += len(items)
            if offset >= int(page.get("total") or 0):
                return

    def _call(
        self, send: Callable[..., requests.Response], method: str, path: str, **fields: Any
    ) -> dict[str, Any]:
        """Return the answer; a token that is refused is renewed once."""

        def attempt() -> requests.Response:
            headers = {"Authorization": f"Bearer {self._access.token()}"}
            return send(method, f"{self._api_url}{path}", headers=headers, **fields)

        response = attempt()
        if response.status_code == 401:
            self._access.renew()
            response = attempt()
        return _content(response, f"{method} {path}")


def _content(response: requests.Response, request: str) -> dict[str, Any]:
    try:
        content = response.json() if response.content else {}
    except ValueError:
        content = None
    if response.status_code < 400 and isinstance(content, dict):
        return content
    if response.status_code < 400:
        raise ExportError(
            f"request={request!r} got an answer that is no JSON; check the network (a proxy?) and "
            "run the same command again."
        )
    error = content.get("error") if isinstance(content, dict) else None
    reason = f"{response.status_code} {_text(error, 'message')[:200] or response.reason}"
    remedy = _REMEDIES.get(response.status_code, "see developer.spotify.com for what that means")
    raise ExportError(f"request={request!r} is refused by Spotify ({reason}); {remedy}.")


_REMEDIES = {
    401: "run `myna spotify login` again",
    403: "log in again and agree to everything, use a playlist of your own (Spotify gives no "
    "others), and an app whose owner has Premium",
    404: "check the playlist's id",
}


def _playlist(payload: Mapping[str, Any]) -> RemotePlaylist:
    fields = (_text(payload, name) for name in ("id", "name", "description", "snapshot_id"))
    return RemotePlaylist(*fields)


def _path(playlist_id: str) -> str:
    return f"/playlists/{quote(playlist_id, safe='')}"


def _text(payload: object, name: str) -> str:
    value = payload.get(name) if isinstance(payload, dict) else None
    return value if isinstance(value, str) else ""


def _list(payload: object, name: str) -> list[Any]:
    value = payload.get(name) if isinstance(payload, dict) else None
    return value if isinstance(value, list) else []

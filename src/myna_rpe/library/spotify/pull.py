"""A playlist on Spotify -> entries."""

import re
from dataclasses import dataclass

from ...errors import ExportError
from ..formats import Entries, Entry
from .client import Client, SpotifyTrack

_ID = re.compile(
    r"(?:https?://open\.spotify\.com/(?:intl-[a-z-]+/)?playlist/|spotify:playlist:)?"
    r"(?P<id>[A-Za-z0-9]{22})(?:[?#/].*)?"
)


@dataclass(frozen=True)
class Pulled:
    """What a playlist says; items = entries + ``gone``, which Spotify no longer has."""

    entries: Entries
    gone: int


def pull_playlist(client: Client, address: str) -> Pulled:
    """Return what a playlist says.

    Args:
        client: logged in as its owner, or one who works on it.
        address: its id, URI, or the address of its page.

    Raises:
        ExportError: no such playlist, or Spotify refuses.
    """
    found = _ID.fullmatch(address.strip())
    if found is None:
        raise ExportError(
            f"playlist={address!r} is no playlist of Spotify; give its 22 letters, or the address "
            "that `Share` gives."
        )
    name = client.playlist(found["id"]).name
    items = client.items(found["id"])
    entries = tuple(_entry(item) for item in items if item is not None)
    return Pulled(Entries(name, entries), len(items) - len(entries))


def _entry(track: SpotifyTrack) -> Entry:
    return Entry(
        track.uri,
        title=track.title,
        artist=", ".join(track.artists),
        album=track.album,
        duration=track.duration,
        isrc=track.isrc,
    )

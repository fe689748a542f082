"""How one list of items becomes another, in steps that Spotify offers: pure.

`next_step` says what to do first; applying it and asking again ends at the list that is wanted.
A list whose beginning is right already keeps it: this is how an interrupted run goes on without
duplicates, and how tracks that stay keep the date on which they were added.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from .client import ITEMS_AT_ONCE, Client


@runtime_checkable
class Step(Protocol):
    """One request that changes a playlist."""

    def send(self, client: Client, playlist_id: str, snapshot: str) -> str:
        """Ask Spotify for the change; return the new snapshot."""
        ...

    def applied(self, have: Sequence[str]) -> list[str]:
        """Return the list after the change."""
        ...


@dataclass(frozen=True)
class Replace:
    """All items go, these come."""

    uris: tuple[str, ...]

    def send(self, client: Client, playlist_id: str, snapshot: str) -> str:
        """Ask for it."""
        return client.replace(playlist_id, self.uris)

    def applied(self, have: Sequence[str]) -> list[str]:
        """Return the new items."""
        return list(self.uris)


@dataclass(frozen=True)
class Append:
    """These come after the first so many, which are all there are."""

    uris: tuple[str, ...]
    position: int

    def send(self, client: Client, playlist_id: str, snapshot: str) -> str:
        """Ask for it."""
        return client.insert(playlist_id, self.uris, self.position)

    def applied(self, have: Sequence[str]) -> list[str]:
        """Return old and new items."""
        return [*have[: self.position], *self.uris, *have[self.position :]]


@dataclass(frozen=True)
class Remove:
    """All items of these URIs go, wherever they stand."""

    uris: tuple[str, ...]

    def send(self, client: Client, playlist_id: str, snapshot: str) -> str:
        """Ask for it."""
        return client.remove(playlist_id, self.uris, snapshot)

    def applied(self, have: Sequence[str]) -> list[str]:
        """Return what stays."""
        gone = set(self.uris)
        return [uri for uri in have if uri not in gone]


def next_step(have: Sequence[str], want: Sequence[str]) -> Step | None:
    """Return the first step from one list to another; None where they are the same.

    Args:
        have: URIs in a playlist; empty text for an item that has none.
        want: URIs it shall have; one may come twice.
    """
    if list(have) == list(want):
        return None
    begin = Replace(tuple(want[:ITEMS_AT_ONCE]))
    same = _common_beginning(have, want)
    if same == len(have):
        return Append(tuple(want[same : same + ITEMS_AT_ONCE]), same)
    kept, wanted = set(have[:same]), set(want)
    foreign = list(dict.fromkeys(uri for uri in have if uri not in wanted))
    wrong = foreign or list(dict.fromkeys(have[same:]))
    # Removal goes by URI: one that the beginning has too cannot be taken out behind it, and what
    # has no URI not at all.
    if len(foreign) == len(set(have)) or "" in wrong or not kept.isdisjoint(wrong):
        return begin
    if not kept and not foreign:
        return begin
    return Remove(tuple(wrong[:ITEMS_AT_ONCE]))


def _common_beginning(first: Sequence[str], second: Sequence[str]) -> int:
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))

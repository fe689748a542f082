"""Entries -> tracks of Spotify, each asked for once: what was found, and decided, is kept.

Asked for by ISRC first, then by title and artist, then by both as plain words; the first search
that finds a match ends it. An entry that is a track of Spotify already is not asked for.

The review list is a JSON file of the entries that are unsure, with candidates. In each, ``choice``
may be set to the URI of a candidate (or any track), or to ``"none"``; the next run takes it over.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import ExportError
from ...storage import write_json
from ..formats import Entry
from ..formats.entries import clean_text
from .client import Client, SpotifyTrack
from .matching import Judgement, Verdict, Wanted, judge, judge_isrc, normalised, wanted_of
from .state import read_json

NO_TRACK = "none"
"""The choice of no candidate."""

_FILE = "matches.json"
_SAVED_EVERY = 100  # entries asked for: what a kill may cost
_CANDIDATES = 5
_ORDER = (Verdict.missing, Verdict.unsure, Verdict.matched)

_TRACK = re.compile(
    r"(?:https?://open\.spotify\.com/(?:intl-[a-z-]+/)?track/|spotify:track:)([A-Za-z0-9]{22})"
    r"(?:[?#].*)?"
)

Progress = Callable[[int, int], None]
"""Called with the entries that are done, and of how many."""


@dataclass(frozen=True)
class Match:
    """What became of an entry.

    Attributes:
        entry: of the playlist.
        verdict: matched, unsure or missing.
        uri: of the track; empty unless matched.
        how: ``isrc``, ``search``, ``location`` or ``choice``; empty where nothing was found.
        candidates: score, URI, title, artists and duration of the best offers.
    """

    entry: Entry
    verdict: Verdict
    uri: str
    how: str
    candidates: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Matched:
    """What became of all entries, in order; entries = matched + unsure + missing.

    ``asked`` counts those that Spotify was asked about now.
    """

    matches: tuple[Match, ...]
    asked: int

    def of(self, verdict: Verdict) -> list[Match]:
        """Return those of a verdict."""
        return [match for match in self.matches if match.verdict is verdict]

    @property
    def uris(self) -> list[str]:
        """URIs of the matched entries, in order."""
        return [match.uri for match in self.of(Verdict.matched)]


def match_entries(
    client: Client,
    entries: Sequence[Entry],
    *,
    retried: Sequence[Verdict] = (),
    progress: Progress = lambda done, total: None,
) -> Matched:
    """Find the entries on Spotify.

    Args:
        client: logged in.
        entries: of a playlist.
        retried: verdicts of earlier runs that are asked for again; choices stay.
        progress: called as work goes on.

    Raises:
        ExportError: Spotify refuses or fails; what was found is kept for the next run.
    """
    memory = _Memory(client.state.folder)
    matches, asked = [], set[str]()
    try:
        for done, entry in enumerate(entries, start=1):
            key = key_of(entry)
            uri = _track_uri(entry)
            if uri:
                matches.append(Match(entry, Verdict.matched, uri, "location", ()))
            else:
                known = memory.get(key)
                again = known and known.verdict in retried and known.how != "choice"
                if known is None or (again and key not in asked):
                    memory.put(key, _search(client, entry))
                    asked.add(key)
                    if len(asked) % _SAVED_EVERY == 0:
                        memory.save()
                found = memory.get(key)
                assert found is not None
                matches.append(replace(found, entry=entry))
            progress(done, len(entries))
    finally:
        if asked:
            memory.save()
    return Matched(tuple(matches), len(asked))


def write_review(matched: Matched, path: Path) -> None:
    """Write the list of entries to decide on, each once; empty where there are none.

    Raises:
        ExportError: the file cannot be written.
    """
    unsure = {key_of(match.entry): match for match in matched.of(Verdict.unsure)}
    items = [
        {
            "key": key,
            "title": clean_text(match.entry.title),
            "artist": clean_text(match.entry.artist),
            "duration": match.entry.duration,
            "candidates": [dict(candidate) for candidate in match.candidates],
            "choice": None,
        }
        for key, match in unsure.items()
    ]
    try:
        write_json(path, {"unsure": items})
    except OSError as error:
        raise ExportError(
            f"review={str(path)!r} cannot be written ({error.strerror or error}); choose another "
            "place, or mend that."
        ) from error


def take_decisions(path: Path, folder: Path) -> int:
    """Take the choices of a review list into what is remembered; return how many there are.

    Args:
        path: the list; one that does not exist has none.
        folder: of the state.

    Raises:
        ExportError: it is damaged, or a choice is no track of Spotify; then none is taken.
    """
    items = read_json(path).get("unsure", [])
    memory, count = _Memory(folder), 0
    for item in items if isinstance(items, list) else []:
        choice = item.get("choice") if isinstance(item, dict) else None
        if choice is None:
            continue
        uri = "" if choice == NO_TRACK else _uri_in(str(choice))
        if uri is None:
            raise ExportError(
                f"choice={choice!r} in {str(path)!r} is no track of Spotify; give a URI like "
                f'spotify:track:... or "{NO_TRACK}".'
            )
        verdict = Verdict.matched if uri else Verdict.missing
        memory.put(str(item.get("key")), Match(Entry(""), verdict, uri, "choice", ()))
        count += 1
    if count:
        memory.save()
    return count


def key_of(entry: Entry) -> str:
    """Return under what an entry is remembered: all that it is searched by."""
    wanted = wanted_of(entry)
    words = (normalised(wanted.artist), wanted.title.casefold(), wanted.isrc)
    return json.dumps([*(clean_text(word) for word in words), round(wanted.duration)])


def _search(client: Client, entry: Entry) -> Match:
    wanted = wanted_of(entry)
    best, how = Judgement(Verdict.missing, ()), ""
    if wanted.isrc:
        best, how = judge_isrc(wanted, client.search(f"isrc:{wanted.isrc}")), "isrc"
    for query in _queries(wanted):
        if best.verdict is Verdict.matched:
            break
        found = judge(wanted, client.search(query))
        if not best.candidates or _rank(found) > _rank(best):
            best, how = found, "search"
    uri = best.candidates[0][1].uri if best.verdict is Verdict.matched else ""
    candidates = tuple(_candidate(*pair) for pair in best.candidates[:_CANDIDATES])
    return Match(entry, best.verdict, uri, how if candidates else "", candidates)


def _queries(wanted: Wanted) -> list[str]:
    title, artist = (_words(text) for text in (wanted.title, wanted.artist))
    if not title:
        return []
    if not artist:
        return [f'track:"{title}"', title]
    return [f'track:"{title}" artist:"{artist}"', f"{artist} {title}"]


def _words(text: str) -> str:
    """Return text that is no syntax of a search: field names and quotes mean something there."""
    return normalised(text).replace('"', " ").replace(":", " ")[:100].strip()


def _rank(judgement: Judgement) -> tuple[int, float]:
    best = judgement.candidates[0][0] if judgement.candidates else 0.0
    return _ORDER.index(judgement.verdict), best


def _candidate(score: float, track: SpotifyTrack) -> dict[str, Any]:
    return {
        "score": round(score, 3),
        "uri": track.uri,
        "title": track.title,
        "artists": list(track.artists),
        "album": track.album,
        "duration": track.duration,
    }


def _track_uri(entry: Entry) -> str:
    return _uri_in(entry.location) or ""


def _uri_in(text: str) -> str | None:
    found = _TRACK.fullmatch(text.strip())
    return f"spotify:track:{found[1]}" if found else None


class _Memory:
    """What is remembered of entries, by their keys."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        matches = read_json(self._path).get("matches", {})
        self._matches: dict[str, dict[str, Any]] = matches if isinstance(matches, dict) else {}

    def get(self, key: str) -> Match | None:
        try:
            fields = self._matches[key]
            return Match(
                Entry(""),
                Verdict(fields["verdict"]),
                str(fields["uri"]),
                str(fields["how"]),
                tuple(fields["candidates"]),
            )
        except (KeyError, TypeError, ValueError):  # not there, or not as we write it
            return None

    def put(self, key: str, match: Match) -> None:
        self._matches[key] = {
            "verdict": match.verdict.value,
            "uri": match.uri,
            "how": match.how,
            "candidates": [dict(candidate) for candidate in match.candidates],
        }

    def save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, {"matches": self._matches})

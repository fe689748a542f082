"""What a playlist must keep to, whatever else it is made by.

Some rules are about a track alone (genre, year, duration, folder, exclusions): `Constraints.allows`
says yes or no, and what it turns away no strategy ever sees. Others are about the whole playlist:
each recording once, artists and albums apart and not too often, the total duration. `selection`
and `between` keep those, and `broken` says which one a finished playlist breaks.

No rule is ever relaxed. A rule about what the tags do not say turns the track away: a track
without a year is in no range of years. An artist or album that is not known clashes with none.

Units: seconds, days, numbers of tracks.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from pydantic import Field, model_validator

from ...config.base import Config
from ...embedding_table import path_from_text
from ...errors import ConfigError
from ..tracks import Track
from .pool import UNKNOWN, Facts

NO_REPEATS = "no repeats"


@dataclass(frozen=True)
class TrackRule:
    """A rule about one track, and what a message calls it."""

    name: str
    allows: Callable[[Track], bool]


class Constraints(Config):
    """Everything that must hold; the default asks for nothing but that no recording comes twice.

    Attributes:
        genres: a track must have one of them, whatever its letters' case; empty: any will do.
        not_genres: it must have none of them.
        least_year: and `most_year`: of the track.
        least_duration: and `most_duration`: of the track, in seconds.
        least_total: and `most_total`: of the whole playlist, in seconds.
        folders: a track must be in or below one of them; texts of `path_to_text`.
        artist_window: at least so many other tracks between two of one artist.
        album_window: likewise.
        artist_cap: at most so many tracks of one artist; None: any number.
        album_cap: likewise.
        exclude: playlists, playlist files and tracks whose recordings must not come.
        fresh_days: nothing that a playlist generated in so many days has.
    """

    genres: tuple[str, ...] = ()
    not_genres: tuple[str, ...] = ()
    least_year: int | None = None
    most_year: int | None = None
    least_duration: float | None = Field(None, ge=0)
    most_duration: float | None = Field(None, ge=0)
    least_total: float | None = Field(None, ge=0)
    most_total: float | None = Field(None, ge=0)
    folders: tuple[str, ...] = ()
    artist_window: int = Field(0, ge=0)
    album_window: int = Field(0, ge=0)
    artist_cap: int | None = Field(None, ge=1)
    album_cap: int | None = Field(None, ge=1)
    exclude: tuple[str, ...] = ()
    fresh_days: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _ranges(self) -> "Constraints":
        for name in ("year", "duration", "total"):
            least, most = getattr(self, f"least_{name}"), getattr(self, f"most_{name}")
            if least is not None and most is not None and least > most:
                raise ConfigError(
                    f"{name}={least:g}-{most:g} holds nothing; give the smaller number first."
                )
        return self

    @property
    def track_rules(self) -> list[TrackRule]:
        """The rules about one track that ask for something, without exclusions."""
        rules = []
        if self.genres:
            wanted = frozenset(map(str.casefold, self.genres))
            rules.append(TrackRule(f"genre={'|'.join(self.genres)}", _any_genre(wanted)))
        if self.not_genres:
            barred = frozenset(map(str.casefold, self.not_genres))
            name = f"not-genre={'|'.join(self.not_genres)}"
            rules.append(TrackRule(name, _no_genre(barred)))
        if self.least_year is not None or self.most_year is not None:
            name = f"year={_shown(self.least_year)}-{_shown(self.most_year)}"
            rules.append(TrackRule(name, _between(_year, self.least_year, self.most_year)))
        if self.least_duration is not None or self.most_duration is not None:
            name = f"duration={clock(self.least_duration)}-{clock(self.most_duration)}"
            within = _between(_duration, self.least_duration, self.most_duration)
            rules.append(TrackRule(name, within))
        if self.has_total:
            rules.append(TrackRule("known duration", _between(_duration, None, None)))
        if self.folders:
            name = f"folder={'|'.join(self.folders)}"
            rules.append(TrackRule(name, _below([path_from_text(f) for f in self.folders])))
        return rules

    @property
    def has_total(self) -> bool:
        """Whether the duration of the whole playlist matters."""
        return self.least_total is not None or self.most_total is not None

    @property
    def total_name(self) -> str:
        """What a message calls the range of the total duration."""
        return f"total={clock(self.least_total)}-{clock(self.most_total)}"

    def allows(self, track: Track) -> bool:
        """Return whether a track may come at all, exclusions aside."""
        return all(rule.allows(track) for rule in self.track_rules)


# --- over the whole playlist ---------------------------------------------------------------------


def broken(
    rows: Sequence[int], facts: Facts, constraints: Constraints, *, given: int = 0
) -> str | None:
    """Return the name of a rule over the whole playlist that it breaks; None where all hold.

    Args:
        rows: the playlist.
        facts: of all tracks.
        constraints: what must hold.
        given: so many tracks at the beginning are not ours to choose; what they break among
            themselves does not count.
    """
    fresh = range(given, len(rows))
    recordings = [int(facts.recordings[row]) for row in rows]
    if any(recordings.index(recordings[at]) < at for at in fresh):
        return NO_REPEATS
    for kind in kinds(facts, constraints):
        of = [int(kind.groups[row]) for row in rows]
        new = {of[at] for at in fresh} - {UNKNOWN}
        counts = Counter(of)
        if kind.cap is not None and any(counts[group] > kind.cap for group in new):
            return f"{kind.name}-cap={kind.cap}"
        places = {group: [at for at, other in enumerate(of) if other == group] for group in new}
        for each in places.values():
            if any(b - a <= kind.window and b >= given for a, b in pairwise(each)):
                return f"{kind.name}-window={kind.window}"
    if constraints.has_total and not total_fits(sum_of(rows, facts), constraints):
        return constraints.total_name
    return None


def sum_of(rows: Iterable[int], facts: Facts) -> float:
    """Return the duration of some tracks, in seconds."""
    return float(sum(float(facts.durations[row]) for row in rows))


def total_fits(seconds: float, constraints: Constraints) -> bool:
    """Return whether the duration of a whole playlist is as it must be."""
    least, most = constraints.least_total, constraints.most_total
    return (least is None or seconds >= least) and (most is None or seconds <= most)


@dataclass(frozen=True, eq=False)
class Kind:
    """What is told apart and kept apart: artists, or albums.

    Attributes:
        name: in messages.
        groups: of each track; `UNKNOWN` clashes with none.
        window: at least so many others between two of a group.
        cap: at most so many of a group; None: any number.
    """

    name: str
    groups: Int64[np.ndarray, " n"]
    window: int
    cap: int | None


def kinds(facts: Facts, constraints: Constraints) -> list[Kind]:
    """Return the kinds that something is asked of."""
    both = [
        Kind("artist", facts.artists, constraints.artist_window, constraints.artist_cap),
        Kind("album", facts.albums, constraints.album_window, constraints.album_cap),
    ]
    return [kind for kind in both if kind.window or kind.cap is not None]


# --- about one track -----------------------------------------------------------------------------


def _any_genre(names: frozenset[str]) -> Callable[[Track], bool]:
    return lambda track: any(genre.casefold() in names for genre in track.genres)


def _no_genre(names: frozenset[str]) -> Callable[[Track], bool]:
    return lambda track: not any(genre.casefold() in names for genre in track.genres)


_Value = Callable[[Track], float | int | None]


def _year(track: Track) -> int | None:
    return track.year


def _duration(track: Track) -> float | None:
    return track.duration or None


def _between(
    value: _Value, least: float | int | None, most: float | int | None
) -> Callable[[Track], bool]:
    def allows(track: Track) -> bool:
        found = value(track)
        return (
            found is not None
            and (least is None or found >= least)
            and (most is None or found <= most)
        )

    return allows


def _below(folders: Sequence[Path]) -> Callable[[Track], bool]:
    wanted = set(folders)
    return lambda track: not wanted.isdisjoint((track.path, *track.path.parents))


# --- words ---------------------------------------------------------------------------------------


def clock(seconds: float | None) -> str:
    """Return seconds as people read them; empty for none.

    >>> clock(245.0), clock(3661.0), clock(None)
    ('4:05', '1:01:01', '')
    """
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _shown(number: int | None) -> str:
    return "" if number is None else str(number)

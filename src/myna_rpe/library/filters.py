"""Which tracks of a library a search may answer with.

Names are compared whole, without regard to case (Unicode's case folding and NFKC). SQLite folds
ASCII only, so the names that are meant are found first, among those that the library has; a name it
has not is refused, with the one that is nearest. Everything that users type reaches SQL as a
parameter. A track without a year, a genre or a duration is in no range of them.
"""

import difflib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from ..errors import LibraryError
from .catalogue import Catalogue
from .comparison import below
from .ranges import Range
from .tracks import absolute

_PRESENT = "t.state = 'present' AND t.vector IS NOT NULL"
_SOURCES = {
    "artist": (
        f"SELECT DISTINCT artist FROM tracks AS t WHERE {_PRESENT} "
        f"UNION SELECT DISTINCT album_artist FROM tracks AS t WHERE {_PRESENT}"
    ),
    "album": f"SELECT DISTINCT album FROM tracks AS t WHERE {_PRESENT}",
    "genre": (
        f"SELECT DISTINCT g.value FROM tracks AS t, json_each(t.genres) AS g WHERE {_PRESENT}"
    ),
}
_CONDITIONS = {
    "artist": "(t.artist IN (SELECT value FROM json_each(?1)) "
    "OR t.album_artist IN (SELECT value FROM json_each(?1)))",
    "album": "t.album IN (SELECT value FROM json_each(?1))",
    "genre": "EXISTS (SELECT 1 FROM json_each(t.genres) AS g "
    "WHERE g.value IN (SELECT value FROM json_each(?1)))",
}


@dataclass(frozen=True)
class Filters:
    """Conditions that all hold at once; of several names one has to fit. Empty: every track.

    Attributes:
        artists: of the track or of its album.
        albums: by name.
        genres: any of the track's.
        years: from and to.
        seconds: duration from and to.
        folders: the file is one of these, or lies below one.
    """

    artists: tuple[str, ...] = ()
    albums: tuple[str, ...] = ()
    genres: tuple[str, ...] = ()
    years: Range[int] | None = None
    seconds: Range[float] | None = None
    folders: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether there is any condition."""
        return self != Filters()


def matching(catalogue: Catalogue, filters: Filters) -> Int64[np.ndarray, " found"]:
    """Return the numbers of the tracks that a search may find and that fit, in order.

    Raises:
        LibraryError: no track has an artist, album or genre of that name.
    """
    conditions = [_PRESENT]
    parameters: list[object] = []
    for kind, names in (
        ("artist", filters.artists),
        ("album", filters.albums),
        ("genre", filters.genres),
    ):
        if names:
            parameters.append(json.dumps(_known_names(catalogue, kind, names)))
            conditions.append(_CONDITIONS[kind].replace("?1", f"?{len(parameters)}"))
    for column, span in (("t.year", filters.years), ("t.duration", filters.seconds)):
        if span is not None:
            known = "t.duration > 0" if column == "t.duration" else "t.year IS NOT NULL"
            conditions.append(known)
            for sign, end in ((">=", span.low), ("<=", span.high)):
                if end is not None:
                    parameters.append(end)
                    conditions.append(f"{column} {sign} ?{len(parameters)}")
    if filters.folders:
        places = []
        for folder in filters.folders:
            first = len(parameters) + 1
            parameters += below(absolute(folder))
            places.append(f"t.path = ?{first} OR (t.path > ?{first + 1} AND t.path < ?{first + 2})")
        conditions.append(f"({' OR '.join(places)})")
    rows = catalogue.database.query(
        f"SELECT t.id FROM tracks AS t WHERE {' AND '.join(conditions)} ORDER BY t.id", parameters
    )
    return np.fromiter((number for (number,) in rows), np.int64)


def folded(text: str) -> str:
    """Return text as names are compared: without case, in one Unicode form.

    >>> folded("BEYONCE\u0301") == folded("beyoncé")
    True
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


# --- pieces --------------------------------------------------------------------------------------


def _known_names(catalogue: Catalogue, kind: str, wanted: Sequence[str]) -> list[str]:
    """Return the library's names, as they are written in it, that are meant."""
    known: dict[str, list[str]] = {}
    for (name,) in catalogue.database.query(_SOURCES[kind]):
        if name:
            known.setdefault(folded(name), []).append(name)
    found = []
    for name in wanted:
        if folded(name) not in known:
            close = difflib.get_close_matches(folded(name), known, n=1, cutoff=0.6)
            remedy = (
                f"did you mean {known[close[0]][0]!r}?" if close else "see `myna library stats`."
            )
            raise LibraryError(f"{kind}={name!r} is on no track of the library; {remedy}")
        found += known[folded(name)]
    return found

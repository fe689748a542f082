"""What every command that makes a playlist takes: constraints, seed, where the answer goes.

`generating` adds these options to a command, which gets them as one `Options`: the commands differ
in what they are about, and only that is in their files.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Library, taking

if TYPE_CHECKING:
    from ..library.playlists import Constraints

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Texts = list[str] | None


@dataclass(frozen=True)
class Options:
    """What the options of a command say.

    Attributes:
        library: its folder; None: the default one.
        constraints: what must hold.
        seed: of all chance.
        name: to store the playlist under; None: not at all.
        export: file to write; None: none.
        as_json: whether the answer is printed as JSON.
    """

    library: Path | None
    constraints: "Constraints"
    seed: int
    name: str | None
    export: Path | None
    as_json: bool


def _options(
    genre: Annotated[
        Texts, typer.Option(metavar="NAME", help="Only tracks of this genre, or another given.")
    ] = None,
    not_genre: Annotated[Texts, typer.Option(metavar="NAME", help="No track of it.")] = None,
    year: Annotated[
        str | None, typer.Option(metavar="A-B", help="Of the track: 1990-1999, 1990-, -1999, 1994.")
    ] = None,
    duration: Annotated[
        str | None, typer.Option(metavar="A-B", help="Of the track: 2:00-8:00, 2:00-, -8:00.")
    ] = None,
    total: Annotated[
        str | None, typer.Option(metavar="A-B", help="Of the whole playlist: 55:00-1:05:00.")
    ] = None,
    below: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", readable=False, help="Only tracks in this folder, or another."),
    ] = None,
    artist_window: Annotated[
        int, typer.Option(metavar="N", min=0, help="Other tracks between two of one artist.")
    ] = 0,
    album_window: Annotated[
        int, typer.Option(metavar="N", min=0, help="Other tracks between two of one album.")
    ] = 0,
    artist_cap: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="At most so many of one artist.")
    ] = None,
    album_cap: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="At most so many of one album.")
    ] = None,
    exclude: Annotated[
        Texts, typer.Option(metavar="PLAYLIST|TRACK", help="Nothing that is in it.")
    ] = None,
    fresh: Annotated[
        float | None,
        typer.Option(metavar="DAYS", help="Nothing of playlists generated in so many days."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all chance; the same gives the same.")] = 0,
    name: Annotated[
        str | None, typer.Option(help="Store the playlist under this name, in place of an old one.")
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE", readable=False, help="Write M3U8, M3U, XSPF or JSPF."),
    ] = None,
    library: Library = None,
    as_json: Json = False,
) -> Options:
    """Return what the options say.

    Raises:
        LibraryError: a range that is none.
    """
    from ..embedding_table import path_to_text
    from ..library import ranges
    from ..library.playlists import Constraints
    from ..library.ranges import Range

    years = Range[int]() if year is None else ranges.years(year)
    durations = Range[float]() if duration is None else ranges.seconds(duration)
    totals = Range[float]() if total is None else ranges.seconds(total, "total")
    constraints = Constraints(
        genres=tuple(genre or ()),
        not_genres=tuple(not_genre or ()),
        least_year=years.low,
        most_year=years.high,
        least_duration=durations.low,
        most_duration=durations.high,
        least_total=totals.low,
        most_total=totals.high,
        folders=tuple(
            path_to_text(Path(os.path.abspath(folder)))  # noqa: PTH100 - resolves no links
            for folder in below or ()
        ),
        artist_window=artist_window,
        album_window=album_window,
        artist_cap=artist_cap,
        album_cap=album_cap,
        exclude=tuple(exclude or ()),
        fresh_days=fresh,
    )
    return Options(library, constraints, seed, name, export, as_json)


generating = taking(_options, "options")

"""What every command that looks for tracks takes: which of them count.

`filtered` adds these options to a command, which gets them as one `Filters`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import taking

if TYPE_CHECKING:
    from ..library.filters import Filters

_Artists = Annotated[
    list[str] | None,
    typer.Option("--artist", metavar="NAME", help="Only tracks or albums of this artist."),
]
_Albums = Annotated[
    list[str] | None, typer.Option("--album", metavar="NAME", help="Only tracks of this album.")
]
_Genres = Annotated[
    list[str] | None, typer.Option("--genre", metavar="NAME", help="Only tracks of this genre.")
]
_Years = Annotated[
    str | None, typer.Option("--year", metavar="FROM-TO", help="Only of 1990, 1990-1999, 1990-.")
]
_Seconds = Annotated[
    str | None,
    typer.Option(
        "--duration", metavar="FROM-TO", help="Only that long: 120-300, 2:00-5:00, -5:00."
    ),
]
_Below = Annotated[
    list[Path] | None,
    typer.Option("--below", metavar="FOLDER", readable=False, help="Only files below this folder."),
]


def _filters(
    artists: _Artists = None,
    albums: _Albums = None,
    genres: _Genres = None,
    years: _Years = None,
    seconds: _Seconds = None,
    folders: _Below = None,
) -> "Filters":
    """Return what the options ask for.

    Raises:
        LibraryError: a range that is none.
    """
    from ..library import ranges
    from ..library.filters import Filters

    return Filters(
        artists=tuple(artists or ()),
        albums=tuple(albums or ()),
        genres=tuple(genres or ()),
        years=None if years is None else ranges.years(years),
        seconds=None if seconds is None else ranges.seconds(seconds),
        folders=tuple(folders or ()),
    )


filtered = taking(_filters, "filters")

"""`myna library map`, `duplicates` and `vectors`: what there is to see in a library."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, unknown_name
from .filter_options import filtered
from .options import Library, opened_library
from .output import print_json, printable, say

if TYPE_CHECKING:
    from ..library.filters import Filters
    from ..library.tracks import Track

app = typer.Typer()


@app.command("map")
@filtered
def library_map(
    filters: "Filters",
    outputs: Annotated[
        list[Path],
        typer.Option("--out", "-o", readable=False, help="FILE.png or FILE.html; may be repeated."),
    ],
    library: Library = None,
    colour: Annotated[
        str, typer.Option(metavar="NAME", help="Colour by genre, folder or artist.")
    ] = "genre",
    layout: Annotated[
        str, typer.Option(metavar="NAME", help="Of a new map: tsne, or pca, which is quick.")
    ] = "tsne",
    seed: Annotated[int, typer.Option(min=0, help="Of a new map.")] = 0,
    refit: Annotated[
        bool, typer.Option("--refit", help="Make the map anew; all tracks move.")
    ] = False,
) -> None:
    """Draw the library: near on the map is near in sound.

    Tracks keep their places when the library grows; new ones are put among their neighbours. The
    page is one file that needs no net.
    """
    import numpy as np

    from ..library.duplicates import candidates_of
    from ..library.filters import matching
    from ..library.index import Index
    from ..library.map import LAYOUTS, kept_map, new_map
    from ..library.map_drawing import COLOURINGS, check_format, picture, write_picture

    _check_name("colour", colour, COLOURINGS)
    _check_name("layout", layout, LAYOUTS)
    for output in outputs:
        check_format(output)
    with opened_library(library) as catalogue:
        chosen = matching(catalogue, filters)
        make = new_map if refit else kept_map
        made = make(Index(catalogue), layout=LAYOUTS[layout], seed=seed)
        known = candidates_of(catalogue, chosen)
        shown = np.isin(made.numbers, list(known))
        tracks = [known[number].track for number in made.numbers[shown].tolist()]
        what = picture(
            f"{len(tracks)} tracks by {colour}", tracks, made.places[shown], COLOURINGS[colour]
        )
    for output in outputs:
        write_picture(output, what)
        say(f"wrote {str(output)!r}")
    kept = "" if made.stored else "; not kept, because the library may only be read"
    say(f"{len(tracks)} tracks; {made.fitted} sounds laid out, {made.placed} put among them{kept}")


@app.command("duplicates")
@filtered
def duplicates(
    filters: "Filters",
    library: Library = None,
    cosine: Annotated[
        float, typer.Option(metavar="C", help="How alike the vectors of one title have to be.")
    ] = 0.95,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """List recordings that are there more than once, with the reasons: copies, remasters.

    Nothing is changed. A recording is a block of lines: its first track, then its copies.
    """
    from ..embedding_table import path_to_text
    from ..library.duplicates import Sameness, library_groups
    from ..library.filters import matching
    from ..library.index import Index

    sameness = Sameness(cosine=cosine)
    with opened_library(library) as catalogue:
        chosen = matching(catalogue, filters)
        groups = library_groups(Index(catalogue), chosen, sameness)
    if as_json:
        print_json(
            [
                {
                    **_track(group.first),
                    "copies": [
                        _track(copy.track) | {"reason": copy.reason, "like": copy.like.id}
                        for copy in group.copies
                    ],
                }
                for group in groups
            ]
        )
    else:
        for group in groups:
            typer.echo(path_to_text(group.first.path))
            for copy in group.copies:
                typer.echo(f"  {path_to_text(copy.track.path)}  ({printable(copy.reason)})")
    copies = sum(len(group.copies) for group in groups)
    say(f"{len(groups)} recordings have {copies} copies among {len(chosen)} tracks")


@app.command("vectors")
@filtered
def vectors(
    filters: "Filters",
    output: Annotated[
        Path,
        typer.Option("--out", "-o", readable=False, help="FILE.parquet, FILE.csv or FILE.json."),
    ],
    library: Library = None,
) -> None:
    """Write the embeddings of the library as a table; `myna similar --in` reads the parquet."""
    from ..library.tables import write_vectors

    with opened_library(library) as catalogue:
        count = write_vectors(catalogue, output, filters)
    say(f"wrote {count} vectors to {str(output)!r}")


def _check_name(option: str, name: str, valid: Iterable[str]) -> None:
    if name not in valid:
        raise ConfigError(unknown_name(option, name, valid))


def _track(track: "Track") -> dict[str, object]:
    from ..embedding_table import path_to_text

    return {
        "track": track.id,
        "path": path_to_text(track.path),
        "artist": track.artist,
        "title": track.title,
        "album": track.album,
        "duration": track.duration,
    }

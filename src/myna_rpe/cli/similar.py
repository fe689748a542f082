"""`myna similar`: the nearest tracks in the library, or in a table of embeddings."""

import warnings
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, EmbeddingError, LibraryError
from .compute import set_up_torch
from .filter_options import filtered
from .options import Library, opened_library
from .output import print_json, progress_bar, say

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..embedding_table import EmbeddingTable, Header
    from ..library.catalogue import Catalogue
    from ..library.filters import Filters
    from ..library.index import Index
    from ..library.scales import LocalScaling
    from ..library.search import Hit


class Combination(str, Enum):
    """What several tracks are as one question."""

    mean = "mean"
    best = "best"


class Scale(str, Enum):
    """How tracks that are near everything are weighed down."""

    none = "none"
    csls = "csls"
    nicdm = "nicdm"


@filtered
def similar(
    filters: "Filters",
    tracks: Annotated[
        list[Path],
        typer.Argument(
            metavar="TRACK...",
            readable=False,
            help="A file or number of the library, a file of the table, or any audio file.",
        ),
    ],
    tables: Annotated[
        list[Path] | None,
        typer.Option(
            "--in",
            metavar="TABLE",
            readable=False,
            help="Table made by `myna embed`; default: the library.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many neighbours.")] = 10,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER|FILE",
            help="Model for a file outside; default: the one that made the table or library.",
        ),
    ] = None,
    library: Library = None,
    combine: Annotated[
        Combination,
        typer.Option(help="Of several tracks: near their mean, or near the best of them."),
    ] = Combination.mean,
    weights: Annotated[
        list[float] | None,
        typer.Option(
            "--weight", metavar="W", help="Of each TRACK in its order: a point between them."
        ),
    ] = None,
    scale: Annotated[
        Scale, typer.Option(help="Weigh down tracks that are near everything.")
    ] = Scale.none,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show every copy and remaster of a recording.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the nearest tracks: rank, cosine similarity, path.

    The search is exact. In the library, of several TRACKs their mean is asked for, and a recording
    comes once, with how many copies were folded. In a table, the track itself is left out; a copy
    of it under another name is not.
    """
    if tables:
        if (
            any((filters, library, weights))
            or show_all
            or len(tracks) > 1
            or scale is not Scale.none
        ):
            raise ConfigError(
                f"in={str(tables[0])!r} is a table, which is searched by one TRACK and has no "
                "tags; leave out --in to ask the library."
            )
        _similar_in_tables(tracks[0], tables, k, model, as_json)
        return
    with opened_library(library) as catalogue:
        hits = _similar_in_library(
            catalogue, tracks, k, model, combine, weights, filters, scale, show_all
        )
    if as_json:
        print_json([_hit(hit) for hit in hits])
        return
    for hit in hits:
        copies = f"  (+{len(hit.copies)})" if hit.copies else ""
        typer.echo(_line(hit.rank, hit.similarity, hit.track.path, k) + copies)


# --- the library ---------------------------------------------------------------------------------


def _similar_in_library(
    catalogue: "Catalogue",
    tracks: Sequence[Path],
    k: int,
    model: str | None,
    combine: Combination,
    weights: list[float] | None,
    filters: "Filters",
    scale: Scale,
    show_all: bool,
) -> "list[Hit]":
    import numpy as np

    from ..library.filters import matching
    from ..library.index import Index
    from ..library.search import COMBINATIONS, FoldCopies, ShowAll, find_similar

    # Cheap questions first: a wrong name must not wait for a model.
    among = matching(catalogue, filters) if filters else None
    asked = [_asked(catalogue, track, model) for track in tracks]
    question = COMBINATIONS[combine.value](
        np.stack([vector for _, vector in asked]), weights or None
    )
    index = Index(catalogue)
    return find_similar(
        index,
        question,
        k,
        known=[number for number, _ in asked if number is not None],
        among=among,
        scaling=None if scale is Scale.none else _scaling(index, scale),
        folding=ShowAll() if show_all else FoldCopies(),
    )


def _scaling(index: "Index", scale: Scale) -> "LocalScaling":
    from ..library.scales import SCALINGS, LocalScaling

    with progress_bar() as bar:
        task = bar.add_task("scales, once", total=None, note="")
        return LocalScaling(
            index,
            SCALINGS[scale.value],
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _asked(
    catalogue: "Catalogue", name: Path, model: str | None
) -> "tuple[int | None, npt.NDArray[np.float32]]":
    """Return number and embedding of a track that is asked about; no number: a file outside."""
    from ..library.tracks import absolute

    track = catalogue.by_path(name)
    text = str(name)
    if track is None and text.isascii() and text.isdigit() and not name.exists():
        track = catalogue.track(int(text))
    if track is not None:
        vector = catalogue.vector(track.id)
        if vector is None:
            raise LibraryError(
                f"track={text!r} has no vector, because it was lost; scan its folder again."
            )
        return track.id, vector
    row = catalogue.database.one("SELECT reason FROM failures WHERE path = ?", (absolute(name),))
    if row is not None:
        raise LibraryError(f"track={text!r} could not be analysed: {row[0]}")
    if not name.exists():
        raise LibraryError(
            f"track={text!r} is neither in library {str(catalogue.folder)!r} nor a file; check the "
            "name, or scan its folder first with `myna library scan`."
        )
    return None, _embed(name, catalogue.header, model, catalogue.check_space)


def _hit(hit: "Hit") -> dict[str, Any]:
    from ..embedding_table import path_to_text

    return {
        "rank": hit.rank,
        "similarity": round(hit.similarity, 6),
        "score": round(hit.score, 6),
        "path": path_to_text(hit.track.path),
        "track": hit.track.id,
        "artist": hit.track.artist,
        "title": hit.track.title,
        "album": hit.track.album,
        "duration": hit.track.duration,
        "copies": [
            {"path": path_to_text(copy.track.path), "track": copy.track.id, "reason": copy.reason}
            for copy in hit.copies
        ],
    }


# --- tables --------------------------------------------------------------------------------------


def _similar_in_tables(
    track: Path, tables: Sequence[Path], k: int, model: str | None, as_json: bool
) -> None:
    from ..embedding_table import EmbeddingTable, path_to_text

    table = EmbeddingTable.join([EmbeddingTable.read(path) for path in tables])
    row = table.find(track)
    if row is None:
        embedding = _embed_for(track, table, model)
    elif row.embedding is None:
        raise EmbeddingError(f"track={str(track)!r} has no embedding: {row.error}")
    else:
        embedding = row.embedding
    neighbours = table.nearest(embedding, k, exclude=row)
    if as_json:
        print_json(
            [
                {
                    "rank": neighbour.rank,
                    "similarity": round(neighbour.similarity, 6),
                    "path": path_to_text(neighbour.path),
                }
                for neighbour in neighbours
            ]
        )
        return
    for neighbour in neighbours:
        typer.echo(_line(neighbour.rank, neighbour.similarity, neighbour.path, k))


def _line(rank: int, similarity: float, path: Path, k: int) -> str:
    from ..embedding_table import path_to_text

    return f"{rank:>{len(str(k))}}  {similarity:7.4f}  {path_to_text(path)}"


def _embed_for(
    track: Path, table: "EmbeddingTable", model: str | None
) -> "npt.NDArray[np.float32]":
    from ..embedding_table import check_same_space

    if not track.exists():
        raise EmbeddingError(
            f"track={str(track)!r} is neither in the table nor a file; check the name, "
            "or embed it first with `myna embed`."
        )

    def check(space_id: str, source: str) -> None:
        check_same_space(table.header, space_id, f"model {source}")

    return _embed(track, table.header, model, check)


def _embed(
    track: Path, header: "Header", model: str | None, check: Callable[[str, str], None]
) -> "npt.NDArray[np.float32]":
    """Return the embedding of a file outside, made as those of a table or library were.

    Args:
        track: the file.
        header: of the table or library.
        model: None: the one that made it.
        check: raises if vectors of a space, made by a model, may not be compared.
    """
    from ..embedder import SilentTrackWarning, WholeTrack, Windows, load_model

    set_up_torch()
    context = WholeTrack() if header.windows is None else Windows(*header.windows)
    embedder = load_model(
        model or header.model or None,
        layer=header.layer,
        pooling=header.pooling,
        context=context,
    )
    check(embedder.space_id, embedder.source)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SilentTrackWarning)
        embedding = embedder.embed(track)
    for warning in caught:
        say(f"warning: {warning.message}")
    return embedding

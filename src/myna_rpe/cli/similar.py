"""`myna similar`: the nearest tracks in a table of embeddings."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import EmbeddingError
from .compute import set_up_torch
from .output import print_json, say

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..embedding_table import EmbeddingTable


def similar(
    track: Annotated[
        Path,
        typer.Argument(
            metavar="TRACK", readable=False, help="A file of the table, or any audio file."
        ),
    ],
    tables: Annotated[
        list[Path],
        typer.Option("--in", metavar="TABLE", readable=False, help="Table made by `myna embed`."),
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="How many neighbours.")] = 10,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER|FILE",
            help="Model for a file outside of the table; default: the one that made the table.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the nearest tracks: rank, cosine similarity, path.

    The search is exact. The track itself is left out; a copy of it under another name is not.
    """
    from ..embedding_table import EmbeddingTable, path_to_text

    table = EmbeddingTable.join([EmbeddingTable.read(path) for path in tables])
    row = table.find(track)
    if row is None:
        embedding = _embed(track, table, model)
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
        typer.echo(
            f"{neighbour.rank:>{len(str(k))}}  {neighbour.similarity:7.4f}  "
            f"{path_to_text(neighbour.path)}"
        )


def _embed(track: Path, table: "EmbeddingTable", model: str | None) -> "npt.NDArray[np.float32]":
    """Return the embedding of a file outside of the table, made as the table's were."""
    if not track.exists():
        raise EmbeddingError(
            f"track={str(track)!r} is neither in the table nor a file; check the name, "
            "or embed it first with `myna embed`."
        )
    from ..embedder import SilentTrackWarning, WholeTrack, Windows, load_model
    from ..embedding_table import check_same_space

    set_up_torch()
    header = table.header
    context = WholeTrack() if header.windows is None else Windows(*header.windows)
    embedder = load_model(
        model or header.model or None,
        layer=header.layer,
        pooling=header.pooling,
        context=context,
    )
    check_same_space(header, embedder.space_id, f"model {embedder.source}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SilentTrackWarning)
        embedding = embedder.embed(track)
    for warning in caught:
        say(f"warning: {warning.message}")
    return embedding

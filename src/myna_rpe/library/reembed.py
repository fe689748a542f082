"""The same music in another space: a library whose tracks are analysed with another model.

Embeddings of two models cannot be compared, so all of them change at once or none does. The new
ones are made by an ordinary scan of the library's folders, into a library of its own that lies in
this one: it resumes, survives kills and counts as any scan does, and until it is done everything
else sees the old ones. Then the catalogue takes over the new rows, by what is heard in each track,
in one transaction, and the files change places. Numbers, tags, playlists and matches stay.

A kill between the transaction and the last file is made up for by whatever opens the library next.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from ..embedding_table import Header
from ..errors import LibraryError
from .catalogue import NEXT_FOLDER, Catalogue, finish_move, read_space
from .comparison import Again, Comparison, is_below
from .scan import Analyser, Progress, ScanReport, scan
from .tracks import absolute


def reembed(
    catalogue: Catalogue,
    header: Header,
    load: Callable[[], Analyser],
    *,
    workers: int | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> ScanReport:
    """Analyse all tracks of a library with another model, and return what the scan did.

    Interrupted or killed, run it again: it goes on, and once it is done it is a scan like any
    other. Tracks whose files are gone keep their number and their places in playlists, and are
    analysed when the files come back.

    Args:
        catalogue: the library, open; afterwards it is one of the new space.
        header: of the new space, and what makes it.
        load: gives the embedder; called only if a file must be analysed.
        workers: threads that read and decode; None: one per core, 4 at most.
        progress: called as work goes on.

    Raises:
        LibraryError: a scan is under way, the library cannot be written to, or a folder cannot be
            seen into. What was done until then is kept.
        ConfigError: fewer than 1 worker.
    """
    folder = catalogue.folder
    workshop, roots = folder / NEXT_FOLDER, _roots(catalogue)
    with catalogue.locked():
        begun = read_space(workshop)
        if begun is None or begun.space_id != header.space_id:
            shutil.rmtree(workshop, ignore_errors=True)
    if header.space_id == catalogue.header.space_id:
        return scan(catalogue, roots, load, workers=workers, progress=progress)
    with catalogue.locked():
        _check_seen(catalogue, roots)
        with closing(Catalogue.create(workshop, header)) as new:
            report = scan(
                # What failed in a run before may have failed with its disk.
                *(new, roots, load),
                again=Again.FAILED,
                workers=workers,
                progress=progress,
            )
            _check_seen(catalogue, roots)  # a disk may have been taken away meanwhile
            _take_over_rows(catalogue, new)
        finish_move(folder, header.space_id)
    catalogue.reopen_vectors(header)
    return report


def _roots(catalogue: Catalogue) -> Sequence[Path]:
    """Return the folders that make up the library, and the files that lie in none of them."""
    folders = catalogue.folders()
    inside = [absolute(folder) for folder in folders]
    alone = [
        track.path
        for track in catalogue.tracks("t.state = 'present'")
        if not any(is_below(os.fsencode(track.path), folder) for folder in inside)
    ]
    return [*folders, *alone]


def _check_seen(catalogue: Catalogue, roots: Sequence[Path]) -> None:
    """Refuse to let go of the old vectors of music that cannot be looked at."""
    files = Comparison(catalogue, list(map(absolute, roots)), lambda found: None)
    for left in files.untouched():
        if left.tracks:
            raise LibraryError(
                f"folder={str(left.folder)!r} cannot be seen into ({left.reason}), and "
                f"{left.tracks} tracks below it would lose their vectors; mend that (mount its "
                "disk?) and run the same command again, or take them out with `myna library "
                "remove`."
            )


def _take_over_rows(catalogue: Catalogue, new: Catalogue) -> None:
    """Point every track to the new row of its sound; one that has none waits for a scan."""
    sounds = [row[0] for row in catalogue.database.query("SELECT DISTINCT identity FROM tracks")]
    found = [(new.vector_file.find(sound), sound) for sound in sounds]
    with catalogue.database.transaction() as connection:
        connection.execute("UPDATE tracks SET vector = NULL")
        connection.executemany("UPDATE tracks SET vector = ? WHERE identity = ?", found)
        catalogue.put_setting(connection, "space", new.header.to_metadata())

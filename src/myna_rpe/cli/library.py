"""`myna library`: a catalogue of one's music, brought up to date by scans."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import LibraryError
from . import library_views
from .compute import set_up_torch
from .options import Library, opened_library
from .output import print_json, say, staged_progress

if TYPE_CHECKING:
    from ..embedder import Embedder
    from ..embedding_table import Header
    from ..library.catalogue import Catalogue, Job
    from ..library.comparison import Again
    from ..library.scan import Progress, ScanReport
    from ..library.verify import Health

app = typer.Typer(help="Scan music into a library, and look after it.", no_args_is_help=True)
app.add_typer(library_views.app)

_SHOWN_FAILURES = 20
_SHOWN_NAMES = 10

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FOLDER|FILE",
        help="Model of a new library; default: the package's own. Later scans use the library's.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(metavar="N", help="Reading and decoding threads; default: one per core, <= 4."),
]
Threads = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Threads of the encoder on the CPU.")
]
Nice = Annotated[bool, typer.Option("--nice", help="Run at the lowest priority.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]


@app.command("scan")
def scan(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FOLDER]...",
            readable=False,
            help="Folders (searched recursively) and files; default: those scanned before.",
        ),
    ] = None,
    library: Library = None,
    model: Model = None,
    workers: Workers = None,
    threads: Threads = None,
    device: Device = "auto",
    nice: Nice = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try unchanged files that failed before again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring the library up to date with folders of music.

    Run it again at any time: unchanged files are not opened, moved and retagged ones are
    recognised, and a scan that was interrupted or killed goes on where it stopped. Tracks whose
    files are gone are hidden, not forgotten; below a folder that cannot be seen into (a disk that
    is not mounted) nothing is touched.
    """
    from ..library.comparison import Again

    again = Again.FAILED if retry_failed else Again.CHANGED
    with _opened(library, model, device, threads, nice) as (catalogue, load):
        paths = list(folders or []) or _folders(catalogue)
        _scan(catalogue, paths, load, workers, again, as_json)


@app.command("rescan")
def rescan(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", readable=False, help="Files, and folders of files."),
    ],
    library: Library = None,
    workers: Workers = None,
    threads: Threads = None,
    device: Device = "auto",
    nice: Nice = False,
    as_json: Json = False,
) -> None:
    """Open files again though they did not change: read their tags, retry what failed.

    A sound that the library knows is not analysed again.
    """
    from ..library.comparison import Again

    with opened_library(library):
        pass  # there must be one
    with _opened(library, None, device, threads, nice) as (catalogue, load):
        _scan(catalogue, paths, load, workers, Again.ALL, as_json)


@app.command("reembed")
def reembed(
    library: Library = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|FOLDER|FILE", help="The model; default: the package's own."),
    ] = None,
    workers: Workers = None,
    threads: Threads = None,
    device: Device = "auto",
    nice: Nice = False,
    as_json: Json = False,
) -> None:
    """Analyse the whole library with another model; its tracks and playlists stay.

    For new weights, or better ones. Everything else sees the old embeddings until all of the new
    ones are there. Interrupted or killed, run it again: it goes on.
    """
    from ..embedding_job import header_of
    from ..library.reembed import reembed as reembed_library
    from ..model.registry import DEFAULT_MODEL

    with opened_library(library) as catalogue:
        _be_nice(nice)
        embedder = _load(model or DEFAULT_MODEL, device, threads, None)
        with _scanning() as progress:
            report = reembed_library(
                *(catalogue, header_of(embedder), lambda: embedder),
                workers=workers,
                progress=progress,
            )
    _tell(report)
    say(f"the library holds embeddings of {embedder.space_id} now")
    if as_json:
        print_json(_summary(report))


@app.command("status")
def status(library: Library = None, as_json: Json = False) -> None:
    """Show what the library holds, and how the last scan went."""
    with opened_library(library) as catalogue:
        counts, jobs = catalogue.counts(), catalogue.jobs(1)
        running = _running(catalogue, jobs)
        facts: dict[str, Any] = {
            "library": str(catalogue.folder),
            "read_only": catalogue.read_only,
            "model": catalogue.header.model,
            "space_id": catalogue.header.space_id,
            "dim": catalogue.header.dim,
            "folders": catalogue.setting("folders", []),
            **asdict(counts),
            "scanning": running,
            "reembedding": _next_model(catalogue.folder),
            "last_scan": _job(jobs[0]) if jobs else None,
        }
    if as_json:
        print_json(facts)
        return
    last = facts.pop("last_scan")
    for name, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        typer.echo(f"{name}: {round(shown) if isinstance(shown, float) else shown}")
    if last is not None:
        counted = ", ".join(f"{count} {name}" for name, count in last["counts"].items() if count)
        ended = "running" if running else last["outcome"] or "killed"
        typer.echo(f"last_scan: {last['started']}, {ended}: {counted or 'nothing yet'}")


@app.command("failures")
def failures(library: Library = None, as_json: Json = False) -> None:
    """List the files that could not be analysed, with the reasons.

    They are tried again when they change, with `scan --retry-failed`, or by `rescan PATH`.
    """
    from ..embedding_table import path_to_text

    with opened_library(library) as catalogue:
        found = catalogue.failures()
    if as_json:
        print_json([{"path": path_to_text(f.path), "reason": f.reason} for f in found])
        return
    for failure in found:
        typer.echo(failure.reason)
    say(f"{len(found)} files failed")


@app.command("remove")
def remove(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", readable=False, help="Files, and folders of files."),
    ],
    library: Library = None,
) -> None:
    """Take tracks out of the library; the files are left alone.

    Their vectors are kept for the day they come back, and so are their places in playlists. A scan
    of their folder brings them back; a folder that was removed whole has to be named for that.
    """
    from ..library.scan import remove as remove_paths

    with opened_library(library) as catalogue:
        say(f"removed {remove_paths(catalogue, paths)} tracks and failures")


@app.command("stats")
def stats(library: Library = None, as_json: Json = False) -> None:
    """Show what music there is: hours, artists, albums, genres, years, formats."""
    from ..library.statistics import statistics

    with opened_library(library) as catalogue:
        facts = asdict(statistics(catalogue, top=_SHOWN_NAMES))
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} ({count})" for key, count in value.items()) or "-"
        typer.echo(f"{name}: {round(value, 1) if isinstance(value, float) else value}")


@app.command("verify")
def verify(
    library: Library = None,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild", help="Mend what is wrong; a damaged database is kept aside, not deleted."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check the library: its database, every vector, the disk."""
    from ..library import verify as checks
    from ..library.catalogue import library_folder

    folder = library or library_folder()
    health = checks.rebuild(folder) if rebuild else checks.verify(folder)
    _tell_health(health)
    if as_json:
        print_json(asdict(health))
    if health.problems:
        raise LibraryError(
            f"library={str(folder)!r} has {len(health.problems)} problems; "
            + ("see above." if rebuild else "mend it with `myna library verify --rebuild`.")
        )


# --- pieces --------------------------------------------------------------------------------------


@contextmanager
def _opened(
    folder: Path | None, model: str | None, device: str, threads: int | None, nice: bool
) -> Iterator[tuple["Catalogue", Any]]:
    """Give the library, made if need be, and what loads its model once it is needed."""
    from ..library.catalogue import Catalogue, library_folder
    from ..library.database import CATALOGUE_FILE

    folder = folder or library_folder()
    _be_nice(nice)
    loaded: list[Embedder] = []

    def load(name: str, like: "Header | None") -> "Embedder":
        if not loaded:
            loaded.append(_load(name, device, threads, like))
        return loaded[0]

    if (folder / CATALOGUE_FILE).exists():
        catalogue = Catalogue(folder)
    else:
        from ..embedding_job import header_of
        from ..model.registry import DEFAULT_MODEL

        Catalogue.check_new(folder)
        catalogue = Catalogue.create(folder, header_of(load(model or DEFAULT_MODEL, None)))
    with catalogue:
        header = catalogue.header
        if model is not None:
            embedder = load(model, header)
            catalogue.check_space(embedder.space_id, embedder.source)
        yield catalogue, lambda: load(header.model, header)


def _be_nice(nice: bool) -> None:
    if nice and hasattr(os, "nice"):
        os.nice(19)


def _load(name: str, device: str, threads: int | None, like: "Header | None") -> "Embedder":
    from ..embedder import WholeTrack, Windows, load_model

    set_up_torch(threads)
    if like is None:
        return load_model(name, device=device)
    context = WholeTrack() if like.windows is None else Windows(*like.windows)
    return load_model(name, device=device, layer=like.layer, pooling=like.pooling, context=context)


def _folders(catalogue: "Catalogue") -> list[Path]:
    folders = catalogue.folders()
    if not folders:
        raise LibraryError("folders=none were scanned before; name a folder of music.")
    return folders


def _scan(
    catalogue: "Catalogue",
    paths: list[Path],
    load: Any,
    workers: int | None,
    again: "Again",
    as_json: bool,
) -> None:
    from ..library.scan import scan as scan_folders

    with _scanning() as progress:
        report = scan_folders(
            catalogue, paths, load, workers=workers, again=again, progress=progress
        )
    _tell(report)
    if as_json:
        print_json(_summary(report))
    if report.found == report.failed and report.found:
        raise LibraryError(
            f"files={report.found} could not be analysed, not one of them; the reasons are in "
            "`myna library failures`."
        )


@contextmanager
def _scanning() -> Iterator["Progress"]:
    """Give what shows the progress of a scan."""
    with staged_progress(list="list", scan="scan") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # silent tracks are counted
        yield progress


def _tell(report: "ScanReport") -> None:
    """Print failures, folders left alone and counts on stderr."""
    lines = [f"failed: {failure.reason}" for failure in report.failures[:_SHOWN_FAILURES]]
    if report.failed > _SHOWN_FAILURES:
        lines.append(f"... and {report.failed - _SHOWN_FAILURES} more: `myna library failures`.")
    lines += [
        f"left alone: {str(left.folder)!r}: {left.reason} ({left.tracks} tracks below it)"
        for left in report.untouched
    ]
    counts = [
        f"{report.found} files = {report.analysed} analysed + {report.recognised} recognised + "
        f"{report.unchanged} unchanged + {report.failed} failed"
    ]
    more = {
        "changed": report.changed,
        "moved": report.moved,
        "deleted": report.deleted,
        "silent": report.warned,
    }
    counts += [f"{number} {name}" for name, number in more.items() if number]
    lines.append(f"{'; '.join(counts)}; {report.seconds:.1f} s")
    for line in lines:
        say(line)


def _summary(report: "ScanReport") -> dict[str, Any]:
    from ..embedding_table import path_to_text

    return asdict(report) | {
        "seconds": round(report.seconds, 3),
        "failures": [{"path": path_to_text(f.path), "reason": f.reason} for f in report.failures],
        "untouched": [
            {"folder": path_to_text(left.folder), "reason": left.reason, "tracks": left.tracks}
            for left in report.untouched
        ],
    }


def _running(catalogue: "Catalogue", jobs: "list[Job]") -> int | None:
    """Return the process that scans now; None where none does."""
    if not jobs or jobs[0].ended is not None or catalogue.read_only:
        return None
    try:
        with catalogue.locked():
            return None
    except LibraryError:
        return jobs[0].pid


def _next_model(folder: Path) -> str | None:
    """Return the model that the library is being analysed anew with, and how far that is."""
    from ..library.catalogue import NEXT_FOLDER, Catalogue
    from ..library.database import CATALOGUE_FILE

    workshop = folder / NEXT_FOLDER
    if not (workshop / CATALOGUE_FILE).exists():
        return None
    with Catalogue(workshop) as new:
        counts = new.counts()
        return f"{new.header.model} ({new.header.space_id}), {counts.present} tracks so far"


def _job(job: "Job") -> dict[str, Any]:
    from ..embedding_table import path_to_text

    return asdict(job) | {
        "folders": list(map(path_to_text, job.folders)),
        "started": _when(job.started),
        "ended": None if job.ended is None else _when(job.ended),
    }


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def _tell_health(health: "Health") -> None:
    for line in health.done:
        say(line)
    for line in health.problems:
        say(f"problem: {line}", style="red")
    say(
        f"{health.tracks} tracks, {health.rows} vectors ({health.unused} unused), "
        f"{health.bytes / 2**20:.1f} MiB, {health.free / 2**30:.1f} GiB free"
    )

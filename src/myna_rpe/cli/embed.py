"""`myna embed`: audio files and folders -> a table of embeddings."""

import warnings
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import AudioError, EmbeddingError
from .compute import set_up_torch
from .output import print_json, say, staged_progress

if TYPE_CHECKING:
    from ..embedding_job import Report

_SHOWN_FAILURES = 20


class Precision(str, Enum):
    """Arithmetic of the encoder."""

    fp32 = "fp32"
    mixed = "mixed"


def embed(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH", readable=False, help="Audio files, and folders (searched recursively)."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", readable=False, help="Table to write or bring up to date."),
    ],
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|FOLDER|FILE", help="Model to use; default: the package's own."),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Average windows of this length instead of one whole pass."
        ),
    ] = None,
    layer: Annotated[
        int | None, typer.Option(metavar="N", help="Read after N blocks; default: after the last.")
    ] = None,
    pooling: Annotated[
        str | None, typer.Option(help="cls or mean of the tokens; default: as it was trained.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Decoding threads; default: one per core, <= 4.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Threads of the encoder on the CPU.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    precision: Annotated[
        Precision,
        typer.Option(
            help="fp32 is exact; mixed runs linears in bf16: faster where the hardware has units "
            "for it, three times slower on other processors."
        ),
    ] = Precision.fp32,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try unchanged files that failed before again.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON on stdout.")
    ] = False,
) -> None:
    """Embed music into a parquet table, one row per file.

    Run it again at any time: only new and changed files are embedded, and an interrupted run goes
    on where it stopped. Files that cannot be read are rows with a reason. The table holds exactly
    the files that PATH... names; embeddings of different models never share a table.
    """
    from ..audio.files import find_audio_files
    from ..embedder import SilentTrackWarning, WholeTrack, Windows, load_model
    from ..embedding_job import embed_to_table

    set_up_torch(threads)
    files = find_audio_files(paths)
    embedder = load_model(
        model,
        device=device,
        precision=precision.value,
        layer=layer,
        pooling=pooling,
        context=WholeTrack() if window is None else Windows(window),
    )
    with staged_progress(hash="scan", embed="embed") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", SilentTrackWarning)  # they are in the table and summary
        report = embed_to_table(
            embedder, files, out, workers=workers, retry_failed=retry_failed, progress=progress
        )
    if report.found == report.failed == 1:
        raise AudioError(report.failures[0].error)
    _tell(report)
    if as_json:
        print_json(_summary(report))
    if report.failed == report.found:
        raise EmbeddingError(
            f"files={report.found} could not be embedded, not one of them; "
            f"the reasons are in the error column of {str(out)!r}."
        )


def _tell(report: "Report") -> None:
    """Print failures and counts on stderr."""
    lines = [f"failed: {row.error}" for row in report.failures[:_SHOWN_FAILURES]]
    if report.failed > _SHOWN_FAILURES:
        lines.append(f"... and {report.failed - _SHOWN_FAILURES} more, in the error column.")
    counts = [
        f"{report.found} files = {report.embedded} embedded + {report.reused} reused + "
        f"{report.failed} failed"
    ]
    if report.warned:
        counts.append(f"{report.warned} silent")
    if report.dropped:
        counts.append(f"{report.dropped} rows dropped whose files were not asked for")
    state = "wrote" if report.written else "nothing to do, up to date is"
    lines.append(f"{'; '.join(counts)}; {report.seconds:.1f} s; {state} {str(report.output)!r}")
    for line in lines:
        say(line)


def _summary(report: "Report") -> dict[str, object]:
    from ..embedding_table import path_to_text

    return {
        "output": path_to_text(report.output),
        "space_id": report.space_id,
        "found": report.found,
        "embedded": report.embedded,
        "reused": report.reused,
        "failed": report.failed,
        "dropped": report.dropped,
        "warned": report.warned,
        "written": report.written,
        "seconds": round(report.seconds, 3),
        "failures": [
            {"path": path_to_text(row.path), "error": row.error} for row in report.failures
        ],
    }

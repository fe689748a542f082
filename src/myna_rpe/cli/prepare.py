"""`myna prepare`: music files -> spectrogram shards."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import print_json, printable, progress_bar, say

if TYPE_CHECKING:
    from ..data import PrepareReport


def prepare(
    source: Annotated[list[Path], typer.Argument(help="Files and folders with music.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the shards.")],
    front_end: Annotated[
        str, typer.Option(help="Front-end preset; must be that of the model to train.")
    ] = "rpe-16k",
    storage: Annotated[
        str, typer.Option(help="float16, uint8 (half the size, 0.3 dB steps) or float32.")
    ] = "float16",
    min_seconds: Annotated[
        float, typer.Option(help="Leave out shorter files (sound effects, as a rule).")
    ] = 10.0,
    workers: Annotated[int | None, typer.Option(help="Processes; one per core by default.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Turn music into shards for `myna pretrain`; run it again to go on, or to add new files."""
    from ..config import lookup_front_end
    from ..data import prepare_shards

    config = lookup_front_end(front_end)
    with progress_bar() as bar:
        task = bar.add_task("prepare", total=None, note="")

        def progress(done: int, total: int, path: str) -> None:
            bar.update(task, completed=done, total=total, note=printable(path)[-40:])

        report = prepare_shards(
            source,
            out,
            config,
            storage=storage,
            min_seconds=min_seconds,
            workers=workers,
            progress=progress,
        )
    for file in report.failed:
        say(f"failed: {file.path}: {file.reason}")
    say(
        f"{report.tracks} tracks ({report.seconds / 3600:.2f} h, {report.reused} of them from an "
        f"earlier run) + {len(report.failed)} failed + {len(report.too_short)} shorter than "
        f"{min_seconds:g} s = {report.found} files -> {out}"
    )
    if json:
        print_json(_as_json(report))


def _as_json(report: "PrepareReport") -> dict[str, Any]:
    def files(rejected: tuple[Any, ...]) -> list[dict[str, str]]:
        return [
            {"path": printable(file.path), "reason": printable(file.reason)} for file in rejected
        ]

    return {
        "shards": printable(str(report.folder)),
        "found": report.found,
        "tracks": report.tracks,
        "reused": report.reused,
        "hours": round(report.seconds / 3600, 4),
        "failed": files(report.failed),
        "too_short": files(report.too_short),
    }

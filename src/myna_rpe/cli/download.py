"""`myna download`: data sets over the net, verified."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import print_json, printable, progress_bar, say

if TYPE_CHECKING:
    from ..data.download import FetchPlan

app = typer.Typer(help="Fetch a data set: resumed, verified, nothing twice.", no_args_is_help=True)


@app.command("mtg-jamendo")
def mtg_jamendo(
    folder: Annotated[Path, typer.Argument(help="Where it goes.")],
    quality: Annotated[
        str, typer.Option(help="low (about 156 GB) or full (320 kbit/s, about 508 GB).")
    ] = "low",
    only: Annotated[
        str, typer.Option(help="A part: some of its hundred folders, as 00,01; all by default.")
    ] = "",
    mirror: Annotated[
        str | None, typer.Option(help="Where the archives lie; default: the publishers' own.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is to be fetched, and what it needs.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Fetch MTG-Jamendo: 55,000 tracks under Creative Commons licences, with tags and splits.

    Interrupted, run it again. Each track is under its artist's licence, the metadata under CC
    BY-NC-SA 4.0; see https://github.com/MTG/mtg-jamendo-dataset.
    """
    from ..data.download import AUDIO_URL, download_mtg_jamendo

    def announce(plan: "FetchPlan") -> bool:
        say(str(plan))
        return not dry_run

    with progress_bar() as bar:
        check = bar.add_task("check", total=None, note="")
        fetch = bar.add_task("fetch (MB)", total=None, note="", visible=False)

        def progress(stage: str, done: int, total: int, name: str) -> None:
            if stage == "check":
                bar.update(check, completed=done, total=total, note=name)
            else:
                done, total = done // 10**6, total // 10**6
                bar.update(fetch, completed=done, total=total, note=name, visible=True)

        report = download_mtg_jamendo(
            folder,
            quality=quality,
            only=only.split(",") if only else (),
            mirror=mirror or AUDIO_URL,
            announce=announce,
            progress=progress,
        )
    for name in report.ignored:
        say(f"warning: {name} has no published checksum, and was left in its archive")
    say(
        f"{report.files} tracks are there and verified, {report.fetched} of {report.archives} "
        f"archives were fetched now -> {report.folder}"
    )
    if not dry_run:
        say(f"next: myna prepare {folder} --dataset mtg-jamendo -o SHARDS")
    if json:
        print_json(
            {
                "folder": printable(str(report.folder)),
                "archives": report.archives,
                "fetched": report.fetched,
                "tracks": report.files,
                "ignored": list(report.ignored),
            }
        )

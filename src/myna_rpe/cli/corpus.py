"""`myna corpus`: music for evaluation that anyone can fetch or render."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import print_json, printable, progress_bar, say

if TYPE_CHECKING:
    from ..data.download import FetchPlan

app = typer.Typer(help="Free music to evaluate on: fetched, or rendered.", no_args_is_help=True)


@app.command()
def fetch(
    folder: Annotated[Path, typer.Argument(help="Where the music goes.")],
    role: Annotated[
        str, typer.Option(help="dev (to evaluate on, 0.5 GB), train (1.4 GB) or all.")
    ] = "dev",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is to be fetched, and what it needs.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Fetch freely licensed music of Debian packages: no root, nothing is installed.

    Interrupted, run it again. Each package's licence lies beside its music.
    """
    from ..evaluation.corpus import fetch_corpus, packages_of

    def announce(plan: "FetchPlan") -> bool:
        say(str(plan))
        return not dry_run

    with progress_bar() as bar:
        task = bar.add_task("fetch", total=None, note="")

        def progress(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, note=name)

        report = fetch_corpus(folder, packages_of(role), announce=announce, progress=progress)
    composers = Counter(track.composer for track in report.tracks if track.composer)
    parts = [f"{len(report.tracks)} tracks", *(f"{n} {why}" for why, n in report.dropped.items())]
    say(
        f"{' + '.join(parts)} = {report.found} sound files of {report.packages} packages "
        f"({report.fetched} fetched now) -> {report.folder}"
    )
    say(
        f"{report.seconds / 3600:.2f} h, {report.bytes / 1e6:.0f} MB, "
        f"{len(composers)} composers of {sum(composers.values())} tracks known"
    )
    if json:
        print_json(
            {
                "folder": printable(str(report.folder)),
                "packages": report.packages,
                "fetched": report.fetched,
                "found": report.found,
                "tracks": len(report.tracks),
                "dropped": report.dropped,
                "hours": report.seconds / 3600,
                "bytes": report.bytes,
                "composers": dict(composers.most_common()),
            }
        )


@app.command()
def render(
    folder: Annotated[Path, typer.Argument(help="Where the renderings go.")],
    tunes: Annotated[int, typer.Option(help="Traditional tunes, for train and valid.")] = 240,
    chorales: Annotated[int, typer.Option(help="Chorales by Bach, for test.")] = 96,
    renderings: Annotated[int, typer.Option(help="Of each, in different keys; up to 12.")] = 2,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is to be rendered.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Render scores whose key is known, with FluidSynth, which is fetched where it is missing.

    Interrupted, run it again. Scores come from music21's corpus: `pip install myna-rpe[eval]`.
    """
    from ..evaluation.corpus import RenderSettings, render_scores

    settings = RenderSettings(tunes=tunes, chorales=chorales, renderings=renderings, seed=seed)
    with _rendering_bar(dry_run=dry_run) as (announce, progress):
        done = render_scores(folder, settings, announce=announce, progress=progress)
    splits = Counter(rendering.split for rendering in done)
    parts = ", ".join(f"{count} {split}" for split, count in splits.items())
    hours = sum(rendering.duration for rendering in done) / 3600
    say(f"{len(done)} renderings ({parts or 'none'}), {hours:.2f} h -> {folder}")
    if json:
        print_json(
            {
                "folder": printable(str(folder)),
                "renderings": len(done),
                "splits": dict(splits),
                "tunes": len({rendering.tune for rendering in done}),
                "keys": dict(Counter(rendering.key for rendering in done)),
                "hours": hours,
            }
        )


@app.command()
def perform(
    folder: Annotated[Path, typer.Argument(help="Where the files go.")],
    tunes: Annotated[int, typer.Option(help="Traditional tunes, at most so many.")] = 600,
    keys: Annotated[int, typer.Option(help="Files of each tune, each in another key.")] = 2,
    performances: Annotated[int, typer.Option(help="In each file.")] = 4,
    seconds: Annotated[float, typer.Option(help="Of each performance, at most.")] = 24.0,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is to be rendered.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Render tunes to pretrain on: each file is one tune in one key, performed several times.

    No tune that `render` holds out to choose or test with is among them. Interrupted, run it again.
    """
    from ..evaluation.corpus import PerformanceSettings, render_performances

    settings = PerformanceSettings(
        tunes=tunes, keys=keys, performances=performances, seconds=seconds, seed=seed
    )
    with _rendering_bar(dry_run=dry_run) as (announce, progress):
        done = render_performances(folder, settings, announce=announce, progress=progress)
    hours = sum(medley.duration for medley in done) / 3600
    count = len({medley.tune for medley in done})
    say(f"{len(done)} files of {count} tunes, {hours:.2f} h -> {folder}")
    if json:
        print_json(
            {
                "folder": printable(str(folder)),
                "files": len(done),
                "tunes": count,
                "keys": dict(Counter(medley.key for medley in done)),
                "hours": hours,
            }
        )


@contextmanager
def _rendering_bar(
    *, dry_run: bool
) -> Iterator[tuple[Callable[[int, int, float], bool], Callable[[int, int, str], None]]]:
    """Give what is told the plan, and what is told as work goes on."""

    def announce(pending: int, total: int, needed: float) -> bool:
        say(
            f"{total - pending} of {total} renderings are there; to do: {pending}, which need "
            f"about {needed / 1e6:.0f} MB of disk"
        )
        return not dry_run

    with progress_bar() as bar:
        task = bar.add_task("render", total=None, note="")

        def progress(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, note=name)

        yield announce, progress

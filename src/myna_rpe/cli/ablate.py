"""`myna ablate`: a grid of settings -> models, scores, one table."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import print_json, printable, progress_bar, say

if TYPE_CHECKING:
    from ..ablation import Progress


def ablate(
    grid: Annotated[Path, typer.Argument(help="TOML file of axes; docs/ablation.md explains it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of cells and report.")],
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Cells at a time; one per GPU by default, or one.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run those again that have failed before.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the cells, and how far they are.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Pretrain and evaluate every combination of a grid: recipes, schemes, ratios, lengths, seeds.

    Interrupted, run it again: what is done is kept, and a grown grid runs only what is new. Failed
    cells are listed and left alone; the exit code is 1 then.
    """
    from ..ablation import ablate as run
    from ..ablation import read_grid, survey
    from ..ablation.report import to_markdown

    asked = read_grid(grid)
    if dry_run:
        found = survey(asked, out)
        if json:
            print_json(
                [{"state": state, "folder": str(j.folder), "name": j.name} for j, state in found]
            )
        else:
            for job, state in found:
                typer.echo(f"{state}\t{job.folder.relative_to(out)}\t{job.name}")
        return

    with progress_bar() as bar:
        # Cells take minutes to days: the remaining time is judged by all of them.
        bar.speed_estimate_period = math.inf
        task = bar.add_task("ablate", total=None, note="")

        def report(progress: "Progress") -> None:
            notes = [f"{progress.failed} failed"] if progress.failed else []
            if progress.running:
                notes.append(f"now: {'; '.join(progress.running)}")
            ended = progress.done + progress.failed
            bar.update(task, completed=ended, total=progress.total, note="  ".join(notes))
            for name, reason in progress.failures:
                say(f"failed: {name}: {reason}")

        ablation = run(asked, out, jobs=jobs, retry_failed=retry_failed, progress=report)
    table = ablation.table
    if json:
        print_json(table.to_dict())
    else:
        typer.echo(to_markdown(table))
    say(
        f"{table.num_done} done + {table.num_failed} failed + {table.num_not_run} not run "
        f"= {table.num_cells} cells -> {printable(str(out / 'report.md'))}"
    )
    if ablation.has_failed:
        raise typer.Exit(1)

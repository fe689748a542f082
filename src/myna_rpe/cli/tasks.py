"""`myna tasks`: the published data sets, and whether a copy of one is whole."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import print_json, printable, progress_bar, say

if TYPE_CHECKING:
    from ..evaluation.tasks import Diagnosis

app = typer.Typer(help="List data sets, and check copies of them.", no_args_is_help=True)

# So many problems of one kind are printed; all are in the JSON.
_SHOWN = 10

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the data sets: what is asked, how many clips, under which licence, where from."""
    from ..evaluation.tasks import TASKS

    if as_json:
        print_json(
            [
                {
                    "name": task.name,
                    "title": task.title,
                    "kind": task.kind,
                    "metric": task.metric,
                    "classes": task.num_classes,
                    "clips": dict(task.counts),
                    "citation": task.citation,
                    "licence": task.licence,
                    "source": task.source,
                    "files": [vars(remote) for remote in task.remotes],
                }
                for task in TASKS.values()
            ]
        )
        return
    for task in TASKS.values():
        clips = "/".join(map(str, task.counts.values())) or "as its tables say"
        typer.echo(f"{task.name}: {task.title}")
        typer.echo(f"  {task.kind}, {task.num_classes} classes, {task.metric}")
        typer.echo(f"  clips (train/valid/test): {clips}")
        typer.echo(f"  {task.citation}")
        typer.echo(f"  licence: {task.licence}")
        typer.echo(f"  to get it: {task.source}")


@app.command("doctor")
def doctor(
    name: Annotated[str, typer.Argument(help="A data set: see myna tasks list.")],
    root: Annotated[Path, typer.Option("--root", help="The folder your copy is in.")],
    deep: Annotated[
        bool, typer.Option("--deep", help="Decode every file, rather than read its header.")
    ] = False,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="First fetch labels and lists, verified by SHA-256.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check a copy file by file: there, missing, corrupt, duplicated, unlisted.

    Exits with 0 when it is complete, with 1 when it is not.
    """
    from ..evaluation.tasks import find_task

    task = find_task(name)
    if fetch:
        from ..evaluation.tasks.fetch import fetch_tables

        for url in fetch_tables(task, root):
            say(f"fetched {url}")
    with progress_bar() as bar:
        check = bar.add_task("check", total=None, note="")
        diagnosis = task.doctor(
            root,
            deep=deep,
            progress=lambda done, total: bar.update(check, completed=done, total=total),
        )
    if as_json:
        print_json(json.loads(printable(json.dumps(diagnosis.to_dict(), ensure_ascii=False))))
    else:
        for line in _lines(diagnosis):
            typer.echo(printable(line))
    if not diagnosis.complete:
        say(f"{task.title} in {root} is not complete; {task.source}")
        raise typer.Exit(1)


def _lines(diagnosis: "Diagnosis") -> list[str]:
    """Return the diagnosis for people to read."""
    lines = ["split  expected  listed  there  missing  corrupt"]
    for split, count in diagnosis.splits.items():
        cells = (count.expected, count.listed, count.there, count.missing, count.corrupt)
        widths = (8, 6, 5, 7, 7)
        numbers = "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
        lines.append(f"{split:5}  {numbers}")
    for state in ("corrupt", "missing"):
        found = [problem for problem in diagnosis.problems if problem.state == state]
        lines += _some(state, [f"{p.id} ({p.split}): {p.reason}" for p in found])
    groups = [
        " = ".join(f"{file} ({split or 'left out'})" for file, split in group)
        for group in diagnosis.duplicates
    ]
    lines += _some("bit-identical", groups)
    if diagnosis.leaks:
        lines.append(f"warning: {len(diagnosis.leaks)} groups are in different splits")
    lines += [f"left out: {count} {why}" for why, count in diagnosis.excluded.items()]
    lines += _some("unlisted", diagnosis.unlisted)
    lines += [
        f"table {name}: {'as published' if same else 'NOT the published one'}"
        for name, same in diagnosis.tables.items()
    ]
    lines += [f"note: {key}: {text}" for key, text in diagnosis.notes.items()]
    how = "every file was decoded" if diagnosis.deep else "headers were read; --deep decodes"
    lines.append(f"{'complete' if diagnosis.complete else 'not complete'} ({how})")
    return lines


def _some(what: str, items: Sequence[str]) -> list[str]:
    """Return the first items, each on a line of its own, and how many more there are."""
    lines = [f"{what}: {item}" for item in items[:_SHOWN]]
    return lines + ([f"{what}: {len(items) - _SHOWN} more"] if len(items) > _SHOWN else [])

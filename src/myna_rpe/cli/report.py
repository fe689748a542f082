"""`myna report`: scores of evaluations, compared and put together."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, TaskError, unknown_name
from .output import print_json, printable, say

if TYPE_CHECKING:
    from ..evaluation.compare import Comparison
    from ..evaluation.report.kept import KeptScore

app = typer.Typer(
    help="Compare models that were evaluated, and report several evaluations as one.",
    no_args_is_help=True,
)

_HELP = "A model as reports call it, with its reading; or an evaluation folder of one model."


@app.command("compare")
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help=_HELP)],
    second: Annotated[str, typer.Argument(metavar="B", help="The one it is compared with.")],
    within: Annotated[
        list[Path] | None,
        typer.Option("--in", help="Folder of `myna evaluate`; repeatable.  [default: evaluation]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two models on each task and length that both have, track by track.

    Differences are A minus B on the tracks that both could read, with their 95 % intervals; p is
    of the paired bootstrap. Where a model has several scores on one task (of other settings or
    examples), the command names their files and stops.
    """
    from ..evaluation.compare import compare as run
    from ..evaluation.report.contents import clean
    from ..evaluation.report.tables import warnings_of

    folders = within or [Path("evaluation")]
    ours, theirs = _scores_of(first, folders), _scores_of(second, folders)
    others = {(kept.score.task, kept.score.length): kept.score for kept in theirs}
    pairs = [
        (kept.score, others[question])
        for kept in ours
        if (question := (kept.score.task, kept.score.length)) in others
    ]
    if not pairs:
        raise TaskError(
            f"models={first!r} and {second!r} have no task in common, at one length; "
            "evaluate both on the same tasks."
        )
    comparisons = [run(*pair) for pair in pairs]
    if as_json:
        data = [
            comparison.to_dict() | {"warnings": warnings_of(pair)}
            for pair, comparison in zip(pairs, comparisons, strict=True)
        ]
        print_json(json.loads(printable(json.dumps(data, ensure_ascii=False))))
        return
    lines = [f"A: {clean(comparisons[0].first)}", f"B: {clean(comparisons[0].second)}", ""]
    for pair, comparison in zip(pairs, comparisons, strict=True):
        lines += _lines(comparison, warnings_of(pair))
    typer.echo("\n".join(lines), nl=False)
    tests = sum(len(each.differences) for each in comparisons)
    say(f"p is not corrected for the number of comparisons, {tests}.")


@app.command("write")
def write(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders of `myna evaluate`.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report.")],
) -> None:
    """Write one report of several evaluations, as of other machines or other tasks.

    Where a model has several scores on one task (of other settings, examples or weights), the
    command names their files and stops.
    """
    from ..evaluation.report import write_report
    from ..evaluation.report.kept import check_unique, read_scores

    kept = read_scores(folders)
    check_unique(kept)
    report = write_report([each.score for each in kept], out)
    typer.echo(report.markdown.read_text("utf-8"))
    say(f"report: {report.html}")


# Which scores ------------------------------------------------------------------------------------


def _scores_of(name: str, folders: Sequence[Path]) -> list["KeptScore"]:
    """Return the scores of a label, of a model with one reading, or of a folder with one model."""
    from ..evaluation.report.kept import check_unique, read_scores

    # A model may be called by its folder, so the folders of scores come first.
    is_folder = (Path(name) / "scores").is_dir()
    kept = read_scores([f for f in folders if not is_folder or (f / "scores").is_dir()])
    named = [each for each in kept if each.score.label == name]
    named = named or [each for each in kept if each.score.model == name]
    if not named and is_folder:
        named = read_scores([Path(name)])
    if not named:
        raise ConfigError(unknown_name("model", name, sorted(_labels(kept))))
    labels = _labels(named)
    if len(labels) > 1:
        raise ConfigError(
            f"model={name!r} has scores of {len(labels)} names; "
            f"give one of them: {', '.join(map(repr, labels))}."
        )
    check_unique(named)
    return named


def _labels(kept: Sequence["KeptScore"]) -> list[str]:
    return list(dict.fromkeys(each.score.label for each in kept))


# What is printed ---------------------------------------------------------------------------------


def _lines(comparison: "Comparison", warnings: Sequence[str]) -> list[str]:
    """Return a comparison as a heading, what must be known first, and a table in Markdown."""
    from ..evaluation.report.contents import Table, clean
    from ..evaluation.report.markdown import escape, table_lines
    from ..evaluation.report.tables import difference_text, length_name

    heading = comparison.task
    if comparison.length is not None:
        heading += f", {length_name(comparison.length)}"
    only_first, only_second = comparison.left_out
    left_out = f"left out: {only_first} that only A has, {only_second} that only B has"
    rows = [
        (
            metric,
            *(f"{value:.3f}" for value in comparison.values[metric]),
            difference_text(difference),
            f"{difference.p_value:.3f}",
            str(comparison.num_pairs),
        )
        for metric, difference in comparison.differences.items()
    ]
    return [
        f"## {escape(clean(heading))}",
        "",
        *(line for warning in warnings for line in (f"> {escape(warning)}", "")),
        *table_lines(Table(("metric", "A", "B", "A - B", "p", "pairs"), tuple(rows))),
        "",
        *([left_out, ""] if any(comparison.left_out) else []),
    ]

"""A table -> Markdown, JSON, CSV and a plot; the same table gives the same bytes."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..storage import atomic_write, write_json
from .plot import draw
from .table import SECONDS, Measure, Row, Table

_NONE = "-"


def write_report(table: Table, out: Path) -> None:
    """Write ``report.md``, ``.json``, ``.csv`` and, once there is something to see, ``.svg``.

    Raises:
        OSError: they cannot be written.
    """
    drawing = draw(table)
    files = {"report.md": to_markdown(table, plot=drawing is not None).encode()}
    files["report.csv"] = to_csv(table).encode()
    if drawing is not None:
        files["report.svg"] = drawing
    for name, data in files.items():
        with atomic_write(out / name) as file:
            file.write(data)
    write_json(out / "report.json", table.to_dict())


def to_markdown(table: Table, *, plot: bool = False) -> str:
    """Return the table as a page: rows, peers, failures.

    Args:
        table: what to say.
        plot: whether ``report.svg`` lies beside it.
    """
    return "\n".join([*_heading(table), *_rows(table, plot), *_peers(table), *_failures(table), ""])


def to_csv(table: Table) -> str:
    """Return one line per row and measure, all metrics included."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ["task", "length", "reading", "metric", "mean", "std", "n", "seeds_asked"]
    writer.writerow([*table.axes, *names])
    for row in table.rows:
        labels = [row.values[axis] for axis in table.axes]
        for measure in table.measures:
            if spread := row.spread(measure):
                length = "" if measure.length is None else measure.length
                where = [measure.task, length, measure.reading, measure.metric]
                numbers = [spread.mean, spread.std, spread.n, row.num_seeds]
                writer.writerow([*labels, *where, *numbers])
    return text.getvalue()


def _heading(table: Table) -> Iterator[str]:
    yield "# Ablation"
    yield ""
    counts = [
        f"{table.num_done} done",
        f"{table.num_failed} failed",
        f"{table.num_not_run} not run",
    ]
    yield f"{' + '.join(counts)} = {table.num_cells} cells."
    if table.constants:
        same = ", ".join(f"{axis}={label}" for axis, label in table.constants.items())
        yield f"In all of them: {same}."
    yield ""


def _rows(table: Table, plot: bool) -> Iterator[str]:
    yield _line([*table.axes, "seeds", *(measure.title for measure in table.columns)])
    yield _line(["---"] * (len(table.axes) + 1 + len(table.columns)))
    for row in table.rows:
        labels = [row.values[axis] for axis in table.axes]
        yield _line([*labels, _seeds(row), *(_number(row, measure) for measure in table.columns)])
    yield ""
    yield "Mean ± standard deviation between seeds (n - 1); no ± where there is one seed."
    if worst := max((row.num_failed for row in table.rows), default=0):
        rows = [row.label or "the row" for row in table.rows if row.num_failed]
        yield (
            f"Not all rows are scored on all files: up to {worst} of a task could not be read "
            f"({'; '.join(rows)}); the cells' `evaluation/` says which."
        )
    yield ""
    if plot:
        yield "![mean and seeds of every row](report.svg)"
        yield ""


def _peers(table: Table) -> Iterator[str]:
    columns = [
        measure
        for measure in table.columns
        if any(measure in numbers for numbers in table.peers.values())
    ]
    if not columns:
        return
    yield "## Peers"
    yield ""
    yield _line(["peer", *(measure.title for measure in columns)])
    yield _line(["---"] * (len(columns) + 1))
    for name, numbers in table.peers.items():
        known = [numbers.get(measure) for measure in columns]
        yield _line([name, *(_NONE if value is None else f"{value:.3f}" for value in known)])
    yield ""


def _failures(table: Table) -> Iterator[str]:
    if not table.failures:
        return
    yield "## Failed"
    yield ""
    for done in table.failures:
        if done.failure:
            yield f"- {done.name}: {done.failure.stage}: {done.failure.reason} (`{done.log}`)"
    yield ""
    yield "They are not tried again unless asked for: `--retry-failed`."


def _seeds(row: Row) -> str:
    n = len(row.seeds)
    return str(n) if n == row.num_seeds else f"{n} of {row.num_seeds}"


def _number(row: Row, measure: Measure) -> str:
    spread = row.spread(measure)
    if spread is None:
        return _NONE
    digits = 0 if measure == SECONDS else 3
    mean = f"{spread.mean:.{digits}f}"
    return mean if spread.n < 2 else f"{mean} ± {spread.std:.{digits}f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

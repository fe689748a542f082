"""A table -> Markdown, JSON, CSV and a plot; the same table gives the same bytes."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..storage import atomic_write, write_json
from .plot import WHOLE, draw, draw_lengths
from .table import SECONDS, Answers, Measure, Row, Table

_NONE = "-"
_PLOTS = {
    "report.svg": "mean and seeds of every row",
    "report-lengths.svg": "score against length",
}


def write_report(table: Table, out: Path) -> None:
    """Write ``report.md``, ``.json``, ``.csv`` and, once there is something to see, plots.

    ``report.svg`` has every row on every task; ``report-lengths.svg``, score against length.

    Raises:
        OSError: they cannot be written.
    """
    plots = {"report.svg": draw(table), "report-lengths.svg": draw_lengths(table)}
    files = {name: drawing for name, drawing in plots.items() if drawing is not None}
    files["report.md"] = to_markdown(table, plots=tuple(files)).encode()
    files["report.csv"] = to_csv(table).encode()
    for name, data in files.items():
        with atomic_write(out / name) as file:
            file.write(data)
    write_json(out / "report.json", table.to_dict())


def to_markdown(table: Table, *, plots: Sequence[str] = ()) -> str:
    """Return the table as a page: rows, lengths, ways of reading, peers, failures.

    Args:
        table: what to say.
        plots: files that lie beside it.
    """
    parts = (_heading, _rows, _plots(plots), _lengths, _readings, _best, _peers, _failures)
    return "\n".join([*(line for part in parts for line in part(table)), ""])


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


def _rows(table: Table) -> Iterator[str]:
    yield _line([*table.axes, "seeds", *(measure.title for measure in table.columns)])
    yield _line(["---"] * (len(table.axes) + 1 + len(table.columns)))
    for row in table.rows:
        labels = [row.values[axis] for axis in table.axes]
        numbers = (
            _number(row, measure) + _brackets(row.answers(measure)) for measure in table.columns
        )
        yield _line([*labels, _seeds(row), *numbers])
    yield ""
    yield (
        "Mean ± standard deviation between seeds (n - 1); no ± where there is one seed. \\[low, "
        "high\\]: the 95 % interval of that mean over tracks, by the bootstrap."
    )
    if worst := max((row.num_failed for row in table.rows), default=0):
        rows = [row.label or "the row" for row in table.rows if row.num_failed]
        yield (
            f"Not all rows are scored on all files: up to {worst} of a task could not be read "
            f"({'; '.join(rows)}); the cells' `evaluation/` says which."
        )
    yield ""


def _plots(names: Sequence[str]) -> Callable[[Table], Iterator[str]]:
    def lines(table: Table) -> Iterator[str]:
        for name in names:
            yield f"![{_PLOTS[name]}]({name})"
            yield ""

    return lines


def _lengths(table: Table) -> Iterator[str]:
    tasks = {task: found for task, found in table.by_task.items() if _num_lengths(found) > 1}
    if not tasks:
        return
    yield "## By length"
    yield ""
    yield "How much of each track there was; else as above."
    for task, measures in tasks.items():
        yield ""
        yield f"### {task}, {measures[0].metric.replace('_', ' ')}"
        yield ""
        heads = [", ".join(filter(None, (_length(m), m.reading))) for m in measures]
        yield _line([*table.axes, *heads])
        yield _line(["---"] * (len(table.axes) + len(measures)))
        for row in table.rows:
            labels = [row.values[axis] for axis in table.axes]
            yield _line([*labels, *(_number(row, measure) for measure in measures)])
        for name, numbers in table.peers.items():
            labels = [name, *[""] * (len(table.axes) - 1)]
            yield _line([*labels, *(_peer_number(numbers.get(measure)) for measure in measures)])
    yield ""


def _readings(table: Table) -> Iterator[str]:
    """Yield by how much the first way of reading is ahead of the others."""
    pairs = [
        (first, other)
        for task in table.by_task
        for first, *others in [[measure for measure in table.columns if measure.task == task]]
        for other in others
        if task
    ]
    for reading in dict.fromkeys(other.reading for _, other in pairs):
        columns = [pair for pair in pairs if pair[1].reading == reading]
        yield from _differences(
            f"{columns[0][0].reading or WHOLE}, minus {reading}",
            table,
            [first for first, _ in columns],
            [
                (row, [_minus(row.answers(ours), row.answers(theirs)) for ours, theirs in columns])
                for row in table.rows
            ],
        )


def _best(table: Table) -> Iterator[str]:
    """Yield by how much the row that is best at the first task is ahead of the others."""
    first = {measure.task: measure for measure in reversed(table.columns) if measure.task}
    columns = [measure for measure in table.columns if measure in first.values()]
    known = [row for row in table.rows if columns and row.answers(columns[0])]
    if len(known) < 2:
        return
    best = max(known, key=lambda row: spread.mean if (spread := row.spread(columns[0])) else 0.0)
    yield from _differences(
        f"{best.label}, minus the others",
        table,
        columns,
        [
            (row, [_minus(best.answers(measure), row.answers(measure)) for measure in columns])
            for row in known
            if row is not best
        ],
    )


def _differences(
    title: str, table: Table, columns: Sequence[Measure], rows: Sequence[tuple[Row, list[str]]]
) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    heads = [f"{measure.question}, {measure.metric.replace('_', ' ')}" for measure in columns]
    yield _line([*table.axes, *heads])
    yield _line(["---"] * (len(table.axes) + len(columns)))
    for row, cells in rows:
        yield _line([*(row.values[axis] for axis in table.axes), *cells])
    yield ""
    yield (
        "Means over seeds, paired by tracks: the difference, its 95 % interval, and p of the "
        "paired bootstrap, two-sided, of each comparison by itself."
    )
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
        yield _line([name, *(_peer_number(numbers.get(measure)) for measure in columns)])
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


def _brackets(answers: Answers | None) -> str:
    if answers is None:
        return ""
    interval = answers.interval
    return f" [{interval.low:.3f}, {interval.high:.3f}]"


def _minus(ours: Answers | None, theirs: Answers | None) -> str:
    found = None if ours is None else ours.minus(theirs)
    if found is None:
        return _NONE
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}] p {found.p_value:.3f}"


def _peer_number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}"


def _num_lengths(measures: Sequence[Measure]) -> int:
    return len({measure.length for measure in measures})


def _length(measure: Measure) -> str:
    return "all" if measure.length is None else f"{measure.length:g} s"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

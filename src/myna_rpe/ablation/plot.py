"""The table as pictures: every row on every task, and score against length."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .table import HELD_OUT, Measure, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WHOLE = "one pass"
"""What the default way of reading is called beside others."""

# Okabe & Ito 2008: told apart by everyone.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", ":")  # where there are more rows than colours
_INCHES = 3.2  # width of a panel
_ROW_INCHES = 0.34


def draw(table: Table) -> bytes | None:
    """Return the table as SVG, the same bytes for the same table; None: there is nothing to see.

    Large dots are means, bars reach one standard deviation between seeds to either side, small dots
    are seeds, dashed lines are peers.
    """
    panels: dict[tuple[str, str], list[Measure]] = {}
    shown = [m for m in table.columns if m.task or m == HELD_OUT]
    for measure in shown:
        if any(row.spread(measure) for row in table.rows):
            panels.setdefault((measure.question, measure.metric), []).append(measure)
    if not panels:
        return None

    import matplotlib
    from matplotlib.figure import Figure

    readings = list(dict.fromkeys(m.reading for m in shown if m.task)) or [""]
    height = 1.4 + _ROW_INCHES * len(table.rows) * max(1.0, len(readings) / 2)
    with matplotlib.rc_context({"svg.hashsalt": "myna-rpe", "font.size": 9}):
        figure = Figure(figsize=(1.6 + _INCHES * len(panels), height), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for panel, ((question, metric), measures) in zip(axes, panels.items(), strict=True):
            _fill(panel, table, measures, readings)
            panel.set_title(question or "held out", fontsize=9)
            panel.set_xlabel(metric.replace("_", " "))
            panel.grid(axis="x", alpha=0.3)
        axes[0].set_yticks(range(len(table.rows)), [row.label for row in table.rows])
        axes[0].invert_yaxis()
        if len(readings) > 1:
            names = {
                name: artist
                for panel in axes
                for artist, name in zip(*panel.get_legend_handles_labels(), strict=True)
            }
            figure.legend(
                list(names.values()), list(names), loc="outside upper right", ncols=len(names)
            )
        return _svg(figure)


def draw_lengths(table: Table) -> bytes | None:
    """Return score against length as SVG, a line per row; None: no task has several lengths.

    Below each other are tasks, beside each other the ways of reading. Dots are means, bars one
    standard deviation between seeds to either side.
    """
    tasks = {
        task: measures
        for task, measures in table.by_task.items()
        if len({measure.length for measure in measures}) > 1
        and any(row.spread(measure) for row in table.rows for measure in measures)
    }
    if not tasks:
        return None

    import matplotlib
    from matplotlib.figure import Figure

    readings = list(dict.fromkeys(m.reading for found in tasks.values() for m in found))
    size = (1.2 * _INCHES * len(readings) + 2.0, 0.8 * _INCHES * len(tasks) + 0.4)
    with matplotlib.rc_context({"svg.hashsalt": "myna-rpe", "font.size": 9}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(tasks), len(readings), sharey="row", squeeze=False)
        for line, (task, measures) in zip(axes, tasks.items(), strict=True):
            lengths = list(dict.fromkeys(measure.length for measure in measures))
            for panel, reading in zip(line, readings, strict=True):
                _follow(panel, table, [m for m in measures if m.reading == reading], lengths)
                names = ["all" if length is None else f"{length:g} s" for length in lengths]
                panel.set_xticks(range(len(lengths)), names)
                panel.set_title(f"{task}, {reading or WHOLE}", fontsize=9)
                panel.grid(axis="y", alpha=0.3)
            line[0].set_ylabel(measures[0].metric.replace("_", " "))
        handles, names = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside right upper")
        return _svg(figure)


def _follow(
    panel: "Axes", table: Table, measures: Sequence[Measure], lengths: list[float | None]
) -> None:
    """Draw a line per row, a little beside each other."""
    for number, row in enumerate(table.rows):
        offset = 0.3 * ((number + 0.5) / len(table.rows) - 0.5)
        known = [
            (lengths.index(m.length) + offset, spread)
            for m in measures
            if (spread := row.spread(m))
        ]
        panel.errorbar(
            [place for place, _ in known],
            [spread.mean for _, spread in known],
            yerr=[spread.std for _, spread in known],
            fmt="o",
            linestyle=_DASHES[number // len(_COLOURS) % len(_DASHES)],
            color=_COLOURS[number % len(_COLOURS)],
            markersize=3.5,
            linewidth=1.0,
            elinewidth=1.0,
            label=row.label,
        )


def _svg(figure: "Figure") -> bytes:
    drawing = io.BytesIO()
    figure.savefig(drawing, format="svg", metadata={"Date": None})
    return drawing.getvalue()


def _fill(panel: "Axes", table: Table, measures: Sequence[Measure], readings: list[str]) -> None:
    for measure in measures:
        place = readings.index(measure.reading) if measure.task else 0
        colour, offset = (
            _COLOURS[place % len(_COLOURS)],
            0.5 * ((place + 0.5) / len(readings) - 0.5),
        )
        label = measure.reading or WHOLE
        if not measure.task:  # of the training: not read in any way
            colour, offset, label = "0.25", 0.0, "_"
        spreads = [(y, row.spread(measure)) for y, row in enumerate(table.rows)]
        known = [(y + offset, spread) for y, spread in spreads if spread]
        seeds = [
            (number, y + offset)
            for y, row in enumerate(table.rows)
            for number in row.numbers.get(measure, ())
            if number is not None
        ]
        numbers, places = zip(*seeds, strict=True)
        panel.scatter(numbers, places, s=9, color=colour, alpha=0.35, linewidths=0)
        panel.errorbar(
            [spread.mean for _, spread in known],
            [y for y, _ in known],
            xerr=[spread.std for _, spread in known],
            fmt="o",
            markersize=4.5,
            color=colour,
            elinewidth=1.2,
            label=label,
        )
        for name, reached in table.peers.items():
            if measure in reached:
                panel.axvline(reached[measure], color="0.5", linestyle="--", linewidth=0.8)
                panel.annotate(
                    name,
                    (reached[measure], 1.0),
                    xycoords=("data", "axes fraction"),
                    rotation=90,
                    ha="right",
                    va="top",
                    fontsize=7,
                    color="0.4",
                )

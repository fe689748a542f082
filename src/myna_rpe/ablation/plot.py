"""The table as a picture: per task a panel, a line per row, a dot per seed."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .table import HELD_OUT, Measure, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito 2008: told apart by everyone. One for each way of reading.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
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
        label = measure.reading or "whole tracks"
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

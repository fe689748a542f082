"""Print every comparison with its goal: ``python -m benchmarks [--quick] [--json] [PART ...]``."""

import argparse
import importlib
import inspect
import json
import sys
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from .harness import Row

PARTS = (
    "attention",
    "encoder",
    "training_step",
    "pretraining",
    "gpu_training",
    "front_end",
    "long_track",
    "probes",
    "geometry",
    "library",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, under a minute")
    parser.add_argument("--json", action="store_true", help="rows as JSON on standard output")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"part={unknown.pop()!r} is unknown; valid: {', '.join(PARTS)}.")

    table = []
    for part in arguments.parts or PARTS:
        start = time.perf_counter()
        table += [{"part": part, **row} for row in _rows(part, quick=arguments.quick)]
        print(f"{part}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    if arguments.json:
        print(json.dumps(table, indent=1))
    else:
        Console(width=None if sys.stdout.isatty() else 150).print(_render(table))


def _rows(part: str, *, quick: bool) -> list[Row]:
    module = importlib.import_module(f"{__package__}.{part}")
    takes_quick = "quick" in inspect.signature(module.rows).parameters
    return list(module.rows(**({"quick": quick} if takes_quick else {})))


def _render(table: list[Row]) -> Table:
    view = Table(title="Speed and memory (one thread)", title_justify="left")
    for heading in ("what", "ours", "baseline", "unit", "ratio", "goal", "", "GB", "GB baseline"):
        numeric = heading in {"ours", "baseline", "ratio", "GB", "GB baseline"}
        view.add_column(heading, justify="right" if numeric else "left")
    view.add_column("note", overflow="fold")
    part = None
    for row in table:
        if part not in (None, row["part"]):
            view.add_section()
        part = row["part"]
        met = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[row.get("met")]
        view.add_row(
            str(row.get("name", "")),
            _number(row.get("ours")),
            _number(row.get("baseline")),
            str(row.get("unit", "")),
            _number(row.get("ratio"), "x"),
            str(row.get("goal") or ""),
            met,
            _number(row.get("rss_ours")),
            _number(row.get("rss_baseline")),
            str(row.get("note", "")),
        )
    return view


def _number(value: Any, unit: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}{unit}" if abs(value) >= 100 else f"{value:.3g}{unit}"


if __name__ == "__main__":
    main()

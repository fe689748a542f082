"""Scores -> a report for people (Markdown, HTML with plots) and one for programs (JSON).

`contents` says what a report is made of; `tables` and `plots`, in the style of `drawing`, make that
from scores; `markdown` and `page` write it down; `kept` reads scores that an evaluation left. The
same scores give the same bytes on the same machine: nothing is drawn without a seed, and nothing is
dated.
"""

import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ... import __version__
from ...errors import TaskError
from ...storage import atomic_write, write_json
from ..scores import Score
from .contents import Chapter, Contents, clean
from .markdown import to_markdown
from .page import to_html
from .plots import Map, map_2d, plots_of_part, plots_of_task
from .tables import HOW_TO_READ, by_length, length_name, make_part

__all__ = ["Map", "Report", "write_report"]

_LIBRARIES = ("torch", "numpy", "scikit-learn", "librosa", "mir_eval", "music21", "matplotlib")


@dataclass(frozen=True)
class Report:
    """The files of a report."""

    markdown: Path
    html: Path
    json: Path
    plots: tuple[Path, ...]


def write_report(
    scores: Sequence[Score],
    out: Path,
    *,
    maps: Mapping[str, Map] | None = None,
    heading: str = "Evaluation",
) -> Report:
    """Write ``report.md``, ``report.html``, ``report.json`` and ``plots/*.svg``.

    The page needs none of the other files. Plots of an earlier report that this one does not have
    are removed.

    Args:
        scores: of any tasks, lengths and models; tasks come in the order of the scores.
        out: folder; made where it is not there.
        maps: title -> (features, labels) of spaces to draw, see `plots.map_2d`.
        heading: of the page.

    Raises:
        TaskError: there is no score.
    """
    if not scores:
        raise TaskError("scores=0 leave nothing to report; evaluate a model that answers the task.")
    contents = _contents(scores, maps or {}, heading)
    # All of it before anything is written, so that what fails leaves the report before as it is.
    markdown, html = to_markdown(contents), to_html(contents)
    folder = out / "plots"
    folder.mkdir(parents=True, exist_ok=True)
    report = Report(
        out / "report.md",
        out / "report.html",
        out / "report.json",
        tuple(folder / f"{plot.name}.svg" for plot in contents.plots),
    )
    earlier = _plots_of(report.json)
    for path, plot in zip(report.plots, contents.plots, strict=True):
        _write(path, plot.svg)
    _write(report.markdown, markdown)
    _write(report.html, html)
    names = [path.name for path in report.plots]
    write_json(report.json, _facts() | {"plots": names, "scores": [s.to_dict() for s in scores]})
    for name in earlier - set(names):
        (folder / name).unlink(missing_ok=True)
    return report


def _contents(scores: Sequence[Score], maps: Mapping[str, Map], heading: str) -> Contents:
    chapters = []
    for number, (task, lengths) in enumerate(by_length(scores).items(), 1):
        name = f"{number:02d}-{_file_name(task)}"
        parts = []
        for length, each in lengths.items():
            whole = length is None
            parts.append(
                make_part(
                    each,
                    heading="" if whole and len(lengths) == 1 else length_name(length),
                    plots=plots_of_part(each, name if whole else f"{name}-{length:.10g}s"),
                )
            )
        chapters.append(Chapter(clean(task), tuple(parts), plots_of_task(lengths, name)))
    drawn = tuple(
        map_2d(features, labels, title=title, name=f"map-{number:02d}-{_file_name(title)}")
        for number, (title, (features, labels)) in enumerate(maps.items(), 1)
    )
    return Contents(clean(heading), tuple(chapters), drawn, HOW_TO_READ)


def _file_name(text: str) -> str:
    """Return text as part of a file name and of a link; what makes it unique stands before it."""
    return re.sub("[^A-Za-z0-9.-]+", "-", text)[:60].strip("-.")


def _facts() -> dict[str, Any]:
    """Return what the numbers were made with."""
    libraries = {library: _version(library) for library in _LIBRARIES}
    return {
        "versions": {
            "myna-rpe": __version__,
            "python": platform.python_version(),
            **{library: there for library, there in libraries.items() if there is not None},
        },
        "platform": {
            "system": platform.platform(),
            "machine": platform.machine(),
            "processor": platform.processor(),
        },
    }


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _plots_of(report: Path) -> set[str]:
    """Return the names of the plots that an earlier report has; none where there is no such."""
    try:
        names = json.loads(report.read_bytes())["plots"]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    # Only what is in the folder itself is its own.
    return {name for name in map(str, names) if Path(name).name == name and name.endswith(".svg")}


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())

"""A report -> Markdown that reads well in a terminal, too."""

import re
from collections.abc import Sequence

from .contents import Chapter, Contents, Part, Plot, Table

_SPECIAL = re.compile(r"[\\|<>*`\[\]]")


def to_markdown(contents: Contents) -> str:
    """Return the report; its plots are links to ``plots/NAME.svg``."""
    lines = [f"# {escape(contents.heading)}", ""]
    for chapter in contents.chapters:
        lines += _chapter(chapter)
    if contents.maps:
        lines += ["## Maps", "", *_plots(contents.maps)]
    lines += ["## How to read this", "", *_items([escape(s) for s in contents.how_to_read])]
    return "\n".join(lines)


def table_lines(table: Table) -> list[str]:
    """Return a table; names are escaped, so that no pipe makes a column."""
    return [
        _row(table.header),
        _row(["---"] * len(table.header)),
        *(_row([escape(row[0]), *map(_cell, row[1:])]) for row in table.rows),
    ]


def escape(text: str) -> str:
    r"""Return text of one line with the characters escaped that Markdown takes for its own.

    >>> escape("a|b <c>")
    'a\\|b \\<c\\>'
    """
    return _SPECIAL.sub(lambda match: f"\\{match[0]}", text)


def _chapter(chapter: Chapter) -> list[str]:
    lines = [f"## {escape(chapter.task)}", ""]
    for part in chapter.parts:
        lines += _part(part)
    return lines + _plots(chapter.plots)


def _part(part: Part) -> list[str]:
    lines = [f"### {escape(part.heading)}", ""] if part.heading else []
    for warning in part.warnings:
        lines += [f"> **{escape(warning)}**", ""]
    lines += [*table_lines(part.results), ""]
    if part.differences:
        lines += [f"{escape(part.about_differences)}", "", *table_lines(part.differences), ""]
    if part.spaces:
        lines += [*table_lines(part.spaces), ""]
    lines += _items([escape(note) for note in part.notes])
    for failed in part.failed:
        examples = [f"  - {escape(example)}" for example in failed.examples]
        more = [f"  - and {failed.more} more"] if failed.more else []
        lines += [f"- {escape(failed.summary)}", *examples, *more, ""]
    return lines + _plots(part.plots)


def _items(items: Sequence[str]) -> list[str]:
    return [*(f"- {item}" for item in items), ""] if items else []


def _plots(plots: Sequence[Plot]) -> list[str]:
    lines = []
    for plot in plots:
        lines += [f"{escape(plot.title)}:", "", f"![{plot.name}](plots/{plot.name}.svg)", ""]
    return lines


def _cell(text: str) -> str:
    # Intervals have brackets, which are harmless without what makes them a link.
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "\\<")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

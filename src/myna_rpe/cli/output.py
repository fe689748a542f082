"""What every command prints with: stderr for people, stdout for data."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

console = Console(stderr=True)


class _LazyProgress(Progress):
    """Appears with its first update, so that a refused command leaves no empty bar behind."""

    def start(self) -> None:
        """Do nothing yet."""

    def update(self, *arguments: Any, **fields: Any) -> None:
        """Show the bar, and change a task as `Progress.update` does."""
        super().start()
        super().update(*arguments, **fields)

    def stop(self) -> None:
        """Take the bar down, if it ever appeared."""
        if self.live.is_started:
            super().stop()


def progress_bar() -> Progress:
    """Return a progress display on stderr: description, bar, count, elapsed, remaining, a note.

    Tasks need the field ``note`` (free text): ``bar.add_task("embed", total=9, note="")``.
    """
    return _LazyProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
    )


@contextmanager
def staged_progress(**stages: str) -> Iterator[Callable[[str, int, int], None]]:
    """Give what is told the stage of some work, how much is done, and of how much (0: unknown).

    Nothing is shown where stderr is no terminal.

    Args:
        stages: their names, and what each is called on the screen.
    """
    bar = progress_bar()
    bar.disable = not console.is_terminal
    with bar:
        tasks = {
            stage: bar.add_task(label, total=None, note="", visible=False)
            for stage, label in stages.items()
        }

        def advance(stage: str, done: int, total: int) -> None:
            bar.update(tasks[stage], completed=done, total=total or None, visible=True)

        yield advance


def say(line: str, *, style: str | None = None) -> None:
    """Print a line on stderr as it is; bytes of file names that are not UTF-8 become marks."""
    console.print(printable(line), style=style, markup=False, highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """Return text that any terminal takes: bytes that are not UTF-8 become replacement marks."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def print_json(data: Any) -> None:
    """Print `data` as JSON on stdout, non-ASCII names as they are."""
    json.dump(data, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")

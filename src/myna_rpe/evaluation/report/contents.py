"""What a report says, before it is Markdown or HTML: chapters, tables and plots, as plain text.

All text in here has gone through `clean`: a name from a file is one line, whatever bytes it had.
"""

import re
from dataclasses import dataclass

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NO_CHARACTER = re.compile("[\ud800-\udfff\ufffe\uffff]")


def clean(text: str) -> str:
    r"""Return text as one line that any page and terminal takes.

    Line ends and other control characters become spaces; what is no character, as bytes of file
    names that are not UTF-8, becomes replacement marks.

    >>> clean("two\nlines")
    'two lines'
    """
    return _NO_CHARACTER.sub("\ufffd", _CONTROL.sub(" ", text))


@dataclass(frozen=True)
class Plot:
    """A picture.

    Attributes:
        name: of its file, without the ending.
        title: what it shows.
        svg: the picture, as it lies in its file.
    """

    name: str
    title: str
    svg: str


@dataclass(frozen=True)
class Table:
    """A header and rows of as many cells; the first cell of a row says what it is about."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Failed:
    """What a model could not read: how much, the first few and why, and how many more."""

    summary: str
    examples: tuple[str, ...]
    more: int


@dataclass(frozen=True)
class Part:
    """A task at one length.

    Attributes:
        heading: what sets it apart from the other parts of its chapter; "" where there is none.
        warnings: what must be known before a number is read.
        results: a row for each model, the best first.
        differences: a row for each model but the best; None where there is one model.
        about_differences: between what.
        spaces: how each model's vectors lie; None where no neighbours were asked for.
        notes: what else is to be known.
        failed: of each model that could not read everything.
        plots: of this part.
    """

    heading: str
    warnings: tuple[str, ...]
    results: Table
    differences: Table | None
    about_differences: str
    spaces: Table | None
    notes: tuple[str, ...]
    failed: tuple[Failed, ...]
    plots: tuple[Plot, ...]


@dataclass(frozen=True)
class Chapter:
    """A task: its lengths, and plots across them."""

    task: str
    parts: tuple[Part, ...]
    plots: tuple[Plot, ...]


@dataclass(frozen=True)
class Contents:
    """A whole report: a chapter per task, maps of spaces, and how all that is to be read."""

    heading: str
    chapters: tuple[Chapter, ...]
    maps: tuple[Plot, ...]
    how_to_read: tuple[str, ...]

    @property
    def plots(self) -> tuple[Plot, ...]:
        """All plots, in the order they come."""
        of_chapters = [
            plot
            for chapter in self.chapters
            for plots in (*(part.plots for part in chapter.parts), chapter.plots)
            for plot in plots
        ]
        return (*of_chapters, *self.maps)

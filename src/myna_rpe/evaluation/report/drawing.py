"""How every plot is drawn: one style, colours that can be told apart, legends that hide nothing.

Drawn on `Figure` objects, never through pyplot, so that nothing is shared with anyone. Styles of
the user's own (matplotlibrc) do not count, names are never read as formulas, and ids come from the
plot's name: the same scores give the same bytes. Text stays text, in the page's fonts.
"""

import re
import warnings
from collections.abc import Callable, Sequence
from io import StringIO

from ...errors import ConfigError
from .contents import Plot, clean

try:
    import matplotlib.style
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
except ImportError as error:
    raise ConfigError(
        "matplotlib is not installed, and the report needs it; run: pip install 'myna-rpe[eval]'"
    ) from error

INK, PAPER = "#1f2329", "#fefefe"
"""Text and ground of every plot; nothing else has these colours, so that a page can change them."""

COLOURS = ("#1f83c4", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1")
"""Told apart by the colour-blind too, on light and dark ground. Source: Okabe & Ito 2008."""

GREY = "#8a9199"

_MARKERS = ("o", "s", "^", "D", "v")
_WIDTH = 6.4  # inches


def drawn(name: str, title: str, draw: Callable[[], Figure]) -> Plot:
    """Return what `draw` draws, in the style of all plots."""
    style = {
        "axes.edgecolor": GREY,
        "axes.facecolor": "none",
        "axes.labelcolor": INK,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.facecolor": PAPER,
        "font.size": 9.0,
        "grid.alpha": 0.35,
        "grid.color": GREY,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "text.color": INK,
        "text.parse_math": False,
        "xtick.color": GREY,
        "xtick.labelcolor": INK,
        "ytick.color": GREY,
        "ytick.labelcolor": INK,
    }
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    text = StringIO()
    with matplotlib.style.context(["default", style]), warnings.catch_warnings():
        # Only measured with matplotlib's font; the viewer's will have the letter.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        draw().savefig(text, format="svg", metadata=no_metadata)
    return Plot(name, clean(title), text.getvalue())


def new_figure(*, height: float, width: float = _WIDTH) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes; sizes in inches."""
    margins = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(width, height), layout=margins)
    axes: Axes = figure.subplots()
    axes.set_axisbelow(True)
    return figure, axes


def add_legend(
    figure: Figure, handles: Sequence[Artist], labels: Sequence[str], *, columns: int = 1
) -> None:
    """Put a legend below the axes, where it hides nothing."""
    # A label that begins with "_" would be left out.
    texts = [f" {wrapped(label, 72 // columns)}" for label in labels]
    figure.legend(handles, texts, loc="outside lower left", ncols=columns, fontsize=8)


def look(number: int) -> tuple[str, str]:
    """Return colour and marker of a line or a label; the first 35 differ."""
    return (
        COLOURS[number % len(COLOURS)],
        _MARKERS[number // len(COLOURS) % len(_MARKERS)],
    )


def wrapped(text: str, width: int = 36) -> str:
    """Return text in about three lines of so many letters, broken after spaces and slashes.

    Of longer text the middle is left out, since its end tells models apart.
    """
    text = clean(text)
    if len(text) > 3 * width - 6:
        text = f"{text[:width]}...{text[-(2 * width - 9) :]}"
    lines = [""]
    for piece in re.findall(rf"[^ /]{{0,{width}}}[ /]|[^ /]{{1,{width}}}", text):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.strip() for line in lines) or " "


def shortened(text: str, width: int = 24) -> str:
    """Return the beginning of text that is longer than so many letters."""
    text = clean(text)
    return text if len(text) <= width else f"{text[: width - 3]}..."

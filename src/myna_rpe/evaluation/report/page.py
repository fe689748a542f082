"""A report -> one HTML file that needs no other, nor the net.

Plots are inlined, in the page's own colours: what is ink on paper in their files takes the colour
of the text here, so that it can be read in dark mode. The page forbids itself to load anything.
"""

import re
from importlib.resources import files

from ...errors import ConfigError
from .contents import Contents, Plot
from .drawing import INK, PAPER

try:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup, escape
except ImportError as error:
    raise ConfigError(
        "jinja2 is not installed, and the report needs it; run: pip install 'myna-rpe[eval]'"
    ) from error


def to_html(contents: Contents) -> str:
    """Return the report as a page; all names are escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    text = files(__package__).joinpath("page.html.j2").read_text("utf-8")
    return environment.from_string(text).render(contents=contents, inline=_inline) + "\n"


def _inline(plot: Plot) -> Markup:
    """Return a plot as part of the page, where its ids must not meet those of another one."""
    _, start, rest = plot.svg.partition("<svg ")
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", start + rest)
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{plot.name}-", svg)
    svg = svg.replace(PAPER, "none").replace(INK, "currentColor")
    label = escape(plot.title)
    # matplotlib has escaped the names that are in it.
    return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))

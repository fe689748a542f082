"""A map of a library as a picture, and as a page to look around in.

The picture is a PNG by matplotlib. The page is one HTML file that needs no other, nor the net, and
forbids itself to load anything: points are drawn on a canvas; the wheel or two fingers zoom, the
pointer drags and names what it is over, typing finds. Tracks are coloured by what a `Colouring`
says of them; the most frequent groups have colours, the rest is grey.

Source of the colours: Okabe and Ito 2008, told apart by the colour-blind too.
"""

import json
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from ..embedding_table import path_to_text
from ..errors import ExportError, LibraryError
from ..storage import atomic_write
from .tracks import Track

COLOURS = ("#1f83c4", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#b3a125")
GREY = "#8a9199"
OTHERS = "others"

_INK, _PAPER = "#1f2329", "#fefefe"
_INCHES = 9.0

Colouring = Callable[[Track], str]
"""From a track to the name of its group; empty: it has none."""


def by_genre(track: Track) -> str:
    """Return the first genre, in small letters."""
    return track.genres[0].lower() if track.genres else ""


def by_folder(track: Track) -> str:
    """Return the name of the folder that the file lies in."""
    return path_to_text(Path(track.path.parent.name))


def by_artist(track: Track) -> str:
    """Return the artist of the album, or else of the track."""
    return track.album_artist or track.artist


COLOURINGS: dict[str, Colouring] = {"genre": by_genre, "folder": by_folder, "artist": by_artist}
"""Ways to colour a map, by name."""


@dataclass(frozen=True, eq=False)
class Picture:
    """What is drawn.

    Attributes:
        title: above it.
        tracks: in any order.
        places: (tracks, 2).
        groups: names with counts, the most frequent first; the last may be `OTHERS`.
        group: of each track, its place in `groups`.
    """

    title: str
    tracks: Sequence[Track]
    places: Float32[np.ndarray, "tracks 2"]
    groups: Sequence[tuple[str, int]]
    group: Sequence[int]

    def colour(self, group: int) -> str:
        """Return the colour of a group."""
        name, _ = self.groups[group]
        return GREY if name == OTHERS else COLOURS[group]


def picture(
    title: str,
    tracks: Sequence[Track],
    places: Float32[np.ndarray, "tracks 2"],
    colouring: Colouring,
) -> Picture:
    """Return what is to be drawn of tracks and their places."""
    names = [colouring(track) for track in tracks]
    counts = Counter(name for name in names if name)
    shown = sorted(counts, key=lambda name: (-counts[name], name))[: len(COLOURS)]
    groups = [(name, counts[name]) for name in shown]
    rest = len(tracks) - sum(counts[name] for name in shown)
    if rest:
        groups.append((OTHERS, rest))
    number = {name: place for place, name in enumerate(shown)}
    return Picture(title, tracks, places, groups, [number.get(name, len(shown)) for name in names])


def write_picture(path: Path, what: Picture) -> None:
    """Write a PNG or HTML file, by the ending of its name; it is there whole or not at all.

    Raises:
        ExportError: another ending, or the file cannot be written.
        LibraryError: the package that draws it is not installed.
    """
    check_format(path)
    content = _DRAWERS[path.suffix.lower()](what)
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise ExportError(
            f"output={str(path)!r} cannot be written: {error.strerror or error}; choose a file in "
            "a folder you may write to."
        ) from error


def check_format(path: Path) -> None:
    """Check that a file's name says how a map is to be drawn.

    Raises:
        ExportError: it does not.
    """
    if path.suffix.lower() not in _DRAWERS:
        raise ExportError(
            f"output={str(path)!r} ends in no known format; use one of {', '.join(_DRAWERS)}."
        )


def to_png(what: Picture) -> bytes:
    """Return the map as a PNG of some 1400 x 1400 points.

    Raises:
        LibraryError: matplotlib is not installed.
    """
    try:
        import matplotlib.style
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise _missing("matplotlib") from error
    from io import BytesIO

    content = BytesIO()
    style = {"text.color": _INK, "text.parse_math": False, "figure.facecolor": _PAPER}
    with matplotlib.style.context(["default", style]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        margins = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
        figure = Figure(figsize=(_INCHES, _INCHES), layout=margins, dpi=160)
        axes = figure.subplots()
        group = np.array(what.group, np.int64)
        size = float(np.clip(40_000 / max(1, len(what.tracks)), 1.5, 40))
        # The grey rest lies below.
        for number in reversed(range(len(what.groups))):
            name, count = what.groups[number]
            points = what.places[group == number]
            label = f" {_shortened(name)} ({count})"
            axes.scatter(
                points[:, 0],
                points[:, 1],
                s=size,
                c=what.colour(number),
                alpha=0.45 if name == OTHERS else 0.8,
                linewidths=0,
                label=label,
            )
        axes.set_title(what.title, loc="left", fontsize=12)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_axis_off()
        handles, labels = axes.get_legend_handles_labels()
        legend = figure.legend(
            handles[::-1],
            labels[::-1],
            loc="outside lower left",
            ncols=3,
            fontsize=9,
            frameon=False,
        )
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_sizes([40.0])  # type: ignore[attr-defined]
        figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def to_html(what: Picture) -> bytes:
    """Return the map as a page that needs no other file, nor the net.

    Raises:
        LibraryError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise _missing("jinja2") from error
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    text = files(__package__).joinpath("map.html.j2").read_text("utf-8")
    page = environment.from_string(text).render(title=what.title, data=Markup(_data(what)))
    return (page + "\n").encode("utf-8", "replace")


def _data(what: Picture) -> str:
    """Return what the page draws as JSON that no name can break out of."""
    folders: dict[str, int] = {}
    columns: dict[str, object] = {
        "groups": [
            {"name": name, "count": count, "colour": what.colour(number)}
            for number, (name, count) in enumerate(what.groups)
        ],
        "group": list(what.group),
        "x": [round(float(x), 4) for x in what.places[:, 0]],
        "y": [round(float(y), 4) for y in what.places[:, 1]],
        "label": [_printable(track.label) for track in what.tracks],
        "album": [track.album for track in what.tracks],
        "folder": [
            folders.setdefault(path_to_text(track.path.parent), len(folders))
            for track in what.tracks
        ],
    }
    columns["folders"] = list(folders)
    data = json.dumps(columns, ensure_ascii=True, separators=(",", ":"))
    return data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _printable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _shortened(text: str, width: int = 30) -> str:
    text = _printable(text)
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _missing(package: str) -> LibraryError:
    return LibraryError(
        f"{package} is not installed, and the map needs it; run: pip install 'myna-rpe[library]'"
    )


_DRAWERS: dict[str, Callable[[Picture], bytes]] = {".png": to_png, ".html": to_html}

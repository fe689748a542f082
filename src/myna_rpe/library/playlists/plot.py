"""A check as a picture: the members where they lie, and how far each is from the others.

Left: the two principal directions of the members, with the outline of their hull there; a picture
in two dimensions, so a track that lies within the outline may still be far away. Right: the
distances to the hull of the others, with what counts as near.

Colours: Okabe & Ito 2008, told apart by the colour-blind too. Drawn on a `Figure` of its own.
"""

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ConfigError, ExportError
from ...storage import atomic_write
from .check import Check
from .pool import Pool

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"inside": "#009e73", "near": "#1f83c4", "outside": "#d55e00"}
_INK, _GREY = "#1f2329", "#8a9199"
_MOST_BARS = 30
_MOST_NAMED = 12
_MOST_OTHERS = 2_000
_LONGEST = 34


def draw_check(
    result: Check, pool: Pool, label: Callable[[int], str], path: Path, *, title: str
) -> None:
    """Draw a check as PNG; a file that is there is replaced.

    Args:
        result: to draw.
        pool: the library, whose other tracks are the background.
        label: row -> name.
        path: to write.
        title: of the picture.

    Raises:
        ConfigError: matplotlib is missing.
        ExportError: the file is no PNG by its name, or cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise ExportError(f"plot={str(path)!r} is no .png file; name one.")
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "matplotlib is not installed, and a plot needs it; run: pip install 'myna-rpe[library]'"
        ) from error
    shown = min(len(result.standings), _MOST_BARS)
    content = io.BytesIO()
    style: Any = {"text.parse_math": False, "font.size": 9.0, "text.color": _INK}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure = Figure(figsize=(12, max(5.0, 1.6 + 0.26 * shown)), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
        _draw_places(left, result, pool, label)
        _draw_distances(right, result, label)
        figure.suptitle(_short(title, 90), x=0.01, ha="left", fontweight="bold")
        figure.savefig(content, format="png", dpi=130, metadata={"Software": None})
    try:
        with atomic_write(path) as file:
            file.write(content.getvalue())
    except OSError as error:
        raise ExportError(
            f"plot={str(path)!r} cannot be written ({error.strerror or error}); choose another "
            "place, or mend that."
        ) from error


def _draw_places(axes: "Axes", result: Check, pool: Pool, label: Callable[[int], str]) -> None:
    rows = [standing.row for standing in result.standings]
    points = pool.points[rows]
    centre = points.mean(axis=0)
    _, sizes, directions = np.linalg.svd(points - centre, full_matrices=False)
    plane = directions[:2] if len(directions) > 1 else np.vstack([directions, 0 * directions])
    members = (points - centre) @ plane.T
    step = max(1, len(pool) // _MOST_OTHERS)
    others = (pool.points[::step] - centre) @ plane.T
    axes.scatter(
        others[:, 0], others[:, 1], s=6, color=_GREY, alpha=0.35, linewidths=0, label="the library"
    )
    for place, colour in COLOURS.items():
        at = [i for i, standing in enumerate(result.standings) if standing.place == place]
        if at:
            axes.scatter(
                members[at, 0], members[at, 1], s=42, color=colour, edgecolors="white", label=place
            )
    outline = _outline(members)
    axes.plot(*np.vstack([outline, outline[:1]]).T, color=_INK, linewidth=0.8, alpha=0.5)
    if result.stands_out:
        axes.scatter(
            members[:1, 0], members[:1, 1], s=170, facecolors="none", edgecolors=COLOURS["outside"]
        )
    reach = np.abs(members).max(axis=0) * 1.35 + 1e-9
    axes.set_xlim(-reach[0], reach[0])
    axes.set_ylim(-reach[1], reach[1])
    named = rows[:_MOST_NAMED]
    for row, (x, y) in zip(named, members, strict=False):
        axes.annotate(_short(label(row)), (x, y), (5, 5), textcoords="offset points", fontsize=7.5)
    share = float(np.square(sizes[:2]).sum() / (np.square(sizes).sum() or 1.0))
    axes.set_title(f"two of {pool.space.dims} dimensions, {100 * share:.0f} % of the scatter")
    axes.set_xlabel("first principal direction of the members")
    axes.set_ylabel("second")
    axes.legend(fontsize=8, loc="best", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_distances(axes: "Axes", result: Check, label: Callable[[int], str]) -> None:
    shown = result.standings[:_MOST_BARS]
    heights = np.arange(len(shown))[::-1]
    axes.barh(
        heights,
        [standing.distance for standing in shown],
        color=[COLOURS[standing.place] for standing in shown],
        height=0.72,
    )
    axes.set_yticks(heights, [_short(label(standing.row)) for standing in shown], fontsize=8)
    limits = (("half of the members", 0.5), ("nine in ten", 0.9))
    for name, share in limits:
        at = result.region.calibration.quantile(share)
        if np.isfinite(at):
            axes.axvline(at, color=_INK, linewidth=0.8, linestyle=":")
            axes.annotate(
                name,
                (at, 1.0),
                (2, 2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                fontsize=7.5,
            )
    axes.set_xlabel("distance to the hull of the others")
    if len(result.standings) > len(shown):
        axes.set_ylabel(f"the farthest {len(shown)} of {len(result.standings)}")
    axes.spines[["top", "right"]].set_visible(False)


def _outline(points: np.ndarray) -> np.ndarray:
    """Return the corners of the hull of points in a plane, in turn (Andrew 1979)."""
    ordered = sorted(map(tuple, points.tolist()))
    if len(ordered) < 3:
        return np.array(ordered)

    def half(sequence: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
        kept: list[tuple[float, ...]] = []
        for x, y in sequence:
            while len(kept) > 1:
                (ax, ay), (bx, by) = kept[-2], kept[-1]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                kept.pop()
            kept.append((x, y))
        return kept

    return np.array(half(ordered)[:-1] + half(ordered[::-1])[:-1])


def _short(text: str, most: int = _LONGEST) -> str:
    clean = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\n", " ")
    return clean if len(clean) <= most else f"{clean[: most - 3]}..."

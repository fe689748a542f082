"""Scores -> plots, as SVG; each only where there is something to see."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ...errors import ConfigError, TaskError
from ..keys import KEYS, TONICS
from ..scores import Outputs, Score
from ..statistics import Interval
from .contents import Plot, clean
from .drawing import COLOURS, GREY, PAPER, add_legend, drawn, look, new_figure, shortened, wrapped
from .tables import length_name

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.metrics import precision_recall_curve
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
except ImportError as error:
    raise ConfigError(
        "scikit-learn is not installed, and the report needs it; run: pip install 'myna-rpe[eval]'"
    ) from error

Map = tuple[Float[np.ndarray, "n dim"], Sequence[str]]
"""Features of a space and what each is called."""

_MOST_ROWS = 40
_MOST_LINES = 12
_MOST_TICKS = 12
_MOST_NUMBERED = 30  # classes of a confusion matrix whose cells have numbers
_MOST_NAMED = 20  # labels of a map
_MOST_STEPS = 200  # of recall
_MOST_POINTS = 2000  # of a map
_FEW = 10  # points of which t-SNE makes nothing


def plots_of_part(scores: Sequence[Score], name: str) -> tuple[Plot, ...]:
    """Return the plots of a task at one length: who wins, by which reading, and with which errors.

    Args:
        scores: of it, the best first.
        name: what the names of the plots begin with.
    """
    plots = [
        _values(scores, name),
        _contexts(scores, name),
        _layers(scores, name),
        _coherence(scores, name),
        _confusion(scores[0], name),
        _precision_recall(scores, name),
        _tags(scores[0], name),
    ]
    return tuple(plot for plot in plots if plot is not None)


def plots_of_task(lengths: Mapping[float | None, Sequence[Score]], name: str) -> tuple[Plot, ...]:
    """Return the plots across the lengths of a task.

    Args:
        lengths: length -> scores.
        name: what the names of the plots begin with.
    """
    plot = _lengths([score for scores in lengths.values() for score in scores], name)
    return () if plot is None else (plot,)


# Values ------------------------------------------------------------------------------------------


def _values(scores: Sequence[Score], name: str) -> Plot | None:
    """Return a dot and an interval for each model, the best on top."""
    if len(scores) < 2:
        return None
    metric = scores[0].primary
    shown = scores[:_MOST_ROWS]
    of = f", the best {len(shown)} of {len(scores)}" if len(shown) < len(scores) else ""

    def draw() -> Figure:
        labels = [wrapped(score.label) for score in shown]
        lines = sum(label.count("\n") + 1 for label in labels)
        figure, axes = new_figure(height=0.8 + 0.12 * len(shown) + 0.16 * lines)
        for row, score in enumerate(shown):
            value = score.metrics[metric]
            colour = COLOURS[0] if row == 0 else GREY
            axes.plot([value.low, value.high], [row, row], color=colour, linewidth=2)
            axes.plot([value.value], [row], "o", color=colour, markersize=6)
        axes.set_yticks(range(len(shown)), labels)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlabel(metric)
        axes.grid(axis="x")
        return figure

    return drawn(f"{name}-values", f"{_task(scores[0])}: {metric} with 95 % intervals{of}", draw)


# Sweeps ------------------------------------------------------------------------------------------

_Lines = Mapping[str, Mapping[float | None, Score]]
"""What a line is called -> x -> score; None is what lies at the right end."""


def _contexts(scores: Sequence[Score], name: str) -> Plot | None:
    """Return the values over the windows that models read in."""
    return _sweep(
        f"{name}-contexts",
        f"{_task(scores[0])}: {scores[0].primary} by context length",
        _of_readings(scores, "window"),
        x_label="context, in seconds",
        last="whole track",
        scale=_octaves,
    )


def _layers(scores: Sequence[Score], name: str) -> Plot | None:
    """Return the values over the blocks that models are read after."""
    return _sweep(
        f"{name}-layers",
        f"{_task(scores[0])}: {scores[0].primary} by layer",
        _of_readings(scores, "layer"),
        x_label="read after so many blocks",
        last="last",
        scale=_steps,
    )


def _lengths(scores: Sequence[Score], name: str) -> Plot | None:
    """Return the values over how much of each track there is."""
    lines: dict[str, dict[float | None, Score]] = {}
    for score in scores:
        lines.setdefault(score.label, {})[score.length] = score
    return _sweep(
        f"{name}-lengths",
        f"{scores[0].task}: {scores[0].primary} by how much of each track there is",
        lines,
        x_label="seconds of each track",
        last="all of it",
        scale=_octaves,
    )


def _of_readings(scores: Sequence[Score], field: str) -> _Lines:
    """Return a line for each model and all else about its reading; x is the field."""
    lines: dict[str, dict[float | None, Score]] = {}
    for score in scores:
        if score.reading is not None:
            alike = replace(score, reading=replace(score.reading, **{field: None}))
            x = getattr(score.reading, field)
            lines.setdefault(alike.label, {})[None if x is None else float(x)] = score
    return lines


def _octaves(known: Sequence[float]) -> dict[float | None, float]:
    """Return the places of numbers on a logarithmic axis, and of what is beyond them."""
    places: dict[float | None, float] = {x: float(np.log2(x)) for x in known}
    low, high = min(places.values()), max(places.values())
    return {**places, None: high + max(1.0, 0.2 * (high - low))}


def _steps(known: Sequence[float]) -> dict[float | None, float]:
    """Return the places of whole numbers, and of what comes after them."""
    return {**{x: float(x) for x in known}, None: max(known) + 1.0}


def _sweep(
    name: str,
    title: str,
    lines: _Lines,
    *,
    x_label: str,
    last: str,
    scale: Callable[[Sequence[float]], dict[float | None, float]],
) -> Plot | None:
    """Return the primary metric over x, a line for each label that has several x.

    Args:
        name: of the plot.
        title: of it.
        lines: see `_Lines`.
        x_label: what x is.
        last: what the right end is.
        scale: x that are known -> places of all.
    """
    every = {label: line for label, line in lines.items() if len(line) > 1}
    if not every:
        return None
    metric = next(score.primary for line in every.values() for score in line.values())

    def best(label: str) -> float:
        return max(score.metrics[metric].value for score in every[label].values())

    shown = sorted(every, key=lambda label: (-best(label), label))[:_MOST_LINES]
    of = f", the best {len(shown)} of {len(every)}" if len(shown) < len(every) else ""
    used = {x for label in shown for x in every[label]}
    known = sorted(x for x in used if x is not None)
    places = scale(known)
    right = max(places[x] for x in used)
    # Side by side, so that no interval hides another.
    step = 0.012 * max(1.0, right - min(places.values()))

    def draw() -> Figure:
        figure, axes = new_figure(height=3.8 + 0.2 * len(shown))
        handles = []
        for number, label in enumerate(shown):
            line = sorted(every[label].items(), key=lambda item: places[item[0]])
            shift = (number - (len(shown) - 1) / 2) * step
            x = [places[x] + shift for x, _ in line]
            intervals = [score.metrics[metric] for _, score in line]
            handles.append(_draw_line(axes, x, intervals, number, dotted=line[-1][0] is None))
        ticks = known[:: -(-len(known) // _MOST_TICKS)]
        ends = [last] if None in used else []
        axes.set_xticks(
            [*(places[x] for x in ticks), *(places[None] for _ in ends)],
            [*(f"{x:.4g}" for x in ticks), *ends],
        )
        axes.set_xlabel(x_label)
        axes.set_ylabel(metric)
        axes.grid(axis="y")
        add_legend(figure, handles, shown)
        return figure

    return drawn(name, f"{title}, with 95 % intervals{of}", draw)


def _draw_line(
    axes: Axes, x: Sequence[float], intervals: Sequence[Interval], number: int, *, dotted: bool
) -> Line2D:
    """Draw values and intervals, and return what a legend shows.

    What is at the right end has no place on the scale: the way there is dotted.
    """
    colour, marker = look(number)
    lows, highs = [i.low for i in intervals], [i.high for i in intervals]
    axes.vlines(x, lows, highs, colors=colour, alpha=0.6, linewidth=2)
    style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5}
    y = [interval.value for interval in intervals]
    inside = len(x) - dotted
    axes.plot(x[:inside], y[:inside], **style)
    axes.plot(x[inside - 1 :], y[inside - 1 :], linestyle=":", **style)
    return Line2D([], [], **style)


# Neighbours --------------------------------------------------------------------------------------


def _coherence(scores: Sequence[Score], name: str) -> Plot | None:
    """Return the share of a track's label among its k nearest, over k; all others are chance."""
    curves = {
        score.label: {int(k): share for k, share in score.details["space"]["coherence"].items()}
        for score in scores[:_MOST_LINES]
        if "space" in score.details
    }
    if not curves:
        return None

    def draw() -> Figure:
        figure, axes = new_figure(height=3.8 + 0.2 * len(curves))
        handles = []
        for number, curve in enumerate(curves.values()):
            colour, marker = look(number)
            ks = sorted(curve)
            style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4}
            handles += axes.plot(ks, [curve[k] for k in ks], **style)
        axes.set_xscale("log")
        ticks = sorted({k for curve in curves.values() for k in curve})
        axes.set_xticks(ticks, [str(k) for k in ticks])
        axes.minorticks_off()
        axes.set_xlabel("nearest tracks")
        axes.set_ylabel("share of the same label")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        add_legend(figure, handles, list(curves))
        return figure

    return drawn(f"{name}-coherence", f"{_task(scores[0])}: neighbours of the same label", draw)


# Errors ------------------------------------------------------------------------------------------


def _confusion(score: Score, name: str) -> Plot | None:
    """Return what a model takes for what, by the mean over seeds of its probabilities."""
    evidence = score.evidence
    if not isinstance(evidence, Outputs) or evidence.kind not in ("classification", "key"):
        return None
    order = class_order(evidence.classes)
    counts = confusion_counts(evidence)[np.ix_(order, order)]
    classes = [shortened(evidence.classes[index]) for index in order]
    n = len(classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    def draw() -> Figure:
        side = min(max(0.3 * n, 2.0), 8.0)
        figure, axes = new_figure(width=side + 2.2, height=side + 1.8)
        # Not an image: the page may not load any.
        axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors=PAPER, linewidth=0.3)
        size = 8.0 if n <= 12 else 7.0 if n <= _MOST_NUMBERED else 6.0
        if n <= _MOST_NUMBERED:
            for row, column in np.argwhere(counts):
                colour = "#ffffff" if shares[row, column] > 0.55 else "#10151a"
                text = axes.text(column + 0.5, row + 0.5, str(counts[row, column]))
                text.set(fontsize=size, color=colour, ha="center", va="center_baseline")
        middles = np.arange(n) + 0.5
        axes.set_xticks(middles, classes, rotation=90, fontsize=size)
        axes.set_yticks(middles, classes, fontsize=size)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        axes.set_xlabel("estimated")
        axes.set_ylabel("true")
        return figure

    title = f"{_task(score)}: what {score.label} takes for what, shaded by share of the true class"
    return drawn(f"{name}-confusion", title, draw)


def confusion_counts(evidence: Outputs) -> Int[np.ndarray, "classes classes"]:
    """Return how many tracks of each class (row) are taken for each (column).

    The estimate is the highest of the mean over seeds.
    """
    n = len(evidence.classes)
    estimates = evidence.values.mean(axis=0).argmax(axis=1)
    counts = np.zeros((n, n), dtype=np.int64)
    np.add.at(counts, (evidence.targets, estimates), 1)
    return counts


def class_order(classes: Sequence[str]) -> list[int]:
    """Return the indices of classes as they are drawn.

    Keys go round the circle of fifths, all major, then all minor ones, each beginning where it has
    no accidental; so keys that are easily taken for each other are neighbours. Others stay as they
    are.
    """
    if not set(classes) <= set(KEYS):
        return list(range(len(classes)))
    fifths = [TONICS[7 * step % 12] for step in range(12)]
    relative = [TONICS[(7 * step + 9) % 12] for step in range(12)]
    circle = [f"{t} major" for t in fifths] + [f"{t} minor" for t in relative]
    return sorted(range(len(classes)), key=lambda index: circle.index(classes[index]))


def _precision_recall(scores: Sequence[Score], name: str) -> Plot | None:
    """Return the curves of several models, over all tags at once."""
    curves = [
        (score.label, evidence.targets.ravel(), evidence.values.mean(axis=0).ravel())
        for score, evidence in ((score, score.evidence) for score in scores[:_MOST_LINES])
        if isinstance(evidence, Outputs) and evidence.kind == "multilabel"
    ]
    if len(curves) < 2:
        return None

    def draw() -> Figure:
        figure, axes = new_figure(height=4.2 + 0.2 * len(curves))
        handles = []
        for number, (_, targets, values) in enumerate(curves):
            colour, _ = look(number)
            handles += axes.plot(*precision_recall(targets, values), color=colour)
        _precision_recall_axes(axes)
        add_legend(figure, handles, [label for label, _, _ in curves])
        return figure

    title = f"{_task(scores[0])}: precision and recall over all tags"
    return drawn(f"{name}-precision-recall", title, draw)


def _tags(score: Score, name: str) -> Plot | None:
    """Return the curves of a model's tags, and over all of them at once."""
    evidence = score.evidence
    if not isinstance(evidence, Outputs) or evidence.kind != "multilabel":
        return None
    targets, values = evidence.targets, evidence.values.mean(axis=0)

    def draw() -> Figure:
        figure, axes = new_figure(height=4.4)
        thin: list[Line2D] = []
        for tag in np.flatnonzero(targets.any(axis=0)):
            curve = precision_recall(targets[:, tag], values[:, tag])
            thin = axes.plot(*curve, color=GREY, alpha=0.5, linewidth=0.7)
        thick = axes.plot(*precision_recall(targets.ravel(), values.ravel()), color=COLOURS[0])
        _precision_recall_axes(axes)
        add_legend(figure, [*thick, *thin], ["all tags at once", "each tag"][: 1 + len(thin)])
        return figure

    title = f"{_task(score)}: precision and recall of {score.label}, tag by tag"
    return drawn(f"{name}-tags", title, draw)


def precision_recall(
    targets: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """Return recall, ascending, and precision, at no more points than can be seen.

    Of thresholds that differ less in recall it is the highest, where precision is best.
    """
    precision, recall, _ = precision_recall_curve(targets, values)
    # Without the last point, a precision of 1 that no threshold reaches.
    precision, recall = precision[-2::-1], recall[-2::-1]
    _, first = np.unique(np.round(recall * _MOST_STEPS), return_index=True)
    return recall[first], precision[first]


def _precision_recall_axes(axes: Axes) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.grid()


def _task(score: Score) -> str:
    """Return what a title calls the task of a part."""
    return score.task if score.length is None else f"{score.task}, {length_name(score.length)}"


# Maps --------------------------------------------------------------------------------------------


def map_2d(
    features: Float[np.ndarray, "n dim"],
    labels: Sequence[str],
    *,
    seed: int = 0,
    title: str = "Map",
    name: str = "map",
) -> Plot:
    """Return a picture of a space, in which near points are of near tracks.

    The most frequent labels have colours and names, the others are grey. Of very many points some
    are drawn, from the seed.

    Args:
        features: one vector per track, of which directions count.
        labels: what each is called.
        seed: of what is drawn.
        title: of the plot.
        name: of its file.

    Raises:
        TaskError: labels do not fit the features, or there are none.
    """
    if len(features) != len(labels) or not len(features):
        raise TaskError(
            f"labels={len(labels)} of {len(features)} vectors make no map; give one for each."
        )
    if len(features) > _MOST_POINTS:
        rows = np.random.default_rng(seed).permutation(len(features))[:_MOST_POINTS]
        title = f"{title}, {_MOST_POINTS} of {len(features)}"
        features, labels = features[rows], [labels[row] for row in rows]
    points = project_2d(features, seed=seed)
    given = np.array([clean(label) for label in labels])
    # Among equally frequent ones by name.
    counts = sorted(Counter(given.tolist()).items(), key=lambda item: (-item[1], item[0]))
    named = sorted(label for label, _ in counts[:_MOST_NAMED])

    def draw() -> Figure:
        figure, axes = new_figure(height=5.0 + 0.1 * len(named))
        others = ~np.isin(given, named)
        handles, names = [], []
        if others.any():
            handles.append(
                axes.scatter(points[others, 0], points[others, 1], s=10, color=GREY, alpha=0.5)
            )
        for number, label in enumerate(named):
            colour, marker = look(number)
            mine = given == label
            handles.append(
                axes.scatter(points[mine, 0], points[mine, 1], s=18, color=colour, marker=marker)
            )
        names = [*(["others"] if others.any() else []), *named]
        axes.set_axis_off()
        axes.set_aspect("equal", adjustable="datalim")
        add_legend(figure, handles, names, columns=3)
        return figure

    return drawn(name, title, draw)


def project_2d(features: Float[np.ndarray, "n dim"], *, seed: int = 0) -> Float[np.ndarray, "n 2"]:
    """Return a place in the plane for each vector: principal components, then t-SNE of them.

    Few vectors, or none that differ, are placed by their first two components alone.

    Source:
        van der Maaten & Hinton 2008.
    """
    directions = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    wide = np.pad(directions.astype(np.float64), ((0, 0), (0, max(0, 2 - features.shape[1]))))
    n = len(wide)
    if np.ptp(wide, axis=0).max() < 1e-9:
        return np.zeros((n, 2))
    # One thread: the sums of several are in another order, which would be another picture.
    with threadpool_limits(1):
        components = PCA(min(50, *wide.shape), svd_solver="full").fit_transform(wide)
        if n < _FEW:
            return np.asarray(components[:, :2])
        perplexity = min(30.0, (n - 1) / 3)
        tsne = TSNE(init="pca", perplexity=perplexity, random_state=seed)
        return np.asarray(tsne.fit_transform(components), dtype=np.float64)

"""How good predictions, neighbours and a space are, as pure functions.

Two families. The *measures* judge what a probe gives out; they take tensors with any number of
leading axes (settings of a grid, resamples of a bootstrap), because a probe is judged thousands of
times while it trains, and `score` is their door for arrays:

    classification, key   targets (n,) class indices   outputs (n, classes), the highest one counts
    multilabel            targets (n, tags) 0 or 1     outputs (n, tags), any monotonous score
    regression            targets (n, targets)         outputs (n, targets), in the same unit

The others take embeddings (n, dim), of which directions count and lengths do not: retrieval,
identification, neighbourhoods, hubness, alignment and uniformity.

Sources: Raffel et al. 2014 (mir_eval, the MIREX key score); Fawcett 2006 (ROC-AUC with ties);
Radovanovic et al. 2010 (hubness); Wang & Isola 2020 (alignment, uniformity). The tests hold the
measures against scikit-learn and mir_eval.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import ConfigError, TaskError, unknown_name
from ..objectives import health
from .examples import Kind

METRICS: dict[Kind, tuple[str, ...]] = {
    "classification": ("accuracy", "macro_f1"),
    "key": ("key_score", "accuracy", "macro_f1"),
    "multilabel": ("roc_auc", "average_precision"),
    "regression": ("r2",),
    "retrieval": ("map", "p_at_1", "p_at_5", "p_at_10", "mrr"),
}
"""What is reported of a task of each kind; the first is what probes are chosen by."""

_BLOCK = 1024  # queries whose similarities are held at once

Measure = Callable[[Tensor, Tensor, Sequence[str]], Tensor]
"""(targets, outputs, names of the classes) -> one number for each place of the leading axes."""


# Measures of what probes give out ----------------------------------------------------------------


def accuracy(
    targets: Int[Tensor, "*#batch n"], outputs: Float[Tensor, "*#batch n classes"]
) -> Float[Tensor, "*batch"]:
    """Return the share of examples whose highest output is their class; the first among equals."""
    return (outputs.argmax(dim=-1) == targets).double().mean(dim=-1)


def macro_f1(
    targets: Int[Tensor, "*#batch n"], outputs: Float[Tensor, "*#batch n classes"]
) -> Float[Tensor, "*batch"]:
    """Return the mean F1 of the classes that occur in the targets, 0 to 1."""
    classes = torch.arange(outputs.shape[-1], device=outputs.device)
    true = targets[..., None] == classes
    predicted = outputs.argmax(dim=-1)[..., None] == classes
    hits = (true & predicted).double().sum(dim=-2)
    f1 = 2 * hits / (true.double().sum(dim=-2) + predicted.double().sum(dim=-2)).clamp(min=1)
    return _mean_where(f1, true.any(dim=-2))


def key_score(
    targets: Int[Tensor, "*#batch n"],
    outputs: Float[Tensor, "*#batch n classes"],
    classes: Sequence[str],
) -> Float[Tensor, "*batch"]:
    """Return the mean MIREX weighted score, 0 to 1.

    1 for the key, .5 for the key a fifth above it, .3 for its relative, .2 for its parallel key.

    Args:
        targets: indices of classes.
        outputs: the highest one is the estimate.
        classes: keys as mir_eval writes them: "C# major", "Eb minor".

    Raises:
        TaskError: a class is no key.
    """
    table = torch.from_numpy(key_table(tuple(classes))).to(outputs.device)
    return table[targets, outputs.argmax(dim=-1)].mean(dim=-1)


def roc_auc(targets: Tensor, outputs: Float[Tensor, "*#batch n tags"]) -> Float[Tensor, "*batch"]:
    """Return the mean area under the ROC curves of the tags, 0 to 1; chance is .5.

    It is the share of pairs of a tagged and an untagged example that are ordered rightly, equal
    outputs counting half. A tag that all examples have, or none, has no curve: it is left out of
    the mean. Without any tag left, the result is NaN.
    """
    n = targets.shape[-2]
    true, left, right, below, upto = _ranks(targets, outputs)
    negatives = n - true.sum(dim=-1, keepdim=True)
    under = (left - below) + (right - upto)  # twice: untagged ones below, and half of the equal
    return _mean_over_tags(under / (2 * negatives), true)


def average_precision(
    targets: Tensor, outputs: Float[Tensor, "*#batch n tags"]
) -> Float[Tensor, "*batch"]:
    """Return the mean average precision of the tags, 0 to 1; chance is the share of tagged ones.

    The precision at every tagged example, equal outputs taken together. Tags are left out as in
    `roc_auc`, so that both speak of the same ones.
    """
    n = targets.shape[-2]
    true, left, _, below, _ = _ranks(targets, outputs)
    precision = (true.sum(dim=-1, keepdim=True) - below) / (n - left)
    return _mean_over_tags(precision, true)


def r2(
    targets: Float[Tensor, "*#batch n targets"], outputs: Float[Tensor, "*#batch n targets"]
) -> Float[Tensor, "*batch"]:
    """Return the mean of `r2_per_target`."""
    return r2_per_target(targets, outputs).mean(dim=-1)


def r2_per_target(
    targets: Float[Tensor, "*#batch n targets"], outputs: Float[Tensor, "*#batch n targets"]
) -> Float[Tensor, "*batch targets"]:
    """Return the share of the variance that is explained: at most 1, 0 for the mean itself.

    NaN for a target that does not vary.
    """
    targets, outputs = targets.double(), outputs.double()
    residual = (targets - outputs).square().sum(dim=-2)
    total = (targets - targets.mean(dim=-2, keepdim=True)).square().sum(dim=-2)
    return torch.where(total > 0, 1 - residual / total, torch.nan)


MEASURES: dict[str, Measure] = {
    "accuracy": lambda targets, outputs, classes: accuracy(targets, outputs),
    "macro_f1": lambda targets, outputs, classes: macro_f1(targets, outputs),
    "key_score": key_score,
    "roc_auc": lambda targets, outputs, classes: roc_auc(targets, outputs),
    "average_precision": lambda targets, outputs, classes: average_precision(targets, outputs),
    "r2": lambda targets, outputs, classes: r2(targets, outputs),
}
"""The measures by the names that `METRICS` uses."""


def lookup_measure(name: str, kind: Kind) -> Measure:
    """Return a measure of tasks of this kind.

    Raises:
        ConfigError: it is none; the valid ones are listed.
    """
    valid = [metric for metric in METRICS[kind] if metric in MEASURES]
    if name not in valid:
        raise ConfigError(unknown_name(f"metric of {kind} tasks", name, valid))
    return MEASURES[name]


def score(
    kind: Kind, targets: np.ndarray, outputs: np.ndarray, classes: Sequence[str]
) -> dict[str, float]:
    """Return all metrics of the kind, the primary one first; of regression also ``r2 TARGET``.

    Args:
        kind: any but retrieval.
        targets: (n,) or (n, classes), see the module.
        outputs: (n, classes).
        classes: their names.

    Raises:
        TaskError: a metric has no value, as where no tag has examples with and without it.
    """
    truth, given = torch.from_numpy(targets), torch.from_numpy(outputs)
    scores = {
        name: float(lookup_measure(name, kind)(truth, given, classes)) for name in METRICS[kind]
    }
    for name, value in scores.items():
        if np.isnan(value):
            raise TaskError(
                f"{name} of {len(targets)} examples has no value, because no class or target "
                "varies among them; give examples of more than one kind."
            )
    if kind == "regression":
        values = r2_per_target(truth, given).tolist()
        scores |= {f"r2 {name}": value for name, value in zip(classes, values, strict=True)}
    return scores


@cache
def key_table(classes: tuple[str, ...]) -> Float[np.ndarray, "classes classes"]:
    """Return the MIREX score of every estimate (column) for every key (row).

    Raises:
        TaskError: a class is no key.
    """
    key = _mir_eval_key()
    try:
        return np.array(
            [[key.weighted_score(true, guess) for guess in classes] for true in classes],
            dtype=np.float64,
        )
    except ValueError as error:
        raise TaskError(
            f"classes={', '.join(classes)} are not all keys ({error}); "
            "write keys as 'C# major' or 'Eb minor'."
        ) from error


def _mir_eval_key() -> ModuleType:
    # An extra, so that reading and embedding music does not need it.
    try:
        import mir_eval.key
    except ImportError as error:
        raise ConfigError(
            "mir_eval is not installed, and the key score needs it; "
            "run: pip install 'myna-rpe[eval]'"
        ) from error
    module: ModuleType = mir_eval.key
    return module


def _ranks(targets: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return, with tags before examples, where each stands in the ascending order of outputs.

    ``true``: whether it is tagged. ``left``, ``right``: how many outputs are below it, and not
    above it. ``below``, ``upto``: how many of those are tagged.
    """
    values, order = outputs.transpose(-1, -2).contiguous().sort(dim=-1)
    tagged = (targets.transpose(-1, -2) > 0).expand(values.shape)
    true = tagged.gather(-1, order).double()
    # Number of tagged ones among the first 0, 1, ..., n.
    cumulative = torch.nn.functional.pad(true.cumsum(dim=-1), (1, 0))
    left = torch.searchsorted(values, values)
    right = torch.searchsorted(values, values, right=True)
    return true, left, right, cumulative.gather(-1, left), cumulative.gather(-1, right)


def _mean_over_tags(at_examples: Tensor, true: Tensor) -> Tensor:
    """Return the mean over the tagged examples of each tag, then over the tags that vary."""
    positives = true.sum(dim=-1)
    varies = (positives > 0) & (positives < true.shape[-1])
    values = torch.where(true > 0, at_examples, 0).sum(dim=-1) / positives.clamp(min=1)
    return _mean_where(values, varies)


def _mean_where(values: Tensor, counts: Tensor) -> Tensor:
    """Return the mean, along the last axis, of what counts; NaN where nothing does."""
    return torch.where(counts, values, 0).sum(dim=-1) / counts.sum(dim=-1)


# Neighbours --------------------------------------------------------------------------------------


def retrieval(
    embeddings: Float[np.ndarray, "n dim"],
    labels: Sequence[str],
    groups: Sequence[str] | None = None,
) -> dict[str, float]:
    """Return the means of `retrieval_per_query`, over the queries that have something to find.

    Raises:
        TaskError: no query has.
    """
    values = retrieval_per_query(embeddings, labels, groups)
    if np.isnan(values["map"]).all():
        raise TaskError(
            f"labels of {len(labels)} tracks leave nothing to find: no two tracks of different "
            "groups share one; give more tracks of a label, or leave out the groups."
        )
    return {name: float(np.nanmean(value)) for name, value in values.items()}


def retrieval_per_query(
    embeddings: Float[np.ndarray, "n dim"],
    labels: Sequence[str],
    groups: Sequence[str] | None = None,
) -> dict[str, Float[np.ndarray, " n"]]:
    """Return how well each track finds those of its label among all others, by cosine.

    Args:
        embeddings: one per track; lengths do not matter.
        labels: what counts as found.
        groups: tracks of one group are no neighbours of each other, neither right nor wrong;
            "" is no group.

    Returns:
        By the names of ``METRICS["retrieval"]``, a value for each track: ``map`` the average
        precision, ``p_at_k`` the share of the k nearest that are right (of all that are left,
        where there are fewer), ``mrr`` one over the rank of the first right one. NaN where a track
        has nothing to find. Equally near tracks come in the order of the rows.
    """
    found: dict[str, list[np.ndarray]] = {name: [] for name in METRICS["retrieval"]}
    for right, allowed in _neighbours(embeddings, labels, groups):
        rank = np.arange(1, right.shape[1] + 1)
        hits = right.cumsum(axis=1)
        total = hits[:, -1]
        something = np.where(total > 0, 1.0, np.nan)
        precision = (right * hits / rank).sum(axis=1) / np.maximum(total, 1)
        found["map"].append(precision * something)
        found["mrr"].append(something / (right.argmax(axis=1) + 1))
        for k in (1, 5, 10):
            least = np.clip(allowed.sum(axis=1), 1, k)
            found[f"p_at_{k}"].append(right[:, :k].sum(axis=1) / least * something)
    return {name: np.concatenate(values) for name, values in found.items()}


def coherence(
    embeddings: Float[np.ndarray, "n dim"],
    labels: Sequence[str],
    ks: Sequence[int],
    groups: Sequence[str] | None = None,
) -> dict[int, float]:
    """Return the share of same-label tracks among the k nearest, as k grows.

    The curve's end, where k is all others, is what chance gives. Groups as in
    `retrieval_per_query`; tracks whose label nobody else has count as well, with 0.
    """
    shares: dict[int, list[np.ndarray]] = {k: [] for k in ks}
    for right, allowed in _neighbours(embeddings, labels, groups):
        for k in ks:
            least = np.clip(allowed.sum(axis=1), 1, k)
            shares[k].append(right[:, :k].sum(axis=1) / least)
    return {k: float(np.concatenate(values).mean()) for k, values in shares.items()}


def hubness(embeddings: Float[np.ndarray, "n dim"], k: int = 10) -> float:
    """Return the skewness of how often each track is among the k nearest of the others.

    0 where all are alike; above about 1, a few hubs are everyone's neighbours.

    Source:
        Radovanovic et al. 2010, S_{N_k}.
    """
    count = np.zeros(len(embeddings))
    for order, _ in _orders(embeddings, None):
        count += np.bincount(order[:, :k].ravel(), minlength=len(count))
    spread = count.std()
    return float(((count - count.mean()) ** 3).mean() / spread**3) if spread > 0 else 0.0


def identification(
    queries: Float[np.ndarray, "queries dim"],
    query_tracks: Sequence[str],
    references: Float[np.ndarray, "references dim"],
    reference_tracks: Sequence[str],
    ks: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """Return the share of excerpts whose own track is among the k nearest: ``recall_at_k``.

    Several references of a track count by the nearest of them.

    Raises:
        TaskError: a query's track has no reference.
    """
    ranks = identification_ranks(queries, query_tracks, references, reference_tracks)
    return {f"recall_at_{k}": float((ranks <= k).mean()) for k in ks}


def identification_ranks(
    queries: Float[np.ndarray, "queries dim"],
    query_tracks: Sequence[str],
    references: Float[np.ndarray, "references dim"],
    reference_tracks: Sequence[str],
) -> Int[np.ndarray, " queries"]:
    """Return the rank, from 1, at which each excerpt finds its own track among all tracks.

    Tracks that are equally near come first, so that a collapsed space finds nothing.

    Raises:
        TaskError: a query's track has no reference.
    """
    names, place = np.unique(np.asarray(reference_tracks), return_inverse=True)
    lookup = {name: index for index, name in enumerate(names)}
    missing = sorted(set(query_tracks) - set(lookup))
    if missing:
        raise TaskError(
            f"track={missing[0]!r} is asked for but not among the {len(names)} reference tracks; "
            "embed the whole tracks of all excerpts."
        )
    own = np.array([lookup[name] for name in query_tracks], dtype=np.int64)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(names)))
    across = _unit(references)[order].T
    ranks = []
    for start in range(0, len(queries), _BLOCK):
        rows = slice(start, start + _BLOCK)
        # Rounding must not part what is equal: cosines are compared to 12 digits.
        cosines = (_unit(queries[rows]) @ across).round(12)
        nearest = np.maximum.reduceat(cosines, starts, axis=1)  # (queries, tracks)
        mine = np.take_along_axis(nearest, own[rows, None], axis=1)
        ranks.append((nearest >= mine).sum(axis=1))
    return np.concatenate(ranks)


def _orders(
    embeddings: np.ndarray, groups: Sequence[str] | None
) -> Iterator[tuple[Int[np.ndarray, "rows others"], Bool[np.ndarray, "rows others"]]]:
    """Yield, block by block, all other tracks from near to far, and which are allowed.

    Those of the same group are not, and come last.
    """
    unit = _unit(embeddings)
    n = len(unit)
    group = np.asarray([""] * n if groups is None else groups)
    for start in range(0, n, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, n))
        distance = -(unit[rows] @ unit.T).round(12)
        banned = (group[rows, None] == group) & (group[rows, None] != "")
        distance[banned] = np.inf
        distance[np.arange(len(rows)), rows] = np.inf
        banned[np.arange(len(rows)), rows] = True
        order = np.argsort(distance, axis=1, kind="stable")
        allowed = ~np.take_along_axis(banned, order, axis=1)
        # The track itself is one of the last; it is never allowed.
        yield order[:, : n - 1], allowed[:, : n - 1]


def _neighbours(
    embeddings: np.ndarray, labels: Sequence[str], groups: Sequence[str] | None
) -> Iterator[tuple[Bool[np.ndarray, "rows others"], Bool[np.ndarray, "rows others"]]]:
    """Yield, block by block and from near to far, which tracks are right and which allowed."""
    label = np.asarray(labels)
    done = 0
    for order, allowed in _orders(embeddings, groups):
        own = label[done : done + len(order), None]
        done += len(order)
        yield (label[order] == own) & allowed, allowed


# The space ---------------------------------------------------------------------------------------


def alignment(embeddings: Float[np.ndarray, "n dim"], labels: Sequence[str]) -> float:
    """Return the mean squared distance between tracks of one label, 0 to 4; 0 is best.

    Raises:
        TaskError: no two tracks share a label.
    """
    unit = _unit(embeddings)
    _, place, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), unit.shape[1]))
    np.add.at(sums, place, unit)
    pairs = (counts * (counts - 1) // 2).sum()
    if pairs == 0:
        raise TaskError(
            f"labels of {len(labels)} tracks are all different, so that no pair should be near; "
            "give tracks that share a label."
        )
    # Over pairs of n unit vectors with the sum s, the squared distances sum to n^2 - |s|^2.
    return float((counts**2 - (sums**2).sum(axis=1)).sum() / pairs)


def uniformity(embeddings: Float[np.ndarray, "n dim"]) -> float:
    """Return `objectives.health.uniformity`: 0 is one point, about -4 the whole sphere."""
    return float(health.uniformity(torch.from_numpy(embeddings)))


def _unit(embeddings: np.ndarray) -> Float[np.ndarray, "n dim"]:
    wide = embeddings.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.maximum(lengths, 1e-12))

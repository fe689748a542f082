"""How sure a number is: intervals, differences between models, spread over seeds.

A *statistic* is a function of resamples: it takes indices (resamples, n) of the examples that are
drawn, and returns a number for each row. `of_outputs` makes one of a probe's outputs, `of_values`
one of anything that is a mean over examples, as the values of retrieval are.

What is resampled must be independent. Rows are tracks, since outputs are merged per track; where
several rows hang together (excerpts of a track, tracks of an album), name them by ``clusters``.
Everything is drawn from a seed.

Sources: Efron & Tibshirani 1993 (percentile bootstrap, achieved significance level); McNemar 1947,
in its exact form; Dror et al. 2018 (paired tests); Holm 1979 (several tests at once).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from ..errors import ConfigError, TaskError
from .examples import Kind
from .metrics import lookup_measure

RESAMPLES = 2000
_NUMBERS_AT_ONCE = 2**23  # outputs that are drawn together
_RESAMPLES_AT_ONCE = 100  # of tags: what is worked on stays in the cache

Statistic = Callable[[Int[np.ndarray, "resamples n"]], Float[np.ndarray, " resamples"]]


@dataclass(frozen=True)
class Interval:
    """A value and where it would lie, had other tracks been drawn.

    Attributes:
        value: of the examples as they are.
        low: lower end of the percentile interval.
        high: upper end.
        level: share of resamples between them.
    """

    value: float
    low: float
    high: float
    level: float


@dataclass(frozen=True)
class Difference:
    """By how much the first model is better than the second.

    Attributes:
        value: first minus second.
        low: lower end of the percentile interval.
        high: upper end.
        level: share of resamples between them.
        p_value: two-sided; 1 where the models do not differ.
    """

    value: float
    low: float
    high: float
    level: float
    p_value: float


@dataclass(frozen=True)
class Spread:
    """A number over seeds.

    Attributes:
        mean: of the seeds.
        std: standard deviation between seeds, of n - 1; 0 of one seed.
        n: number of seeds.
    """

    mean: float
    std: float
    n: int


def of_values(values: Float[np.ndarray, " n"]) -> Statistic:
    """Return the mean of what is drawn; NaN counts for nothing, as in retrieval."""
    known = ~np.isnan(values)
    numbers = np.where(known, values, 0.0)

    def statistic(rows: Int[np.ndarray, "resamples n"]) -> Float[np.ndarray, " resamples"]:
        counts = known[rows].sum(axis=1)
        sums = numbers[rows].sum(axis=1)
        empty = np.full(len(rows), np.nan)
        return np.asarray(np.divide(sums, counts, out=empty, where=counts > 0))

    return statistic


def of_outputs(
    metric: str, kind: Kind, targets: np.ndarray, outputs: np.ndarray, classes: Sequence[str]
) -> Statistic:
    """Return a metric of what is drawn from a probe's outputs.

    Args:
        metric: one of ``METRICS[kind]``.
        kind: of the task.
        targets: encoded labels, see `metrics`.
        outputs: (n, classes).
        classes: their names.

    Raises:
        ConfigError: the metric is none of the kind's.
    """
    measure = lookup_measure(metric, kind)
    if kind == "multilabel":
        return _of_tags(metric, targets > 0, outputs)
    truth, given = torch.from_numpy(targets), torch.from_numpy(outputs)

    def statistic(rows: Int[np.ndarray, "resamples n"]) -> Float[np.ndarray, " resamples"]:
        at_once = max(1, _NUMBERS_AT_ONCE // (rows.shape[1] * outputs.shape[1]))
        parts = [
            measure(truth[part], given[part], classes).numpy()
            for part in torch.from_numpy(rows).split(at_once)
        ]
        return np.concatenate(parts).astype(np.float64)

    return statistic


def _of_tags(
    metric: str, targets: Bool[np.ndarray, "n tags"], outputs: Float[np.ndarray, "n tags"]
) -> Statistic:
    """Return ``roc_auc`` or ``average_precision`` of what is drawn.

    An example that is drawn twice is one that counts twice: so the outputs are sorted once, and not
    anew for each resample.
    """
    tags = [_RankedTag.of(true, given) for true, given in zip(targets.T, outputs.T, strict=True)]
    n = len(targets)

    def statistic(rows: Int[np.ndarray, "resamples n"]) -> Float[np.ndarray, " resamples"]:
        values = []
        for start in range(0, len(rows), _RESAMPLES_AT_ONCE):
            part = rows[start : start + _RESAMPLES_AT_ONCE]
            flat = (part + n * np.arange(len(part))[:, None]).ravel()
            counts = np.bincount(flat, minlength=n * len(part)).reshape(len(part), n)
            of_tags = np.stack([tag.values(metric, counts) for tag in tags])
            varies = ~np.isnan(of_tags)
            sums = np.where(varies, of_tags, 0.0).sum(axis=0)
            empty = np.full(len(part), np.nan)
            values.append(np.divide(sums, varies.sum(axis=0), out=empty, where=varies.any(axis=0)))
        return np.concatenate(values)

    return statistic


@dataclass(frozen=True)
class _RankedTag:
    """The examples of a tag by their outputs, from low to high.

    ``true`` says in that order which are tagged, ``starts`` where runs of equal outputs begin.
    """

    order: Int[np.ndarray, " n"]
    true: Float[np.ndarray, " n"]
    starts: Int[np.ndarray, " runs"]

    @staticmethod
    def of(true: Bool[np.ndarray, " n"], given: Float[np.ndarray, " n"]) -> "_RankedTag":
        order = np.argsort(given, kind="stable")
        values = given[order]
        starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
        return _RankedTag(order, true[order].astype(np.float64), starts)

    def values(
        self, metric: str, counts: Int[np.ndarray, "resamples n"]
    ) -> Float[np.ndarray, " resamples"]:
        """Return the metric where each example counts so often; NaN where the tag does not vary."""
        drawn = counts[:, self.order].astype(np.float64)
        every = np.add.reduceat(drawn, self.starts, axis=1)
        true = np.add.reduceat(drawn * self.true, self.starts, axis=1)
        tagged = true.sum(axis=1)
        others = every.sum(axis=1) - tagged
        if metric == "roc_auc":
            false = every - true
            below = false.cumsum(axis=1) - false / 2  # equal ones count half
            sums, pairs = (true * below).sum(axis=1), tagged * others
        else:
            hits = true[:, ::-1].cumsum(axis=1)
            found = every[:, ::-1].cumsum(axis=1)
            precision = hits / np.maximum(found, 1)
            sums, pairs = (true[:, ::-1] * precision).sum(axis=1), tagged
        empty = np.full(len(counts), np.nan)
        varies = (tagged > 0) & (others > 0)
        return np.asarray(np.divide(sums, pairs, out=empty, where=varies))


def bootstrap(
    statistic: Statistic,
    n: int,
    *,
    clusters: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return a statistic with its percentile interval.

    Resamples in which the statistic has no value (NaN) do not count.

    Args:
        statistic: see the module.
        n: number of examples.
        clusters: which examples are only drawn together; None: each alone.
        resamples: how many are drawn.
        level: share of resamples within the interval, between 0 and 1.
        seed: of what is drawn.

    Raises:
        ConfigError: level or resamples make no interval.
        TaskError: there is no example, or the statistic has no value.
    """
    value = _value(statistic, n)
    drawn = _drawn([statistic], n, clusters, resamples, level, seed)[0]
    low, high = _ends(drawn, level)
    return Interval(value, low, high, level)


def paired_bootstrap(
    first: Statistic,
    second: Statistic,
    n: int,
    *,
    clusters: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Return the difference of two models on the same examples, first minus second.

    Both are judged on the same resamples. The p-value is twice the share of resamples in which the
    difference has the other sign or is 0, at least 2 / (resamples + 1) and at most 1.

    Args:
        first: the model's statistic, see the module.
        second: the other's, of the same examples in the same order.
        n: number of examples.
        clusters: as in `bootstrap`.
        resamples: how many are drawn.
        level: as in `bootstrap`.
        seed: of what is drawn.

    Raises:
        ConfigError: as in `bootstrap`.
        TaskError: as in `bootstrap`.
    """
    value = _value(first, n) - _value(second, n)
    ours, theirs = _drawn([first, second], n, clusters, resamples, level, seed)
    differences = ours - theirs
    low, high = _ends(differences, level)
    known = differences[~np.isnan(differences)]
    against = 1 + min((known <= 0).sum(), (known >= 0).sum())
    p_value = min(1.0, 2 * float(against) / (len(known) + 1))
    return Difference(value, low, high, level, p_value)


def permutation_test(
    first: Float[np.ndarray, " n"],
    second: Float[np.ndarray, " n"],
    *,
    permutations: int = 10_000,
    seed: int = 0,
) -> float:
    """Return the two-sided p-value of two models' mean values being equal.

    Under that hypothesis, which model gave which of an example's two values is chance. Exact
    where there are few examples on which they differ, else of random permutations, itself among
    them.

    Args:
        first: a value per example, as right or wrong, or an average precision.
        second: the other model's, of the same examples in the same order.
        permutations: how many are drawn; all are taken where there are no more.
        seed: of what is drawn.
    """
    difference = first.astype(np.float64) - second.astype(np.float64)
    difference = difference[difference != 0]
    n = len(difference)
    if 2**n <= permutations:
        every = np.arange(2**n)[:, None] >> np.arange(n) & 1
        sums, others = (1 - 2 * every) @ difference, 0
    else:
        rng = np.random.default_rng(seed)
        sums = np.empty(permutations)
        at_once = max(1, _NUMBERS_AT_ONCE // n)
        for start in range(0, permutations, at_once):
            rows = min(at_once, permutations - start)
            signs = 1 - 2 * rng.integers(0, 2, (rows, n), dtype=np.int8)
            sums[start : start + rows] = signs @ difference
        others = 1
    # Rounding must not part what is equal.
    extreme = np.abs(sums) >= np.abs(difference.sum()) * (1 - 1e-12)
    return float((extreme.sum() + others) / (len(sums) + others))


def mcnemar(first: Bool[np.ndarray, " n"], second: Bool[np.ndarray, " n"]) -> float:
    """Return the exact two-sided p-value of two models being right equally often.

    Only examples that one of them gets right count; each is a fair coin under the hypothesis.

    Args:
        first: whether the model is right, per example.
        second: the other's, of the same examples in the same order.
    """
    ours, theirs = int((first & ~second).sum()), int((second & ~first).sum())
    n = ours + theirs
    tail = sum(comb(n, k) for k in range(min(ours, theirs) + 1))
    return float(min(Fraction(1), Fraction(2 * tail, 2**n)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, in the same order; each is at least what it was.

    Whatever is called different below a corrected value of 5 % holds a false claim in at most 5 %
    of all tables, however the tests hang together.

    Source:
        Holm 1979: the k-th smallest of n is multiplied by n - k + 1, and none falls below the one
        before it.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    ascending = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for rank, index in enumerate(ascending):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def over_seeds(values: Sequence[float]) -> Spread:
    """Return mean and standard deviation of a number over seeds.

    Raises:
        ConfigError: there is no seed.
    """
    if not values:
        raise ConfigError("values of 0 seeds have no mean; give at least one.")
    std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Spread(float(np.mean(values)), std, len(values))


def _value(statistic: Statistic, n: int) -> float:
    if n == 0:
        raise TaskError("examples=0 have no statistic; give at least one.")
    value = float(statistic(np.arange(n)[None])[0])
    if np.isnan(value):
        raise TaskError(
            f"the metric has no value on these {n} examples; give more of them, of more classes."
        )
    return value


def _drawn(
    statistics: Sequence[Statistic],
    n: int,
    clusters: Sequence[str] | None,
    resamples: int,
    level: float,
    seed: int,
) -> list[np.ndarray]:
    """Return the statistics of the same resamples."""
    if not 0 < level < 1 or resamples < 1:
        raise ConfigError(
            f"level={level} of {resamples} resamples makes no interval; "
            "use 0 < level < 1 and resamples >= 1."
        )
    rng = np.random.default_rng(seed)
    if clusters is None:
        at_once = max(1, _NUMBERS_AT_ONCE // n)
        counts = [min(at_once, resamples - start) for start in range(0, resamples, at_once)]
        parts = (rng.integers(0, n, (count, n)) for count in counts)
    else:
        _, place = np.unique(np.asarray(clusters), return_inverse=True)
        members = [np.flatnonzero(place == cluster) for cluster in range(place.max() + 1)]
        # Resamples differ in length, because clusters do.
        parts = (
            np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])[None]
            for _ in range(resamples)
        )
    values = [[statistic(part) for statistic in statistics] for part in parts]
    return [np.concatenate(column) for column in zip(*values, strict=True)]


def _ends(drawn: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

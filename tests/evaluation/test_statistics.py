import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from myna_rpe.errors import ConfigError, TaskError
from myna_rpe.evaluation.metrics import lookup_measure, score
from myna_rpe.evaluation.statistics import (
    bootstrap,
    holm,
    mcnemar,
    of_outputs,
    of_values,
    over_seeds,
    paired_bootstrap,
    permutation_test,
)


def test_intervals_cover_the_truth_in_about_95_percent_of_samples(rng):
    covered = 0
    for seed in range(200):
        values = (rng.random(200) < 0.7).astype(float)
        interval = bootstrap(of_values(values), 200, resamples=300, seed=seed)
        covered += interval.low <= 0.7 <= interval.high
    assert 0.9 <= covered / 200 <= 0.98


def test_the_interval_of_a_mean_is_about_two_standard_errors(rng):
    values = rng.standard_normal(1000)
    interval = bootstrap(of_values(values), 1000)
    error = values.std() / np.sqrt(1000)
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)


@pytest.mark.parametrize(
    ("kind", "metric"),
    [
        ("classification", "macro_f1"),
        ("multilabel", "roc_auc"),
        ("multilabel", "average_precision"),
    ],
)
def test_a_resample_is_scored_like_any_examples(rng, kind, metric):
    if kind == "classification":
        targets = rng.integers(0, 3, 60)
    else:
        targets = rng.integers(0, 2, (60, 3)).astype(float)
    outputs = rng.standard_normal((60, 3))
    rows = rng.integers(0, 60, (4, 60))
    classes = ("a", "b", "c")
    drawn = of_outputs(metric, kind, targets, outputs, classes)(rows)
    expected = [score(kind, targets[row], outputs[row], classes)[metric] for row in rows]
    np.testing.assert_allclose(drawn, expected)


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 4))
def test_tags_are_sorted_once_and_resampled_as_if_they_were_sorted_each_time(metric, seed, n, tags):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, (n, tags)).astype(float)
    outputs = rng.integers(0, 4, (n, tags)).astype(float)  # many are equal
    rows = rng.integers(0, n, (120, n + 1))
    drawn = of_outputs(metric, "multilabel", targets, outputs, "abcd"[:tags])(rows)
    measure = lookup_measure(metric, "multilabel")
    each = measure(torch.from_numpy(targets[rows]), torch.from_numpy(outputs[rows]), ())
    np.testing.assert_allclose(drawn, each.numpy(), atol=1e-12)


def test_intervals_are_reproducible_and_follow_the_seed(rng):
    statistic = of_values(rng.standard_normal(50))
    assert bootstrap(statistic, 50, seed=1) == bootstrap(statistic, 50, seed=1)
    assert bootstrap(statistic, 50, seed=1) != bootstrap(statistic, 50, seed=2)


def test_examples_that_hang_together_widen_the_interval(rng):
    values = np.repeat(rng.standard_normal(40), 10)
    tracks = [str(i // 10) for i in range(400)]
    alone = bootstrap(of_values(values), 400)
    together = bootstrap(of_values(values), 400, clusters=tracks)
    assert together.value == alone.value
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_values_that_are_not_known_do_not_count():
    values = np.array([1.0, np.nan, 3.0])
    assert bootstrap(of_values(values), 3).value == 2
    with pytest.raises(TaskError, match="no value"):
        bootstrap(of_values(np.full(3, np.nan)), 3)


def test_identical_models_do_not_differ(rng):
    values = rng.random(100)
    difference = paired_bootstrap(of_values(values), of_values(values), 100)
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert difference.p_value == 1
    assert permutation_test(values, values) == 1
    assert mcnemar(values > 0.5, values > 0.5) == 1


def test_a_clear_winner_has_small_p_values(rng):
    first, second = rng.random(200) < 0.8, rng.random(200) < 0.5
    ours, theirs = first.astype(float), second.astype(float)
    difference = paired_bootstrap(of_values(ours), of_values(theirs), 200)
    assert 0 < difference.low < difference.value < difference.high
    assert difference.p_value < 0.01
    assert paired_bootstrap(of_values(theirs), of_values(ours), 200).high < 0
    assert permutation_test(ours, theirs) < 0.001
    assert mcnemar(first, second) < 0.001


@pytest.mark.parametrize("test", ["bootstrap", "permutation", "mcnemar"])
def test_equal_models_are_rarely_called_different(rng, test):
    wrong = 0
    for seed in range(100):
        first, second = rng.random((2, 100)) < 0.6
        ours, theirs = first.astype(float), second.astype(float)
        if test == "bootstrap":
            p_value = paired_bootstrap(
                of_values(ours), of_values(theirs), 100, resamples=400, seed=seed
            ).p_value
        elif test == "permutation":
            p_value = permutation_test(ours, theirs, permutations=400, seed=seed)
        else:
            p_value = mcnemar(first, second)
        wrong += p_value <= 0.05
    assert wrong / 100 <= 0.1


def test_mcnemar_is_the_binomial_test(rng):
    first, second = rng.random((2, 60)) < [[0.7], [0.5]]
    only = int((first & ~second).sum())
    n = int((first != second).sum())
    assert mcnemar(first, second) == pytest.approx(stats.binomtest(only, n).pvalue)


def test_few_differences_are_permuted_exactly():
    first, second = np.array([1.0, 2, 3, 5]), np.array([0.0, 0, 0, 5])
    # All three signs alike is 2 of 8.
    assert permutation_test(first, second) == 0.25


def test_random_permutations_approach_the_exact_value(rng):
    first, second = rng.standard_normal((2, 12))
    exact = permutation_test(first, second)
    assert permutation_test(first, second, permutations=4000) == pytest.approx(exact, abs=0.03)


def test_spread_over_seeds_is_the_sample_deviation():
    spread = over_seeds([1.0, 2.0, 3.0])
    assert (spread.mean, spread.std, spread.n) == (2, 1, 3)
    assert over_seeds([0.5]).std == 0
    with pytest.raises(ConfigError, match="at least one"):
        over_seeds([])


@pytest.mark.parametrize("options", [{"level": 1.0}, {"resamples": 0}])
def test_what_makes_no_interval_is_refused(options):
    with pytest.raises(ConfigError, match="no interval"):
        bootstrap(of_values(np.ones(3)), 3, **options)


def test_no_examples_are_refused():
    with pytest.raises(TaskError, match="at least one"):
        bootstrap(of_values(np.ones(0)), 0)


def test_holm_agrees_with_the_paper_step_by_step(rng):
    for n in range(1, 8):
        p_values = rng.random(n).round(2).tolist()
        corrected = holm(p_values)
        # Reject from the smallest on, while p * (tests that are left) <= level.
        for level in rng.random(20):
            rejected = set()
            for rank, index in enumerate(np.argsort(p_values, kind="stable")):
                if p_values[index] * (n - rank) > level:
                    break
                rejected.add(index)
            assert {i for i, p in enumerate(corrected) if p <= level} == rejected


def test_holm_on_a_known_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []

"""Two scores, paired by the names of their tracks."""

import numpy as np
import pytest

from myna_rpe.errors import TaskError
from myna_rpe.evaluation.compare import compare
from myna_rpe.evaluation.metrics import score as measured
from myna_rpe.evaluation.scores import Outputs, Queries

from .report.support import outputs, retrieval, score_of


def test_only_the_tracks_of_both_count_in_whatever_order_they_are():
    first = retrieval({"a": 1.0, "b": 0.5, "c": 0.0, "only-first": 1.0}, model="one")
    second = retrieval({"c": 0.25, "only-second": 0.0, "too": 0.0, "a": 0.5, "b": 0.0}, model="two")
    comparison = compare(first, second)
    assert comparison.num_pairs == 3
    assert comparison.left_out == (1, 2)
    assert comparison.values["map"] == (0.5, 0.25)
    assert comparison.differences["map"].value == 0.25
    assert (comparison.first, comparison.second) == ("one", "two")


def test_the_other_way_round_it_is_the_other_sign(rng):
    first, second = retrieval(rng.random(30)), retrieval(rng.random(30))
    one, other = compare(first, second).differences["map"], compare(second, first)
    opposite = other.differences["map"]
    assert one.value == -opposite.value
    assert (one.low, one.high) == pytest.approx((-opposite.high, -opposite.low))
    assert one.p_value == opposite.p_value


def test_the_interval_is_that_of_resampled_pairs(rng):
    values = rng.random((2, 25))
    names = [f"t{i}" for i in rng.permutation(25)]
    order = rng.permutation(25)
    first = retrieval(dict(zip(names, values[0], strict=True)))
    shuffled = {names[row]: values[1][row] for row in order}
    found = compare(first, retrieval(shuffled)).differences["map"]
    # One resample after the other, of the tracks in the first score's order.
    draws = np.random.default_rng(0).integers(0, 25, (2000, 25))
    slow = [np.mean([values[0][i] - values[1][i] for i in draw]) for draw in draws]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))


def test_probes_are_compared_by_their_metrics_on_the_pairs():
    classes = ("a", "b", "c")
    whole = outputs("classification", classes, n=30, skill=2.0, seeds=2)
    rows = np.arange(29, 4, -1)
    fewer = outputs("classification", classes, n=30, skill=1.0)
    names = [fewer.names[row] for row in rows]
    part = Outputs("classification", classes, names, fewer.targets[rows], fewer.values[:, rows])
    comparison = compare(score_of(whole), score_of(part))
    assert comparison.num_pairs == 25
    for metric in ("accuracy", "macro_f1"):
        ours = np.mean(
            [
                measured("classification", whole.targets[5:], values[5:], classes)[metric]
                for values in whole.values
            ]
        )
        theirs = measured("classification", fewer.targets[5:], fewer.values[0, 5:], classes)
        assert comparison.values[metric] == pytest.approx((ours, theirs[metric]))
        difference = comparison.differences[metric]
        assert difference.value == pytest.approx(ours - theirs[metric])


def test_excerpts_of_a_track_are_drawn_together(rng):
    values = np.repeat(rng.random((2, 10)), 8, axis=1)
    tracks = [str(i // 8) for i in range(80)]
    alone = compare(retrieval(values[0]), retrieval(values[1])).differences["map"]
    together = compare(
        retrieval(values[0], clusters=tracks), retrieval(values[1], clusters=tracks)
    ).differences["map"]
    assert together.value == alone.value
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_a_track_of_several_folds_is_paired_with_itself():
    def twice(values: list[float]):
        return score_of(Queries(["a", "b", "a"], {"map": np.array(values)}))

    comparison = compare(twice([1.0, 0.5, 0.0]), twice([0.0, 0.5, 0.5]))
    assert comparison.num_pairs == 3
    assert comparison.values["map"] == (0.5, 1 / 3)


def test_only_the_metrics_that_are_asked_for_are_compared():
    scores = [score_of(outputs("classification", ("a", "b"), skill=skill)) for skill in (1.0, 2.0)]
    assert set(compare(*scores).differences) == {"accuracy", "macro_f1"}
    assert set(compare(*scores, metrics=["macro_f1"]).differences) == {"macro_f1"}


def test_classes_in_another_order_are_the_same_labels():
    one = outputs("classification", ("a", "b"))
    swapped = one.values[..., [1, 0]]
    other = Outputs("classification", ("b", "a"), one.names, 1 - one.targets, swapped)
    assert compare(score_of(one), score_of(other)).differences["accuracy"].value == 0


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (retrieval([1.0, 0.0], task="another"), "are different questions"),
        (retrieval([1.0, 0.0], length=10.0), "length='full' of m and '10 s' of m"),
        (score_of(outputs("classification", ("a", "b"))), "metrics='map'"),
        (retrieval({"x": 1.0, "y": 0.0}), "none is common to both"),
        (retrieval([1.0, 0.0], clusters=["x", "x"]), "'t0' of task='task' has another label"),
    ],
)
def test_what_is_no_comparison_is_refused(other, message):
    with pytest.raises(TaskError, match=message):
        compare(retrieval([1.0, 0.0]), other)


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
def test_labels_that_changed_are_refused(kind):
    one = outputs(kind, ("a", "b"))
    targets = one.targets.copy()
    targets[3] = 1 - targets[3]
    other = Outputs(kind, one.classes, one.names, targets, one.values)
    with pytest.raises(TaskError, match="'t3' of task='task' has another label"):
        compare(score_of(one), score_of(other))

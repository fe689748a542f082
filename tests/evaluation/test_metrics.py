import importlib
import sys

import mir_eval.key
import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from myna_rpe.errors import ConfigError, TaskError
from myna_rpe.evaluation.metrics import (
    MEASURES,
    METRICS,
    accuracy,
    alignment,
    average_precision,
    coherence,
    hubness,
    identification,
    key_score,
    key_table,
    lookup_measure,
    macro_f1,
    r2,
    r2_per_target,
    retrieval,
    retrieval_per_query,
    roc_auc,
    score,
    uniformity,
)

PITCHES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
KEYS = tuple(f"{pitch} {mode}" for mode in ("major", "minor") for pitch in PITCHES)


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


# Measures


def test_accuracy_and_macro_f1_equal_scikit_learn(rng):
    targets = rng.integers(0, 4, 50)  # class 4 of 5 is predicted but never true
    outputs = rng.standard_normal((50, 5))
    predicted = outputs.argmax(axis=1)
    assert float(accuracy(*tensors(targets, outputs))) == pytest.approx(
        reference.accuracy_score(targets, predicted)
    )
    expected = reference.f1_score(targets, predicted, average="macro", labels=range(4))
    assert float(macro_f1(*tensors(targets, outputs))) == pytest.approx(expected)


def test_key_score_equals_mir_eval(rng):
    targets, outputs = rng.integers(0, 24, 60), rng.standard_normal((60, 24))
    expected = np.mean(
        [
            mir_eval.key.weighted_score(KEYS[true], KEYS[guess])
            for true, guess in zip(targets, outputs.argmax(axis=1), strict=True)
        ]
    )
    assert float(key_score(*tensors(targets, outputs), KEYS)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("true", "guess", "expected"),
    [
        ("C major", "C major", 1),
        ("C major", "G major", 0.5),
        ("C major", "F major", 0),  # a fifth below is no credit in mir_eval
        ("C major", "A minor", 0.3),
        ("A minor", "C major", 0.3),
        ("C major", "C minor", 0.2),
        ("C major", "D major", 0),
    ],
)
def test_related_keys_score_as_mirex_has_it(true, guess, expected):
    assert key_table((true, guess))[0, 1] == expected


def test_classes_that_are_no_keys_are_refused():
    with pytest.raises(TaskError, match="C# major"):
        key_table(("C major", "H flat"))


@pytest.mark.parametrize("ties", [False, True])
def test_auc_and_ap_equal_scikit_learn(rng, ties):
    targets = (rng.random((80, 6)) < 0.3).astype(float)
    outputs = rng.standard_normal((80, 6)) + targets
    if ties:
        outputs = outputs.round()
    assert float(roc_auc(*tensors(targets, outputs))) == pytest.approx(
        reference.roc_auc_score(targets, outputs, average="macro")
    )
    assert float(average_precision(*tensors(targets, outputs))) == pytest.approx(
        reference.average_precision_score(targets, outputs, average="macro")
    )


def test_auc_equals_the_loop_over_pairs(rng):
    targets = (rng.random(20) < 0.5).astype(float)
    outputs = rng.integers(0, 5, 20).astype(float)
    wins = [
        float(outputs[i] > outputs[j]) + 0.5 * float(outputs[i] == outputs[j])
        for i in np.flatnonzero(targets == 1)
        for j in np.flatnonzero(targets == 0)
    ]
    assert float(roc_auc(*tensors(targets[:, None], outputs[:, None]))) == pytest.approx(
        np.mean(wins)
    )


@pytest.mark.parametrize("measure", [roc_auc, average_precision])
def test_tags_that_do_not_vary_are_left_out(rng, measure):
    targets = (rng.random((30, 4)) < 0.5).astype(float)
    outputs = rng.standard_normal((30, 4))
    varied = measure(*tensors(targets, outputs))
    targets = np.column_stack([targets, np.zeros(30), np.ones(30)])
    outputs = np.column_stack([outputs, rng.standard_normal((30, 2))])
    assert measure(*tensors(targets, outputs)) == varied


def test_equal_outputs_are_chance():
    targets = np.array([[1.0], [0], [0], [0]])
    outputs = np.zeros((4, 1))
    assert float(roc_auc(*tensors(targets, outputs))) == 0.5
    assert float(average_precision(*tensors(targets, outputs))) == 0.25


def test_r2_equals_scikit_learn_and_is_zero_for_the_mean(rng):
    targets = rng.standard_normal((40, 2))
    outputs = targets + rng.standard_normal((40, 2))
    expected = reference.r2_score(targets, outputs, multioutput="raw_values")
    np.testing.assert_allclose(r2_per_target(*tensors(targets, outputs)).numpy(), expected)
    assert float(r2(*tensors(targets, outputs))) == pytest.approx(expected.mean())
    mean = np.broadcast_to(targets.mean(axis=0), targets.shape).copy()
    assert float(r2(*tensors(targets, mean))) == pytest.approx(0)


@pytest.mark.parametrize("kind", ["classification", "key", "multilabel", "regression"])
def test_leading_axes_are_measured_one_by_one(rng, kind):
    size = {"key": 24}.get(kind, 3)
    if kind in ("classification", "key"):
        targets = rng.integers(0, size, (5, 30))
    else:
        targets = rng.integers(0, 2, (5, 30, size)).astype(float)
    outputs = rng.standard_normal((5, 30, size))
    for name in METRICS[kind]:
        together = MEASURES[name](*tensors(targets, outputs), KEYS)
        alone = [MEASURES[name](*tensors(targets[i], outputs[i]), KEYS) for i in range(5)]
        np.testing.assert_allclose(together.numpy(), np.array(alone))
        shared = MEASURES[name](*tensors(targets[0], outputs), KEYS)
        assert float(shared[0]) == pytest.approx(float(alone[0]))


def test_score_has_the_metrics_of_the_kind_the_primary_one_first(rng):
    given = {
        "classification": (rng.integers(0, 3, 20), ("a", "b", "c")),
        "key": (rng.integers(0, 24, 20), KEYS),
        "multilabel": (rng.integers(0, 2, (20, 2)).astype(float), ("a", "b")),
    }
    for kind, (targets, classes) in given.items():
        scores = score(kind, targets, rng.standard_normal((20, len(classes))), classes)
        assert tuple(scores) == METRICS[kind]
    targets = rng.standard_normal((20, 2))
    scores = score("regression", targets, targets * [1, 0], ("arousal", "valence"))
    assert list(scores) == ["r2", "r2 arousal", "r2 valence"]
    assert scores["r2 arousal"] == 1
    assert scores["r2"] == pytest.approx((1 + scores["r2 valence"]) / 2)


def test_a_metric_without_a_value_is_refused():
    with pytest.raises(TaskError, match="varies"):
        score("multilabel", np.ones((3, 1)), np.zeros((3, 1)), ("rock",))


def test_an_unknown_metric_lists_the_valid_ones():
    with pytest.raises(ConfigError, match="accuracy, macro_f1"):
        lookup_measure("acc", "classification")


# Neighbours


def test_retrieval_equals_the_loop_over_queries(rng):
    embeddings = rng.standard_normal((30, 4))
    labels = [f"l{i}" for i in rng.integers(0, 4, 30)]
    groups = [f"g{i}" if i else "" for i in rng.integers(0, 6, 30)]
    values = retrieval_per_query(embeddings, labels, groups)
    for q in range(30):
        others = [i for i in range(30) if i != q and (not groups[q] or groups[i] != groups[q])]
        others.sort(key=lambda i: -cosine(embeddings[q], embeddings[i]))
        right = [labels[i] == labels[q] for i in others]
        ranks = [rank for rank, is_right in enumerate(right, start=1) if is_right]
        precisions = [sum(right[:rank]) / rank for rank in ranks]
        assert values["map"][q] == pytest.approx(np.mean(precisions))
        assert values["mrr"][q] == pytest.approx(1 / ranks[0])
        for k in (1, 5, 10):
            assert values[f"p_at_{k}"][q] == pytest.approx(np.mean(right[:k]))
    means = retrieval(embeddings, labels, groups)
    assert tuple(means) == METRICS["retrieval"]
    assert means["map"] == pytest.approx(values["map"].mean())


def test_members_of_a_group_are_neither_right_nor_wrong():
    # The nearest is of the same album; without it, the nearest is right.
    embeddings = np.array([[1, 0], [1, 0.1], [1, 0.5], [0, 1]])
    labels, groups = ["a", "b", "a", "b"], ["x", "x", "y", "y"]
    assert retrieval_per_query(embeddings, labels)["p_at_1"][0] == 0
    assert retrieval_per_query(embeddings, labels, groups)["p_at_1"][0] == 1


def test_queries_with_nothing_to_find_do_not_count():
    embeddings = np.array([[1.0, 0], [1, 0.1], [0, 1]])
    values = retrieval_per_query(embeddings, ["a", "a", "b"])
    assert all(np.isnan(value[2]) for value in values.values())
    assert retrieval(embeddings, ["a", "a", "b"])["p_at_1"] == 1
    with pytest.raises(TaskError, match="nothing to find"):
        retrieval(embeddings, ["a", "b", "c"])


def test_retrieval_in_blocks_is_that_of_one(rng, monkeypatch):
    embeddings = rng.standard_normal((25, 4))
    labels = [str(i) for i in rng.integers(0, 3, 25)]
    whole = retrieval_per_query(embeddings, labels)
    monkeypatch.setattr("myna_rpe.evaluation.metrics._BLOCK", 7)
    for name, values in retrieval_per_query(embeddings, labels).items():
        np.testing.assert_array_equal(values, whole[name])


def test_coherence_starts_at_p_at_1_and_ends_at_chance(rng):
    embeddings = np.repeat(np.eye(2), 10, axis=0) + 0.01 * rng.standard_normal((20, 2))
    labels = ["a"] * 10 + ["b"] * 10
    curve = coherence(embeddings, labels, (1, 9, 19))
    assert curve[1] == curve[9] == 1
    assert curve[19] == pytest.approx(9 / 19)


def test_hubness_equals_the_skewness_of_counts(rng):
    embeddings = rng.standard_normal((40, 3))
    counts = np.zeros(40)
    for q in range(40):
        others = sorted(set(range(40)) - {q}, key=lambda i: -cosine(embeddings[q], embeddings[i]))
        counts[others[:5]] += 1
    standard = (counts - counts.mean()) / counts.std()
    assert hubness(embeddings, k=5) == pytest.approx((standard**3).mean())


def test_a_hub_is_skewed_and_a_ring_is_not():
    angles = np.arange(12) * 2 * np.pi / 12
    ring = np.column_stack([np.cos(angles), np.sin(angles)])
    assert hubness(ring, k=2) == 0
    # Corners are all at right angles, and their mean is the nearest to each of them.
    star = np.vstack([np.eye(12), np.ones((1, 12))])
    assert hubness(star, k=1) > 2


def test_identification_equals_the_loop(rng):
    references = rng.standard_normal((12, 5))
    names = [f"t{i // 2}" for i in range(12)]  # two references a track
    queries = references[::2] + 0.8 * rng.standard_normal((6, 5))
    own = names[::2]
    ranks = []
    for query, name in zip(queries, own, strict=True):
        near = dict.fromkeys(names, -2.0)
        for reference_, track in zip(references, names, strict=True):
            near[track] = max(near[track], cosine(query, reference_))
        ranks.append(sorted(near, key=lambda track: -near[track]).index(name) + 1)
    recall = identification(queries, own, references, names, ks=(1, 3))
    assert recall == {f"recall_at_{k}": np.mean([rank <= k for rank in ranks]) for k in (1, 3)}


def test_a_collapsed_space_identifies_nothing():
    same = np.ones((6, 3))
    names = [str(i) for i in range(6)]
    assert identification(same, names, same, names, ks=(1, 5)) == {
        "recall_at_1": 0,
        "recall_at_5": 0,
    }


def test_an_excerpt_of_an_unknown_track_is_refused():
    with pytest.raises(TaskError, match="'b'"):
        identification(np.ones((1, 2)), ["b"], np.ones((1, 2)), ["a"])


# The space


def test_alignment_equals_the_loop_over_pairs(rng):
    embeddings = rng.standard_normal((15, 4))
    labels = [str(i) for i in rng.integers(0, 3, 15)]
    distances = [
        2 - 2 * cosine(embeddings[i], embeddings[j])
        for i in range(15)
        for j in range(i)
        if labels[i] == labels[j]
    ]
    assert alignment(embeddings, labels) == pytest.approx(np.mean(distances))
    with pytest.raises(TaskError, match="all different"):
        alignment(embeddings[:3], ["a", "b", "c"])


def test_uniformity_is_zero_for_one_point_and_lower_on_a_sphere(rng):
    assert uniformity(np.ones((5, 8))) == pytest.approx(0, abs=1e-6)
    assert uniformity(rng.standard_normal((200, 64))) == pytest.approx(-4, abs=0.2)


# Extras


@pytest.mark.parametrize(
    ("absent", "module"),
    [
        ("mir_eval.key", "myna_rpe.evaluation.metrics"),
        ("sklearn.base", "myna_rpe.evaluation.probes"),
    ],
)
def test_without_the_extra_an_error_says_what_to_install(monkeypatch, absent, module):
    monkeypatch.setitem(sys.modules, absent, None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'myna-rpe\[eval\]'"):
        importlib.import_module(module).key_table(("C major", "C minor"))

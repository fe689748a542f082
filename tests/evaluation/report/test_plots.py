"""Plots: where there is one, what it holds, and that it is always the same."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from myna_rpe.errors import TaskError
from myna_rpe.evaluation.keys import KEYS
from myna_rpe.evaluation.reading import Reading
from myna_rpe.evaluation.report.plots import (
    class_order,
    confusion_counts,
    map_2d,
    plots_of_part,
    plots_of_task,
    precision_recall,
    project_2d,
)
from myna_rpe.evaluation.scores import Outputs

from .support import outputs, probed, retrieval, score_of, searched


def names(plots):
    return [plot.name for plot in plots]


def texts(plot):
    root = ElementTree.fromstring(plot.svg)
    return ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]


def swept(**readings):
    return [
        retrieval([value, value / 2], model="a", reading=reading)
        for value, reading in readings.values()
    ]


def test_one_model_in_one_reading_has_nothing_to_compare():
    assert plots_of_part([retrieval([1.0, 0.0])], "x") == ()


def test_every_model_is_a_row_with_the_best_on_top():
    scores = [retrieval([0.5 + value, 0.5], model=f"model-{value}") for value in (0.4, 0.2, 0.1)]
    (plot,) = plots_of_part(scores, "x")
    assert plot.name == "x-values"
    rows = [text for text in texts(plot) if text.startswith("model-")]
    assert rows == ["model-0.4", "model-0.2", "model-0.1"]


def test_neighbours_of_the_same_label_are_a_curve_for_each_model_that_was_searched():
    scores = [searched([0.9, 0.5], model="near"), retrieval([0.5, 0.4], model="found")]
    plots = {plot.name: plot for plot in plots_of_part(scores, "x")}
    shown = texts(plots["x-coherence"])
    assert {"1", "5", "20", "near"} <= {text.strip() for text in shown}
    assert "found" not in {text.strip() for text in shown}


def test_of_very_many_models_the_best_are_drawn_and_the_title_says_so():
    scores = [retrieval([n / 100, n / 100], model=f"model-{n}") for n in range(60, 0, -1)]
    (plot,) = plots_of_part(scores, "x")
    assert "the best 40 of 60" in plot.title
    assert sum(text.startswith("model-") for text in texts(plot)) == 40


def test_windows_make_a_plot_that_ends_with_the_whole_track():
    scores = swept(
        whole=(1.0, Reading()), long=(0.9, Reading(window=30.0)), short=(0.8, Reading(window=4.096))
    )
    plots = plots_of_part(scores, "x")
    assert names(plots) == ["x-values", "x-contexts"]
    ticks = [text for text in texts(plots[1]) if re.fullmatch(r"[\d.]+|whole track", text)]
    assert ticks[:3] == ["4.096", "30", "whole track"]


def test_layers_make_a_plot_that_ends_with_the_last():
    scores = swept(last=(1.0, Reading()), two=(0.9, Reading(layer=2)), one=(0.8, Reading(layer=1)))
    plots = plots_of_part(scores, "x")
    assert names(plots) == ["x-values", "x-layers"]
    assert texts(plots[1])[:3] == ["1", "2", "last"]


def test_a_sweep_of_two_things_is_a_line_for_each_of_the_other():
    scores = [
        retrieval([window / 10, layer or 0.5], model="a", reading=Reading(window, layer))
        for window in (4.0, 8.0)
        for layer in (1, None)
    ]
    plots = {plot.name: texts(plot) for plot in plots_of_part(scores, "x")}
    assert [text.strip() for text in plots["x-contexts"][-2:]] == ["a, layer 1", "a"]
    assert {text.strip() for text in plots["x-layers"][-2:]} == {
        "a, windows of 4 s",
        "a, windows of 8 s",
    }


def test_lengths_make_a_plot_of_the_task():
    lengths = {
        length: [retrieval([0.5, 1.0], model=model, length=length) for model in ("a", "b")]
        for length in (None, 3.0, 10.0)
    }
    (plot,) = plots_of_task(lengths, "x")
    assert plot.name == "x-lengths"
    assert texts(plot)[:3] == ["3", "10", "all of it"]
    assert plots_of_task({None: lengths[None]}, "x") == ()


def test_confusions_are_counted_of_the_mean_of_the_seeds():
    # Two seeds that disagree about the last track; the surer one wins.
    values = np.array(
        [[[0.9, 0.1], [0.2, 0.8], [0.45, 0.55]], [[0.8, 0.2], [0.3, 0.7], [0.8, 0.2]]]
    )
    evidence = Outputs("classification", ("a", "b"), ["x", "y", "z"], np.array([0, 1, 1]), values)
    np.testing.assert_array_equal(confusion_counts(evidence), [[1, 0], [1, 1]])


def test_confusions_add_up_to_the_tracks_and_are_written_into_the_cells():
    evidence = outputs("classification", ("a", "b", "c"), n=40)
    counts = confusion_counts(evidence)
    assert counts.sum() == 40
    np.testing.assert_array_equal(counts.sum(axis=1), np.bincount(evidence.targets))
    (plot,) = plots_of_part([score_of(evidence)], "x")
    assert plot.name == "x-confusion"
    cells = sorted(int(text) for text in texts(plot) if text.isdigit())
    assert cells == sorted(counts[counts > 0].tolist())


def test_keys_go_round_the_circle_of_fifths():
    order = [KEYS[index] for index in class_order(KEYS)]
    assert order[:4] == ["C major", "G major", "D major", "A major"]
    assert order[11] == "F major"
    assert order[12:15] == ["A minor", "E minor", "B minor"]
    assert sorted(order) == sorted(KEYS)
    assert class_order(("z", "C major", "a")) == [0, 1, 2]
    scores = [probed("key", KEYS, evidence={"n": 50})]
    (plot,) = plots_of_part(scores, "x")
    drawn = [text for text in texts(plot) if text in KEYS]
    assert drawn == order * 2


def test_precision_and_recall_are_those_of_each_threshold():
    targets, values = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.9, 0.8, 0.7, 0.1])
    recall, precision = precision_recall(targets, values)
    np.testing.assert_allclose(recall, [0.5, 1])
    np.testing.assert_allclose(precision, [1, 2 / 3])


def test_a_curve_has_no_more_points_than_can_be_seen(rng):
    targets = (rng.random(20_000) < 0.2).astype(np.float64)
    recall, precision = precision_recall(targets, rng.random(20_000))
    assert len(recall) == len(precision) <= 201
    assert precision[-1] == pytest.approx(0.2, abs=0.02)


def test_tags_have_curves_of_the_models_and_of_each_tag():
    scores = [
        probed("multilabel", ("a", "b"), model=model, evidence={"skill": skill})
        for model, skill in (("good", 3.0), ("bad", 0.5))
    ]
    assert names(plots_of_part(scores, "x")) == ["x-values", "x-precision-recall", "x-tags"]
    assert names(plots_of_part(scores[:1], "x")) == ["x-tags"]


def test_the_same_scores_give_the_same_plot_whatever_the_user_has_set():
    import matplotlib

    scores = [retrieval([0.5, value], model=f"{value}") for value in (1.0, 0.5)]
    first = plots_of_part(scores, "x")
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 20, "svg.fonttype": "path"}):
        assert plots_of_part(scores, "x") == first


@pytest.mark.parametrize("name", ["_hidden", "$x_1^2$", "<script>&", "日本語", "", "a" * 300])
def test_any_name_is_drawn_as_it_is(name, recwarn):
    scores = swept(one=(1.0, Reading()), other=(0.5, Reading(window=5.0)))
    scores = [
        retrieval(score.evidence.values["map"], model=name, reading=score.reading)
        for score in scores
    ]
    plots = plots_of_part(scores, "x")
    shown = name if len(name) < 100 else "a" * 36
    for plot in plots:
        assert any(shown in text for text in texts(plot))
    assert not recwarn.list


# Maps --------------------------------------------------------------------------------------------


def blobs(count: int, n: int, rng: np.random.Generator):
    centres = rng.normal(size=(count, 16))
    features = np.concatenate([centre + 0.05 * rng.normal(size=(n, 16)) for centre in centres])
    return features, [f"label {i:02d}" for i in range(count) for _ in range(n)]


def test_near_vectors_are_near_on_the_map(rng):
    features, labels = blobs(4, 15, rng)
    points = project_2d(features)
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    np.fill_diagonal(distance, np.inf)
    nearest = distance.argmin(axis=1)
    assert all(labels[i] == labels[row] for row, i in enumerate(nearest))


def test_lengths_of_vectors_do_not_count(rng):
    features = rng.normal(size=(8, 5))
    scaled = features * rng.uniform(0.5, 2.0, (8, 1))
    np.testing.assert_allclose(project_2d(features), project_2d(scaled), atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 8), (2, 8), (9, 8), (10, 8), (12, 1), (12, 2)])
def test_small_spaces_have_a_map(rng, shape):
    points = project_2d(rng.normal(size=shape))
    assert points.shape == (shape[0], 2)
    assert np.isfinite(points).all()


def test_a_collapsed_space_is_one_point():
    assert not project_2d(np.ones((20, 4))).any()


def test_a_map_names_the_most_frequent_labels_and_greys_the_others(rng):
    features, labels = blobs(22, 2, rng)
    labels = [*labels, "label 21", "label 20"]
    features = np.concatenate([features, features[-1:], features[-3:-2]])
    plot = map_2d(features, labels, title="small: composers", name="map-1")
    legend = {text.strip() for text in texts(plot)}
    assert {"others", "label 20", "label 21", "label 00"} <= legend
    assert len(legend) == 21
    assert (plot.name, plot.title) == ("map-1", "small: composers")
    assert map_2d(features, labels, title="small: composers", name="map-1") == plot


def test_labels_must_fit_the_features(rng):
    with pytest.raises(TaskError, match="labels=2 of 3 vectors"):
        map_2d(rng.normal(size=(3, 4)), ["a", "b"])
    with pytest.raises(TaskError, match="labels=0 of 0 vectors"):
        map_2d(np.zeros((0, 4)), [])

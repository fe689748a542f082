import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from torch import nn

from myna_rpe.errors import ConfigError, TaskError
from myna_rpe.evaluation.probes import (
    GRIDS,
    MERGES,
    Probe,
    ProbeData,
    Setting,
    encode,
    run_probe,
    stack,
)
from myna_rpe.evaluation.probes.problem import pose
from myna_rpe.evaluation.probes.tracks import Tracks

CLASSES = ("blues", "jazz", "rock")
LINEAR = Setting(False, 64, True, 0.25, 1e-3, 1e-4)
HIDDEN = replace(LINEAR, hidden=True)
QUICK = {"max_steps": 64, "patience": 8}


def music(n: int, seed: int, *, spread: float = 2.0, dim: int = 8) -> ProbeData:
    """Return n tracks whose embeddings lie around the centre of their class."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((3, dim)) * spread
    place = rng.permutation(np.arange(n) % 3)
    embeddings = (centres[place] + rng.standard_normal((n, dim))).astype(np.float32)
    return ProbeData(embeddings, [CLASSES[i] for i in place])


def excerpts(data: ProbeData, each: int, seed: int = 0) -> ProbeData:
    """Return noisy excerpts of every track, interleaved."""
    rng = np.random.default_rng(seed)
    embeddings = np.tile(data.embeddings, (each, 1))
    noise = 3 * rng.standard_normal(embeddings.shape).astype(np.float32)
    names = [f"track {i}" for i in range(len(data.labels))] * each
    return ProbeData(embeddings + noise, list(data.labels) * each, names)


def run(train=None, valid=None, test=None, **options):
    given = {"kind": "classification", "classes": CLASSES, "grid": [LINEAR]} | QUICK | options
    return run_probe(train or music(90, 1), valid or music(30, 2), test or music(45, 3), **given)


class Watched(Sequence):
    """Labels that tell when they are read."""

    def __init__(self, labels, log):
        self.labels, self.log = list(labels), log

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):  # the type checker of the tests looks at one
        return self.labels[index]

    def __iter__(self):
        self.log.append("test labels")
        return iter(self.labels)


# The grid


def test_the_full_grid_is_that_of_castellon():
    grid = GRIDS["full"]
    assert len(grid) == len(set(grid)) == 216
    values = {name: {getattr(s, name) for s in grid} for name in vars(grid[0])}
    assert values == {
        "hidden": {False, True},
        "batch_size": {64, 256},
        "standardise": {False, True},
        "dropout": {0.25, 0.5, 0.75},
        "learning_rate": {1e-5, 1e-4, 1e-3},
        "l2": {0.0, 1e-4, 1e-3},
    }


def test_the_fast_grid_is_a_small_part_of_the_full_one():
    assert set(GRIDS["fast"]) < set(GRIDS["full"])
    assert len(GRIDS["fast"]) == 12


def test_the_linear_grid_is_the_full_one_without_hidden_layers():
    assert set(GRIDS["linear"]) == {setting for setting in GRIDS["full"] if not setting.hidden}
    assert len(GRIDS["linear"]) == 108


# Training


def reference_fit(setting: Setting, train: ProbeData, valid: ProbeData, steps: int, patience: int):
    """One setting as the paper has it: modules, torch.optim.Adam and a plain loop."""
    scale = train.embeddings.astype(np.float64)
    mean, std = scale.mean(axis=0), scale.std(axis=0)

    def prepared(data):
        x = data.embeddings
        x = ((x - mean) / std).astype(np.float32) if setting.standardise else x
        return torch.from_numpy(x), torch.tensor([CLASSES.index(c) for c in data.labels])

    x, y = prepared(train)
    x_valid, y_valid = prepared(valid)
    sizes = [x.shape[1], 512, 3] if setting.hidden else [x.shape[1], 3]
    layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    first, order, noise = (torch.Generator().manual_seed(k) for k in range(3))
    with torch.no_grad():
        for layer in layers:
            bound = layer.in_features**-0.5
            for parameter in (layer.weight.T, layer.bias):
                drawn = torch.rand(parameter.shape, generator=first, dtype=torch.float64)
                parameter.copy_((2 * drawn - 1) * bound)

    def dropped(h):
        kept = torch.rand(h.shape, generator=noise) >= setting.dropout
        return h * kept / (1 - setting.dropout)

    parameters = [p for layer in layers for p in layer.parameters()]
    optimiser = torch.optim.Adam(parameters, setting.learning_rate, weight_decay=setting.l2)
    best, best_weights, boredom, step = -1.0, None, 0, 0
    while True:
        if step % 8 == 0:
            if boredom >= patience:
                break
            with torch.no_grad():
                h = layers[0](x_valid)
                h = layers[1](h.relu()) if setting.hidden else h
            accuracy = (h.argmax(1) == y_valid).double().mean().item()
            if accuracy > best:
                best, best_weights, boredom = accuracy, [p.detach().clone() for p in parameters], 0
            else:
                boredom += 1
        if step == steps:
            break
        rows = torch.randperm(len(x), generator=order)[: setting.batch_size]
        h = layers[0](dropped(x[rows]))
        h = layers[1](dropped(h.relu())) if setting.hidden else h
        optimiser.zero_grad()
        nn.functional.cross_entropy(h, y[rows]).backward()
        optimiser.step()
        step += 1
    return best, best_weights


def fit_problem(settings, train, valid, **options):
    options = {"seed": 0, "max_steps": 64, "patience": 256} | options
    problem, _ = pose(
        (train.embeddings, encode("classification", CLASSES, train.labels)),
        (valid.embeddings, encode("classification", CLASSES, valid.labels)),
        None,
        kind="classification",
        metric=None,
        classes=CLASSES,
        device="cpu",
        **options,
    )
    return stack.fit_settings(settings, problem)


@pytest.mark.parametrize("setting", [LINEAR, HIDDEN, replace(HIDDEN, standardise=False, l2=0.0)])
def test_a_probe_equals_a_plain_loop_over_torch_modules(setting):
    train, valid = music(100, 1, spread=0.5), music(60, 2, spread=0.5)
    (probe,) = fit_problem([setting], train, valid)
    best, weights = reference_fit(setting, train, valid, 64, 256)
    assert probe.validation == pytest.approx(best)
    for ours, theirs in zip(probe.weights, weights, strict=True):
        torch.testing.assert_close(
            ours, theirs.mT if theirs.ndim == 2 else theirs, rtol=1e-3, atol=1e-5
        )


def test_a_setting_comes_out_the_same_alone_and_among_others():
    train, valid = music(100, 1, spread=0.5), music(60, 2, spread=0.5)
    # Also as others of the stack stop before it does.
    grid = [s for s in GRIDS["full"] if s.batch_size == 64 and s.dropout == 0.5]
    options = {"max_steps": 80, "patience": 4}
    together = fit_problem(grid, train, valid, **options)
    assert [probe.setting for probe in together] == grid
    assert len({probe.steps for probe in together}) > 2
    for among in together[:: len(grid) // 6]:
        (alone,) = fit_problem([among.setting], train, valid, **options)
        assert alone.validation == among.validation
        assert (alone.best_step, alone.steps) == (among.best_step, among.steps)
        for ours, theirs in zip(alone.weights, among.weights, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_training_stops_after_so_many_evaluations_without_a_better_one():
    data = music(60, 1, spread=20)  # perfect soon, and then never better
    (probe,) = fit_problem([LINEAR], data, data, max_steps=2000, patience=5)
    assert probe.validation == 1
    assert probe.steps == probe.best_step + 5 * 8
    assert not probe.capped
    (probe,) = fit_problem([LINEAR], data, data, max_steps=8, patience=5)
    assert probe.steps == 8
    assert probe.capped


def test_torch_keeps_its_threads():
    threads = torch.get_num_threads()
    run()
    assert torch.get_num_threads() == threads


def test_the_seed_decides_and_nothing_else():
    results = [run(seeds=[seed]) for seed in (0, 0, 1)]
    assert np.array_equal(results[0].outputs, results[1].outputs)
    assert not np.array_equal(results[0].outputs, results[2].outputs)


# Kinds


@pytest.mark.parametrize("hidden", [False, True])
def test_classes_that_lie_apart_are_learned(hidden):
    result = run(grid=[replace(LINEAR, hidden=hidden)], max_steps=400, patience=256)
    assert result.test["accuracy"] > 0.9
    np.testing.assert_allclose(result.outputs.sum(axis=1), 1, rtol=1e-6)


def test_keys_are_chosen_by_the_mirex_score():
    names = ("C major", "G major", "A minor")
    data = [
        replace(split, labels=[names[CLASSES.index(label)] for label in split.labels])
        for split in (music(90, 1), music(30, 2), music(45, 3))
    ]
    result = run(*data, kind="key", classes=names, max_steps=200)
    assert result.metric == "key_score"
    assert result.test["key_score"] > result.test["accuracy"] > 0.5


def test_tags_are_learned_one_by_one():
    def tagged(data):
        return replace(data, labels=[("a", "b") if c == "jazz" else (c,) for c in data.labels])

    classes = ("a", "b", "blues", "rock")
    data = [tagged(music(n, seed)) for n, seed in ((90, 1), (30, 2), (45, 3))]
    result = run(*data, kind="multilabel", classes=classes, max_steps=400, patience=256)
    assert result.test["roc_auc"] > 0.9
    assert result.targets.sum() > 45


def test_regression_gives_values_in_the_targets_own_unit():
    def numbers(n, seed):
        x = np.random.default_rng(seed).standard_normal((n, 4)).astype(np.float32)
        return ProbeData(x, [(1000 + 50 * float(row[0]), 0.01 * float(row[1])) for row in x])

    result = run(
        numbers(200, 1),
        numbers(50, 2),
        numbers(50, 3),
        kind="regression",
        classes=("tempo", "valence"),
        max_steps=2000,
        patience=256,
    )
    assert result.test["r2"] > 0.8
    assert list(result.test) == ["r2", "r2 tempo", "r2 valence"]
    assert result.outputs[:, 0].mean() == pytest.approx(1000, abs=30)


def test_scales_come_from_train_alone():
    valid = music(30, 2)
    outlier = replace(valid, embeddings=valid.embeddings * 100)
    first = fit_problem([LINEAR], music(90, 1), valid, max_steps=0)[0]
    second = fit_problem([LINEAR], music(90, 1), outlier, max_steps=0)[0]
    for ours, theirs in zip(first.weights, second.weights, strict=True):
        assert torch.equal(ours, theirs)
    probe = Probe(grid=[LINEAR], max_steps=0)
    train = music(90, 1)
    probe.fit(train.embeddings, train.labels, outlier.embeddings, outlier.labels)
    np.testing.assert_allclose(probe._inputs.scaler.mean_, train.embeddings.mean(axis=0), atol=1e-5)


# Choosing


def test_the_setting_with_the_best_validation_score_is_chosen():
    poor = replace(LINEAR, learning_rate=1e-5)
    result = run(grid=[poor, LINEAR])
    assert [tried.setting for tried in result.tried] == [poor, LINEAR]
    assert result.chosen == LINEAR
    assert result.runs[0].validation == max(tried.validation for tried in result.tried)


def test_test_labels_cannot_influence_the_choice():
    test = music(45, 3, spread=0.5)
    shuffled = replace(test, labels=list(np.random.default_rng(0).permutation(test.labels)))
    data = music(90, 1, spread=0.5), music(30, 2, spread=0.5)
    first, second = (run(*data, labels, grid="fast", max_steps=40) for labels in (test, shuffled))
    assert first.chosen == second.chosen
    assert first.tried == second.tried
    assert np.array_equal(first.outputs, second.outputs)
    assert first.test != second.test


def test_test_labels_are_read_after_everything_is_predicted(monkeypatch):
    log = []
    test = music(45, 3)
    test = replace(test, labels=Watched(test.labels, log))
    logits = stack.Fitted.logits
    monkeypatch.setattr(
        stack.Fitted, "logits", lambda self, x: (log.append("predict"), logits(self, x))[1]
    )
    run(test=test, seeds=[0, 1], grid=[LINEAR, HIDDEN])
    assert log == ["predict", "predict", "test labels"]


def test_myna_compat_chooses_on_test_and_says_so():
    data = [music(n, seed, spread=0.5) for n, seed in ((60, 1), (15, 2), (30, 3))]
    honest = run(*data, grid="fast")
    compat = run(*data, grid="fast", protocol="myna-compat")
    scores = [tried.test for tried in compat.tried]
    assert compat.test["accuracy"] == max(scores)
    assert compat.test["accuracy"] >= honest.test["accuracy"]
    assert "TEST" in compat.note
    assert "validation" in honest.note
    assert {tried.test for tried in honest.tried} == {None}


def test_other_seeds_train_the_chosen_setting_again():
    result = run(seeds=[0, 7], grid=[LINEAR, HIDDEN])
    assert [seed_run.seed for seed_run in result.runs] == [0, 7]
    alone = run(seeds=[7], grid=[result.chosen])
    assert np.array_equal(result.runs[1].outputs, alone.outputs)


# Excerpts


@pytest.mark.parametrize("merge", ["mean", "gmean", "max", "vote"])
def test_merging_equals_the_loop_over_tracks(rng, merge):
    logits = rng.standard_normal((7, 3))
    names = ["b", "a", "b", "c", "a", "b", "c"]

    def softmax(values):
        return np.exp(values) / np.exp(values).sum(axis=-1, keepdims=True)

    tracks = Tracks.of(names, 7)
    merged = tracks.merge("classification", merge, torch.from_numpy(logits)).numpy()
    assert tracks.names == ("b", "a", "c")
    for row, track in enumerate(tracks.names):
        own = logits[[i for i, name in enumerate(names) if name == track]]
        expected = {
            "mean": softmax(own).mean(axis=0),
            "gmean": softmax(own.mean(axis=0)),
            "max": softmax(own.max(axis=0)),
            "vote": np.eye(3)[own.argmax(axis=1)].mean(axis=0),
        }[merge]
        np.testing.assert_allclose(merged[row], expected)


def test_excerpts_are_judged_as_tracks_by_a_strategy_chosen_on_validation():
    test = excerpts(music(45, 3), 5)
    result = run(excerpts(music(90, 1), 2), excerpts(music(30, 2), 5), test, max_steps=200)
    assert result.tracks == tuple(f"track {i}" for i in range(45))
    assert result.outputs.shape == (45, 3)
    assert result.targets.tolist() == [CLASSES.index(c) for c in test.labels[:45]]
    assert result.runs[0].merge in MERGES["classification"]
    single = run(excerpts(music(90, 1), 2), test=replace(test, tracks=None), max_steps=200)
    assert result.test["accuracy"] > single.test["accuracy"]


def test_a_track_with_two_labels_is_refused():
    data = excerpts(music(30, 2), 2)
    other = "jazz" if data.labels[0] == "rock" else "rock"
    data = replace(data, labels=[other, *data.labels[1:]])
    with pytest.raises(TaskError, match="different labels"):
        run(valid=data)


# The estimator


def test_the_estimator_fits_and_predicts_labels():
    train, valid, test = music(90, 1), music(30, 2), music(45, 3)
    probe = Probe(max_steps=200, patience=16)
    probe.fit(train.embeddings, train.labels, valid.embeddings, valid.labels)
    predicted = probe.predict(test.embeddings)
    assert set(predicted) <= set(CLASSES)
    share = np.mean(predicted == np.array(test.labels))
    assert probe.score(test.embeddings, test.labels) == pytest.approx(share)
    assert share > 0.8
    np.testing.assert_allclose(probe.predict_proba(test.embeddings).sum(axis=1), 1, rtol=1e-6)
    assert probe.setting_ in GRIDS["fast"]


def test_the_estimator_is_one_of_scikit_learn():
    probe = Probe(grid=[LINEAR], seed=3, max_steps=100)
    assert clone(probe).get_params() == probe.get_params()
    assert probe.set_params(seed=4).seed == 4
    data = music(90, 1)
    scores = cross_val_score(probe, data.embeddings, data.labels, cv=3)
    assert scores.min() > 0.6


def test_the_estimator_takes_tags_and_numbers(rng):
    x = rng.standard_normal((80, 4))
    tags = (x[:, :2] > 0).astype(int)
    probe = Probe("multilabel", grid=[LINEAR], max_steps=300).fit(x, tags, x, tags)
    assert (probe.predict(x) == tags).mean() > 0.9
    numbers = 5 + x[:, 0]
    probe = Probe("regression", grid=[LINEAR], max_steps=600).fit(x, numbers, x, numbers)
    assert probe.predict(x).shape == (80, 1)
    assert probe.score(x, numbers) > 0.5


# Results


def test_results_are_plain_json():
    result = run(seeds=[0, 1])
    data = json.loads(json.dumps(result.to_dict()))
    assert data["chosen"]["learning_rate"] == 1e-3
    assert [run["seed"] for run in data["runs"]] == [0, 1]
    assert data["runs"][1]["test"] == dict(result.runs[1].test)
    assert len(data["tried"]) == len(result.tried)
    # What every track was given is the evidence of a score, and not kept twice.
    assert len(result.outputs) == len(result.tracks) == len(result.targets) == 45


# Bad input


def test_labels_are_encoded_by_the_vocabulary():
    assert encode("key", CLASSES, ["rock", "blues"]).tolist() == [2, 0]
    assert encode("multilabel", CLASSES, [("rock", "blues"), ()]).tolist() == [[1, 0, 1], [0, 0, 0]]
    assert encode("regression", ("a",), [(0.5,)]).tolist() == [[0.5]]


@pytest.mark.parametrize(
    ("kind", "labels", "message"),
    [
        ("classification", ["rok"], "did you mean 'rock'"),
        ("multilabel", [("rock", "folk")], "'folk'"),
        ("regression", [(1.0,)], "3 finite numbers"),
        ("regression", [(1.0, 2.0, float("nan"))], "3 finite numbers"),
    ],
)
def test_labels_outside_the_vocabulary_are_refused(kind, labels, message):
    with pytest.raises(TaskError, match=message):
        encode(kind, CLASSES, labels)


def broken(data, **changes):
    return replace(data, **{name: change(data) for name, change in changes.items()})


@pytest.mark.parametrize(
    ("split", "changes", "message"),
    [
        ("valid", {"embeddings": lambda d: d.embeddings[:, :5]}, "one model"),
        ("test", {"embeddings": lambda d: d.embeddings[:, :5]}, "one model"),
        ("test", {"embeddings": lambda d: d.embeddings * np.float32("nan")}, "not finite"),
        ("train", {"labels": lambda d: d.labels[1:]}, "one for each"),
        ("train", {"embeddings": lambda d: np.ones_like(d.embeddings)}, "all 90 embeddings"),
        ("train", {"labels": lambda d: ["jazz", "rock"] * 45}, "class=blues has no example"),
        ("valid", {"embeddings": lambda d: d.embeddings[:0], "labels": lambda d: []}, "valid=0"),
        ("valid", {"tracks": lambda d: ["a"]}, "tracks=1"),
    ],
)
def test_data_that_cannot_be_learned_from_is_refused(split, changes, message):
    data = {"train": music(90, 1), "valid": music(30, 2), "test": music(45, 3)}
    data[split] = broken(data[split], **changes)
    with pytest.raises(TaskError, match=message):
        run(**data)


def test_a_validation_set_that_cannot_choose_is_refused():
    data = [replace(music(n, n), labels=[(c,) for c in music(n, n).labels]) for n in (90, 30, 45)]
    data[1] = replace(data[1], labels=[("rock",)] * 30)
    with pytest.raises(TaskError, match="larger validation set"):
        run(*data, kind="multilabel")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": "ful"}, "did you mean 'full'"),
        ({"grid": []}, "at least one setting"),
        ({"seeds": []}, "at least one"),
        ({"metric": "r2"}, "accuracy, macro_f1"),
        ({"kind": "retrieval"}, "valid: classification"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        run(**options)

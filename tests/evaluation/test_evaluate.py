"""From features and a task to scores with intervals, kept and found again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from myna_rpe.errors import ConfigError, TaskError
from myna_rpe.evaluation import evaluate as module
from myna_rpe.evaluation.evaluate import Protocol, score_features
from myna_rpe.evaluation.examples import Dataset, Example, cut
from myna_rpe.evaluation.features import Failure, Features
from myna_rpe.evaluation.keys import KEYS
from myna_rpe.evaluation.metrics import alignment
from myna_rpe.evaluation.peers import FeatureExtractor, KeyDetector
from myna_rpe.evaluation.reading import Reading
from myna_rpe.evaluation.scores import Outputs, Queries, Score

FAST = Protocol(grid="fast")


class Counting(FeatureExtractor):
    """Reads a number from each file, and counts how often it is asked."""

    name, dim, space_id = "counting", 4, "counting-1"

    def __init__(self) -> None:
        self.reads = 0

    def extract(self, path: Path, *, start: float = 0.0, duration: float | None = None):
        self.reads += 1
        return np.eye(4, dtype=np.float32)[int(path.read_text())]


MODEL = Counting()


def evaluate(*arguments, **options) -> list[Score]:
    return list(module.evaluate(*arguments, **options))


def features(examples: list[Example], values: np.ndarray, failed: tuple = ()) -> Features:
    failures = [Failure(example, "file is broken.") for example in failed]
    return Features("space", examples, values.astype(np.float32), failures, len(examples), 0, 0.5)


def example(number: int, label: object, split: str = "", **fields: object) -> Example:
    return Example(f"{number:03d}", Path(f"{number}.wav"), label, split=split, **fields)


def clusters(labels: list[str], *, noise: float = 0.1) -> np.ndarray:
    """Vectors around one direction per label."""
    rng = np.random.default_rng(0)
    names = sorted(set(labels))
    centres = np.eye(max(4, len(names)))
    return np.stack(
        [centres[names.index(label)] + noise * rng.normal(size=len(centres)) for label in labels]
    )


def worse_alignment(labels: list[str]) -> float:
    return alignment(np.random.default_rng(1).normal(size=(len(labels), 4)), labels)


def test_retrieval_finds_what_lies_together_and_reports_every_track() -> None:
    labels = [name for name in "abc" for _ in range(5)]
    examples = [example(n, label) for n, label in enumerate(labels)]
    dataset = Dataset("composer", "retrieval", tuple("abc"), examples, {"licence": "free"})
    score = score_features(dataset, features(examples, clusters(labels)), model=MODEL)
    assert next(iter(score.metrics)) == "map"
    assert score.metrics["p_at_1"].value == 1.0
    assert set(score.evidence.names) == {e.id for e in examples}
    space = score.details["space"]
    assert space["coherence"] == pytest.approx(
        {"1": 1.0, "2": 1.0, "5": 0.8, "10": 0.4, "14": 4 / 14}
    )
    assert space["alignment"] < 0.2 < worse_alignment(labels)
    assert space["uniformity"] < 0
    assert (score.model, score.label, score.primary) == ("counting", "counting", "map")
    shuffled = np.random.default_rng(1).normal(size=(15, 4))
    worse = score_features(dataset, features(examples, shuffled), model=MODEL)
    interval = worse.metrics["map"]
    assert interval.low < interval.value < interval.high < 1.0
    assert len(worse.evidence.names) == 15


def test_tracks_with_nothing_to_find_are_not_asked() -> None:
    labels = ["a", "a", "b"]
    examples = [example(n, label) for n, label in enumerate(labels)]
    dataset = Dataset("composer", "retrieval", ("a", "b"), examples)
    score = score_features(dataset, features(examples, clusters(labels)), model=MODEL)
    assert list(score.evidence.names) == ["000", "001"]
    assert score.metrics["p_at_1"].value == 1.0


def test_tracks_of_one_group_do_not_answer_for_each_other() -> None:
    labels = ["a", "a", "b", "b"]
    examples = [example(n, label, group=label) for n, label in enumerate(labels)]
    dataset = Dataset("composer", "retrieval", ("a", "b"), examples)
    with pytest.raises(TaskError):
        score_features(dataset, features(examples, clusters(labels)), model=MODEL)


def test_excerpts_find_their_own_track() -> None:
    tracks = [example(n, str(n), track=f"t{n}") for n in range(4)]
    queries = [example(10 + n, str(n), "test", track=f"t{n}") for n in range(4)]
    values = np.concatenate([np.eye(4), np.eye(4)[[0, 1, 2, 2]]])
    dataset = Dataset("find", "retrieval", (), [*tracks, *queries])
    score = score_features(dataset, features([*tracks, *queries], values), model=MODEL)
    assert score.metrics["recall_at_1"].value == 0.75
    ranks = 1 / score.evidence.values["mrr"]
    assert dict(zip(score.evidence.names, ranks, strict=True))["010"] == 1


def test_a_probe_is_chosen_on_validation_and_its_predictions_are_kept() -> None:
    splits = ["train"] * 40 + ["valid"] * 20 + ["test"] * 20
    labels = ["ab"[n % 2] for n in range(80)]
    examples = [example(n, labels[n], splits[n]) for n in range(80)]
    dataset = Dataset("genre", "classification", ("a", "b"), examples)
    given = features(examples, clusters(labels, noise=0.3))
    score = score_features(dataset, given, model=MODEL, protocol=FAST)
    assert score.metrics["accuracy"].value > 0.9
    (probe,) = score.details["probes"]
    assert len(probe["tried"]) == 12
    assert score.evidence.values.shape == (1, 20, 2)
    assert not score.spreads
    data = json.loads(json.dumps(score.to_dict()))
    assert Score.from_dict(data).to_dict() == score.to_dict()


def test_failures_are_counted_and_named() -> None:
    labels = ["a", "a", "b", "b"]
    examples = [example(n, label) for n, label in enumerate(labels)]
    lost = example(9, "a")
    dataset = Dataset("composer", "retrieval", ("a", "b"), [*examples, lost])
    score = score_features(dataset, features(examples, clusters(labels), (lost,)), model=MODEL)
    assert (score.num_examples, score.num_failed) == (4, 1)
    assert score.details["failed"] == {"009": "file is broken."}
    with pytest.raises(TaskError, match="file is broken"):
        score_features(dataset, features([], np.zeros((0, 4)), (lost,)), model=MODEL)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    examples = []
    for number in range(8):
        path = tmp_path / f"{number}.txt"
        path.write_text(str(number // 2))
        examples.append(Example(str(number), path, str(number // 2)))
    return Dataset("pairs", "retrieval", tuple("0123"), examples)


def test_scores_are_kept_and_not_computed_again(tmp_path: Path, dataset: Dataset) -> None:
    model = Counting()
    (first,) = evaluate([model], [dataset], tmp_path / "out")
    assert model.reads == 8
    (again,) = evaluate([model], [dataset], tmp_path / "out")
    assert again.to_dict() == first.to_dict()
    assert model.reads == 8
    # Another question is another score, from the same features.
    fewer = Dataset(dataset.name, dataset.kind, dataset.classes, dataset.examples[:6])
    second = evaluate([model], [fewer], tmp_path / "out")
    assert second[0].num_examples == 6
    assert model.reads == 8


def test_a_kept_score_that_is_damaged_is_one_sentence(tmp_path: Path, dataset: Dataset) -> None:
    evaluate([Counting()], [dataset], tmp_path / "out")
    (kept,) = (tmp_path / "out" / "scores").glob("*/*.json")
    kept.write_bytes(kept.read_bytes()[:99])
    with pytest.raises(TaskError, match=r"is no score .* remove it and run"):
        evaluate([Counting()], [dataset], tmp_path / "out")


def test_a_file_that_has_changed_is_another_question(tmp_path: Path, dataset: Dataset) -> None:
    changed = dataset.examples[0].path
    changed.write_text("none")
    (before,) = evaluate([Counting()], [dataset], tmp_path / "out")
    assert (before.num_examples, before.num_failed) == (7, 1)
    changed.write_text("0")
    (after,) = evaluate([Counting()], [dataset], tmp_path / "out")
    assert (after.num_examples, after.num_failed) == (8, 0)


def test_over_seeds_the_score_is_their_mean_and_says_how_they_spread() -> None:
    rng = np.random.default_rng(3)
    splits = ["train"] * 40 + ["valid"] * 20 + ["test"] * 20
    labels = [str(label) for label in rng.choice(["a", "b"], 80)]
    examples = [example(n, labels[n], splits[n]) for n in range(80)]
    dataset = Dataset("genre", "classification", ("a", "b"), examples)
    given = features(examples, rng.normal(size=(80, 4)))  # nothing to learn: seeds will differ
    score = score_features(
        dataset, given, model=MODEL, protocol=Protocol(grid="fast", seeds=(0, 1, 2))
    )
    outputs = score.evidence
    assert isinstance(outputs, Outputs)
    each = [(values.argmax(axis=1) == outputs.targets).mean() for values in outputs.values]
    assert len(each) == 3
    assert score.metrics["accuracy"].value == pytest.approx(np.mean(each))
    assert score.spreads["accuracy"].std == pytest.approx(np.std(each, ddof=1))
    assert score.spreads["accuracy"].n == 3


def test_in_a_cross_validation_every_track_is_tested_once_by_a_probe_that_never_saw_it() -> None:
    labels = ["ab"[n % 2] for n in range(30)]
    examples = [example(n, labels[n]) for n in range(30)]
    roles = ("test", "valid", "train")
    folds = [{f"{n:03d}": roles[(n // 2 - fold) % 3] for n in range(30)} for fold in range(3)]
    dataset = Dataset("composer", "classification", ("a", "b"), examples, folds=folds)
    score = score_features(
        dataset, features(examples, clusters(labels)), model=MODEL, protocol=FAST
    )
    assert sorted(score.evidence.names) == [e.id for e in examples]
    assert len(score.details["probes"]) == 3
    assert score.metrics["accuracy"].value == 1.0
    # What a fold tests is not in what it learns from: with labels of its own, it must fail.
    lied = [example(n, "ab"[(n + (n // 2 % 3 == 0)) % 2]) for n in range(30)]
    dataset = Dataset("composer", "classification", ("a", "b"), lied, folds=folds[:1])
    score = score_features(dataset, features(lied, clusters(labels)), model=MODEL, protocol=FAST)
    assert len(score.evidence.names) == 10
    assert score.metrics["accuracy"].value == 0.0


def test_tracks_of_a_group_are_drawn_together(tmp_path: Path) -> None:
    splits = ["train"] * 40 + ["valid"] * 20 + ["test"] * 20
    labels = ["ab"[n // 2 % 2] for n in range(80)]
    examples = [example(n, labels[n], splits[n], group=f"tune {n // 2}") for n in range(80)]
    given = features(examples, clusters(labels, noise=2.0))
    alone = [replace(e, group="") for e in examples]
    wide, narrow = (
        score_features(
            Dataset("genre", "classification", ("a", "b"), each),
            replace(given, examples=each),
            model=MODEL,
            protocol=FAST,
        )
        for each in (examples, alone)
    )
    assert wide.evidence.clusters == [f"group tune {n // 2}" for n in range(60, 80)]
    assert narrow.evidence.clusters is None
    assert wide.metrics["accuracy"].value == narrow.metrics["accuracy"].value
    assert wide.metrics["accuracy"] != narrow.metrics["accuracy"]
    assert Score.from_dict(wide.to_dict()).evidence.clusters == wide.evidence.clusters


class Perfect(KeyDetector):
    """Knows every key by the number in the file."""

    name, space_id, sample_rate = "perfect", "perfect-1", 1

    def features(self, waveform: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def extract(self, path: Path, *, start: float = 0.0, duration: float | None = None):
        return np.eye(24, dtype=np.float32)[int(path.read_text())]


def test_a_key_detector_answers_the_test_set_of_key_tasks_without_a_probe(
    tmp_path: Path, dataset: Dataset
) -> None:
    examples = []
    for number in range(24):
        path = tmp_path / f"key{number}"
        path.write_text(str(number if number else 7))  # C major, heard as the fifth above
        split = "test" if number % 2 == 0 else "train"
        examples.append(Example(f"{number:02d}", path, KEYS[number], split=split))
    keys = Dataset("keys", "key", KEYS, examples)
    (score,) = evaluate([Perfect()], [dataset, keys], tmp_path / "out")
    assert score.task == "keys"
    assert score.num_examples == 12
    assert score.metrics["accuracy"].value == pytest.approx(11 / 12)
    assert score.metrics["key_score"].value == pytest.approx(11.5 / 12)
    assert "probes" not in score.details


def test_how_a_model_read_is_part_of_its_label(dataset: Dataset, tmp_path: Path) -> None:
    class Windowed(Counting):
        space_id = "counting-1/windows"
        reading = Reading(window=8.192, pooling="mean")

    whole, windowed = evaluate([Counting(), Windowed()], [dataset], tmp_path / "out")
    assert whole.label == "counting"
    assert windowed.label == "counting, windows of 8.192 s, mean pooling"
    assert windowed.model == "counting"
    assert Score.from_dict(windowed.to_dict()).reading == Reading(8.192, None, "mean")


@pytest.mark.parametrize("clusters", [None, ["a", "a", "b"]])
def test_evidence_survives_json(clusters: list[str] | None) -> None:
    from myna_rpe.evaluation.scores import evidence_from_dict

    queries = Queries(["x", "y", "z"], {"map": np.array([0.5, 1.0, 0.1])}, clusters)
    again = evidence_from_dict(json.loads(json.dumps(queries.to_dict())))
    assert again.to_dict() == queries.to_dict()
    assert again.statistic("map")(np.array([[0, 1, 1]]))[0] == pytest.approx(2.5 / 3)


def test_a_track_is_cut_to_its_middle(tmp_path: Path) -> None:
    path = tmp_path / "ten seconds.wav"
    soundfile.write(path, np.zeros(80_000), 8000)
    examples = [
        Example("whole", path, "a"),
        Example("clip", path, "a", start=2.0, duration=6.0),
        Example("short", path, "a", start=1.0, duration=2.0),
        Example("gone", tmp_path / "gone.wav", "a"),
    ]
    dataset = Dataset("pairs", "retrieval", ("a",), examples)
    done = cut(dataset, 3.0)
    assert done.length == 3.0
    assert [(e.start, e.duration) for e in done.examples] == [
        (3.5, 3.0),
        (3.5, 3.0),
        (1.0, 2.0),
        (0.0, None),
    ]
    with pytest.raises(TaskError, match="length=0 s is nothing to read"):
        cut(dataset, 0.0)


@pytest.mark.parametrize("options", [{"grid": "half"}, {"name": "mine"}])
def test_an_unknown_protocol_is_refused(options: dict) -> None:
    with pytest.raises(ConfigError, match="is not valid for Protocol"):
        Protocol(**options)

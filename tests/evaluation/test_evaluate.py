"""From features and a task to scores with intervals, kept and found again."""

import json
from pathlib import Path

import numpy as np
import pytest

from myna_rpe.errors import ConfigError, TaskError
from myna_rpe.evaluation.evaluate import Protocol, Score, evaluate, score_features
from myna_rpe.evaluation.examples import Dataset, Example
from myna_rpe.evaluation.features import Failure, Features
from myna_rpe.evaluation.peers import FeatureExtractor
from myna_rpe.evaluation.report import to_markdown

FAST = Protocol(grid="fast")


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


def test_retrieval_finds_what_lies_together_and_reports_every_track() -> None:
    labels = [name for name in "abc" for _ in range(5)]
    examples = [example(n, label) for n, label in enumerate(labels)]
    dataset = Dataset("composer", "retrieval", tuple("abc"), examples, {"licence": "free"})
    score = score_features(dataset, features(examples, clusters(labels)), model="m")
    assert next(iter(score.metrics)) == "map"
    assert score.metrics["p_at_1"].value == 1.0
    assert set(score.details["p_at_1"]) == {e.id for e in examples}
    shuffled = np.random.default_rng(1).normal(size=(15, 4))
    worse = score_features(dataset, features(examples, shuffled), model="m")
    interval = worse.metrics["map"]
    assert interval.low < interval.value < interval.high < 1.0
    assert worse.details["queries"] == 15


def test_tracks_with_nothing_to_find_are_not_asked() -> None:
    labels = ["a", "a", "b"]
    examples = [example(n, label) for n, label in enumerate(labels)]
    dataset = Dataset("composer", "retrieval", ("a", "b"), examples)
    score = score_features(dataset, features(examples, clusters(labels)), model="m")
    assert score.details["queries"] == 2
    assert score.details["p_at_1"]["002"] is None
    assert score.metrics["p_at_1"].value == 1.0


def test_tracks_of_one_group_do_not_answer_for_each_other() -> None:
    labels = ["a", "a", "b", "b"]
    examples = [example(n, label, group=label) for n, label in enumerate(labels)]
    dataset = Dataset("composer", "retrieval", ("a", "b"), examples)
    with pytest.raises(TaskError):
        score_features(dataset, features(examples, clusters(labels)), model="m")


def test_excerpts_find_their_own_track() -> None:
    tracks = [example(n, str(n), track=f"t{n}") for n in range(4)]
    queries = [example(10 + n, str(n), "test", track=f"t{n}") for n in range(4)]
    values = np.concatenate([np.eye(4), np.eye(4)[[0, 1, 2, 2]]])
    dataset = Dataset("find", "retrieval", (), [*tracks, *queries])
    score = score_features(dataset, features([*tracks, *queries], values), model="m")
    assert score.metrics["recall_at_1"].value == 0.75
    assert score.details["ranks"]["010"] == 1


def test_a_probe_is_chosen_on_validation_and_its_predictions_are_kept() -> None:
    splits = ["train"] * 40 + ["valid"] * 20 + ["test"] * 20
    labels = ["ab"[n % 2] for n in range(80)]
    examples = [example(n, labels[n], splits[n]) for n in range(80)]
    dataset = Dataset("genre", "classification", ("a", "b"), examples)
    given = features(examples, clusters(labels, noise=0.3))
    score = score_features(dataset, given, model="m", protocol=FAST)
    assert score.metrics["accuracy"].value > 0.9
    probe = score.details["probe"]
    assert len(probe["tried"]) == 12
    assert len(probe["runs"][0]["outputs"]) == 20
    json.dumps(score.to_dict())
    assert Score.from_dict(json.loads(json.dumps(score.to_dict()))) == score


def test_failures_are_counted_and_named() -> None:
    labels = ["a", "a", "b", "b"]
    examples = [example(n, label) for n, label in enumerate(labels)]
    lost = example(9, "a")
    dataset = Dataset("composer", "retrieval", ("a", "b"), [*examples, lost])
    score = score_features(dataset, features(examples, clusters(labels), (lost,)), model="m")
    assert (score.num_examples, score.num_failed) == (4, 1)
    assert score.details["failed"] == {"009": "file is broken."}
    with pytest.raises(TaskError, match="file is broken"):
        score_features(dataset, features([], np.zeros((0, 4)), (lost,)), model="m")


class Counting(FeatureExtractor):
    """Reads a number from each file, and counts how often it is asked."""

    name, dim, space_id = "counting", 4, "counting-1"

    def __init__(self) -> None:
        self.reads = 0

    def extract(self, path: Path, *, start: float = 0.0, duration: float | None = None):
        self.reads += 1
        return np.eye(4, dtype=np.float32)[int(path.read_text())]


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
    first = evaluate([model], [dataset], tmp_path / "out")
    assert model.reads == 8
    assert evaluate([model], [dataset], tmp_path / "out") == first
    assert model.reads == 8
    # Another question is another score, from the same features.
    fewer = Dataset(dataset.name, dataset.kind, dataset.classes, dataset.examples[:6])
    second = evaluate([model], [fewer], tmp_path / "out")
    assert second[0].num_examples == 6
    assert model.reads == 8


def test_the_report_has_a_table_per_task_with_the_best_model_first(
    tmp_path: Path, dataset: Dataset
) -> None:
    class Worse(Counting):
        name, space_id = "worse|", "worse-1"

        def extract(self, path: Path, *, start: float = 0.0, duration: float | None = None):
            return np.ones(4, dtype=np.float32)

    scores = evaluate([Worse(), Counting()], [dataset], tmp_path / "out")
    text = to_markdown(scores)
    assert text.index("| counting | 1.000 [1.000, 1.000]") < text.index("| worse\\| |")
    assert text.count("## pairs") == 1


@pytest.mark.parametrize("options", [{"grid": "half"}, {"name": "mine"}])
def test_an_unknown_protocol_is_refused(options: dict) -> None:
    with pytest.raises(ConfigError, match="is not valid for Protocol"):
        Protocol(**options)

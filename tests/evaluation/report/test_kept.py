"""Scores that evaluations left, read again."""

import json
import shutil

import pytest

from myna_rpe.errors import TaskError
from myna_rpe.evaluation.report.kept import check_unique, read_scores

from .support import keep, probed, retrieval


def test_scores_of_several_folders_are_read_by_folder_task_and_name(tmp_path):
    keep(tmp_path / "b", retrieval([1.0], task="y"))
    keep(tmp_path / "a", retrieval([0.5], task="z"))
    keep(tmp_path / "a", probed("classification", ("a", "b"), task="x"))
    kept = read_scores([tmp_path / "b", tmp_path / "a"])
    assert [each.score.task for each in kept] == ["y", "x", "z"]
    assert kept[0].path == tmp_path / "b" / "scores" / "y" / "0123.json"
    assert kept[0].score.to_dict() == retrieval([1.0], task="y").to_dict()
    check_unique(kept)


def test_a_score_that_was_copied_counts_once(tmp_path):
    keep(tmp_path / "a", retrieval([1.0]))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    kept = read_scores([tmp_path / "a", tmp_path / "b", tmp_path / "a"])
    assert len(kept) == 1


def test_two_scores_of_one_question_are_refused_with_their_files(tmp_path):
    first = keep(tmp_path, retrieval([1.0]), "one")
    second = keep(tmp_path, retrieval([0.5]), "two")
    keep(tmp_path, retrieval([0.5], length=3.0), "shorter")
    with pytest.raises(TaskError, match="has two scores on task='task'") as caught:
        check_unique(read_scores([tmp_path]))
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


def test_a_folder_without_scores_is_refused(tmp_path):
    keep(tmp_path / "a", retrieval([1.0]))
    with pytest.raises(TaskError, match="holds no scores"):
        read_scores([tmp_path / "a", tmp_path])


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", '"x"', "{}", '{"task": 1}', "\xff"],
)
def test_what_is_no_score_is_refused_with_its_name(tmp_path, text):
    path = keep(tmp_path, retrieval([1.0]))
    path.write_text(text, encoding="latin-1")
    with pytest.raises(TaskError, match=r"0123\.json' is no score"):
        read_scores([tmp_path])


def test_a_score_without_its_evidence_is_no_score(tmp_path):
    path = keep(tmp_path, retrieval([1.0]))
    data = json.loads(path.read_bytes())
    del data["evidence"]
    path.write_text(json.dumps(data))
    with pytest.raises(TaskError, match="KeyError: 'evidence'"):
        read_scores([tmp_path])

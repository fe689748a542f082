import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from myna_rpe.cli import app
from myna_rpe.errors import ConfigError, TaskError
from myna_rpe.evaluation.reading import Reading

from ..evaluation.report.support import keep, probed, retrieval

runner = CliRunner()


def report(*arguments: object):
    return runner.invoke(app, ["report", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An evaluation of two models, one of them in two readings, and of a peer, on two tasks."""
    out = tmp_path / "evaluation"
    for number, (model, reading, value) in enumerate(
        [
            ("big", Reading(), 0.75),
            ("big", Reading(window=8.0), 0.5),
            ("swept", Reading(layer=1), 0.25),
            ("swept", Reading(layer=2), 0.25),
            ("mfcc", None, 0.25),
        ]
    ):
        score = retrieval([value] * 4, task="composer", model=model, reading=reading)
        keep(out, score, f"{number}")
        if number in (0, 4):
            score = probed("classification", ("a", "b"), task="genre", model=model, length=10.0)
            keep(out, score, f"{number}")
    return out


def test_two_models_are_compared_on_all_that_both_have(folder):
    result = report("compare", "big", "mfcc", "--in", folder)
    assert result.exit_code == 0, result.exception
    assert "## composer\n" in result.stdout
    assert "| map | 0.750 | 0.250 | +0.500 [+0.500, +0.500] | 0.001 | 4 |" in result.stdout
    assert "## genre, 10 s of each track\n" in result.stdout
    assert "| accuracy | " in result.stdout
    assert "| macro_f1 | " in result.stdout


def test_a_reading_is_named_as_reports_name_it(folder):
    result = report("compare", "big, windows of 8 s", "big", "--in", folder, "--json")
    (comparison,) = json.loads(result.stdout)
    assert comparison["values"] == {"map": [0.5, 0.75]}
    assert comparison["differences"]["map"]["value"] == -0.25
    assert comparison["num_pairs"] == 4
    assert comparison["left_out"] == [0, 0]
    assert comparison["length"] is None


def test_tracks_that_only_one_has_are_counted(tmp_path, folder):
    keep(tmp_path / "other", retrieval({"t0": 1.0, "new": 0.0}, task="composer", model="o"))
    result = report("compare", "o", "mfcc", "--in", folder, "--in", tmp_path / "other")
    assert "| 1.000 | 0.250 |" in result.stdout
    assert "left out: 1 that only A has, 3 that only B has" in result.stdout


def test_a_folder_of_one_model_is_that_model(tmp_path, folder, monkeypatch):
    keep(tmp_path / "one", retrieval([1.0] * 4, task="composer", model="o"))
    keep(tmp_path / "two", retrieval([0.5] * 4, task="composer", model="o"))
    result = report("compare", tmp_path / "one", tmp_path / "two")
    assert result.exit_code == 0, result.exception
    assert "| map | 1.000 | 0.500 |" in result.stdout
    monkeypatch.chdir(tmp_path)
    result = report("compare", "one", "mfcc")
    assert "| map | 1.000 | 0.250 |" in result.stdout


def test_a_setting_chosen_on_test_is_said_of_the_model_it_is_of(tmp_path, folder):
    score = probed(
        "classification", ("a", "b"), task="genre", model="x", length=10.0, protocol="myna-compat"
    )
    keep(tmp_path / "other", score)
    arguments = ["compare", "x", "mfcc", "--in", folder, "--in", tmp_path / "other"]
    assert "> Protocol myna-compat of x: " in report(*arguments).stdout
    (comparison,) = json.loads(report(*arguments, "--json").stdout)
    assert comparison["warnings"][0].startswith("Protocol myna-compat of x: ")


def test_names_that_could_be_several_are_refused_with_all_of_them(folder):
    result = report("compare", "swept", "mfcc", "--in", folder)
    assert isinstance(result.exception, ConfigError)
    assert "'swept, layer 1', 'swept, layer 2'." in str(result.exception)
    result = report("compare", folder, "mfcc", "--in", folder)
    assert "has scores of 5 names" in str(result.exception)
    result = report("compare", "bgi", "mfcc", "--in", folder)
    assert "did you mean 'big'? Valid: big, big, windows of 8 s, mfcc" in str(result.exception)


def test_two_scores_of_one_question_are_not_chosen_from(folder):
    path = keep(folder, retrieval([1.0] * 4, task="composer", model="mfcc"), "again")
    result = report("compare", "big", "mfcc", "--in", folder)
    assert isinstance(result.exception, TaskError)
    assert str(path) in str(result.exception)
    # Which is no matter to others.
    assert report("compare", "big", "swept, layer 1", "--in", folder).exit_code == 0


def test_models_without_a_common_task_are_refused(tmp_path, folder):
    keep(tmp_path / "other", retrieval([1.0], task="elsewhere", model="o"))
    result = report("compare", tmp_path / "other", "mfcc", "--in", folder)
    assert "have no task in common" in str(result.exception)


def test_an_evaluation_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = report("compare", "a", "b")
    assert isinstance(result.exception, TaskError)
    assert "folder='evaluation' holds no scores" in str(result.exception)


def test_evaluations_in_pieces_become_one_report(tmp_path, folder):
    keep(tmp_path / "other", retrieval([1.0] * 4, task="composer", model="elsewhere"))
    out = tmp_path / "all"
    result = report("write", folder, tmp_path / "other", "-o", out)
    assert result.exit_code == 0, result.exception
    assert result.stdout.strip() == (out / "report.md").read_text("utf-8").strip()
    assert len(json.loads((out / "report.json").read_bytes())["scores"]) == 8
    assert result.stdout.index("| elsewhere |") < result.stdout.index("| big |")
    keep(tmp_path / "other", retrieval([0.0], task="composer", model="mfcc"), "other")
    result = report("write", folder, tmp_path / "other", "-o", out)
    assert "model='mfcc' has two scores on task='composer'" in str(result.exception)


def test_broken_scores_and_empty_folders_are_refused(tmp_path, folder):
    result = report("write", tmp_path, "-o", tmp_path / "out")
    assert "holds no scores" in str(result.exception)
    (folder / "scores" / "composer" / "0.json").write_text("{")
    for arguments in (
        ["write", folder, "-o", tmp_path / "out"],
        ["compare", "a", "b", "--in", folder],
    ):
        result = report(*arguments)
        assert isinstance(result.exception, TaskError)
        assert "is no score (JSONDecodeError" in str(result.exception)
    assert not (tmp_path / "out").exists()

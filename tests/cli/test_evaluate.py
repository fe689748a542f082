import json
from itertools import product
from pathlib import Path

import pytest
from typer.testing import CliRunner

from myna_rpe.cli import app
from myna_rpe.config import Architecture, ModelConfig
from myna_rpe.errors import ConfigError, TaskError
from myna_rpe.evaluation.tasks.gtzan import filtered
from myna_rpe.model.checkpoint import MynaModel

from ..evaluation.corpus.small_corpus import write_corpus
from ..evaluation.tasks.copies import write_gtzan

runner = CliRunner()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    small = ModelConfig(dim=32, depth=2, heads=2, head_dim=16, mlp_dim=64)
    MynaModel.untrained(Architecture(model=small)).save(tmp_path / "small")
    return tmp_path / "small"


def evaluate(*arguments: object):
    return runner.invoke(app, ["evaluate", *map(str, arguments), "--threads", "1"])


def test_models_contexts_and_peers_are_scored_in_one_table(tmp_path, corpus, model):
    out = tmp_path / "out"
    arguments = [f"mine={model}", "--tasks", "package", "--corpus", corpus, "-o", out]
    arguments += ["--contexts", "track,4", "--peers", "mfcc,untrained"]
    result = evaluate(*arguments)
    assert result.exit_code == 0, result.exception
    assert result.stdout.strip() == (out / "report.md").read_text().strip()
    for label in ("mine", "mine, windows of 4 s", "mfcc", "untrained, as mine"):
        assert f"| {label} |" in result.stdout
    page = (out / "report.html").read_text()
    assert "<svg" in page
    assert "Maps" in page

    # The same question again: the same answer, from what is kept.
    again = evaluate(*arguments, "--json")
    scores = json.loads(again.stdout)
    assert {score["num_examples"] for score in scores} == {6}
    assert len(list((out / "scores").rglob("*.json"))) == 4


def test_layers_poolings_and_lengths_are_swept(tmp_path, corpus, model):
    arguments = [model, "--tasks", "package", "--corpus", corpus, "-o", tmp_path / "out", "--json"]
    arguments += ["--layers", "all", "--poolings", "trained,mean", "--lengths", "full,3"]
    result = evaluate(*arguments)
    assert result.exit_code == 0, result.exception
    scores = json.loads(result.stdout)
    asked = [(s["length"], s["reading"]["layer"], s["reading"]["pooling"]) for s in scores]
    expected = list(product((None, 3.0), (1, None), (None, "mean")))
    assert asked == expected
    # Each reading is a space of its own; each length is of the same spaces.
    assert len({score["space_id"] for score in scores}) == 4


def test_identification_asks_for_every_length_there_is_music_for(tmp_path, corpus, model):
    arguments = [model, "--tasks", "identification", "--corpus", corpus, "-o", tmp_path / "out"]
    result = evaluate(*arguments, "--json")
    assert result.exit_code == 0, result.exception
    # No track is as long as 30 s.
    names = [score["task"] for score in json.loads(result.stdout)]
    assert names == ["corpus-identification-3s", "corpus-identification-10s"]


def test_files_that_cannot_be_read_are_named_and_counted(tmp_path, corpus, model):
    broken = sorted(corpus.rglob("*.wav"))[0]
    broken.write_bytes(b"no music")
    arguments = [model, "--tasks", "package", "--corpus", corpus, "-o", tmp_path / "out"]
    result = evaluate(*arguments)
    assert result.exit_code == 0, result.exception
    assert f"failed: corpus-package: {model}: {broken.relative_to(corpus)}" in result.stderr
    assert "| 5 | 1 |" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "tasks is not given"),
        (["--tasks", "composers"], "did you mean 'composer'"),
        (["--tasks", "composer"], "needs a corpus; make it with `myna corpus fetch DIR`"),
        (
            ["--tasks", "rendered-key"],
            "make it with `myna corpus render DIR`, and give --corpus DIR",
        ),
        (["--tasks", "gtzan"], "use --root gtzan=DIR"),
        (["--tasks", "gtzan", "--root", "gtzan"], "write it as gtzan=DIR"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(tmp_path, arguments, message):
    result = evaluate(*arguments, "-o", tmp_path / "out")
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "model is not given"),
        (["--peers", "mfc"], "did you mean 'mfcc'"),
        (["--peers", "mfcc", "--grid", "half"], "grid"),
        (["--peers", "mfcc", "--seeds", "a"], "write them as 0,1,2"),
        (["--peers", "mfcc", "--lengths", "long"], "length='long' is neither full nor a number"),
        (["--peers", "mfcc", "--lengths", "clips"], "has no clips in its protocol"),
        (["MODEL", "--contexts", "long"], "context='long' is neither track nor a number"),
        (["MODEL", "--contexts", "0"], "seconds=0"),
        (["MODEL", "--layers", "3"], "layer=3 does not exist; use 1 <= layer <= 2"),
        (["MODEL", "--layers", "first"], "use last, all or numbers from 1 to 2"),
        (["MODEL", "--poolings", "max"], "pooling='max'"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_read(
    tmp_path, corpus, model, arguments, message
):
    arguments = [model if argument == "MODEL" else argument for argument in arguments]
    result = evaluate("--tasks", "package", "--corpus", corpus, "-o", tmp_path / "out", *arguments)
    assert isinstance(result.exception, (ConfigError, TaskError))
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_partial_copy_is_taken_where_that_is_asked_for(tmp_path):
    by_genre = {
        (split, clip.partition(".")[0]): clip
        for split in ("train", "valid", "test")
        for clip in filtered(split)
    }
    root = write_gtzan(tmp_path / "gtzan", by_genre.values())  # one clip a genre in each split
    arguments = ["--tasks", "gtzan", "--root", f"gtzan={root}", "--peers", "mfcc"]
    arguments += ["-o", tmp_path / "out", "--grid", "fast"]
    refused = evaluate(*arguments)
    assert isinstance(refused.exception, TaskError)
    assert "or use --allow-partial" in str(refused.exception)
    result = evaluate(*arguments, "--allow-partial")
    assert result.exit_code == 0, result.exception
    assert "train 10 of 443, valid 10 of 197, test 10 of 290" in result.stdout

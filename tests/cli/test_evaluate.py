import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from myna_rpe.cli import app
from myna_rpe.config import Architecture, ModelConfig
from myna_rpe.errors import ConfigError
from myna_rpe.evaluation.corpus.manifest import MANIFEST, CorpusTrack, write_tracks
from myna_rpe.evaluation.corpus.packages import packages_of
from myna_rpe.model.checkpoint import MynaModel

from ..synthetic_music import write_album

runner = CliRunner()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Six tracks of three composers, as `myna corpus fetch` leaves them."""
    folder = tmp_path / "corpus"
    package = packages_of("dev")[0].name
    paths = write_album(folder / package, tracks=6, seconds=12.0)
    tracks = [
        CorpusTrack(
            path=path.relative_to(folder).as_posix(),
            package=package,
            role="dev",
            album="",
            composer=f"Composer {number // 2}",
            licence="CC0",
            duration=12.0,
            sample_rate=16_000,
            bytes=path.stat().st_size,
            sha256="",
        )
        for number, path in enumerate(paths)
    ]
    write_tracks(folder / MANIFEST, tracks)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    small = ModelConfig(dim=32, depth=2, heads=2, head_dim=16, mlp_dim=64)
    MynaModel.untrained(Architecture(model=small)).save(tmp_path / "small")
    return tmp_path / "small"


def evaluate(*arguments: object):
    return runner.invoke(app, ["evaluate", *map(str, arguments), "--threads", "1"])


def test_models_windows_and_peers_are_scored_in_one_table(tmp_path, corpus, model):
    out = tmp_path / "out"
    arguments = [model, "--task", "package", "--corpus", corpus, "-o", out]
    arguments += ["--window", 4, "--peer", "mfcc"]
    result = evaluate(*arguments)
    assert result.exit_code == 0, result.exception
    assert result.stdout.strip() == (out / "report.md").read_text().strip()
    rows = [line for line in result.stdout.splitlines() if line.startswith("| ")]
    assert {row.split(" | ")[0] for row in rows[2:]} == {
        f"| {model}",
        f"| {model}, windows of 4 s",
        "| mfcc",
    }
    # The same question again: the same answer, from what is kept.
    again = evaluate(*arguments, "--json")
    scores = json.loads(again.stdout)
    assert {score["num_examples"] for score in scores} == {6}
    assert len(list((out / "scores").rglob("*.json"))) == 3


def test_identification_asks_for_every_length_there_is_music_for(tmp_path, corpus, model):
    arguments = [model, "--task", "identification", "--corpus", corpus, "-o", tmp_path / "out"]
    result = evaluate(*arguments)
    assert result.exit_code == 0, result.exception
    headings = [line for line in result.stdout.splitlines() if line.startswith("## ")]
    # No track is as long as 30 s.
    assert headings == ["## corpus-identification-3s", "## corpus-identification-10s"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "task is not given"),
        (["--task", "composers"], "did you mean 'composer'"),
        (["--task", "composer"], "needs --corpus DIR"),
        (["--task", "gtzan"], "use --root gtzan=DIR"),
        (["--task", "gtzan", "--root", "gtzan"], "write it as gtzan=DIR"),
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
        (["--peer", "mfc"], "did you mean 'mfcc'"),
        (["--peer", "mfcc", "--grid", "half"], "grid"),
        (["--peer", "mfcc", "--seeds", "a"], "write them as 0,1,2"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_read(
    tmp_path, corpus, arguments, message
):
    result = evaluate("--task", "package", "--corpus", corpus, "-o", tmp_path / "out", *arguments)
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()

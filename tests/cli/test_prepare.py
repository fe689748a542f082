import json
import os
import shutil

import pytest
from typer.testing import CliRunner

from myna_rpe.cli import app
from myna_rpe.data import ShardSet
from myna_rpe.errors import ConfigError

from ..synthetic_music import write_album

runner = CliRunner()


@pytest.fixture
def album(tmp_path):
    write_album(tmp_path / "album")
    (tmp_path / "album" / "broken.mp3").touch()
    return tmp_path / "album"


def prepare(*arguments: object):
    options = ["--workers", "1", "--min-seconds", "1"]
    return runner.invoke(app, ["prepare", *map(str, arguments), *options])


def test_report_goes_to_stderr_and_its_counts_add_up(album, tmp_path):
    result = prepare(album, "-o", tmp_path / "shards")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert (
        "6 tracks (0.01 h, 0 of them from an earlier run) + 1 failed + 0 shorter" in result.stderr
    )
    assert "= 7 files" in result.stderr
    assert "failed: broken.mp3: " in result.stderr
    assert len(ShardSet.open(tmp_path / "shards")) == 6


def test_json_is_the_only_thing_on_stdout(album, tmp_path):
    name = os.fsdecode(b"caf\xe9.wav")
    shutil.copy(album / "broken.mp3", album / name)
    report = json.loads(prepare(album, "-o", tmp_path / "shards", "--json").stdout)
    assert (report["found"], report["tracks"], report["reused"]) == (8, 6, 0)
    assert [file["path"] for file in report["failed"]] == ["broken.mp3", "caf�.wav"]
    assert json.loads(prepare(album, "-o", tmp_path / "shards", "--json").stdout)["reused"] == 6


def test_options_reach_the_shards(album, tmp_path):
    prepare(album, "-o", tmp_path / "s", "--storage", "uint8", "--front-end", "rpe-44k")
    shards = ShardSet.open(tmp_path / "s")
    assert shards.settings.storage == "uint8"
    assert shards.front_end.sample_rate == 44_100


@pytest.mark.parametrize(
    ("option", "value", "valid"),
    [("--storage", "float15", "float16, uint8"), ("--front-end", "rpe-16", "rpe-44k, rpe-16k")],
)
def test_unknown_names_list_the_valid_ones(album, tmp_path, option, value, valid):
    result = prepare(album, "-o", tmp_path / "shards", option, value)
    assert isinstance(result.exception, ConfigError)
    assert valid in str(result.exception)

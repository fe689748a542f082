import json
import os
import shutil

import pytest
from typer.testing import CliRunner

from myna_rpe.cli import app
from myna_rpe.data import ShardSet
from myna_rpe.errors import ConfigError

from ..data.jamendo import write_sound, write_tables
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
    assert "6 tracks (0 from an earlier run) + 1 unreadable = 7 files" in result.stderr
    assert "unreadable: broken.mp3: " in result.stderr
    assert "0.01 h, artists known: 0, " in result.stderr
    assert "files/s" in result.stderr
    assert "x real time" in result.stderr
    assert len(ShardSet.open(tmp_path / "shards")) == 6


def test_json_is_the_only_thing_on_stdout(album, tmp_path):
    name = os.fsdecode(b"caf\xe9.wav")
    shutil.copy(album / "broken.mp3", album / name)
    report = json.loads(prepare(album, "-o", tmp_path / "shards", "--json").stdout)
    assert (report["found"], report["tracks"], report["reused"]) == (8, 6, 0)
    assert report["dropped"] == {"unreadable": 2}
    assert report["found"] == report["tracks"] + sum(report["dropped"].values())
    assert [file["path"] for file in report["files"]] == ["broken.mp3", "caf�.wav"]
    assert json.loads(prepare(album, "-o", tmp_path / "shards", "--json").stdout)["reused"] == 6


def test_of_many_rejected_files_some_are_shown_and_all_counted(album, tmp_path):
    for number in range(20):
        (album / f"{number:02d}.mp3").touch()
    lines = prepare(album, "-o", tmp_path / "shards").stderr.splitlines()
    assert sum(line.startswith("unreadable: ") for line in lines) == 6
    assert any(line.startswith("unreadable: and 16 more, see ") for line in lines)
    assert any(
        "6 tracks (0 from an earlier run) + 21 unreadable = 27 files" in line for line in lines
    )


def test_mtg_jamendo_is_prepared_with_its_splits(tmp_path):
    write_tables(tmp_path / "jamendo")
    write_sound(tmp_path / "jamendo")
    source = [tmp_path / "jamendo", "-o", tmp_path / "shards", "--dataset", "mtg-jamendo"]
    result = prepare(*source, "--split", "train", "--split", "test", "--min-seconds", "0.5")
    assert result.exit_code == 0
    assert "5 tracks (0 from an earlier run) + 3 other split = 8 files" in result.stderr
    assert "artists known: 3, 3 train, 2 test, " in result.stderr
    report = json.loads(prepare(*source, "--min-seconds", "0.5", "--json").stdout)
    assert report["splits"] == {"train": 3, "validation": 2, "test": 2, "": 1}
    assert report["reused"] == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "jamendo"], "dataset='jamendo' is unknown; did you mean 'mtg-jamendo'"),
        (["--subset", "top50"], "subset=top50 belongs to a data set; add --dataset"),
        (["--dataset", "mtg-jamendo", "--subset", "top5"], "did you mean 'top50'"),
        (["--dataset", "mtg-jamendo", "another"], "sources=2 of a data set are too many"),
    ],
)
def test_options_that_do_not_fit_are_refused(album, tmp_path, options, message):
    result = prepare(album, "-o", tmp_path / "shards", *options)
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)


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


def test_files_are_prepared_at_several_speeds(album, tmp_path):
    command = (album, "-o", tmp_path / "shards", "--json", "--speeds", "1,0.84,1.19")
    report = json.loads(prepare(*command).stdout)
    assert (report["found"], report["tracks"]) == (21, 18)
    assert json.loads(prepare(*command).stdout)["reused"] == 18
    refused = prepare(album, "-o", tmp_path / "other", "--speeds", "fast")
    assert isinstance(refused.exception, ConfigError)
    assert "speeds='fast'" in str(refused.exception)

import json

import pytest
from typer.testing import CliRunner

from myna_rpe.cli import app
from myna_rpe.data.download import mtg_jamendo
from myna_rpe.data.sources.mtg_jamendo import SUBSETS
from myna_rpe.errors import ConfigError

from ..data.download.server import serving
from ..data.download.test_mtg_jamendo import publish, tar_of
from ..data.jamendo import SONGS, write_sound, write_tables

runner = CliRunner()


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    there = tmp_path / "publishers"
    write_sound(there / "sound", SONGS[:2])
    tracks = {path.relative_to(there / "sound").as_posix(): path for path in there.rglob("*.mp3")}
    for table, stem in SUBSETS.values():
        write_tables(tmp_path / "jamendo", SONGS[:2], table=table, stem=stem)
    with serving() as server:
        publish(
            server,
            {"raw_30s_audio-low-48.tar": tar_of(there / "sound", "48")},
            {name: path.read_bytes() for name, path in tracks.items()},
        )
        monkeypatch.setattr(mtg_jamendo, "TABLES_URL", f"{server.url}/tables")
        yield server


def download(server, tmp_path, *options: str):
    arguments = ["download", "mtg-jamendo", str(tmp_path / "jamendo")]
    return runner.invoke(app, [*arguments, "--mirror", f"{server.url}/audio", *options])


def test_a_download_says_what_it_needs_first_and_what_is_there_at_the_end(server, tmp_path):
    result = download(server, tmp_path, "--json")
    assert result.exit_code == 0, result.exception
    told = [
        "0 of 1 archives are there; to fetch: 0.00 GB, which needs 0.00 GB of disk; ",
        "2 tracks are there and verified, 1 of 1 archives were fetched now -> ",
        "next: myna prepare ",
    ]
    places = [result.stderr.index(words) for words in told]
    assert places == sorted(places)
    report = json.loads(result.stdout)
    assert (report["archives"], report["fetched"], report["tracks"]) == (1, 1, 2)
    assert report["folder"] == str(tmp_path / "jamendo/audio-low")
    server.requests.clear()
    assert json.loads(download(server, tmp_path, "--json").stdout)["fetched"] == 0
    assert server.requests == []


def test_a_dry_run_fetches_no_sound(server, tmp_path):
    result = download(server, tmp_path, "--dry-run")
    assert result.exit_code == 0
    assert "0 of 1 archives are there" in result.stderr
    assert not any(path.endswith(".tar") for path in server.fetched)


def test_impossible_options_are_refused(server, tmp_path):
    for options in (["--quality", "high"], ["--only", "00,1"]):
        assert isinstance(download(server, tmp_path, *options).exception, ConfigError)
    assert server.requests == []

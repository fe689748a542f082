import json

import pytest

from myna_rpe.evaluation.corpus import fetch, packages, performances, render, synthesis

from ..embedding_support import assert_one_sentence
from ..evaluation.corpus.packages_on_path import game, install_tools, write_sound
from ..evaluation.corpus.test_performances import some_tunes
from ..evaluation.corpus.test_render import Tones, tunes


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "MIN_SECONDS", 3.0)
    table = {"game": game(), "other": game("other", role="train")}
    monkeypatch.setattr(packages, "PACKAGES", table)
    mirror = install_tools(tmp_path / "system", monkeypatch)
    for name in table:
        song = write_sound(tmp_path / f"{name}.ogg", 4, pitch=100.0 * len(name), artist="Ada")
        jingle = write_sound(tmp_path / "jingle.ogg", 1)
        files = {"song.ogg": song, "jingle.ogg": jingle}
        mirror.publish(name, {f"usr/share/game/music/{n}": path for n, path in files.items()})
    return mirror


def test_fetching_tells_disk_use_first_and_counts_that_add_up(myna, mirror, tmp_path):
    corpus = tmp_path / "corpus"
    ended = myna("corpus", "fetch", corpus, "--json")
    assert ended.code == 0
    told = [
        "0 of 1 packages are there; to fetch: ",
        "1 tracks + 1 too short = 2 sound files of 1 packages (1 fetched now)",
        "1 composers of 1 tracks known",
    ]
    places = [ended.err.index(words) for words in told]
    assert places == sorted(places)
    report = json.loads(ended.out)
    assert report["found"] == report["tracks"] + sum(report["dropped"].values()) == 2
    assert (report["folder"], report["composers"]) == (str(corpus), {"Ada": 1})
    both = json.loads(myna("corpus", "fetch", corpus, "--role", "all", "--json").out)
    assert (both["packages"], both["fetched"], both["tracks"]) == (2, 1, 2)


def test_a_dry_run_fetches_nothing(myna, mirror, tmp_path):
    ended = myna("corpus", "fetch", tmp_path / "corpus", "--dry-run")
    assert ended.code == 0
    assert "0 of 1 packages are there" in ended.err
    assert not (tmp_path / "corpus/game").exists()


def test_bad_input_ends_in_one_sentence(myna, mirror, tmp_path, monkeypatch):
    ended = myna("corpus", "fetch", tmp_path / "corpus", "--role", "test")
    assert_one_sentence(ended, "role='test' is unknown", "train, dev, all")
    ended = myna("corpus", "render", tmp_path / "out", "--renderings", "13")
    assert_one_sentence(ended, "renderings=13", "1 to 12 keys")
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = myna("corpus", "fetch", tmp_path / "corpus")
    assert_one_sentence(ended, "tool='apt-get' is not on this system")


def test_rendering_reports_splits_and_keys(myna, tmp_path, monkeypatch):
    monkeypatch.setattr(render, "choose_tunes", lambda settings: tunes(6, 5, 6))
    monkeypatch.setattr(synthesis, "find_synthesiser", lambda folder: Tones())
    command = ["corpus", "render", tmp_path / "out", "--tunes", 22, "--chorales", 12]
    command += ["--renderings", 1, "--json"]
    dry = myna(*command, "--dry-run")
    assert "0 of 34 renderings are there; to do: 34, which need about" in dry.err
    assert json.loads(dry.out)["renderings"] == 0
    report = json.loads(myna(*command).out)
    assert report["splits"] == {"train": 12, "valid": 10, "test": 12}
    assert (report["tunes"], sum(report["keys"].values())) == (34, 34)
    assert "34 of 34 renderings are there; to do: 0" in myna(*command).err


def test_performances_report_files_tunes_and_keys(myna, tmp_path, monkeypatch):
    monkeypatch.setattr(performances, "choose_training_tunes", lambda settings: some_tunes())
    monkeypatch.setattr(synthesis, "find_synthesiser", lambda folder: Tones())
    command = ["corpus", "perform", tmp_path / "out", "--keys", 3, "--performances", 2, "--json"]
    dry = myna(*command, "--dry-run")
    assert "0 of 24 renderings are there; to do: 24, which need about" in dry.err
    assert json.loads(dry.out)["files"] == 0
    report = json.loads(myna(*command).out)
    assert (report["files"], report["tunes"], len(report["keys"])) == (24, 8, 24)
    assert "24 of 24 renderings are there; to do: 0" in myna(*command).err
    ended = myna("corpus", "perform", tmp_path / "other", "--keys", "13")
    assert_one_sentence(ended, "keys=13", "1 to 12 keys")

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from myna_rpe.embedder import load_model
from myna_rpe.embedding_job import header_of
from myna_rpe.library.catalogue import NEXT_FOLDER, Catalogue, library_folder
from myna_rpe.model.registry import DEFAULT_MODEL

from ..embedding_support import Ended, assert_one_sentence, install, start_myna, write_chord

Myna = Callable[..., Ended]


@pytest.fixture
def music(tmp_path: Path) -> Path:
    install()
    for index in range(4):
        write_chord(tmp_path / "music" / f"{index}.wav", 0.3, pitch=200 + 30 * index)
    return tmp_path / "music"


@pytest.fixture
def library(myna: Myna, music: Path) -> Path:
    assert myna("library", "scan", music, "--model", "small").code == 0
    return library_folder()


def test_a_new_library_takes_the_packages_own_model_unless_told(myna: Myna, music: Path) -> None:
    small = load_model("small").space_id
    assert myna("library", "scan", music, "--json").code == 0
    with Catalogue(library_folder()) as catalogue:
        assert catalogue.header.model == DEFAULT_MODEL
        assert catalogue.header.space_id != small


def test_a_scan_embeds_as_the_model_does_and_tells_people_on_stderr(
    myna: Myna, music: Path
) -> None:
    ended = myna("library", "scan", music, "--model", "small", "--threads", 1)
    assert (ended.code, ended.out) == (0, "")
    assert "4 files = 4 analysed + 0 recognised + 0 unchanged + 0 failed" in ended.err
    embedder = load_model("small")
    with Catalogue(library_folder()) as catalogue:
        numbers, rows = catalogue.vectors()
        assert catalogue.header.space_id == embedder.space_id
        for number, row in zip(numbers, rows, strict=True):
            path = catalogue.track(int(number)).path
            np.testing.assert_allclose(row, embedder.embed(path), atol=1e-5)


def test_a_second_scan_loads_no_model_and_knows_its_folders(
    myna: Myna, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("myna_rpe.embedder.load_model", None)
    priorities: list[int] = []
    monkeypatch.setattr("os.nice", priorities.append)
    ended = myna("library", "scan", "--nice")
    assert ended.code == 0
    assert "4 files = 0 analysed + 0 recognised + 4 unchanged + 0 failed" in ended.err
    assert priorities == [19]


def test_another_model_is_refused_and_the_librarys_own_is_not(
    myna: Myna, music: Path, library: Path
) -> None:
    install("other", seed=1)
    ended = myna("library", "scan", music, "--model", "other")
    assert_one_sentence(ended, "'other' makes those of", "use model 'small'")
    assert myna("library", "scan", music, "--model", "small").code == 0
    write_chord(music / "new.wav", 0.3, pitch=555)
    assert "1 analysed" in myna("library", "scan", music).err


def test_the_json_summary_adds_up_and_is_all_of_stdout(
    myna: Myna, music: Path, library: Path
) -> None:
    (music / "bad.wav").write_text("no music")
    (music / "0.wav").rename(music / "moved.wav")
    (music / "1.wav").unlink()
    ended = myna("library", "scan", music, "--json")
    assert ended.code == 0
    summary = json.loads(ended.out)
    assert summary["found"] == 4
    assert (summary["recognised"], summary["unchanged"], summary["failed"]) == (1, 2, 1)
    assert (summary["moved"], summary["deleted"]) == (1, 1)
    assert summary["failures"][0]["path"] == str(music / "bad.wav")


def test_failures_are_listed_with_their_reasons(myna: Myna, music: Path, library: Path) -> None:
    for index in range(25):
        (music / f"bad{index:02}.wav").write_text(f"no music {index}")
    ended = myna("library", "scan")
    assert ended.err.count("failed: ") == 20
    assert "... and 5 more: `myna library failures`." in ended.err
    listed = myna("library", "failures")
    assert listed.out.count("\n") == 25
    assert len(json.loads(myna("library", "failures", "--json").out)) == 25
    assert "25 failed" in myna("library", "scan", "--retry-failed").err
    only_bad = myna("library", "rescan", music / "bad00.wav")
    assert "could not be analysed, not one of them" in only_bad.err
    assert only_bad.code == 1


def test_rescan_opens_unchanged_files(myna: Myna, music: Path, library: Path) -> None:
    ended = myna("library", "rescan", music / "0.wav", "--json")
    summary = json.loads(ended.out)
    assert (summary["found"], summary["recognised"], summary["changed"]) == (1, 1, 1)
    assert_one_sentence(myna("library", "rescan", music / "no.wav"), "does not exist")


def test_status_says_what_there_is_and_what_was_last(
    myna: Myna, music: Path, library: Path
) -> None:
    facts = json.loads(myna("library", "status", "--json").out)
    assert (facts["present"], facts["vectors"], facts["failed"]) == (4, 4, 0)
    assert facts["model"] == "small"
    assert facts["folders"] == [str(music)]
    assert facts["last_scan"]["outcome"] == "done"
    assert facts["scanning"] is None
    shown = myna("library", "status").out
    assert "present: 4" in shown
    assert "done: 4 found, 4 analysed" in shown


def test_stats_and_verify(myna: Myna, library: Path) -> None:
    facts = json.loads(myna("library", "stats", "--json").out)
    assert (facts["tracks"], facts["codecs"]) == (4, {"pcm_s16le": 4})
    assert "tracks: 4" in myna("library", "stats").out
    ended = myna("library", "verify", "--json")
    assert json.loads(ended.out)["problems"] == []
    (library / "catalogue.sqlite").write_bytes(b"broken" * 1000)
    ended = myna("library", "status")
    assert_one_sentence(ended, "damaged catalogue", "verify --rebuild")
    ended = myna("library", "verify")
    assert ended.code == 1
    assert "problem: the database is damaged" in ended.err
    ended = myna("library", "verify", "--rebuild")
    assert ended.code == 0, ended
    assert "is kept as catalogue.sqlite.damaged-" in ended.err


def test_after_a_rebuild_a_scan_analyses_nothing(myna: Myna, music: Path, library: Path) -> None:
    (library / "catalogue.sqlite").unlink()
    for command in (("status",), ("scan", music), ("scan", music, "--model", "small")):
        assert_one_sentence(myna("library", *command), "has vectors but no catalogue.sqlite")
    assert myna("library", "verify", "--rebuild").code == 0
    assert "4 files = 0 analysed + 4 recognised" in myna("library", "scan", music).err


def test_another_model_takes_over_and_playlists_stay(
    myna: Myna, music: Path, library: Path
) -> None:
    assert myna("playlist", "radio", music / "0.wav", "--count", 3, "--name", "evening").code == 0
    before = myna("playlist", "show", "evening").out
    install("other", seed=1)
    ended = myna("library", "reembed", "--model", "other", "--threads", 1, "--json")
    assert ended.code == 0
    assert "4 files = 4 analysed + 0 recognised + 0 unchanged + 0 failed" in ended.err
    assert json.loads(ended.out)["analysed"] == 4
    embedder = load_model("other")
    with Catalogue(library) as catalogue:
        assert catalogue.header.model == "other"
        numbers, rows = catalogue.vectors()
        for number, row in zip(numbers, rows, strict=True):
            path = catalogue.track(int(number)).path
            np.testing.assert_allclose(row, embedder.embed(path), atol=1e-5)
    assert myna("playlist", "show", "evening").out == before
    for command in ("scan",), ("reembed", "--model", "other"):
        assert "4 unchanged" in myna("library", *command).err


def test_status_tells_of_a_new_model_that_is_under_way(myna: Myna, library: Path) -> None:
    assert "reembedding: None" in myna("library", "status").out
    install("other", seed=1)
    header = header_of(load_model("other"))
    with Catalogue.create(library / NEXT_FOLDER, header):
        pass
    told = json.loads(myna("library", "status", "--json").out)["reembedding"]
    assert told == f"other ({header.space_id}), 0 tracks so far"


def test_remove_takes_tracks_out(myna: Myna, music: Path, library: Path) -> None:
    ended = myna("library", "remove", music / "0.wav")
    assert "removed 1 tracks" in ended.err
    assert json.loads(myna("library", "status", "--json").out)["present"] == 3
    assert (music / "0.wav").exists()


def test_library_chooses_the_folder(myna: Myna, music: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert myna("library", "scan", music, "--library", other, "--model", "small").code == 0
    assert not library_folder().exists()
    assert "present: 4" in myna("library", "status", "--library", other).out
    for command in ("status", "failures", "stats", "verify"):
        assert_one_sentence(myna("library", command), "does not exist")
    assert_one_sentence(myna("library", "rescan", music), "does not exist")


def test_folders_that_cannot_be_seen_are_told(
    myna: Myna, music: Path, library: Path, tmp_path: Path
) -> None:
    music.rename(tmp_path / "unplugged")
    ended = myna("library", "scan")
    assert ended.code == 0
    assert f"left alone: '{music}': it does not exist; is its disk mounted? (4 tracks" in ended.err


SLOW = """
import signal, time
from myna_rpe.embedder import embedder
from myna_rpe.library import scan
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
scan._BATCH_FILES = embedder._WAVE_TRACKS = 1
keep = scan._Scan._keep
scan._Scan._keep = lambda *a: (keep(*a), time.sleep(0.5))
"""


def wait_for_tracks(process, folder: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert time.monotonic() < deadline, process.communicate()
        assert process.poll() is None, process.communicate()
        if (folder / "catalogue.sqlite").exists():
            with Catalogue(folder) as catalogue:
                if catalogue.counts().present:
                    return
        time.sleep(0.02)


def test_ctrl_c_ends_with_130_and_the_next_scan_goes_on(myna: Myna, music: Path) -> None:
    process = start_myna("library", "scan", str(music), "--model", "small", code=SLOW)
    wait_for_tracks(process, library_folder())
    running = json.loads(myna("library", "status", "--json").out)
    assert running["scanning"] == process.pid
    second = myna("library", "scan", music)
    assert_one_sentence(second, f"is being changed by process {process.pid}; wait for it")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    status = json.loads(myna("library", "status", "--json").out)
    assert status["last_scan"]["outcome"] == "interrupted"
    assert status["present"] >= 1
    summary = json.loads(myna("library", "scan", music, "--json").out)
    assert summary["found"] == 4
    assert summary["unchanged"] >= 1

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from myna_rpe.embedder import load_model
from myna_rpe.embedding_table import EmbeddingTable
from myna_rpe.model.checkpoint import models_folder

from ..embedding_support import (
    RATE,
    Ended,
    assert_one_sentence,
    install_default,
    start_myna,
    write_chord,
)

Myna = Callable[..., Ended]


@pytest.fixture
def music(tmp_path: Path) -> Path:
    install_default()
    for index in range(4):
        write_chord(tmp_path / "music" / f"{index}.wav", 0.3, pitch=200 + 30 * index)
    return tmp_path / "music"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "table.parquet"


def test_embed_writes_a_table_and_tells_people_on_stderr(
    myna: Myna, music: Path, table: Path
) -> None:
    ended = myna("embed", music, "-o", table)
    assert (ended.code, ended.out) == (0, "")
    assert "4 files = 4 embedded + 0 reused + 0 failed" in ended.err
    assert f"wrote '{table}'" in ended.err
    rows = EmbeddingTable.read(table).rows
    assert [row.path for row in rows] == sorted(music.iterdir())
    np.testing.assert_allclose(
        rows[0].embedding, load_model("small").embed(rows[0].path), atol=1e-5
    )


def test_a_second_run_says_there_is_nothing_to_do(myna: Myna, music: Path, table: Path) -> None:
    myna("embed", music, "-o", table)
    ended = myna("embed", music, "-o", table)
    assert ended.code == 0
    assert "4 files = 0 embedded + 4 reused + 0 failed" in ended.err
    assert "nothing to do" in ended.err


def test_the_json_summary_adds_up_and_is_all_of_stdout(
    myna: Myna, music: Path, table: Path
) -> None:
    (music / "bad.wav").write_text("no music")
    soundfile.write(music / "silent.wav", np.zeros(RATE), RATE)
    ended = myna("embed", music, "-o", table, "--json")
    assert ended.code == 0
    summary = json.loads(ended.out)
    assert summary["found"] == summary["embedded"] + summary["reused"] + summary["failed"] == 6
    assert (summary["embedded"], summary["failed"], summary["warned"]) == (5, 1, 1)
    assert summary["space_id"] == load_model("small").space_id
    (failure,) = summary["failures"]
    assert failure["path"] == str(music / "bad.wav")
    assert "bad.wav" in failure["error"]


def test_failures_are_listed_and_the_rest_is_fine(myna: Myna, music: Path, table: Path) -> None:
    for index in range(25):
        (music / f"bad{index:02}.wav").write_text(f"no music {index}")
    soundfile.write(music / "silent.wav", np.zeros(RATE), RATE)
    ended = myna("embed", music, "-o", table)
    assert ended.code == 0
    assert ended.err.count("failed: ") == 20
    assert "... and 5 more, in the error column." in ended.err
    assert "30 files = 5 embedded + 0 reused + 25 failed; 1 silent;" in ended.err
    assert "Warning" not in ended.err


def test_rows_of_files_not_asked_for_are_dropped_with_a_word(
    myna: Myna, music: Path, table: Path
) -> None:
    myna("embed", music, "-o", table)
    ended = myna("embed", music / "0.wav", music / "1.wav", "-o", table)
    assert "2 rows dropped" in ended.err


def test_window_and_layer_choose_another_space(myna: Myna, music: Path, table: Path) -> None:
    myna("embed", music, "-o", table, "--window", 0.1, "--layer", 1, "--workers", 1)
    header = EmbeddingTable.read(table).header
    assert header.space_id == f"{load_model('small').space_id}/layer1/windows0.1s"
    ended = myna("embed", music, "-o", table)
    assert_one_sentence(ended, "different spaces do not mix", "another output file")


def test_pooling_chooses_another_space_that_similar_finds_again(
    myna: Myna, music: Path, table: Path, tmp_path: Path
) -> None:
    myna("embed", music, "-o", table, "--pooling", "mean")
    header = EmbeddingTable.read(table).header
    assert header.space_id == f"{load_model('small').space_id}/mean"
    outside = write_chord(tmp_path / "outside.wav", 0.5)
    assert myna("similar", outside, "--in", table).code == 0


def test_retry_failed_tries_again(myna: Myna, music: Path, table: Path) -> None:
    (music / "bad.wav").write_text("no music")
    for arguments in ((), ("--retry-failed",)):
        ended = myna("embed", music, "-o", table, *arguments)
        assert "+ 1 failed" in ended.err


def test_mixed_precision_is_close(myna: Myna, music: Path, table: Path) -> None:
    assert myna("embed", music, "-o", table, "--precision", "mixed").code == 0
    row = EmbeddingTable.read(table).rows[0]
    exact = load_model("small").embed(row.path)
    assert exact @ row.embedding > 0.999 * np.linalg.norm(exact) * np.linalg.norm(row.embedding)


def test_a_model_may_be_a_folder_or_a_file(myna: Myna, music: Path, tmp_path: Path) -> None:
    folder = models_folder() / "small"
    for index, model in enumerate((folder, folder / "model.safetensors", "small")):
        assert myna("embed", music, "-o", tmp_path / f"{index}", "--model", model).code == 0


def test_threads_are_set(
    myna: Myna, music: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", threads.append)
    assert myna("embed", music, "-o", table, "--threads", 1).code == 0
    assert threads == [1]


def test_usage_errors_are_not_tracebacks(myna: Myna, music: Path, table: Path) -> None:
    ended = myna("embed", music, "-o", table, "--precision", "fp64")
    assert ended.code == 2
    assert "fp32" in ended.err
    assert "Traceback" not in ended.err


def test_bad_settings_are_one_sentence(myna: Myna, music: Path, table: Path) -> None:
    for arguments, phrase in (
        (("--layer", 9), "use 1 <= layer <= 2"),
        (("--window", 0), "use a number > 0"),
        (("--workers", 0), "use workers >= 1"),
        (("--device", "abacus"), "device='abacus'"),
    ):
        assert_one_sentence(myna("embed", music, "-o", table, *arguments), phrase)


def test_ctrl_c_ends_with_130_and_the_next_run_goes_on(
    myna: Myna, music: Path, table: Path
) -> None:
    # Every file is its own batch and part, and takes a while, so that the signal comes midway.
    slow = """
import signal, time
from myna_rpe import embedding_job
from myna_rpe.embedder import embedder
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
embedding_job._PART_ROWS = embedder._WAVE_TRACKS = 1
finished = embedding_job._finished
embedding_job._finished = lambda *a: (time.sleep(1.0), finished(*a))[1]
"""
    process = start_myna("embed", music, "-o", table, code=slow)
    parts = table.with_name("table.parquet.parts")
    deadline = time.monotonic() + 60
    while not list(parts.glob("*.parquet")):
        assert time.monotonic() < deadline, process.communicate()
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert not table.exists()
    summary = json.loads(myna("embed", music, "-o", table, "--json").out)
    assert summary["found"] == 4
    assert summary["reused"] >= 1
    assert not parts.exists()


def test_kill_9_loses_one_part_at_most(myna: Myna, music: Path, table: Path) -> None:
    killed = """
import os
from myna_rpe import embedding_job
embedding_job._PART_ROWS = 1
finished = embedding_job._finished
count = 0
def dying(*a):
    global count
    count += 1
    if count == 3: os.kill(os.getpid(), 9)
    return finished(*a)
embedding_job._finished = dying
"""
    process = start_myna("embed", music, "-o", table, code=killed)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not table.exists()
    summary = json.loads(myna("embed", music, "-o", table, "--json").out)
    assert (summary["embedded"], summary["reused"]) == (2, 2)


def test_a_second_run_on_the_same_output_says_so(myna: Myna, music: Path, table: Path) -> None:
    waiting = """
from myna_rpe import embedding_job
finished = embedding_job._finished
embedding_job._finished = lambda *a: (sys.stdin.readline(), finished(*a))[1]
"""
    process = start_myna("embed", music, "-o", table, code=waiting)
    parts = table.with_name("table.parquet.parts")
    deadline = time.monotonic() + 60
    while not (parts / "lock").exists() or not (parts / "lock").read_text():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    ended = myna("embed", music, "-o", table)
    process.kill()
    process.communicate()
    assert_one_sentence(ended, f"is being written by process {process.pid}; wait for it")

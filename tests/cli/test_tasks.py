import json
from dataclasses import replace

import pytest

from myna_rpe.evaluation.tasks import TASKS

from ..embedding_support import assert_one_sentence
from ..evaluation.tasks.copies import wav, write_emomusic, write_gtzan
from ..evaluation.tasks.test_emomusic import SMALL, SONGS
from ..evaluation.tasks.test_gtzan import CLIPS


def test_list_names_every_task_with_counts_licence_and_source(myna):
    ended = myna("tasks", "list")
    assert ended.code == 0
    for task in TASKS.values():
        assert f"{task.name}: {task.title}\n" in ended.out
        assert f"licence: {task.licence}" in ended.out
    assert "443/197/290" in ended.out


def test_list_as_json_has_the_checksums(myna):
    tasks = {task["name"]: task for task in json.loads(myna("tasks", "list", "--json").out)}
    assert list(tasks) == list(TASKS)
    assert tasks["gtzan"]["clips"] == {"train": 443, "valid": 197, "test": 290}
    assert tasks["magnatagatune"]["files"][0]["sha256"].startswith("99b94e95825d")


def test_doctor_of_a_whole_copy_exits_with_0(myna, tmp_path):
    ended = myna("tasks", "doctor", "gtzan", "--root", write_gtzan(tmp_path / "gtzan", CLIPS))
    assert ended.code == 0, ended
    lines = ended.out.splitlines()
    assert lines[1].split() == ["train", "443", "443", "443", "0", "0"]
    assert lines[-1] == "complete (headers were read; --deep decodes)"


def test_doctor_of_a_defective_copy_names_each_defect_and_exits_with_1(myna, tmp_path):
    root = write_gtzan(tmp_path / "gtzan", [*CLIPS[20:], "hiphop.00039"])
    genres = root / "genres"
    (genres / "jazz/jazz.00054.wav").write_bytes(b"no sound at all")
    (genres / "hiphop/hiphop.00039.wav").write_bytes(
        (genres / "hiphop/hiphop.00045.wav").read_bytes()
    )
    (genres / "blues/blues.00012.wav").write_bytes((genres / "blues/blues.00000.wav").read_bytes())
    (genres / "demo.wav").write_bytes(wav(-1))
    ended = myna("tasks", "doctor", "gtzan", "--root", root)
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert lines[1].split() == ["train", "443", "443", "422", "20", "1"]
    assert any(line.startswith("corrupt: jazz.00054 (train): ") for line in lines)
    assert sum(line.startswith("missing: blues.000") for line in lines) == 10
    assert "missing: 10 more" in lines
    twins = "bit-identical: genres/hiphop/hiphop.00039.wav (left out) = "
    assert f"{twins}genres/hiphop/hiphop.00045.wav (test)" in lines
    assert "warning: 1 groups are in different splits" in lines
    assert "left out: 1 not in the fault-filtered lists" in lines
    assert "unlisted: genres/demo.wav" in lines
    assert lines[-1].startswith("not complete")
    assert "is not complete; fetch genres.tar.gz" in ended.err


def test_doctor_as_json_says_the_same(myna, tmp_path):
    root = write_gtzan(tmp_path / "gtzan", CLIPS[1:])
    ended = myna("tasks", "doctor", "gtzan", "--root", root, "--deep", "--json")
    assert ended.code == 1
    found = json.loads(ended.out)
    assert (found["complete"], found["deep"]) == (False, True)
    assert found["splits"]["train"]["missing"] == 1
    assert found["problems"][0]["id"] == CLIPS[0]


def test_doctor_of_no_such_data_set_or_folder_is_one_sentence(myna, tmp_path):
    assert_one_sentence(
        myna("tasks", "doctor", "gtzam", "--root", tmp_path), "did you mean 'gtzan'"
    )
    nothing = myna("tasks", "doctor", "emomusic", "--root", tmp_path / "nothing")
    assert_one_sentence(nothing, "is not a folder", "clips_45sec.tar.gz")
    assert_one_sentence(
        myna("tasks", "doctor", "emomusic", "--root", tmp_path), "holds no songs_info"
    )


def test_fetch_that_fails_is_one_sentence_with_the_source(myna, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (remote,) = (r for r in SMALL.remotes if r.tables)
    nowhere = replace(SMALL, remotes=(replace(remote, url="nowhere/annotations.tar.gz"),))
    monkeypatch.setitem(TASKS, "emomusic", nowhere)
    ended = myna("tasks", "doctor", "emomusic", "--root", tmp_path / "new", "--fetch")
    assert_one_sentence(ended, "tables of EmoMusic cannot be fetched", "annotations.tar.gz")


@pytest.mark.parametrize("deep", [[], ["--deep"]])
def test_a_complete_copy_of_another_data_set_exits_with_0(myna, tmp_path, monkeypatch, deep):
    monkeypatch.setitem(TASKS, "emomusic", SMALL)
    root = write_emomusic(tmp_path / "emo", SONGS)
    assert myna("tasks", "doctor", "emomusic", "--root", root, *deep).code == 0

"""What holds for every data set, and for the doctor."""

import hashlib
import io
import os
import tarfile
import zipfile
from dataclasses import replace

import pytest

from myna_rpe.errors import TaskError
from myna_rpe.evaluation.examples import Dataset, Example
from myna_rpe.evaluation.tasks import SPLITS, TASKS, Listing, Remote, Task, find_task
from myna_rpe.evaluation.tasks.fetch import fetch_tables

from ...audio.encoding import cut, music, write
from ...data.download.server import serving
from .copies import wav


def task_of(*examples: Example, **changes) -> Task:
    fields = {
        "name": "small",
        "title": "Small",
        "kind": "classification",
        "metric": "accuracy",
        "num_classes": 1,
        "counts": {},
        "citation": "",
        "licence": "",
        "source": "fetch it",
        "list_files": lambda root: Listing(
            [replace(example, path=root / example.path) for example in examples], ("a",)
        ),
    }
    return Task(**(fields | changes))


def example(path, split="train") -> Example:
    return Example(path.name, path, "a", split)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_says_what_it_is_and_where_it_comes_from(name):
    task = TASKS[name]
    assert task.name == name
    assert all((task.title, task.metric, task.citation, task.licence, task.source))
    assert not task.source.endswith(".")
    assert set(task.counts) in (set(), set(SPLITS))
    assert all(len(remote.sha256) == 64 for remote in task.remotes)


def test_counts_of_the_protocol_are_as_published():
    counts = {name: tuple(task.counts.values()) for name, task in TASKS.items() if task.counts}
    assert counts == {
        "gtzan": (443, 197, 290),
        "giantsteps": (923, 236, 604),
        "emomusic": (504, 115, 125),
        "magnatagatune": (18_706, 1_825, 5_329),
    }


@pytest.mark.parametrize("name", TASKS)
def test_a_folder_that_is_not_there_is_refused_in_one_sentence(name, tmp_path):
    with pytest.raises(TaskError, match="is not a folder") as caught:
        TASKS[name].load(tmp_path / "nothing")
    assert TASKS[name].source in str(caught.value)


def test_an_unknown_task_is_named_with_the_valid_ones():
    with pytest.raises(TaskError, match=r"did you mean 'gtzan'\? Valid: gtzan, giantsteps"):
        find_task("gtzam")


def test_clips_and_files_are_each_counted_once(tmp_path):
    for number in range(4):
        (tmp_path / f"{number}.wav").write_bytes(wav(number))
    (tmp_path / "1.wav").write_bytes(b"")
    (tmp_path / "2.wav").write_bytes(b"RIFF and nothing else")
    examples = [example(tmp_path / f"{n}.wav", "train" if n < 2 else "test") for n in (0, 1, 2, 9)]
    diagnosis = task_of(*examples).doctor(tmp_path)
    counts = diagnosis.splits.values()
    assert all(c.listed == c.there + c.missing + c.corrupt == c.expected for c in counts)
    assert sum(c.there + c.corrupt for c in counts) + len(diagnosis.unlisted) == 4
    assert diagnosis.unlisted == ["3.wav"]


def test_truncated_sound_is_found_only_when_it_is_decoded(tmp_path):
    sound = cut(write(tmp_path / "a", "flac", music(6.0, 16_000), 16_000), 0.5)
    task = task_of(example(sound))
    assert task.doctor(tmp_path).complete
    diagnosis = task.doctor(tmp_path, deep=True)
    assert diagnosis.deep
    assert [problem.state for problem in diagnosis.problems] == ["corrupt"]


def test_progress_is_told_of_every_clip(tmp_path):
    told = []
    task = task_of(example(tmp_path / "a.wav"), example(tmp_path / "b.wav"))
    task.doctor(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


def test_a_copy_with_more_or_fewer_clips_than_published_is_not_complete(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(1))
    for expected, complete in ((0, False), (1, True), (2, False)):
        counts = {"train": expected, "valid": 0, "test": 0}
        task = task_of(example(tmp_path / "a.wav"), counts=counts)
        assert task.doctor(tmp_path).complete is complete


def test_empty_files_are_not_loaded_and_a_copy_without_sound_is_refused(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    task = task_of(example(tmp_path / "a.wav"), example(tmp_path / "b.wav"))
    with pytest.raises(TaskError, match="holds none of the 2 clips of Small; fetch it"):
        task.load(tmp_path, allow_partial=True)
    (tmp_path / "b.wav").write_bytes(wav(1))
    dataset = task.load(tmp_path, allow_partial=True)
    assert isinstance(dataset, Dataset)
    assert [e.id for e in dataset.examples] == ["b.wav"]


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_names_that_are_not_utf8_are_reported(tmp_path):
    odd = tmp_path / os.fsdecode(b"caf\xe9.wav")
    try:
        odd.write_bytes(wav(1))
    except OSError:
        pytest.skip("this file system takes no such names")
    (tmp_path / "a.wav").write_bytes(wav(2))
    assert task_of(example(tmp_path / "a.wav")).doctor(tmp_path).unlisted == [odd.name]


def archive_of(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as files:
            files.writestr("folder/labels.csv", "a")
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as files:
            member = tarfile.TarInfo("folder/labels.csv")
            member.size = 1
            files.addfile(member, io.BytesIO(b"a"))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "csv"])
def test_tables_are_fetched_verified_and_unpacked(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    content = b"a" if kind == "csv" else archive_of(kind)
    with serving() as server:
        server.files[f"/labels.{kind}"] = content
        url = f"{server.url}/labels.{kind}"
        remote = Remote(
            url,
            hashlib.sha256(content).hexdigest(),
            file="labels.csv" if kind == "csv" else "",
            tables=True,
        )
        assert fetch_tables(task_of(remotes=(remote,)), tmp_path / "new") == [url]
        name = "labels.csv" if kind == "csv" else "folder/labels.csv"
        files = [path for path in (tmp_path / "new").rglob("*") if path.is_file()]
        assert files == [tmp_path / "new" / name]
        assert files[0].read_bytes() == b"a"
        forged = replace(remote, sha256="0" * 64)
        with pytest.raises(TaskError, match=r"not the published 0000.*; fetch it\."):
            fetch_tables(task_of(remotes=(forged,)), tmp_path / "forged")
        assert not list((tmp_path / "forged").iterdir())


def test_a_data_set_without_separate_tables_says_how_it_is_got(tmp_path):
    with pytest.raises(TaskError, match="run myna download mtg-jamendo"):
        fetch_tables(TASKS["mtg-jamendo-genre"], tmp_path)

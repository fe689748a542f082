from dataclasses import replace

import pytest

from myna_rpe.errors import TaskError
from myna_rpe.evaluation.tasks.magnatagatune import EMPTY, MAGNATAGATUNE, TAGS, split_of

from .copies import write_magnatagatune

CLIPS = {
    "0/ann-record-01-song-0-29.mp3": ("guitar", "trumpet"),
    "0/ann-record-01-song-30-59.mp3": ("choral", "slow"),
    "b/ben-record-02-song-88-117.mp3": ("trumpet",),
    "c/cyd-record-03-song-0-29.mp3": ("no vocals",),
    "d/dee-record-04-song-0-29.mp3": (),
    "f/fay-record-05-song-0-29.mp3": ("no vocal", "vocals"),
}
# The table of a small copy is not the published one.
SMALL = replace(MAGNATAGATUNE, counts={"train": 3, "valid": 1, "test": 2}, remotes=())


def test_there_are_fifty_tags_each_once():
    assert len(set(TAGS)) == len(TAGS) == MAGNATAGATUNE.num_classes == 50


@pytest.mark.parametrize("below", ["", "mp3"])
def test_splits_follow_the_folder_and_tags_the_fifty(tmp_path, below):
    dataset = SMALL.load(write_magnatagatune(tmp_path, CLIPS, below=below))
    by_path = {e.path.relative_to(tmp_path / below).as_posix(): e for e in dataset.examples}
    assert {path: (e.split, set(e.label)) for path, e in by_path.items()} == {
        "0/ann-record-01-song-0-29.mp3": ("train", {"guitar"}),
        "0/ann-record-01-song-30-59.mp3": ("train", {"slow", "choral"}),
        "b/ben-record-02-song-88-117.mp3": ("train", set()),
        "c/cyd-record-03-song-0-29.mp3": ("valid", {"no vocals"}),
        "d/dee-record-04-song-0-29.mp3": ("test", set()),
        "f/fay-record-05-song-0-29.mp3": ("test", {"no vocal", "vocals"}),
    }
    assert dataset.classes == TAGS


def test_untagged_clips_stay_in_and_are_counted(tmp_path):
    dataset = SMALL.load(write_magnatagatune(tmp_path, CLIPS))
    assert sum(e.label == () for e in dataset.examples) == 2
    assert dataset.notes["untagged"] == "2 clips have none of the 50 tags"


def test_clips_of_a_recording_share_a_group_which_is_in_one_split(tmp_path):
    examples = SMALL.load(write_magnatagatune(tmp_path, CLIPS)).examples
    assert [e.group for e in examples].count("0/ann-record-01-song") == 2
    assert len({e.group for e in examples}) == len({(e.group, e.split) for e in examples}) == 5
    assert len({e.track for e in examples}) == len(examples)


def test_the_sixteen_folders_are_divided_twelve_one_three():
    splits = [split_of(folder) for folder in "0123456789abcdef"]
    assert splits == ["train"] * 12 + ["valid"] + ["test"] * 3


def test_the_three_empty_clips_are_left_out_and_no_defect(tmp_path):
    write_magnatagatune(tmp_path, CLIPS)
    assert all((tmp_path / path).stat().st_size == 0 for path in EMPTY)
    diagnosis = SMALL.doctor(tmp_path)
    assert diagnosis.complete
    assert diagnosis.excluded == {"empty where it is published": 3}
    (tmp_path / "c/cyd-record-03-song-0-29.mp3").write_bytes(b"")
    (problem,) = SMALL.doctor(tmp_path).problems
    assert (problem.split, problem.state) == ("valid", "corrupt")


def test_another_table_than_the_published_is_not_complete(tmp_path):
    write_magnatagatune(tmp_path, CLIPS)
    diagnosis = replace(MAGNATAGATUNE, counts=SMALL.counts).doctor(tmp_path)
    assert diagnosis.tables == {"annotations_final.csv": False}
    assert not diagnosis.complete


@pytest.mark.parametrize("path", ["../c/a-0-29.mp3", "g/a-0-29.mp3", "c/d/a.mp3", "c/a.wav"])
def test_a_path_that_leads_elsewhere_is_refused(tmp_path, path):
    write_magnatagatune(tmp_path, CLIPS)
    table = tmp_path / "annotations_final.csv"
    table.write_text(table.read_text().replace("c/cyd-record-03-song-0-29.mp3", path))
    with pytest.raises(TaskError, match="is no path of the data set"):
        SMALL.load(tmp_path)


def test_a_missing_tag_or_table_is_named(tmp_path):
    with pytest.raises(TaskError, match=r"annotations_final\.csv' is not there; fetch"):
        SMALL.load(tmp_path)
    write_magnatagatune(tmp_path, CLIPS)
    table = tmp_path / "annotations_final.csv"
    table.write_text(table.read_text().replace('"sitar"', '"zither"'))
    with pytest.raises(TaskError, match="has no column 'sitar'"):
        SMALL.load(tmp_path)

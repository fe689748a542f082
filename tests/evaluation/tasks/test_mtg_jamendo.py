import pytest

from myna_rpe.data.sources.mtg_jamendo import SUBSETS
from myna_rpe.errors import TaskError
from myna_rpe.evaluation.tasks import TASKS

from ...data.jamendo import SONGS, Song, write_sound, write_tables

TOP50 = TASKS["mtg-jamendo-top50"]


@pytest.fixture
def root(tmp_path):
    write_tables(tmp_path)
    write_sound(tmp_path / "audio-low")
    return tmp_path


def test_splits_and_tags_are_the_official_ones(root):
    dataset = TOP50.load(root)
    assert {(e.id, e.split) for e in dataset.examples} == {
        (song.path, song.split.replace("validation", "valid")) for song in SONGS if song.split
    }
    assert dataset.classes == (
        *("genre---jazz", "genre---rock", "instrument---piano", "mood/theme---happy"),
    )
    by_id = {e.id: e for e in dataset.examples}
    assert by_id["48/948.mp3"].label == ("genre---rock", "mood/theme---happy")
    assert by_id["48/948.mp3"].group == "album_000001"
    assert by_id["48/948.mp3"].path == root / "audio-low/48/948.low.mp3"


def test_no_album_is_in_two_splits(root):
    examples = TOP50.load(root).examples
    assert len({e.group for e in examples}) == len({(e.group, e.split) for e in examples})


def test_a_whole_copy_is_complete_and_tracks_in_no_split_are_left_out(root):
    write_sound(root / "audio", SONGS[:1], low=False)
    write_sound(root / "audio-low", [Song(7777, 9, "train")])
    diagnosis = TOP50.doctor(root)
    assert diagnosis.complete
    assert [count.expected for count in diagnosis.splits.values()] == [3, 2, 2]
    assert diagnosis.excluded == {"in no split": 1, "second copy": 1}
    assert diagnosis.unlisted == ["audio-low/77/7777.low.mp3"]


def test_missing_tracks_are_counted_and_their_tags_stay_in_the_vocabulary(root):
    (root / "audio-low/48/948.low.mp3").unlink()
    assert TOP50.doctor(root).splits["train"].missing == 1
    with pytest.raises(TaskError, match="train 2 of 3, valid 2 of 2, test 2 of 2"):
        TOP50.load(root)
    dataset = TOP50.load(root, allow_partial=True)
    assert "mood/theme---happy" in dataset.classes
    assert len(dataset.examples) == 6


@pytest.mark.parametrize("subset", ["top50", "genre", "instrument", "moodtheme"])
def test_each_task_reads_its_own_tables(tmp_path, subset):
    table, stem = SUBSETS[subset]
    write_tables(tmp_path, SONGS[:5], table=table, stem=stem)
    write_sound(tmp_path, SONGS[:5])
    assert len(TASKS[f"mtg-jamendo-{subset}"].load(tmp_path).examples) == 5


def test_missing_tables_and_missing_sound_name_the_download(tmp_path):
    with pytest.raises(TaskError, match="run myna download mtg-jamendo"):
        TOP50.load(tmp_path)
    write_tables(tmp_path)
    with pytest.raises(TaskError, match="holds no audio file"):
        TOP50.load(tmp_path)

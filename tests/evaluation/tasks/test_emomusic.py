from dataclasses import replace

import numpy as np
import pytest

from myna_rpe.errors import TaskError
from myna_rpe.evaluation.tasks.emomusic import EMOMUSIC, TARGETS, artist_split

from .copies import wav, write_emomusic

# By the SHA-1 of their names modulo 10: Ben and Dee 8, Ivy 9, Hal 7, all others below.
SONGS = [
    (2, "Ada", "development", 3.1, 3.0),
    (3, "Hal", "development", 3.5, 3.3),
    (4, "Ben", "development", 5.7, 5.5),
    (7, "Ivy", "development", 5.6, 5.3),
    (9, "Hal", "development", 5.8, 6.4),
    (1000, "Ada", "evaluation", 8.4, 1.6),
]
SMALL = replace(EMOMUSIC, counts={"train": 3, "valid": 2, "test": 1})


@pytest.mark.parametrize("tables", ["", "annotations"])
def test_splits_follow_the_sets_and_the_artists(tmp_path, tables):
    dataset = SMALL.load(write_emomusic(tmp_path, SONGS, tables=tables))
    assert {e.id: e.split for e in dataset.examples} == {
        **dict.fromkeys(("2", "3", "9"), "train"),
        **dict.fromkeys(("4", "7"), "valid"),
        "1000": "test",
    }
    assert dataset.classes == TARGETS
    train, valid = ({e.group for e in dataset.of_split(side)} for side in ("train", "valid"))
    assert (train, valid) == ({"Ada", "Hal"}, {"Ben", "Ivy"})


def test_targets_are_scaled_by_train_and_valid_but_not_by_test(tmp_path):
    dataset = SMALL.load(write_emomusic(tmp_path, SONGS))
    raw = np.array([song[3:] for song in SONGS])
    expected = (raw - raw[:-1].mean(axis=0)) / raw[:-1].std(axis=0)
    np.testing.assert_allclose([e.label for e in dataset.examples], expected, rtol=1e-12)
    assert dataset.notes["scale"].startswith("arousal 4.740 +- 1.18")


def test_an_artist_is_the_same_whatever_case_blanks_digits_and_accents():
    assert [artist_split(name) for name in ("Hal", "Ben", "Dee", "Ivy")] == ["train"] + [
        "valid"
    ] * 3
    assert {artist_split(name) for name in ("ben", "\tBEN ", "B3en!", "Bé​en")} == {"valid"}


def test_a_whole_copy_is_complete_and_defects_are_found(tmp_path):
    write_emomusic(tmp_path, SONGS)
    (tmp_path / "clips_45sec.tar.gz").write_bytes(b"the archive, kept")
    assert SMALL.doctor(tmp_path, deep=True).complete
    clips = tmp_path / "clips_45seconds"
    (clips / "2.mp3").write_bytes(b"")
    (clips / "4.mp3").unlink()
    (clips / "5.mp3").write_bytes(wav(5))
    (clips / "1000.mp3").write_bytes((clips / "3.mp3").read_bytes())
    diagnosis = SMALL.doctor(tmp_path)
    assert {(p.id, p.split, p.state) for p in diagnosis.problems} == {
        ("2", "train", "corrupt"),
        ("4", "valid", "missing"),
    }
    assert diagnosis.excluded == {"not among the songs": 1}
    assert diagnosis.leaks == [
        (("clips_45seconds/1000.mp3", "test"), ("clips_45seconds/3.mp3", "train"))
    ]


def test_a_song_without_a_rating_is_left_out(tmp_path):
    write_emomusic(tmp_path, SONGS)
    table = tmp_path / "static_annotations.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    listing = SMALL.listing(tmp_path)
    assert len(listing.examples) == 5
    assert listing.notes["left out"] == "1 without a rating"


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("static_annotations.csv", "song_id,arousal\n", "has no column 'mean_arousal'"),
        (
            "static_annotations.csv",
            "song_id,mean_arousal,mean_valence\n2,high,1\n",
            r"mean_arousal='high' of song '2' is no number",
        ),
        ("static_annotations.csv", "song_id,mean_arousal,mean_valence\n2,1,1\n", "have no spread"),
        ("songs_info.csv", "", "has no column 'song_id'"),
    ],
)
def test_tables_that_are_not_the_published_are_refused(tmp_path, file, text, says):
    write_emomusic(tmp_path, SONGS)
    (tmp_path / file).write_text(text)
    with pytest.raises(TaskError, match=says):
        SMALL.load(tmp_path)


@pytest.mark.parametrize("missing", ["songs_info.csv", "static_annotations.csv", "clips_45seconds"])
def test_what_is_missing_is_named_with_its_archive(tmp_path, missing):
    write_emomusic(tmp_path, SONGS)
    (tmp_path / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(TaskError, match=rf"holds no {missing[:10]}.*annotations\.tar\.gz"):
        SMALL.load(tmp_path)

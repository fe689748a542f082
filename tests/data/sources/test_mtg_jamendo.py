from pathlib import Path

import pytest

from myna_rpe.config import FRONT_ENDS
from myna_rpe.data import MtgJamendo, ShardSet, hold_out, prepare_shards, split_key
from myna_rpe.data.sources.mtg_jamendo import SUBSETS
from myna_rpe.data.tracks import Labels
from myna_rpe.errors import AudioError, ConfigError, DatasetError

from ..jamendo import SONGS, Song, write_sound, write_table, write_tables

TRAIN = "data/splits/split-0/autotagging_top50tags-train.tsv"


@pytest.fixture
def root(tmp_path) -> Path:
    write_tables(tmp_path)
    write_sound(tmp_path / "audio-low")
    return tmp_path


def rejected(source: MtgJamendo) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for file in source.listing().rejected:
        kinds.setdefault(file.kind, []).append(file.path)
    return kinds


def test_tracks_have_the_official_path_artist_album_tags_and_split(root):
    entries = {entry.path: entry for entry in MtgJamendo(root).listing().entries}
    assert list(entries) == [song.path for song in SONGS]
    assert entries["48/948.mp3"].file == root / "audio-low/48/948.low.mp3"
    assert entries["48/948.mp3"].labels == Labels(
        "artist_000001", ("genre---rock", "mood/theme---happy"), "train", "album_000001"
    )
    assert [entry.labels.split for entry in entries.values()] == [song.split for song in SONGS]


def test_prepared_tracks_keep_their_labels_and_official_splits(root, tmp_path):
    out = tmp_path / "shards"
    front_end = FRONT_ENDS["rpe-16k"]
    report = prepare_shards(MtgJamendo(root), out, front_end, min_seconds=0.5, workers=1)
    assert (report.tracks, report.artists, report.found) == (8, 5, 8)
    assert report.splits == {"train": 3, "validation": 2, "test": 2, "": 1}
    tracks = ShardSet.open(out).tracks
    assert {t.path: (t.artist, t.tags, t.split, t.group) for t in tracks} == {
        song.path: (f"artist_{song.artist:06d}", song.tags, song.split, f"album_{song.artist:06d}")
        for song in SONGS
    }
    train, held = hold_out(tracks, 0.1, 0)
    assert {tracks[i].split for i in train} == {"train"}
    assert {tracks[i].split for i in held} == {"validation"}
    assert {split_key(tracks[i]) for i in train}.isdisjoint(split_key(tracks[i]) for i in held)


def test_labels_follow_the_tables_without_reading_the_sound_again(root, tmp_path):
    def run() -> tuple[int, list[tuple[str, ...]]]:
        report = prepare_shards(
            MtgJamendo(root), tmp_path / "s", FRONT_ENDS["rpe-16k"], min_seconds=0.5, workers=1
        )
        return report.reused, [track.tags for track in ShardSet.open(tmp_path / "s").tracks]

    run()
    fresh = [Song(song.number, song.artist, song.split, ("genre---pop",)) for song in SONGS]
    write_tables(root, fresh)
    assert run() == (8, [("genre---pop",)] * 8)


@pytest.mark.parametrize("where", ["", "audio", "raw_30s/audio"])
def test_sound_of_full_quality_is_found_in_any_folder(tmp_path, where):
    write_tables(tmp_path)
    write_sound(tmp_path / where, low=False)
    assert len(MtgJamendo(tmp_path).listing().entries) == len(SONGS)


def test_full_quality_is_preferred_and_the_second_copy_is_counted(root):
    write_sound(root / "audio", SONGS[:1], low=False)
    entries = {entry.path: entry.file for entry in MtgJamendo(root).listing().entries}
    assert entries["48/948.mp3"] == root / "audio/48/948.mp3"
    assert rejected(MtgJamendo(root)) == {"second copy": ["audio-low/48/948.low.mp3"]}


def test_missing_unlisted_and_unknown_tracks_are_counted(root, tmp_path):
    (root / "audio-low/00/1500.low.mp3").unlink()
    stranger = Song(7777, 9, "train")
    write_sound(root / "audio-low", [stranger])
    write_table(root / TRAIN, [*(song for song in SONGS if song.split == "train"), stranger])
    expected = {
        "missing": ["00/1500.mp3"],
        "unlisted": ["audio-low/77/7777.low.mp3"],
        "unknown": ["77/7777.mp3"],
    }
    assert rejected(MtgJamendo(root)) == expected
    report = prepare_shards(
        MtgJamendo(root), tmp_path / "s", FRONT_ENDS["rpe-16k"], min_seconds=0.5, workers=1
    )
    assert {kind: [file.path for file in files] for kind, files in report.kinds.items()} == expected
    assert report.found == report.tracks + 3 == 10


def test_splits_that_were_not_asked_for_are_counted(root):
    source = MtgJamendo(root, splits=["train", "validation"])
    assert [entry.labels.split for entry in source.listing().entries] == [
        *(["train"] * 3),
        *(["validation"] * 2),
    ]
    assert rejected(source) == {"other split": ["00/1300.mp3", "00/1500.mp3", "00/1600.mp3"]}


@pytest.mark.parametrize("subset", SUBSETS)
def test_every_subset_reads_its_own_tables(tmp_path, subset):
    table, stem = SUBSETS[subset]
    write_tables(tmp_path, SONGS[:4], table=table, stem=stem)
    write_sound(tmp_path / "audio", SONGS[:5])
    source = MtgJamendo(tmp_path, subset=subset)
    assert len(source.listing().entries) == 4
    assert rejected(source) == {"unlisted": ["audio/00/1400.low.mp3"]}


def test_tables_may_lie_in_another_folder(tmp_path):
    write_tables(tmp_path / "repository")
    write_sound(tmp_path / "sound")
    source = MtgJamendo(tmp_path / "sound", metadata=tmp_path / "repository")
    assert len(source.listing().entries) == len(SONGS)


def test_the_official_splits_divide_no_artist_and_broken_ones_are_refused(root):
    entries = MtgJamendo(root).listing().entries
    artists = [
        {entry.labels.artist for entry in entries if entry.labels.split == split}
        for split in ("train", "validation", "test")
    ]
    assert len(set.union(*artists)) == sum(map(len, artists))
    songs = [Song(1500, 1, "test") if song.number == 1500 else song for song in SONGS]
    write_tables(root, songs)
    with pytest.raises(
        DatasetError, match=r"artists=1 are in several splits.*artist_000001.*test and train"
    ):
        MtgJamendo(root).listing()


def test_a_track_in_two_splits_is_refused(root):
    write_table(root / TRAIN, [song for song in SONGS if song.split in ("train", "test")])
    with pytest.raises(DatasetError, match=r"tracks=2 are in the split 'test' and in another"):
        MtgJamendo(root).listing()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("", "does not begin with TRACK_ID ARTIST_ID"),
        ("raw_30s_cleantags_50artists.tsv", "does not begin with TRACK_ID ARTIST_ID"),
        ("track_1\tartist_1\talbum_1\t01/1.mp3", "line 2 is damaged"),
        ("track_1\tartist_1\talbum_1\t../01/1.mp3\t3.0\tgenre---rock\n", "line 2 is damaged"),
        (SONGS[0].line + SONGS[0].line, "line 3 is damaged, or its track there twice"),
        ("\udce9", "codec can't decode"),
    ],
)
def test_a_damaged_table_is_refused(root, damage, message):
    path = root / TRAIN
    header = path.read_text().splitlines(keepends=True)[0] if "\t" in damage else ""
    path.write_bytes((header + damage).encode("utf-8", "surrogateescape"))
    with pytest.raises(DatasetError, match=rf"top50tags-train\.tsv' cannot be read: .*{message}"):
        MtgJamendo(root).listing()


def test_missing_tables_and_missing_sound_name_the_remedy(root, tmp_path):
    with pytest.raises(DatasetError, match=r"is not there; run myna download mtg-jamendo"):
        MtgJamendo(tmp_path / "audio-low").listing()
    (tmp_path / "silent").mkdir()
    with pytest.raises(AudioError, match="holds no audio file"):
        MtgJamendo(tmp_path / "silent", metadata=root).listing()


def test_unknown_names_list_the_valid_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"did you mean 'top50'\? Valid: top50, all"):
        MtgJamendo(tmp_path, subset="top-50")
    with pytest.raises(ConfigError, match=r"split='valid' is unknown; did you mean 'validation'"):
        MtgJamendo(tmp_path, splits=["valid"])

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myna_rpe.data.splits import crossing, hold_out, split_key, trainable
from myna_rpe.data.tracks import Track
from myna_rpe.errors import ConfigError


def track(number: int, artist: str = "", group: str = "", split: str = "") -> Track:
    path = f"{group}/{number:05d}.ogg"
    return Track(str(number), path, group, 100, "shard-00000", 0, "", 1, 1, artist, (), split)


names = st.sampled_from(["", "Björk", "björk ", "BJO\u0308RK", "宇多田ヒカル", "A", "B", "C", "D"])
artists_and_folders = st.lists(st.tuples(names, st.sampled_from(["x", "y", "z"])), max_size=60)


def library(artists_and_folders: list[tuple[str, str]]) -> list[Track]:
    return [track(n, artist, folder) for n, (artist, folder) in enumerate(artists_and_folders)]


@given(artists_and_folders, st.floats(0.01, 0.99), st.integers(0, 5))
def test_no_artist_is_on_both_sides_and_every_track_on_one(artists_and_folders, share, seed):
    tracks = library(artists_and_folders)
    if len({split_key(t) for t in tracks}) < 2:
        with pytest.raises(ConfigError):
            hold_out(tracks, share, seed)
        return
    train, held = hold_out(tracks, share, seed)
    assert sorted(train + held) == list(range(len(tracks)))
    assert train
    assert held
    assert {split_key(tracks[i]) for i in train}.isdisjoint(split_key(tracks[i]) for i in held)
    assert (train, held) == hold_out(tracks, share, seed)


@given(artists_and_folders, st.floats(0.01, 0.99), st.integers(0, 5))
def test_the_share_is_met_to_within_one_artist(artists_and_folders, share, seed):
    tracks = library(artists_and_folders)
    sizes = Counter(split_key(t) for t in tracks)
    if len(sizes) >= 2:
        _, held = hold_out(tracks, share, seed)
        assert abs(len(held) - share * len(tracks)) <= max(sizes.values())


@given(artists_and_folders, st.randoms())
def test_the_order_of_tracks_does_not_matter(artists_and_folders, random):
    tracks = library([("A", "x"), ("B", "x"), *artists_and_folders])

    def held_artists(tracks: list[Track]) -> set[str]:
        return {split_key(tracks[i]) for i in hold_out(tracks, 0.3, 0)[1]}

    shuffled = random.sample(tracks, len(tracks))
    assert held_artists(shuffled) == held_artists(tracks)


def test_another_seed_holds_out_other_artists():
    many = [track(n, f"artist {n % 50}") for n in range(500)]
    chosen = [frozenset(hold_out(many, 0.1, seed)[1]) for seed in range(4)]
    assert len(set(chosen)) == 4
    assert [len(held) for held in chosen] == [50] * 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Björk", "  BJO\u0308RK "),  # composed or not, any case and spacing
        ("A", "A feat. B"),
        ("A", "A ft B"),
        ("A", "A (feat. B)"),
        ("A", "A; B"),
        ("Guns N' Roses", "Guns  n' roses"),
    ],
)
def test_spellings_of_one_artist_count_as_one(one, other):
    assert split_key(track(0, one, "x")) == split_key(track(1, other, "y"))


@pytest.mark.parametrize(("one", "other"), [("A", "B"), ("A", "Afeat. B"), ("Lift", "Lift ftx")])
def test_other_artists_count_as_others(one, other):
    assert split_key(track(0, one, "x")) != split_key(track(1, other, "x"))


def test_a_folder_stands_for_an_unknown_artist_and_is_not_mistaken_for_one():
    assert split_key(track(0, "", "rock")) == split_key(track(1, " ", "rock"))
    assert split_key(track(0, "", "rock")) != split_key(track(1, "rock", "rock"))


def official() -> list[Track]:
    splits = ["train"] * 6 + ["validation"] * 3 + ["test"] * 2 + [""]
    return [track(n, f"artist {split} {n % 2}", "", split) for n, split in enumerate(splits)]


def test_official_splits_are_used_whatever_the_share_and_test_is_in_neither():
    train, held = hold_out(official(), 0.01, 0)
    assert train == trainable(official()) == [0, 1, 2, 3, 4, 5]
    assert held == [6, 7, 8]


def test_without_validation_tracks_artists_of_the_official_train_split_are_held_out():
    tracks = [t for t in official() if t.split != "validation"]
    train, held = hold_out(tracks, 0.5, 0)
    assert sorted(train + held) == [0, 1, 2, 3, 4, 5]
    assert len(held) == 3


def test_official_splits_that_divide_an_artist_are_refused():
    broken = [*official(), track(20, "Artist TRAIN 0", "", "test")]
    assert crossing(broken) == {"artist artist train 0": {"train", "test"}}
    for function in (trainable, lambda tracks: hold_out(tracks, 0.1, 0)):
        with pytest.raises(ConfigError, match="artists=1 lie in several official splits"):
            function(broken)


def test_nothing_to_train_on_is_refused():
    with pytest.raises(ConfigError, match="prepare the split 'train' too"):
        trainable([t for t in official() if t.split != "train"])


def test_one_artist_cannot_be_held_out():
    with pytest.raises(ConfigError, match="all of 'artist a', so no artist can be held out"):
        hold_out([track(0, "A"), track(1, "a"), track(2, "A feat. B")], 0.1, 0)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(ConfigError, match="use 0 <= share < 1"):
        hold_out(official(), share, 0)


def test_a_share_of_zero_holds_nothing_out():
    tracks = [track(n, "A") for n in range(3)]
    assert hold_out(tracks, 0.0, 0) == ([0, 1, 2], [])

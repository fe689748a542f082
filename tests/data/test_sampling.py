from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myna_rpe.config import SamplingConfig
from myna_rpe.data.sampling import balancing_weights, draw_epoch, draw_weighted
from myna_rpe.data.tracks import Track
from myna_rpe.errors import ConfigError


def track(group: str = "", artist: str = "", tags: tuple[str, ...] = ()) -> Track:
    place = {"id": "", "path": "", "frames": 9, "shard": "", "offset": 0, "sha256": ""}
    return Track(**place, group=group, size=1, mtime_ns=1, artist=artist, tags=tags)


FOLDERS = [track(group) for group in "a" * 5 + "b" * 20 + "c" * 75]


def weights(tracks: list[Track], **sampling) -> np.ndarray:
    found = balancing_weights(tracks, SamplingConfig(**sampling))
    assert found is not None
    return found


@st.composite
def epochs(draw):
    """Room of each track, lengths that are asked for, batch size."""
    room = draw(st.lists(st.integers(10, 60), min_size=1, max_size=40))
    batch_size = draw(st.integers(1, len(room)))
    batches = len(room) // batch_size
    lengths = draw(st.lists(st.integers(10, 80), min_size=batches, max_size=batches))
    return np.array(room), lengths, batch_size


@given(epoch=epochs(), seed=st.integers(0, 2**32))
def test_an_epoch_has_every_batch_complete_and_no_track_twice_nor_too_short(epoch, seed):
    room, lengths, batch_size = epoch
    draws = draw_epoch(room, lengths, batch_size, np.random.default_rng(seed))
    assert len(draws) == len(lengths)
    assert all(len(draw.tracks) == batch_size for draw in draws)
    used = np.concatenate([draw.tracks for draw in draws])
    assert len(set(used.tolist())) == len(used)
    assert all((room[draw.tracks] >= draw.length).all() for draw in draws)
    served = sorted((draw.length for draw in draws), reverse=True)
    for length, asked in zip(served, sorted(lengths, reverse=True), strict=True):
        assert 10 <= length <= asked


@given(epoch=epochs())
def test_a_batch_is_shortened_only_where_too_few_long_tracks_are_left(epoch):
    room, lengths, batch_size = epoch
    draws = draw_epoch(room, lengths, batch_size, np.random.default_rng(0))
    # Longest first; the sum of all batches at least so long needs so many tracks.
    used = np.sort(room[np.concatenate([draw.tracks for draw in draws])])[::-1]
    served = sorted((draw.length for draw in draws), reverse=True)
    for i, (length, asked) in enumerate(zip(served, sorted(lengths, reverse=True), strict=True)):
        if used[(i + 1) * batch_size - 1] >= asked:
            assert length == asked


def test_lengths_are_served_in_random_order():
    room, lengths = np.full(100, 99), list(range(1, 51))
    served = [draw.length for draw in draw_epoch(room, lengths, 2, np.random.default_rng(0))]
    assert sorted(served) == lengths
    assert served != sorted(served)
    assert served != sorted(served, reverse=True)


def test_long_tracks_serve_short_lengths_too():
    room, together = np.arange(10, 20), 0
    for seed in range(1000):
        first, _ = draw_epoch(room, [10, 10], 5, np.random.default_rng(seed))
        together += len({8, 9} & set(first.tracks.tolist())) != 1
    assert together == pytest.approx(1000 * 4 / 9, abs=63)  # four standard deviations


def test_no_track_is_left_out_more_often_than_others_whatever_its_length():
    room = np.arange(10, 20)
    seen = Counter()
    for seed in range(1000):
        for draw in draw_epoch(room, [18, 10, 15], 3, np.random.default_rng(seed)):
            seen.update(draw.tracks.tolist())
    assert min(seen.values()) > 865  # 900 each, with a standard deviation of 9.5
    assert max(seen.values()) < 935


def test_without_balance_there_are_no_weights():
    assert balancing_weights(FOLDERS, SamplingConfig()) is None


def chi_square(counts: list[int], shares: list[float]) -> float:
    expected = np.array(shares) * sum(counts)
    return float(((np.array(counts) - expected) ** 2 / expected).sum())


@pytest.mark.parametrize(
    ("strength", "shares"),
    [
        (1.0, [1 / 3, 1 / 3, 1 / 3]),
        (0.0, [0.05, 0.2, 0.75]),
        (0.5, np.sqrt([5, 20, 75]) / np.sqrt([5, 20, 75]).sum()),
    ],
)
def test_folders_come_first_in_a_batch_as_often_as_their_weight_says(strength, shares):
    values = weights(FOLDERS, by="folder", strength=strength)
    rng, room = np.random.default_rng(0), np.full(100, 9)
    seen = Counter(
        FOLDERS[draw_weighted(room, 9, values, 8, rng).tracks[0]].group for _ in range(3000)
    )
    # Two degrees of freedom: 13.8 is exceeded once in 1000.
    assert chi_square([seen[group] for group in "abc"], list(shares)) < 13.8


def test_balanced_folders_fill_equal_shares_of_batches():
    folders = [track(group) for group in "a" * 100 + "b" * 500]
    values = weights(folders, by="folder")
    rng, room = np.random.default_rng(0), np.full(600, 9)
    drawn = np.concatenate([draw_weighted(room, 9, values, 8, rng).tracks for _ in range(500)])
    assert (drawn < 100).mean() == pytest.approx(0.5, abs=0.03)


@given(seed=st.integers(0, 2**32), length=st.integers(1, 40))
def test_a_weighted_batch_has_different_tracks_with_room_for_its_length(seed, length):
    room = np.arange(10, 30)
    draw = draw_weighted(room, length, np.ones(20), 6, np.random.default_rng(seed))
    assert len(set(draw.tracks.tolist())) == 6
    assert (room[draw.tracks] >= draw.length).all()
    assert draw.length == min(length, 24)  # six tracks have room for 24


def test_a_track_of_several_tags_weighs_their_mean_and_untagged_ones_are_a_group():
    tracks = [track(tags=("rock",)), track(tags=("rock", "live")), track(), track(), track()]
    values = weights(tracks, by="tag")
    assert values.tolist() == pytest.approx([1 / 2, 3 / 4, 1 / 3, 1 / 3, 1 / 3])


def test_a_track_without_an_artist_counts_for_its_folder():
    tracks = [track("x", "anna"), track("y", "anna"), track("anna"), track("z"), track("z")]
    assert weights(tracks, by="artist").tolist() == [1 / 2, 1 / 2, 1, 1 / 2, 1 / 2]


def test_balance_by_tag_needs_tags():
    with pytest.raises(ConfigError, match=r"sampling.by='tag' needs tags.*balance by 'folder'"):
        balancing_weights(FOLDERS, SamplingConfig(by="tag"))

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myna_rpe.data import Batches, ShardSet, TwoExcerpts
from myna_rpe.errors import ConfigError

from ..synthetic_music import write_shards


@pytest.fixture
def shards(tmp_path) -> ShardSet:
    return ShardSet.open(write_shards(tmp_path / "shards", [100 + 10 * n for n in range(11)]))


def batches(shards: ShardSet, *, seed: int = 0, batch_size: int = 4, num_frames: int = 32):
    return Batches(shards, TwoExcerpts(num_frames), batch_size=batch_size, seed=seed)


@given(track=st.integers(8, 500), seed=st.integers(0, 2**32))
def test_two_excerpts_always_lie_inside_the_track(track, seed):
    starts = TwoExcerpts(8).starts(track, np.random.default_rng(seed))
    assert len(starts) == 2
    assert all(0 <= start <= track - 8 for start in starts)


def test_excerpts_reach_every_place_including_both_ends():
    rng = np.random.default_rng(0)
    starts = {start for _ in range(200) for start in TwoExcerpts(8).starts(12, rng)}
    assert starts == {0, 1, 2, 3, 4}


def test_views_are_excerpts_of_their_track(shards):
    batch = batches(shards).batch(0)
    assert batch.views.shape == (4, 2, 128, 32)
    for track, views in zip(batch.tracks, batch.views.numpy(), strict=True):
        whole = shards.excerpt(track, 0, shards.tracks[track].frames)
        for view in views:
            places = [i for i in range(len(whole) - 31) if (whole[i : i + 32] == view.T).all()]
            assert len(places) == 1


def test_an_epoch_visits_each_track_at_most_once_and_drops_the_remainder(shards):
    source = batches(shards)
    assert source.steps_per_epoch == 2
    seen = [track for step in range(2) for track in source.batch(step).tracks]
    assert len(seen) == len(set(seen)) == 8


def test_epochs_differ_in_order_and_excerpts(shards):
    source = batches(shards, batch_size=11)
    first, second = source.batch(0), source.batch(1)
    assert set(first.tracks) == set(second.tracks)
    assert first.tracks != second.tracks
    a = first.views[first.tracks.index(3)]
    b = second.views[second.tracks.index(3)]
    assert not (a == b).all()


def test_excerpts_of_a_track_do_not_depend_on_the_rest_of_the_batch(shards):
    large, small = batches(shards, batch_size=11), batches(shards, batch_size=2)
    batch, whole = small.batch(3), large.batch(0)
    for track, views in zip(batch.tracks, batch.views, strict=True):
        assert (views == whole.views[whole.tracks.index(track)]).all()


def test_seeds_differ(shards):
    assert batches(shards, seed=0).order(0) != batches(shards, seed=1).order(0)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("start", [0, 5])
def test_the_stream_is_the_same_whoever_reads_it_and_wherever_it_starts(shards, start, threads):
    source = batches(shards)
    streamed = islice(source.stream(start, prefetch=4, threads=threads), 6)
    for step, batch in enumerate(streamed, start):
        expected = source.batch(step)
        assert batch.tracks == expected.tracks
        assert (batch.views == expected.views).all()


def test_tracks_shorter_than_a_view_are_left_out_and_counted(shards):
    source = batches(shards, num_frames=150)
    assert source.num_dropped == 5
    assert min(source.tracks) == 5


def test_a_view_longer_than_every_track_is_refused(shards):
    with pytest.raises(ConfigError, match=r"longer than every track.*use views.num_frames <= 200"):
        batches(shards, num_frames=201)


def test_a_single_usable_track_has_no_negatives(shards):
    with pytest.raises(ConfigError, match=r"tracks=1 .* no negatives"):
        batches(shards, num_frames=200)


def test_a_batch_larger_than_the_data_set_is_refused(shards):
    with pytest.raises(ConfigError, match=r"batch_size=12 is larger.*use batch_size <= 11"):
        batches(shards, batch_size=12)

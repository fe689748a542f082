import pickle
from contextlib import closing
from itertools import islice

import pytest
import torch

from myna_rpe.config import (
    Architecture,
    AugmentConfig,
    BudgetConfig,
    ExcerptsConfig,
    GlobalLocalConfig,
    ModelConfig,
    PatchShape,
    RatioPatchoutConfig,
    RunConfig,
    SamplingConfig,
    SpecAugmentConfig,
    TokenBudgetConfig,
    VariableLengthConfig,
    WholeTrackConfig,
)
from myna_rpe.data import Batch, Batches, ShardSet
from myna_rpe.data.augment import Augment
from myna_rpe.errors import ConfigError
from myna_rpe.model.patches import Patches, RatioPatchout, cut_patches

from ..synthetic_music import write_shards

SQUARE, TALL = PatchShape(), PatchShape(mel_bands=128, frames=2)
EXCERPTS = ExcerptsConfig(num_frames=40)  # two and a half columns of square patches
EVERY_VIEW = [
    EXCERPTS,
    ExcerptsConfig(num_frames=32, num_views=3, min_gap=1),
    VariableLengthConfig(min_frames=20, max_frames=150),
    GlobalLocalConfig(local_frames=24, num_locals=2),
    WholeTrackConfig(min_frames=16),
]


@pytest.fixture
def shards(tmp_path) -> ShardSet:
    return ShardSet.open(write_shards(tmp_path / "shards", [100 + 10 * n for n in range(11)]))


def batches(
    shards: ShardSet, *, patches=(SQUARE,), tracks=None, rank=0, world=1, **settings
) -> Batches:
    defaults = {"views": EXCERPTS, "patchout": RatioPatchoutConfig(ratio=0.5), "batch_size": 4}
    config = RunConfig(
        recipe="test",
        architecture=Architecture(model=ModelConfig(patches=patches)),
        budget=BudgetConfig(max_steps=1),
        **defaults | settings,
    )
    return Batches(shards, config, tracks, rank=rank, world=world)


def each_view(patches: Patches) -> list[Patches]:
    """The kept patches of each view, without padding and without a batch dimension."""
    keep = patches.valid
    if keep is None:
        keep = torch.ones_like(patches.time, dtype=torch.bool)
    return [
        Patches(patches.values[i, k], patches.time[i, k], patches.freq[i, k])
        for i, k in enumerate(keep)
    ]


def everything(batch: Batch) -> list[list[Patches]]:
    """The views of a batch, group by group and shape by shape."""
    return [each_view(patches) for group in batch.groups for patches in group.patches]


def same(left: Patches, right: Patches) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left[:3], right[:3], strict=True))


def assert_equal(left: Batch, right: Batch) -> None:
    assert left.tracks == right.tracks
    for a, b in zip(everything(left), everything(right), strict=True):
        assert len(a) == len(b)
        assert all(same(x, y) for x, y in zip(a, b, strict=True))


def reference(shards: ShardSet, track: int, start: int, frames: int, shape, view: Patches):
    """The same patches of a dense excerpt, cut by the model's own function."""
    excerpt = torch.from_numpy(shards.excerpt(track, start, frames)).T[None]
    grid = cut_patches(excerpt, shape, floor=shards.front_end.floor)
    return grid.values[0, view.time * (128 // shape.mel_bands) + view.freq]


# --- what is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("shape", [SQUARE, TALL, PatchShape(mel_bands=32, frames=8)])
def test_kept_patches_are_those_of_an_excerpt_of_their_track(tmp_path, storage, shape):
    lengths = [42 + n for n in range(8)]
    shards = ShardSet.open(write_shards(tmp_path, lengths, storage=storage, max_bytes=60_000))
    batch = batches(shards, patches=(shape,)).batch(0)
    (group,) = batch.groups
    for i, view in enumerate(each_view(group.patches[0])):
        track = batch.tracks[i // 2]
        starts = range(shards.tracks[track].frames - 40 + 1)
        found = [s for s in starts if torch.equal(
            reference(shards, track, s, 40, shape, view), view.values)]  # fmt: skip
        assert len(found) == 1


@pytest.mark.parametrize("storage", ["float32", "float16", "uint8"])
def test_kept_patches_of_whole_tracks_equal_the_dense_cut(tmp_path, storage):
    shards = ShardSet.open(write_shards(tmp_path, [35, 48, 50, 64, 99], storage=storage))
    source = batches(
        shards,
        patches=(SQUARE, TALL),
        views=WholeTrackConfig(min_frames=16),
        patchout=RatioPatchoutConfig(ratio=0.3),
        batch_size=5,
    )
    batch = source.batch(3)
    for shape, patches in zip((SQUARE, TALL), batch.groups[0].patches, strict=True):
        for i, view in enumerate(each_view(patches)):
            track = batch.tracks[i // 2]
            frames = shards.tracks[track].frames
            assert torch.equal(reference(shards, track, 0, frames, shape, view), view.values)


@pytest.mark.parametrize("views", EVERY_VIEW, ids=lambda views: views.name)
def test_tokens_are_inside_the_grid_time_major_and_kept_once(shards, views):
    source = batches(shards, views=views, patches=(SQUARE, TALL))
    for step in range(3):
        batch = source.batch(step)
        longest = max(shards.tracks[track].frames for track in batch.tracks)
        for group in batch.groups:
            for patches, rows, frames in zip(group.patches, (8, 1), (16, 2), strict=True):
                assert len(patches.values) == group.num_views * len(batch.tracks)
                assert patches.values.dtype == torch.float32
                assert patches.time.dtype == patches.freq.dtype == torch.int64
                for view in each_view(patches):
                    assert (torch.diff(view.time * rows + view.freq) > 0).all()
                    assert view.freq.max() < rows
                    assert view.time.max() < -(-longest // frames)


def test_every_patch_is_kept_equally_often(shards):
    source = batches(shards, views=ExcerptsConfig(num_frames=32), batch_size=11)
    counts = torch.zeros(2, 8)
    for step in range(60):
        patches = source.batch(step).groups[0].patches[0]
        counts.index_put_((patches.time, patches.freq), torch.ones(()), accumulate=True)
    expected = 60 * 22 * 8 / 16
    # Half of 16 are kept: the variance is a quarter of the draws. 37.7 is exceeded once in 1000.
    assert ((counts - expected) ** 2 / (60 * 22 / 4) * 15 / 16).sum() < 37.7


# --- how much is kept ----------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.9])
def test_a_ratio_keeps_what_the_papers_rule_says(shards, ratio):
    source = batches(shards, patchout=RatioPatchoutConfig(ratio=ratio))
    patches = source.batch(0).groups[0].patches[0]
    assert patches.values.shape == (8, RatioPatchout(ratio).num_kept(24), 16, 16)
    assert patches.valid is None


def test_views_of_different_lengths_are_padded_with_floor(shards):
    batch = batches(shards, views=WholeTrackConfig(min_frames=1), batch_size=11).batch(0)
    patches = batch.groups[0].patches[0]
    assert patches.valid is not None
    grids = [-(-shards.tracks[track].frames // 16) * 8 for track in batch.tracks for _ in "ab"]
    assert patches.valid.sum(dim=1).tolist() == [RatioPatchout(0.5).num_kept(n) for n in grids]
    assert patches.values.shape[1] == patches.valid.sum(dim=1).max()
    assert (torch.diff(patches.valid.int(), dim=1) <= 0).all()  # padding comes last
    assert (patches.values[~patches.valid] == -80).all()
    assert (patches.time[~patches.valid] == 0).all()
    assert (patches.freq[~patches.valid] == 0).all()


def test_a_token_budget_varies_between_its_ends_and_not_within_a_batch(shards):
    budget = TokenBudgetConfig(min_tokens=3, max_tokens=10)
    source = batches(shards, views=WholeTrackConfig(min_frames=16), patchout=budget)
    kept = [source.batch(step).groups[0].patches[0] for step in range(60)]
    assert all(patches.valid is None for patches in kept)
    assert {patches.values.shape[1] for patches in kept} == set(range(3, 11))


def test_a_view_of_fewer_tokens_than_the_budget_keeps_them_all(shards):
    budget = TokenBudgetConfig(min_tokens=60, max_tokens=60)
    source = batches(shards, views=WholeTrackConfig(min_frames=16), patchout=budget, batch_size=11)
    batch = source.batch(0)
    valid = batch.groups[0].patches[0].valid
    assert valid is not None
    grids = [-(-shards.tracks[track].frames // 16) * 8 for track in batch.tracks for _ in "ab"]
    assert valid.sum(dim=1).tolist() == [min(60, grid) for grid in grids]
    assert min(grids) < 60 < max(grids)


def test_groups_share_one_budget(shards):
    source = batches(
        shards,
        views=GlobalLocalConfig(local_frames=32, num_locals=3, num_globals=2),
        patchout=TokenBudgetConfig(min_tokens=5, max_tokens=9),
    )
    batch = source.batch(1)
    assert [group.num_views for group in batch.groups] == [2, 3]
    assert source.num_views == 5
    sizes = [group.patches[0].values.shape for group in batch.groups]
    assert [size[0] for size in sizes] == [8, 12]
    assert sizes[0][1] == sizes[1][1]
    assert batch.groups[0].patches[0].time.max() > batch.groups[1].patches[0].time.max()


# --- which tracks, in which order ----------------------------------------------------------------


def test_an_epoch_visits_each_track_at_most_once_and_drops_the_remainder(shards):
    source = batches(shards)
    assert source.steps_per_epoch == 2
    seen = [track for step in range(2) for track in source.batch(step).tracks]
    assert len(seen) == len(set(seen)) == 8


def test_epochs_differ_in_order_and_views(shards):
    source = batches(shards, batch_size=11)
    first, second = source.batch(0), source.batch(1)
    assert set(first.tracks) == set(second.tracks)
    assert first.tracks != second.tracks
    a = everything(first)[0][2 * first.tracks.index(3)]
    b = everything(second)[0][2 * second.tracks.index(3)]
    assert not same(a, b)


def test_the_views_of_a_track_do_not_depend_on_the_rest_of_the_batch(shards):
    large, small = batches(shards, batch_size=11), batches(shards, batch_size=2)
    batch, whole = small.batch(3), large.batch(0)
    for i, track in enumerate(batch.tracks):
        at = whole.tracks.index(track)
        for k in range(2):
            assert same(everything(batch)[0][2 * i + k], everything(whole)[0][2 * at + k])


def test_the_views_of_a_track_differ(shards):
    views = everything(batches(shards).batch(0))[0]
    assert not same(views[0], views[1])


def test_seeds_differ(shards):
    tracks = [batches(shards, seed=seed, batch_size=11).batch(0).tracks for seed in (0, 1)]
    assert tracks[0] != tracks[1]


def test_a_batch_of_variable_length_has_one_length_that_its_tracks_have_room_for(shards):
    source = batches(shards, views=VariableLengthConfig(min_frames=20, max_frames=10_000))
    lengths, seen = [], []
    for step in range(source.steps_per_epoch):
        batch, length = source.batch(step), source.draw(step).length
        assert all(shards.tracks[track].frames >= length >= 20 for track in batch.tracks)
        assert batch.groups[0].patches[0].valid is None
        kept = batch.groups[0].patches[0].values.shape[1]
        assert kept == RatioPatchout(0.5).num_kept(-(-length // 16) * 8)
        lengths.append(length)
        seen += batch.tracks
    assert len(set(lengths)) > 1
    assert len(set(seen)) == len(seen) == 8


def test_only_the_given_tracks_are_used(shards):
    source = batches(shards, tracks=[7, 2, 9, 4, 0], views=ExcerptsConfig(num_frames=110))
    assert source.tracks == [7, 2, 9, 4]
    assert source.num_dropped == 1
    assert set(source.batch(0).tracks) == {7, 2, 9, 4}


def test_a_track_that_balance_repeats_within_an_epoch_shows_other_views(shards):
    source = batches(shards, sampling=SamplingConfig(by="folder"))
    assert source.steps_per_epoch == 2
    first, second = source.batch(0), source.batch(1)
    (track, *_) = set(first.tracks) & set(second.tracks)
    a = everything(first)[0][2 * first.tracks.index(track)]
    b = everything(second)[0][2 * second.tracks.index(track)]
    assert not same(a, b)


@pytest.mark.parametrize("views", EVERY_VIEW, ids=lambda views: views.name)
@pytest.mark.parametrize("by", [None, "folder"])
def test_ranks_share_the_batch_of_a_single_process(shards, views, by):
    settings = {
        "views": views,
        "patches": (SQUARE, TALL),
        "sampling": SamplingConfig(by=by),
        "augment": AugmentConfig(noise_db=1.0),
        "patchout": TokenBudgetConfig(min_tokens=70, max_tokens=90),
    }
    for step in (0, 3):
        whole = batches(shards, **settings).batch(step)
        parts = [batches(shards, rank=r, world=4, **settings).batch(step) for r in range(4)]
        assert sum((part.tracks for part in parts), ()) == whole.tracks
        for joint, *shares in zip(everything(whole), *map(everything, parts), strict=True):
            joined = [view for share in shares for view in share]
            assert all(same(x, y) for x, y in zip(joined, joint, strict=True))


# --- who reads it --------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("start", [0, 5])
def test_the_stream_is_the_same_whoever_reads_it_and_wherever_it_starts(shards, start, threads):
    streamed = islice(batches(shards).stream(start, prefetch=4, threads=threads), 6)
    for step, batch in enumerate(streamed, start):
        assert_equal(batch, batches(shards).batch(step))


def test_worker_processes_read_the_same_batches_and_leave_everybodys_generator_alone(shards):
    source = batches(shards, views=WholeTrackConfig(min_frames=16))
    state = torch.get_rng_state()
    with closing(source.stream(3, workers=2)) as stream:
        for step, batch in enumerate(islice(stream, 5), 3):
            assert_equal(batch, source.batch(step))
    assert torch.equal(torch.get_rng_state(), state)


def test_pickled_batches_open_the_shards_themselves(shards):
    source = batches(shards, tracks=[1, 5, 3, 8, 2], rank=1, world=2)
    pickled = pickle.dumps(source)
    assert len(pickled) < 10_000
    assert_equal(pickle.loads(pickled).batch(7), source.batch(7))


def test_a_batch_moves_to_a_device_as_fabric_moves_it(shards):
    utilities = pytest.importorskip("lightning_utilities.core.apply_func")
    batch = batches(shards, views=WholeTrackConfig(min_frames=16), batch_size=11).batch(0)
    moved = utilities.apply_to_collection(batch, torch.Tensor, lambda tensor: tensor.to("meta"))
    assert isinstance(moved, Batch)
    assert moved.tracks == batch.tracks
    patches = moved.groups[0].patches[0]
    assert isinstance(patches, Patches)
    assert patches.values.is_meta
    assert patches.time.is_meta
    assert patches.valid is not None
    assert patches.valid.is_meta


@pytest.mark.gpu
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_for_a_gpu_are_in_pinned_memory(shards, workers):
    with closing(batches(shards).stream(workers=workers)) as stream:
        patches = next(stream).groups[0].patches[0]
    assert patches.values.is_pinned()
    assert patches.time.is_pinned()


# --- augmentations -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "augment",
    [
        AugmentConfig(gain_db=6.0),
        AugmentConfig(noise_db=2.0),
        AugmentConfig(pitch_semitones=4.0),
        AugmentConfig(spec_augment=SpecAugmentConfig(time_masks=3, band_masks=3, max_bands=64)),
    ],
    ids=["gain", "noise", "pitch", "spec-augment"],
)
def test_an_augmentation_changes_values_but_neither_tracks_nor_places_nor_padding(shards, augment):
    plain = batches(shards, patches=(SQUARE, TALL)).batch(1)
    changed = batches(shards, patches=(SQUARE, TALL), augment=augment).batch(1)
    assert changed.tracks == plain.tracks
    for group, other in zip(changed.groups, plain.groups, strict=True):
        for new, old in zip(group.patches, other.patches, strict=True):
            assert torch.equal(new.time, old.time)
            assert torch.equal(new.freq, old.freq)
            assert not torch.equal(new.values, old.values)
            assert new.values.min() >= -80
            assert new.values.max() <= 0
    square = changed.groups[0].patches[0]
    last = square.values[square.time == 2]  # the column of which half lies past the excerpt
    assert len(last)
    assert (last[..., 8:] == -80).all()


def test_each_view_changes_by_itself(shards, monkeypatch):
    drawn = []
    draw = Augment.draw

    def spy(self, frames, rng):
        drawn.append(draw(self, frames, rng))
        return drawn[-1]

    monkeypatch.setattr(Augment, "draw", spy)
    batches(shards, augment=AugmentConfig(gain_db=6.0)).batch(0)
    assert len({change.gain_db for change in drawn}) == len(drawn) == 8


@pytest.mark.parametrize("storage", ["float32", "float16", "uint8"])
def test_a_pitch_shift_of_almost_nothing_reads_the_same_patches(tmp_path, storage):
    shards = ShardSet.open(write_shards(tmp_path, [45, 50, 60, 70], storage=storage))
    settings = {"views": WholeTrackConfig(min_frames=16), "patches": (SQUARE, TALL)}
    plain = batches(shards, **settings).batch(0)
    shifted = batches(shards, augment=AugmentConfig(pitch_semitones=1e-7), **settings).batch(0)
    for new, old in zip(everything(shifted), everything(plain), strict=True):
        for x, y in zip(new, old, strict=True):
            assert torch.allclose(x.values, y.values, atol=1e-3)


# --- what cannot work ----------------------------------------------------------------------------


def test_tracks_without_room_for_the_views_are_left_out_and_counted(shards):
    source = batches(shards, views=ExcerptsConfig(num_frames=150))
    assert source.num_dropped == 5
    assert min(source.tracks) == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"views": ExcerptsConfig(num_frames=201)},
            r"views.num_frames=201 is longer than every track.*use views.num_frames <= 200",
        ),
        (
            {"views": ExcerptsConfig(num_frames=96, min_gap=10)},
            r"the longest has 200 frames; use views.num_frames <= 95",
        ),
        (
            {"views": ExcerptsConfig(num_frames=96, min_gap=200)},
            r"the longest has 200 frames; use fewer views or a smaller gap",
        ),
        (
            {"views": VariableLengthConfig(min_frames=300)},
            r"views.min_frames=300 is longer than every track.*use views.min_frames <= 200",
        ),
        (
            {"views": GlobalLocalConfig(local_frames=300)},
            r"views.local_frames=300 is longer.*use views.local_frames <= 200",
        ),
        ({"views": ExcerptsConfig(num_frames=200)}, r"tracks=1 .* no negatives"),
        ({"batch_size": 12}, r"batch_size=12 is larger.*use batch_size <= 11"),
        ({"batch_size": 4, "world": 3}, r"batch_size=4 cannot be shared.*use a multiple of 3"),
        ({"tracks": []}, "tracks=0 are left"),
        ({"sampling": SamplingConfig(by="tag")}, "no track has any"),
    ],
)
def test_impossible_batches_are_refused(shards, settings, message):
    with pytest.raises(ConfigError, match=message):
        batches(shards, **settings)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myna_rpe.config import (
    ExcerptsConfig,
    GlobalLocalConfig,
    VariableLengthConfig,
    WholeTrackConfig,
)
from myna_rpe.data.views import Span, build_views, log_uniform
from myna_rpe.errors import ConfigError

seeds = st.integers(0, 2**32)
spacings = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"min_gap": st.integers(0, 9)}),
    st.fixed_dictionaries({"min_overlap": st.integers(1, 8)}),
)


def places(views, track_frames: int, *, length: int | None = None, draws: int = 400) -> set:
    """All the places that turn up in many draws, as tuples of starts."""
    rng = np.random.default_rng(0)
    length = length or views.shortest
    return {tuple(span.start for span in views.place(track_frames, length, rng))
            for _ in range(draws)}  # fmt: skip


@given(extra=st.integers(0, 300), num_views=st.integers(2, 4), spacing=spacings, seed=seeds)
def test_excerpts_lie_inside_the_track_and_keep_their_gap_or_overlap(
    extra, num_views, spacing, seed
):
    views = build_views(ExcerptsConfig(num_frames=8, num_views=num_views, **spacing))
    least = 8 + (num_views - 1) * (8 + spacing["min_gap"]) if "min_gap" in spacing else 8
    assert views.room(least) == 8
    assert views.room(least - 1) < 8
    spans = views.place(least + extra, 8, np.random.default_rng(seed))
    assert len(spans) == num_views
    assert all(span.frames == 8 and 0 <= span.start <= least + extra - 8 for span in spans)
    for i, span in enumerate(spans):
        for other in spans[:i]:
            between = abs(span.start - other.start) - 8
            assert between >= spacing.get("min_gap", -8)
        assert abs(span.start - spans[0].start) <= 8 - spacing.get("min_overlap", -1000)


def test_independent_excerpts_reach_every_pair_of_places():
    views = build_views(ExcerptsConfig(num_frames=8))
    assert places(views, 11) == {(a, b) for a in range(4) for b in range(4)}


def test_excerpts_with_a_gap_reach_every_valid_pair_equally_often():
    views = build_views(ExcerptsConfig(num_frames=3, min_gap=2))
    pairs = [(a, b) for a in range(8) for b in range(8) if abs(a - b) >= 5]
    rng = np.random.default_rng(0)
    draws = [tuple(s.start for s in views.place(10, 3, rng)) for _ in range(3000)]
    counts = [draws.count(pair) for pair in pairs]
    assert sum(counts) == 3000
    expected = 3000 / len(pairs)
    # Chi-square with 11 degrees of freedom: 31.3 is exceeded once in 1000.
    assert sum((count - expected) ** 2 / expected for count in counts) < 31.3


def test_overlapping_excerpts_reach_as_far_as_they_may():
    views = build_views(ExcerptsConfig(num_frames=4, min_overlap=3))
    assert places(views, 7) == {(a, b) for a in range(4) for b in range(4) if abs(a - b) <= 1}


def test_lengths_vary_log_uniformly_between_both_ends():
    views = build_views(VariableLengthConfig(min_frames=10, max_frames=1000))
    rng = np.random.default_rng(0)
    lengths = np.array([views.draw_length(rng) for _ in range(4000)])
    assert lengths.min() == 10
    assert lengths.max() > 980
    # As many below the geometric mean as above it.
    assert abs((lengths < 100).mean() - 0.5) < 0.03


@given(low=st.integers(1, 50), more=st.integers(0, 50), seed=seeds)
def test_log_uniform_stays_within_its_ends(low, more, seed):
    assert low <= log_uniform(np.random.default_rng(seed), low, low + more) <= low + more


def test_log_uniform_reaches_both_ends():
    rng = np.random.default_rng(0)
    assert {log_uniform(rng, 2, 5) for _ in range(200)} == {2, 3, 4, 5}


@given(track=st.integers(8, 200), seed=seeds)
def test_globals_come_first_and_all_lie_inside_the_track(track, seed):
    views = build_views(
        GlobalLocalConfig(local_frames=8, num_locals=3, global_frames=50, num_globals=2)
    )
    assert views.groups == (2, 3)
    spans = views.place(track, 8, np.random.default_rng(seed))
    assert [span.frames for span in spans] == [min(50, track)] * 2 + [8] * 3
    assert all(0 <= span.start <= track - span.frames for span in spans)


def test_a_global_view_without_a_length_is_the_whole_track(rng):
    views = build_views(GlobalLocalConfig(local_frames=8))
    assert views.place(77, 8, rng)[0] == Span(0, 77)


def test_whole_tracks_are_whole(rng):
    views = build_views(WholeTrackConfig(num_views=3, min_frames=4))
    assert views.place(99, 4, rng) == [Span(0, 99)] * 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: ExcerptsConfig(min_gap=1, min_overlap=1), "contradict each other"),
        (lambda: ExcerptsConfig(num_frames=8, min_overlap=9), "use min_overlap <= 8"),
        (lambda: VariableLengthConfig(min_frames=9, max_frames=8), "use max_frames >= 9"),
        (lambda: VariableLengthConfig(min_frames=9, min_overlap=10), "use min_overlap <= 9"),
        (lambda: GlobalLocalConfig(local_frames=9, global_frames=8), "use global_frames >= 9"),
    ],
)
def test_impossible_views_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        wrong()

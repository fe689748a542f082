from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myna_rpe.errors import LibraryError
from myna_rpe.library.playlists.constraints import Constraints, broken
from myna_rpe.library.playlists.selection import arrange, select

from .support import facts_of

groups = st.lists(st.integers(-1, 3), min_size=1, max_size=7)


def test_without_constraints_the_preferred_come_in_order() -> None:
    assert select([3, 1, 2], facts_of(count=4), Constraints(), count=2).rows == (3, 1)


def test_one_recording_comes_once_and_not_after_what_was_given() -> None:
    facts = facts_of(recordings=[0, 1, 0, 1, 4])
    assert select([0, 2, 3, 4], facts, Constraints()).rows == (0, 3, 4)
    selected = select([1, 2, 4], facts, Constraints(), before=[0])
    assert selected.rows == (0, 1, 4)
    assert selected.chosen == (1, 4)
    assert selected.turned_away == {"no repeats": 1}


def test_a_cap_counts_what_was_given() -> None:
    facts = facts_of(artists=[1, 1, 1, 2])
    assert select([1, 2, 3], facts, Constraints(artist_cap=2), before=[0]).rows == (0, 1, 3)


def test_a_window_moves_tracks_and_takes_fewer_only_where_it_must() -> None:
    facts = facts_of(artists=[1, 1, 1, 2, 3])
    window = Constraints(artist_window=1)
    assert select([0, 1, 2, 3, 4], facts, window).rows == (0, 3, 1, 4, 2)
    selected = select([0, 1, 2, 3, 4], facts, Constraints(artist_window=2))
    assert len(selected.rows) == 4
    assert selected.turned_away["artist-window=2"] >= 1


@given(artists=groups, window=st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_as_many_as_any_order_allows_and_nothing_is_broken(artists: list[int], window: int) -> None:
    facts, constraints = facts_of(artists=artists), Constraints(artist_window=window)
    rows = list(range(len(artists)))
    found = select(rows, facts, constraints)
    assert broken(found.rows, facts, constraints) is None
    possible = any(broken(order, facts, constraints) is None for order in permutations(rows))
    assert (arrange(rows, facts, constraints) is not None) == possible
    assert (len(found.rows) == len(rows)) == possible


@given(
    artists=groups,
    albums=groups,
    durations=st.lists(st.floats(10, 100), min_size=7, max_size=7),
    windows=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    cap=st.none() | st.integers(1, 3),
    count=st.none() | st.integers(1, 5),
    most=st.none() | st.floats(50, 300),
)
@settings(deadline=None, max_examples=100)
def test_no_constraint_is_ever_broken(artists, albums, durations, windows, cap, count, most):
    n = min(len(artists), len(albums))
    facts = facts_of(artists[:n], albums[:n], durations[:n])
    constraints = Constraints(
        artist_window=windows[0], album_window=windows[1], artist_cap=cap, most_total=most
    )
    found = select(list(range(1, n)), facts, constraints, count=count, before=[0][: most is None])
    assert broken(found.rows, facts, constraints, given=found.given) is None
    assert count is None or len(found.chosen) <= count


def test_a_total_is_filled_until_it_is_long_enough() -> None:
    facts = facts_of(durations=[100.0, 90.0, 80.0, 70.0])
    constraints = Constraints(least_total=150.0, most_total=200.0)
    assert select([0, 1, 2, 3], facts, constraints, enough=150.0).rows == (0, 1)


def test_a_total_is_reached_with_a_count_by_exchanging_short_ones() -> None:
    facts = facts_of(durations=[10.0, 20.0, 30.0, 300.0])
    rows = select([0, 1, 2, 3], facts, Constraints(least_total=300.0), count=2).rows
    assert len(rows) == 2
    assert 3 in rows


def test_a_total_that_cannot_be_reached_is_one_sentence() -> None:
    facts = facts_of(durations=[10.0, 20.0])
    with pytest.raises(LibraryError, match=r"total=1:00- cannot be kept.*of 0:30 can be made"):
        select([0, 1], facts, Constraints(least_total=60.0), enough=60.0)


def test_many_tracks_of_few_artists_are_kept_apart() -> None:
    rng = np.random.default_rng(0)
    facts = facts_of(rng.integers(0, 40, 600).tolist(), rng.integers(0, 80, 600).tolist())
    constraints = Constraints(artist_window=10, album_window=20, artist_cap=12)
    found = select(list(range(600)), facts, constraints, count=300)
    assert broken(found.rows, facts, constraints) is None
    assert len(found.rows) == 300

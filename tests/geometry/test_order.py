from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myna_rpe.errors import LibraryError
from myna_rpe.geometry import order
from myna_rpe.geometry.order import path_length, shortest_order


def table_of(rng, n, d=3):
    points = rng.normal(size=(n, d))
    return np.linalg.norm(points[:, None] - points[None], axis=2)


def brute_force(table, first, last):
    return min(
        path_length(table, np.array(path))
        for path in permutations(range(len(table)))
        if (first is None or path[0] == first) and (last is None or path[-1] == last)
    )


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 6),
    ends=st.sampled_from([(None, None), (0, None), (None, 1), (1, 0)]),
)
def test_few_tracks_are_ordered_as_by_brute_force(seed, n, ends):
    table = table_of(np.random.default_rng(seed), n)
    first, last = ends
    found = shortest_order(table, first=first, last=last)
    assert found.exact
    assert found.length == pytest.approx(brute_force(table, first, last))
    assert sorted(found.indices.tolist()) == list(range(n))
    assert first is None or found.indices[0] == first
    assert last is None or found.indices[-1] == last


@pytest.mark.parametrize("ends", [(None, None), (3, None), (None, 5), (3, 5)])
def test_the_heuristic_keeps_its_ends_and_comes_close_to_the_exact_order(rng, monkeypatch, ends):
    first, last = ends
    ratios = []
    for _ in range(6):
        table = table_of(rng, 11)
        exact = shortest_order(table, first=first, last=last).length
        with monkeypatch.context() as patch:
            patch.setattr(order, "EXACT_UP_TO", 1)
            found = shortest_order(table, first=first, last=last)
        assert not found.exact
        assert sorted(found.indices.tolist()) == list(range(11))
        assert first is None or found.indices[0] == first
        assert last is None or found.indices[-1] == last
        assert found.length == pytest.approx(path_length(table, found.indices))
        ratios.append(found.length / exact)
    assert min(ratios) >= 1 - 1e-9
    assert np.mean(ratios) < 1.1


def test_no_reversal_and_no_move_improves_what_the_heuristic_returns(rng):
    table = table_of(rng, 25)
    path = shortest_order(table).indices.tolist()
    length = path_length(table, np.array(path))
    for i in range(25):
        for j in range(i + 1, 25):
            other = path[:i] + path[i : j + 1][::-1] + path[j + 1 :]
            assert path_length(table, np.array(other)) >= length - 1e-9
        for size in (1, 2, 3):
            run, rest = path[i : i + size], path[:i] + path[i + size :]
            for at in range(len(rest) + 1):
                for piece in (run, run[::-1]):
                    other = rest[:at] + piece + rest[at:]
                    assert path_length(table, np.array(other)) >= length - 1e-9


@pytest.mark.parametrize("n", [12, 40])
def test_tracks_on_a_line_are_put_in_line(rng, n):
    places = np.sort(rng.random(n))[rng.permutation(n)]
    found = shortest_order(np.abs(places[:, None] - places[None]))
    assert found.length == pytest.approx(np.ptp(places))


def test_one_track_is_an_order():
    assert shortest_order(np.zeros((1, 1)), first=0, last=0).indices.tolist() == [0]


def test_equal_tracks_are_ordered_too():
    assert sorted(shortest_order(np.zeros((20, 20))).indices.tolist()) == list(range(20))


def test_what_is_no_table_of_distances_is_refused():
    for table, message in (
        (np.zeros((0, 0)), "no table of distances"),
        (np.zeros((2, 3)), "no table of distances"),
        (np.full((2, 2), np.nan), "NaN"),
        (-np.ones((2, 2)), "below 0"),
        (np.array([[0.0, 1.0], [2.0, 0.0]]), "differ by direction"),
    ):
        with pytest.raises(LibraryError, match=message):
            shortest_order(table)
    with pytest.raises(LibraryError, match="first=3"):
        shortest_order(np.zeros((3, 3)), first=3)
    with pytest.raises(LibraryError, match="two different ends"):
        shortest_order(np.zeros((3, 3)), first=1, last=1)

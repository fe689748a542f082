import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myna_rpe.errors import LibraryError
from myna_rpe.geometry.hull import Hull, HullSum
from myna_rpe.geometry.search import coreset, farthest_first, nearest, ranking, within


def full_scan(hull, x, k):
    values = hull.distances(x).values
    order = ranking(values, np.arange(len(x)), hull.resolution)[:k]
    return order, values[order]


@pytest.mark.parametrize(("n", "d"), [(1, 4), (10, 32), (30, 32), (60, 8), (5, 2)])
def test_the_pruned_search_equals_the_full_scan(rng, n, d):
    spread = np.linspace(2, 0.3, d)
    hull = Hull(rng.normal(size=(n, d)) * spread)
    x = rng.normal(size=(1000, d)) * spread * rng.choice([0.5, 1, 3], size=(1000, 1))
    for k in (1, 20, 200):
        indices, values = full_scan(hull, x, k)
        found = nearest(hull, x, k)
        assert found.indices.tolist() == indices.tolist()
        np.testing.assert_allclose(found.distances.values, values, atol=1e-8)
        assert len(found) == k
        assert found.solved <= len(x)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 8), d=st.integers(1, 5), k=st.integers(1, 40))
def test_ties_and_members_do_not_part_the_pruned_search_from_the_scan(seed, n, d, k):
    rng = np.random.default_rng(seed)
    vertices = rng.integers(-2, 3, size=(n, d)).astype(float)
    x = np.vstack([vertices, rng.integers(-3, 4, size=(30, d)).astype(float)])
    hull = Hull(vertices)
    assert nearest(hull, x, k).indices.tolist() == full_scan(hull, x, k)[0].tolist()


def test_little_is_solved_where_the_hull_is_flat(rng):
    hull = Hull(rng.normal(size=(10, 32)))
    x = rng.normal(size=(20_000, 32)) * rng.choice([0.5, 1, 2], size=(20_000, 1))
    assert nearest(hull, x, 50).solved < len(x) / 4


def test_sums_of_hulls_are_searched_alike(rng):
    hull = HullSum([rng.normal(size=(4, 6)), rng.normal(size=(5, 6))])
    x = rng.normal(size=(1500, 6)) * 4
    assert nearest(hull, x, 30).indices.tolist() == full_scan(hull, x, 30)[0].tolist()


def test_there_are_never_more_found_than_there_are(rng):
    hull = Hull(rng.normal(size=(4, 3)))
    assert len(nearest(hull, rng.normal(size=(7, 3)), 20)) == 7
    assert len(nearest(hull, np.zeros((0, 3)), 20)) == 0


def test_within_finds_all_of_the_radius_and_nothing_else(rng):
    hull = Hull(rng.normal(size=(10, 16)))
    x = rng.normal(size=(2000, 16))
    values = hull.distances(x).values
    for radius in (0, 1.5, float(np.median(values)), np.inf):
        found = within(hull, x, radius)
        assert set(found.indices.tolist()) == set(np.flatnonzero(values <= radius).tolist())
        assert (np.diff(found.distances.values) >= -1e-8).all()
    assert len(within(hull, x[:0], 1.0)) == 0


def test_a_coreset_shrinks_the_hull_by_no_more_than_its_error(rng):
    vertices = rng.normal(size=(80, 4))
    core = coreset(vertices, 20)
    assert len(set(core.indices.tolist())) == 20
    x = rng.normal(size=(300, 4)) * 3
    difference = (
        Hull(vertices[core.indices]).distances(x).values - Hull(vertices).distances(x).values
    )
    assert difference.min() > -1e-7
    assert difference.max() <= core.error + 1e-7
    assert core.error > 0


def test_a_coreset_of_all_has_no_error_and_larger_ones_err_less(rng):
    vertices = rng.normal(size=(30, 3))
    assert coreset(vertices, 30).error == 0
    assert coreset(vertices, 99).indices.tolist() == list(range(30))
    assert coreset(vertices, 5).error >= coreset(vertices, 25).error


def test_farthest_first_is_what_its_name_says(rng):
    points = rng.normal(size=(25, 3))
    chosen = farthest_first(points, 25).tolist()
    assert sorted(chosen) == list(range(25))
    for step in range(1, 25):
        gaps = [
            min(np.linalg.norm(points[i] - points[j]) for j in chosen[:step]) for i in range(25)
        ]
        assert gaps[chosen[step]] == pytest.approx(max(gaps))


def test_farthest_first_repeats_no_point_though_points_repeat():
    assert sorted(farthest_first(np.ones((6, 2)), 6).tolist()) == list(range(6))


def test_what_cannot_be_searched_is_refused(rng):
    hull = Hull(rng.normal(size=(4, 3)))
    with pytest.raises(LibraryError, match="k=0"):
        nearest(hull, np.zeros((1, 3)), 0)
    with pytest.raises(LibraryError, match="row 0"):
        nearest(hull, np.full((1, 3), np.nan), 1)
    with pytest.raises(LibraryError, match="radius=-1"):
        within(hull, np.zeros((1, 3)), -1)
    with pytest.raises(LibraryError, match="size=0"):
        coreset(np.zeros((2, 2)), 0)

from itertools import combinations

import numpy as np
import pytest

from myna_rpe.errors import LibraryError
from myna_rpe.geometry.calibration import calibrate
from myna_rpe.geometry.hull import Hull
from myna_rpe.geometry.selection import (
    AsDrawn,
    FarthestFirst,
    GreedyDPP,
    Spread,
    dirichlet_weights,
    fill,
    greedy_dpp,
    shell,
)

SPREADS = [AsDrawn(), FarthestFirst(), GreedyDPP()]


@pytest.fixture
def scene(rng):
    """A playlist of 12, the tracks it lies among, and what near means."""
    x = rng.normal(size=(1500, 6))
    members = list(range(12))
    return Hull(x[members]), x, members, calibrate(x[members])


def test_weights_are_a_simplex_and_concentrate_on_few_vertices(rng):
    weights = dirichlet_weights(20, 4000, rng=rng)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights.mean(axis=0), 1 / 20, atol=0.01)
    # Variance of a symmetric Dirichlet: (1/n)(1 - 1/n) / (n c + 1).
    np.testing.assert_allclose(weights.var(axis=0).mean(), 0.05 * 0.95 / 3, rtol=0.1)
    tiny = dirichlet_weights(20, 100, rng=rng, concentration=1e-4)
    np.testing.assert_allclose(tiny.sum(axis=1), 1)


@pytest.mark.parametrize("spread", SPREADS, ids=lambda spread: type(spread).__name__)
def test_fill_keeps_every_limit(rng, scene, spread):
    hull, x, members, calibration = scene
    picked = fill(hull, x, count=25, limit=calibration.inside, rng=rng, used=members, spread=spread)
    assert isinstance(spread, Spread)
    assert len(picked.indices) == len(set(picked.indices.tolist())) == 25
    assert not set(picked.indices.tolist()) & set(members)
    assert (picked.distances.values <= calibration.inside + 1e-8).all()
    np.testing.assert_allclose(
        picked.distances.values, hull.distances(x[picked.indices]).values, atol=1e-8
    )
    assert picked.missing == 0


def test_small_concentration_does_not_collapse_to_the_middle(rng):
    x = rng.normal(size=(4000, 6))
    hull = Hull(x[:30])

    def scatter(concentration):
        picked = fill(
            hull, x, count=40, limit=1.0, rng=rng, spread=AsDrawn(), concentration=concentration
        )
        return np.linalg.norm(x[picked.indices] - hull.centre, axis=1).mean()

    assert scatter(0.1) > scatter(10.0)


def test_the_same_seed_gives_the_same_playlist(scene):
    hull, x, members, calibration = scene

    def picks(seed):
        rng = np.random.default_rng(seed)
        inside = fill(hull, x, count=10, limit=calibration.inside, rng=rng, used=members)
        around = shell(hull, x, low=0.5, high=1.5, count=10, rng=rng, used=members)
        return [*inside.indices.tolist(), *around.indices.tolist()]

    assert picks(3) == picks(3)
    assert picks(3) != picks(4)


def test_too_few_tracks_give_fewer_and_say_so(rng, scene):
    hull, x, members, _ = scene
    picked = fill(hull, x, count=50, limit=0.0, rng=rng, used=range(len(x)))
    assert (len(picked.indices), picked.wanted, picked.missing) == (0, 50, 50)
    near = fill(hull, x[:20], count=50, limit=np.inf, rng=rng, used=members)
    assert sorted(near.indices.tolist()) == list(range(12, 20))
    assert near.missing == 42
    none = shell(hull, x, low=1000.0, high=2000.0, count=5, rng=rng)
    assert none.missing == 5


def test_a_shell_holds_its_bounds_and_no_used_track(rng, scene):
    hull, x, members, calibration = scene
    picked = shell(
        hull, x, low=calibration.inside, high=calibration.near, count=30, rng=rng, used=members
    )
    assert len(set(picked.indices.tolist())) == 30
    assert (picked.distances.values > calibration.inside).all()
    assert (picked.distances.values <= calibration.near + 1e-8).all()


def test_a_shell_gives_members_and_directions_their_turns(rng):
    # A segment along the first axis; ten times as many tracks beyond one end as beyond the other,
    # and for each end three quarters above and one quarter below.
    x = np.array(
        [[5.0, up, 0.01 * i] for i in range(100) for up in (1.0, 1.1, 1.2, -1.0)]
        + [[-5.0, up, 0.01 * i] for i in range(10) for up in (1.0, 1.1, 1.2, -1.0)]
    )
    hull = Hull(np.array([[4.0, 0.0, 0.0], [-4.0, 0.0, 0.0]]))
    picked = shell(hull, x, low=0.1, high=10.0, count=20, rng=rng, directions=4)
    leaning = picked.distances.weights.argmax(axis=1)
    assert np.bincount(leaning).tolist() == [10, 10]
    below = x[picked.indices, 1] < 0
    assert 5 <= below.sum() <= 15


def test_the_greedy_determinant_is_the_slow_one(rng):
    points = rng.normal(size=(15, 3))
    kernel = np.exp(-np.square(points[:, None] - points[None]).sum(axis=2))
    chosen: list[int] = []
    for _ in range(6):
        left = [i for i in range(15) if i not in chosen]
        chosen.append(
            max(left, key=lambda i: np.linalg.det(kernel[np.ix_([*chosen, i], [*chosen, i])]))
        )
    # The first is a tie: all have 1 on the diagonal.
    assert greedy_dpp(kernel, 6).tolist() == chosen


def test_the_greedy_determinant_is_not_far_from_the_best(rng):
    kernel = np.cov(rng.normal(size=(8, 30)))
    chosen = greedy_dpp(kernel, 3)
    best = max(np.linalg.det(kernel[np.ix_(s, s)]) for s in combinations(range(8), 3))
    assert np.linalg.det(kernel[np.ix_(chosen, chosen)]) >= best / 6


def test_a_determinant_takes_no_copy_until_nothing_else_is_left():
    points = np.array([[0.0], [0.0], [1.0], [1.0], [2.0]])
    kernel = np.exp(-np.square(points - points.T))
    assert sorted(points[greedy_dpp(kernel, 5), 0]) == [0, 1, 2]
    assert sorted(GreedyDPP().choose(points, 4).tolist()) != [0, 1, 2, 3]
    assert len(set(GreedyDPP().choose(points, 5).tolist())) == 5
    assert len(GreedyDPP().choose(np.ones((3, 2)), 2)) == 2


def test_what_cannot_be_selected_is_refused(rng, scene):
    hull, x, _, _ = scene
    with pytest.raises(LibraryError, match="count=0"):
        fill(hull, x, count=0, limit=1.0, rng=rng)
    with pytest.raises(LibraryError, match="used=1500"):
        fill(hull, x, count=1, limit=1.0, rng=rng, used=[1500])
    with pytest.raises(LibraryError, match="concentration=0"):
        fill(hull, x, count=1, limit=1.0, rng=rng, concentration=0.0)
    with pytest.raises(LibraryError, match="hold no shell"):
        shell(hull, x, low=1.0, high=1.0, count=1, rng=rng)
    with pytest.raises(LibraryError, match="directions=0"):
        shell(hull, x, low=0.0, high=1.0, count=1, rng=rng, directions=0)

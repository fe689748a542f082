import numpy as np
import pytest

from myna_rpe.errors import LibraryError
from myna_rpe.geometry.calibration import (
    Calibration,
    calibrate,
    leave_one_out,
    neighbour_distances,
)
from myna_rpe.geometry.hull import Hull

from .support import by_nnls


def test_the_scatter_is_the_distance_to_the_hull_of_the_others(rng):
    vertices = rng.normal(size=(8, 5))
    expected = [by_nnls(np.delete(vertices, i, axis=0), vertices[i]) for i in range(8)]
    np.testing.assert_allclose(leave_one_out(vertices), expected, atol=1e-8)
    np.testing.assert_allclose(calibrate(vertices).scatter, sorted(expected), atol=1e-8)


@pytest.mark.parametrize(
    ("n", "alpha", "rank"),
    [(3, 0.5, 2), (4, 0.5, 3), (9, 0.9, 9), (19, 0.9, 18), (29, 0.9, 27), (99, 0.7, 70)],
)
def test_quantiles_are_the_right_order_statistics(n, alpha, rank):
    calibration = Calibration(np.arange(1.0, n + 1), False, 0.0)
    assert calibration.quantile(alpha) == rank


def test_quantiles_beyond_the_members_are_infinite():
    calibration = Calibration(np.arange(1.0, 9.0), False, 0.0)
    assert calibration.near == np.inf
    assert calibration.place(1e9) == "near"


def test_places_and_p_values_follow_the_scatter():
    calibration = Calibration(np.arange(1.0, 10.0), False, 0.0)
    assert [calibration.place(d) for d in (0.0, 5.0, 5.1, 9.0, 9.1)] == [
        "inside",
        "inside",
        "near",
        "near",
        "outside",
    ]
    assert calibration.p_value(0.0) == 1.0
    assert calibration.p_value(5.0) == pytest.approx(6 / 10)
    assert calibration.p_value(99.0) == pytest.approx(1 / 10)


@pytest.mark.parametrize("kind", ["cloud", "all equal", "square with repeated corners"])
def test_members_are_inside(rng, kind):
    vertices = {
        "cloud": rng.normal(size=(12, 16)) + 50,
        "all equal": np.full((5, 3), 0.1),
        "square with repeated corners": np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]] * 3) + 0.1,
    }[kind]
    calibration, hull = calibrate(vertices), Hull(vertices)
    for distances in (hull.distances(vertices).values, [hull.distance(v).value for v in vertices]):
        assert all(calibration.place(float(d)) == "inside" for d in distances)
        assert all(calibration.p_value(float(d)) == 1.0 for d in distances)


@pytest.mark.parametrize("d", [4, 16])
def test_quantiles_cover_exchangeable_tracks(rng, d):
    inside, near, total = 0, 0, 0
    for _ in range(40):
        tracks = rng.normal(size=(19 + 20, d)) * np.linspace(2, 0.5, d) + rng.normal(size=d)
        calibration = calibrate(tracks[:19])
        distances = Hull(tracks[:19]).distances(tracks[19:]).values
        inside += int((distances <= calibration.inside).sum())
        near += int((distances <= calibration.near).sum())
        total += 20
    # One more vertex than rho was taken with: a little more is covered than asked for.
    assert 0.45 <= inside / total <= 0.68
    assert 0.86 <= near / total <= 0.98


def test_one_or_two_members_fall_back_on_neighbours_and_say_so(rng):
    members, library = rng.normal(size=(2, 6)), rng.normal(size=(50, 6))
    neighbours = neighbour_distances(members, library, k=5)
    expected = [sorted(np.linalg.norm(library - m, axis=1))[:5] for m in members]
    np.testing.assert_allclose(neighbours, np.ravel(expected))
    calibration = calibrate(members, neighbours=neighbours)
    assert calibration.fallback
    assert calibration.inside == pytest.approx(sorted(neighbours)[5])
    assert not calibrate(rng.normal(size=(3, 6)), neighbours=neighbours).fallback
    assert calibrate(members[:1], neighbours=neighbours[:5]).fallback


def test_what_cannot_be_calibrated_is_refused(rng):
    with pytest.raises(LibraryError, match="members=2 are too few"):
        calibrate(rng.normal(size=(2, 3)))
    with pytest.raises(LibraryError, match="is no distance"):
        calibrate(rng.normal(size=(1, 3)), neighbours=np.array([1.0, np.nan]))
    with pytest.raises(LibraryError, match="k=0"):
        neighbour_distances(np.zeros((1, 2)), np.zeros((1, 2)), k=0)
    calibration = calibrate(rng.normal(size=(5, 3)))
    with pytest.raises(LibraryError, match="alpha=0"):
        calibration.quantile(0.0)
    with pytest.raises(LibraryError, match="distance=nan"):
        calibration.place(float("nan"))
    with pytest.raises(LibraryError, match="no table of points"):
        leave_one_out(np.zeros((1, 3)))

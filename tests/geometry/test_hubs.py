import numpy as np
import pytest

from myna_rpe.errors import LibraryError
from myna_rpe.geometry import hubs
from myna_rpe.geometry.hubs import cosines, csls, hubness, mean_cosines, mean_distances, nicdm


def test_both_scalings_are_what_their_papers_say(rng, monkeypatch):
    monkeypatch.setattr(hubs, "_NUMBERS_AT_ONCE", 100)  # several blocks
    points = rng.normal(size=(30, 4))
    k = 5
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    cosine = unit @ unit.T
    mu = [np.mean(sorted(np.delete(distance[i], i))[:k]) for i in range(30)]
    r = [np.mean(sorted(np.delete(cosine[i], i))[-k:]) for i in range(30)]
    np.testing.assert_allclose(mean_distances(points, k=k), mu)
    np.testing.assert_allclose(mean_cosines(points, k=k), r)
    np.testing.assert_allclose(cosines(points, points), cosine, atol=1e-12)
    scaled = nicdm(distance, np.array(mu), np.array(mu))
    similar = csls(cosine, np.array(r), np.array(r))
    for i in range(30):
        for j in range(30):
            assert scaled[i, j] == pytest.approx(distance[i, j] / np.sqrt(mu[i] * mu[j]), abs=1e-9)
            assert similar[i, j] == pytest.approx(2 * cosine[i, j] - r[i] - r[j])


def test_hubness_is_the_skewness_of_k_occurrence(rng):
    from scipy.stats import skew

    neighbours = rng.integers(0, 20, size=(40, 3)) ** 2 // 20
    counts = np.bincount(neighbours.ravel(), minlength=20)
    assert hubness(neighbours, 20) == pytest.approx(skew(counts))
    assert hubness(np.arange(6).reshape(3, 2), 6) == 0


@pytest.mark.parametrize("way", ["nicdm", "csls"])
def test_scaling_makes_hubs_rarer_in_many_dimensions(rng, way):
    points = rng.normal(size=(400, 60)) + 0.3
    if way == "nicdm":
        scale = mean_distances(points)
        before = np.linalg.norm(points[:, None] - points[None], axis=2)
        after = nicdm(before, scale, scale)
    else:
        scale = mean_cosines(points)
        before = -cosines(points, points)
        after = -csls(-before, scale, scale)
    for table in (before, after):
        np.fill_diagonal(table, np.inf)
    found = [np.argsort(table, axis=1)[:, :5] for table in (before, after)]
    assert hubness(found[1], 400) < 0.7 * hubness(found[0], 400)


def test_copies_and_zero_vectors_give_numbers(rng):
    points = np.vstack([np.zeros((4, 3)), rng.normal(size=(4, 3))])
    scale = mean_distances(points, k=3)
    table = np.linalg.norm(points[:, None] - points[None], axis=2)
    assert np.isfinite(nicdm(table, scale, scale)).all()
    assert np.isfinite(csls(cosines(points, points), mean_cosines(points), scale)).all()


def test_what_has_no_neighbours_is_refused():
    for function in (mean_distances, mean_cosines):
        with pytest.raises(LibraryError, match="k=0"):
            function(np.zeros((3, 2)), k=0)
        with pytest.raises(LibraryError, match="no table of points"):
            function(np.zeros((1, 2)))

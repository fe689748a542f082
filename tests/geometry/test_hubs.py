import numpy as np
import pytest

from myna_rpe.geometry.hubs import csls, nicdm

from .support import hubness, mean_cosines, mean_distances


def cosines(points):
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    unit = points / np.where(norms > 0, norms, 1)
    return unit @ unit.T


def distances(points):
    return np.linalg.norm(points[:, None] - points[None], axis=2)


def test_both_scalings_are_what_their_papers_say(rng):
    points = rng.normal(size=(30, 4))
    distance, cosine = distances(points), cosines(points)
    mu, r = mean_distances(points, k=5), mean_cosines(points, k=5)
    scaled, similar = nicdm(distance, mu, mu), csls(cosine, r, r)
    for i in range(30):
        for j in range(30):
            assert scaled[i, j] == pytest.approx(distance[i, j] / np.sqrt(mu[i] * mu[j]), abs=1e-9)
            assert similar[i, j] == pytest.approx(2 * cosine[i, j] - r[i] - r[j])


@pytest.mark.parametrize("way", ["nicdm", "csls"])
def test_scaling_makes_hubs_rarer_in_many_dimensions(rng, way):
    points = rng.normal(size=(400, 60)) + 0.3
    if way == "nicdm":
        scale = mean_distances(points)
        before = distances(points)
        after = nicdm(before, scale, scale)
    else:
        scale = mean_cosines(points)
        before = -cosines(points)
        after = -csls(-before, scale, scale)
    for table in (before, after):
        np.fill_diagonal(table, np.inf)
    found = [np.argsort(table, axis=1)[:, :5] for table in (before, after)]
    assert hubness(found[1], 400) < 0.7 * hubness(found[0], 400)


def test_copies_and_zero_vectors_give_numbers(rng):
    points = np.vstack([np.zeros((4, 3)), rng.normal(size=(4, 3))])
    scale = mean_distances(points, k=3)
    assert np.isfinite(nicdm(distances(points), scale, scale)).all()
    assert np.isfinite(csls(cosines(points), mean_cosines(points), scale)).all()

import sys
from itertools import permutations, product

import numpy as np
import pytest

from myna_rpe.errors import ConfigError, LibraryError
from myna_rpe.geometry.hull import Hull
from myna_rpe.geometry.matching import Matched, Minkowski, Path, match


def cost(first, second, matching):
    return np.square(first[matching.first] - second[matching.second]).sum()


def test_equal_sizes_give_the_cheapest_of_all_permutations(rng):
    first, second = rng.normal(size=(6, 3)), rng.normal(size=(6, 3)) + 1
    matching = match(first, second)
    best = min(np.square(first - second[list(p)]).sum() for p in permutations(range(6)))
    assert cost(first, second, matching) == pytest.approx(best)
    assert sorted(matching.second.tolist()) == list(range(6))


@pytest.mark.parametrize(("n", "m"), [(6, 3), (7, 3), (5, 4), (3, 7), (6, 1), (1, 1)])
def test_different_sizes_share_the_smaller_out_evenly_at_the_least_cost(rng, n, m):
    first, second = rng.normal(size=(n, 3)), rng.normal(size=(m, 3))
    matching = match(first, second)
    large, small = (first, second) if n >= m else (second, first)
    ours, theirs = (
        (matching.first, matching.second) if n >= m else (matching.second, matching.first)
    )
    assert sorted(ours.tolist()) == list(range(len(large)))
    shares = np.bincount(theirs, minlength=len(small))
    assert shares.min() >= len(large) // len(small)
    assert shares.max() <= -(-len(large) // len(small))
    best = min(
        np.square(large - small[list(choice)]).sum()
        for choice in product(range(len(small)), repeat=len(large))
        if np.ptp(np.bincount(choice, minlength=len(small))) <= 1
    )
    assert cost(first, second, matching) == pytest.approx(best)


@pytest.mark.parametrize("kind", [Matched, Minkowski])
@pytest.mark.parametrize(("n", "m"), [(5, 5), (7, 4), (3, 8)])
def test_the_ends_are_the_two_playlists(rng, kind, n, m):
    first, second = rng.normal(size=(n, 4)), rng.normal(size=(m, 4)) + 3
    x = rng.normal(size=(50, 4)) * 3
    path = kind(first, second)
    assert isinstance(path, Path)
    for t, vertices in ((0, first), (1, second), (0.0, first), (1.0, second)):
        np.testing.assert_allclose(
            path.at(t).distances(x).values, Hull(vertices).distances(x).values, atol=1e-7
        )


@pytest.mark.parametrize("t", [0.25, 0.5, 0.9])
def test_a_minkowski_mixture_equals_the_hull_of_all_mixed_pairs(rng, t):
    first, second = rng.normal(size=(6, 5)), rng.normal(size=(4, 5)) + 2
    x = rng.normal(size=(40, 5)) * 2 + 1
    pairs = ((1 - t) * first[:, None] + t * second[None]).reshape(-1, 5)
    mixture = Minkowski(first, second).at(t)
    np.testing.assert_allclose(
        mixture.distances(x).values, Hull(pairs).distances(x).values, atol=1e-7
    )
    # The matched hull's vertices are some of these pairs.
    matched = Matched(first, second).at(t)
    assert (mixture.distances(x).values <= matched.distances(x).values + 1e-7).all()


def test_a_playlist_leads_to_itself_without_leaving(rng):
    vertices = rng.normal(size=(6, 4))
    x = rng.normal(size=(30, 4)) * 2
    half = Matched(vertices, vertices[::-1].copy()).at(0.5)
    np.testing.assert_allclose(
        half.distances(x).values, Hull(vertices).distances(x).values, atol=1e-7
    )


def test_without_scipy_one_sentence_says_what_to_install(rng, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ConfigError, match=r"pip install 'myna-rpe\[library\]'"):
        Matched(rng.normal(size=(3, 2)), rng.normal(size=(3, 2)))
    Minkowski(rng.normal(size=(3, 2)), rng.normal(size=(3, 2))).at(0.5)


def test_what_is_no_way_is_refused(rng):
    first, second = rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    for path in (Matched(first, second), Minkowski(first, second)):
        for t in (-0.1, 1.1, float("nan")):
            with pytest.raises(LibraryError, match="on no way from A to B"):
                path.at(t)
    with pytest.raises(LibraryError, match="does not fit"):
        match(first, rng.normal(size=(3, 4)))

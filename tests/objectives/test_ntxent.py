import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from myna_rpe.errors import ConfigError
from myna_rpe.objectives import info_nce, nt_xent


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def simclr(first: np.ndarray, second: np.ndarray, temperature: float) -> float:
    """Algorithm 1 of Chen et al. 2020: views 2k-1 and 2k of sample k, 1/(2N) sum l(i, j)."""
    z = [view for pair in zip(first, second, strict=True) for view in pair]

    def surprise(i: int, j: int) -> float:
        others = sum(math.exp(cosine(z[i], z[k]) / temperature) for k in range(len(z)) if k != i)
        return -math.log(math.exp(cosine(z[i], z[j]) / temperature) / others)

    total = 0.0
    for k in range(len(first)):
        total += surprise(2 * k, 2 * k + 1) + surprise(2 * k + 1, 2 * k)
    return total / len(z)


def supervised(projections: np.ndarray, temperature: float) -> float:
    """L_out of Khosla et al. 2020, equation 2, with a class per track, as a mean over anchors."""
    batch, views, _ = projections.shape
    index = [(track, view) for track in range(batch) for view in range(views)]
    total = 0.0
    for i in index:
        positives = [p for p in index if p[0] == i[0] and p != i]
        others = [a for a in index if a != i]
        for p in positives:
            up = math.exp(cosine(projections[i], projections[p]) / temperature)
            down = sum(
                math.exp(cosine(projections[i], projections[a]) / temperature) for a in others
            )
            total -= math.log(up / down) / len(positives)
    return total / len(index)


@pytest.mark.parametrize("temperature", [0.07, 0.5, 1.0])
def test_two_views_equal_the_loop_over_simclrs_algorithm(rng, temperature):
    views = rng.standard_normal((6, 2, 5))
    expected = simclr(views[:, 0], views[:, 1], temperature)
    loss = nt_xent(torch.from_numpy(views), temperature=temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(batch=st.integers(2, 4), views=st.integers(2, 4), seed=st.integers(0, 99))
def test_any_number_of_views_equals_the_loop_over_the_formula(batch, views, seed):
    projections = np.random.default_rng(seed).standard_normal((batch, views, 3))
    loss = nt_xent(torch.from_numpy(projections), temperature=0.3)
    assert loss.item() == pytest.approx(supervised(projections, 0.3), rel=1e-10)


@pytest.mark.parametrize("views", [2, 3])
def test_gradient_is_right(views):
    projections = torch.randn(4, views, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: nt_xent(z, temperature=0.5), (projections,))


@pytest.mark.parametrize("views", [2, 3])
def test_without_structure_the_loss_is_the_log_of_all_others(views):
    assert nt_xent(torch.ones(9, views, 4)).item() == pytest.approx(math.log(9 * views - 1))


@pytest.mark.parametrize(("batch", "views"), [(4, 2), (4, 3)])
def test_identical_orthogonal_tracks_give_the_closed_form(batch, views):
    tracks = torch.eye(batch, dtype=torch.float64).unsqueeze(1).expand(-1, views, -1)
    expected = math.log(views - 1 + (batch - 1) * views * math.exp(-1 / 0.5))
    assert nt_xent(tracks, temperature=0.5).item() == pytest.approx(expected)


def test_negatives_of_ones_own_side_make_it_harder_than_info_nce():
    views = torch.randn(8, 2, 16)
    assert nt_xent(views) > info_nce(views[:, 0], views[:, 1])


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_temperature_must_be_above_zero(temperature):
    with pytest.raises(ConfigError, match="use temperature > 0"):
        nt_xent(torch.randn(3, 2, 4), temperature=temperature)

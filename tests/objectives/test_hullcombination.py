import math

import numpy as np
import pytest
import torch

from myna_rpe.errors import ConfigError
from myna_rpe.objectives import hull_combination


def reference(projections: np.ndarray, temperature: float) -> float:
    losses = []
    for track in projections:
        z = [view / math.sqrt(view @ view) for view in track]
        for i, own in enumerate(z):
            others = [other for k, other in enumerate(z) if k != i]
            exponentials = [math.exp(other @ own / temperature) for other in others]
            mean = sum(e * o for e, o in zip(exponentials, others, strict=True))
            difference = mean / sum(exponentials) - own
            losses.append(float(difference @ difference))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("views", [2, 3, 5])
def test_equals_the_loop_over_the_formula(rng, views, temperature):
    projections = rng.standard_normal((4, views, 6))
    loss = hull_combination(torch.from_numpy(projections), temperature=temperature)
    assert loss.item() == pytest.approx(reference(projections, temperature), rel=1e-12)


@pytest.mark.parametrize("views", [2, 4])
def test_gradient_is_right(views):
    projections = torch.randn(3, views, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: hull_combination(z, temperature=0.5), (projections,))


def test_two_views_give_their_squared_distance():
    views = torch.nn.functional.normalize(torch.randn(6, 2, 5), dim=2)
    expected = (views[:, 0] - views[:, 1]).square().sum(dim=1).mean()
    torch.testing.assert_close(hull_combination(views), expected)


def test_temperature_goes_from_the_most_similar_view_to_the_mean():
    views = torch.nn.functional.normalize(torch.randn(1, 3, 5), dim=2)
    distances = torch.cdist(views[0], views[0]).square().fill_diagonal_(torch.inf)
    cold = hull_combination(views, temperature=1e-4)
    torch.testing.assert_close(cold, distances.amin(dim=1).mean())
    mean_of_others = (views.sum(dim=1, keepdim=True) - views) / 2
    hot = hull_combination(views, temperature=1e4)
    expected = (mean_of_others - views).square().sum(dim=2).mean()
    torch.testing.assert_close(hot, expected, rtol=1e-3, atol=0)


def test_equal_views_cost_nothing():
    views = torch.randn(4, 1, 5).expand(-1, 3, -1)
    assert hull_combination(views).item() == pytest.approx(0, abs=1e-12)


def test_temperature_must_be_above_zero():
    with pytest.raises(ConfigError, match="use temperature > 0"):
        hull_combination(torch.randn(3, 2, 4), temperature=0.0)

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from myna_rpe.objectives import HullSpread, hull_spread


def reference(vectors: np.ndarray, directions: np.ndarray) -> float:
    widths = []
    for direction in directions:
        r = direction / math.sqrt(direction @ direction)
        places = [float(r @ vector / math.sqrt(vector @ vector)) for vector in vectors]
        widths.append(max(places) - min(places))
    return -sum(widths) / len(widths)


def test_equals_the_loop_over_the_formula(rng):
    vectors, directions = rng.standard_normal((9, 5)), rng.standard_normal((7, 5))
    loss = hull_spread(torch.from_numpy(vectors), torch.from_numpy(directions))
    assert loss.item() == pytest.approx(reference(vectors, directions), rel=1e-12)


def test_gradient_is_right():
    vectors = torch.randn(9, 5, dtype=torch.float64, requires_grad=True)
    directions = torch.randn(7, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda v: hull_spread(v, directions), (vectors,))


def test_a_single_point_has_no_width():
    assert hull_spread(torch.ones(8, 5), torch.randn(16, 5)) == 0


def test_poles_are_2_apart_and_nothing_is_wider():
    poles = torch.cat([torch.eye(5), -torch.eye(5)])
    assert hull_spread(poles, torch.eye(5)) == -2
    assert hull_spread(torch.randn(1000, 5), torch.randn(64, 5)) >= -2


def test_a_flat_batch_is_narrower_than_a_round_one():
    directions = torch.randn(64, 8)
    round_one = torch.randn(32, 8)
    flat = round_one.clone()
    flat[:, 2:] = 0
    assert hull_spread(round_one, directions) < hull_spread(flat, directions)


def test_descent_spreads_a_narrow_batch():
    views = (torch.ones(16, 2, 6) + 0.1 * torch.randn(16, 2, 6)).requires_grad_()
    module = HullSpread()
    before = module(views).item()
    optimizer = torch.optim.Adam([views], lr=0.05)
    for _ in range(50):
        optimizer.zero_grad()
        module(views).backward()
        optimizer.step()
    assert module(views).item() < before - 0.5


def test_directions_change_with_every_step_of_training_only():
    module, views = HullSpread(num_directions=4), torch.randn(8, 2, 6)
    assert module(views) != module(views)
    module.eval()
    assert module(views) == module(views)
    assert module.step == 2


def test_mean_width_of_the_sphere_is_2():
    sphere = normalize(torch.randn(20_000, 2), dim=1).view(-1, 2, 2)
    assert HullSpread()(sphere).item() == pytest.approx(-2, abs=1e-3)

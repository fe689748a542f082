from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from myna_rpe.objectives import hull_combination, hull_pull
from myna_rpe.objectives.hullpull import nearest_weights


def squared_distance_to_hull(target: np.ndarray, points: np.ndarray) -> float:
    """Brute force: the nearest point of every face's plane that lies within the face."""
    best = np.inf
    for size in range(1, len(points) + 1):
        for face in combinations(range(len(points)), size):
            corner, *rest = points[list(face)]
            directions = np.reshape([point - corner for point in rest], (size - 1, len(corner))).T
            along, *_ = np.linalg.lstsq(directions, target - corner, rcond=None)
            if (along >= -1e-12).all() and along.sum() <= 1 + 1e-12:
                distance = target - corner - directions @ along
                best = min(best, float(distance @ distance))
    return best


def reference(projections: np.ndarray) -> float:
    units = projections / np.linalg.norm(projections, axis=2, keepdims=True)
    losses = [
        squared_distance_to_hull(z[i], np.delete(z, i, axis=0))
        for z in units
        for i in range(len(z))
    ]
    return float(np.mean(losses))


@pytest.mark.parametrize("views", [2, 3, 4, 6])
@pytest.mark.parametrize("noise", [0.05, 1.0])
def test_equals_brute_force_over_all_faces(rng, views, noise):
    projections = rng.standard_normal((4, 1, 5)) + noise * rng.standard_normal((4, views, 5))
    loss = hull_pull(torch.from_numpy(projections))
    assert loss.item() == pytest.approx(reference(projections), rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    points=st.integers(1, 12),
    dim=st.integers(1, 8),
    spread=st.sampled_from([1e-3, 0.1, 1.0]),
    seed=st.integers(0, 10**6),
)
def test_weights_are_those_of_scipys_nnls(points, dim, spread, seed):
    rng = np.random.default_rng(seed)
    target = rng.standard_normal(dim)
    corners = (
        target
        + rng.standard_normal(dim) * rng.integers(0, 2)
        + spread * rng.standard_normal((points, dim))
    )
    weights = nearest_weights(torch.from_numpy(target)[None], torch.from_numpy(corners)[None])[0]
    assert (weights >= 0).all()
    assert weights.sum().item() == pytest.approx(1)
    # The row of large numbers makes the sum 1.
    heavy = 1e4 * (1 + np.abs(corners).max())
    system = np.vstack([corners.T, np.full(points, heavy)])
    expected, _ = nnls(system, np.append(target, heavy))
    ours = np.linalg.norm(target - weights.numpy() @ corners)
    theirs = np.linalg.norm(target - expected / expected.sum() @ corners)
    assert ours <= theirs + 1e-7 * (spread + theirs)


@pytest.mark.parametrize(("count", "dim"), [(5, 2), (8, 4), (8, 128), (15, 8)])
def test_weights_are_optimal_in_thousands_of_problems(count, dim):
    targets = torch.randn(2000, dim, dtype=torch.float64)
    reach = torch.rand(2000, count, 1, dtype=torch.float64)
    points = targets.unsqueeze(1) + reach * torch.randn(2000, count, dim, dtype=torch.float64)
    closest = nearest_weights(targets, points).unsqueeze(1) @ points
    # Seen from the closest point of a convex set, no point of it lies towards the target.
    towards = ((points - closest) @ (targets.unsqueeze(1) - closest).mT).amax(dim=(1, 2))
    scale = (points - targets.unsqueeze(1)).square().sum(dim=2).amax(dim=1)
    assert (towards / scale).max() < 1e-9


def test_weights_of_many_problems_are_those_of_each():
    targets = torch.randn(50, 6, dtype=torch.float64)
    points = torch.randn(50, 5, 6, dtype=torch.float64)
    together = nearest_weights(targets, points)
    for one in range(50):
        alone = nearest_weights(targets[one : one + 1], points[one : one + 1])
        torch.testing.assert_close(together[one : one + 1], alone)


def test_points_that_coincide_do_not_matter():
    target, points = torch.randn(20, 6), torch.randn(20, 3, 6)
    twice = torch.cat([points, points[:, :2], points[:, :1] + 1e-7], dim=1)
    once = (nearest_weights(target, points).unsqueeze(1) @ points.double()).squeeze(1)
    again = (nearest_weights(target, twice).unsqueeze(1) @ twice.double()).squeeze(1)
    torch.testing.assert_close(again, once, rtol=1e-4, atol=1e-5)


def test_a_target_inside_the_hull_is_reached():
    points = torch.randn(10, 6, 3)
    inside = (torch.rand(10, 6).softmax(dim=1).unsqueeze(1) @ points).squeeze(1)
    closest = nearest_weights(inside, points).float().unsqueeze(1) @ points
    torch.testing.assert_close(closest.squeeze(1), inside, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("views", [2, 4])
def test_gradient_is_right_although_the_weights_are_detached(views):
    projections = torch.randn(2, views, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(hull_pull, (projections,))


def test_two_views_give_their_squared_distance():
    views = torch.nn.functional.normalize(torch.randn(6, 2, 5), dim=2)
    expected = (views[:, 0] - views[:, 1]).square().sum(dim=1).mean()
    torch.testing.assert_close(hull_pull(views), expected)


def test_a_square_gives_the_closed_form():
    square = torch.tensor([[[1.0, 0], [0, 1], [-1, 0], [0, -1]]])
    assert hull_pull(square).item() == pytest.approx(1)  # corner to the opposite edge's diagonal


@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
def test_no_combination_is_nearer(temperature):
    views = torch.randn(16, 4, 6)
    assert hull_pull(views) <= hull_combination(views, temperature=temperature)


def test_equal_views_cost_nothing_and_pull_nowhere():
    views = torch.randn(4, 1, 5).expand(-1, 4, -1).clone().requires_grad_()
    loss = hull_pull(views)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert views.grad.abs().max() < 1e-5

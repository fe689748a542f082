import math

import numpy as np
import pytest
import torch

from myna_rpe.objectives import AnInfoNCE, InfoNCE, an_info_nce, info_nce


def reference(anchor: np.ndarray, positive: np.ndarray, diagonal: np.ndarray) -> float:
    """L_AINCE as the authors write it: the expectation over x of one -ln, a loop per sum."""

    def potential(a: np.ndarray, b: np.ndarray) -> float:
        a, b = a / math.sqrt(a @ a), b / math.sqrt(b @ b)
        return math.exp(-float((a - b) @ np.diag(diagonal) @ (a - b)))

    losses = []
    for i in range(len(anchor)):
        own = potential(positive[i], anchor[i])
        negatives = sum(potential(positive[j], anchor[i]) for j in range(len(positive)) if j != i)
        losses.append(-math.log(own / (own + negatives)))
    return sum(losses) / len(losses)


@pytest.fixture
def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(7, 5, dtype=torch.float64), torch.randn(7, 5, dtype=torch.float64)


@pytest.fixture
def diagonal() -> torch.Tensor:
    return torch.tensor([0.01, 0.5, 2.0, 5.0, 20.0], dtype=torch.float64)


def test_one_direction_equals_the_loop_over_the_formula(pairs, diagonal):
    anchor, positive = pairs
    expected = reference(anchor.numpy(), positive.numpy(), diagonal.numpy())
    loss = an_info_nce(anchor, positive, diagonal, symmetric=False)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_symmetric_is_the_mean_of_both_directions(pairs, diagonal):
    a, p, d = *(x.numpy() for x in pairs), diagonal.numpy()
    expected = (reference(a, p, d) + reference(p, a, d)) / 2
    assert an_info_nce(*pairs, diagonal).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("symmetric", [True, False])
def test_equal_entries_are_info_nce_at_half_their_inverse(pairs, temperature, symmetric):
    isotropic = torch.full((5,), 1 / (2 * temperature), dtype=torch.float64)
    torch.testing.assert_close(
        an_info_nce(*pairs, isotropic, symmetric=symmetric),
        info_nce(*pairs, temperature=temperature, symmetric=symmetric),
    )


@pytest.mark.parametrize("pairs_of", ["all", "first"])
def test_module_starts_as_info_nce(pairs_of):
    views = torch.randn(6, 3, 5)
    started = AnInfoNCE(5, temperature=0.2, pairs=pairs_of)(views)
    torch.testing.assert_close(started, InfoNCE(temperature=0.2, pairs=pairs_of)(views))


def test_gradient_is_right(pairs, diagonal):
    inputs = [x.requires_grad_() for x in (*pairs, diagonal)]
    assert torch.autograd.gradcheck(an_info_nce, inputs)


def test_a_dimension_with_entry_0_does_not_count(pairs, diagonal):
    anchor, positive = (torch.nn.functional.normalize(x, dim=1) for x in pairs)
    diagonal[0] = 0
    expected = reference_without_first(anchor.numpy(), positive.numpy(), diagonal.numpy())
    assert an_info_nce(anchor, positive, diagonal, symmetric=False).item() == pytest.approx(
        expected
    )


def reference_without_first(a: np.ndarray, p: np.ndarray, d: np.ndarray) -> float:
    scores = -(((a[:, None, 1:] - p[None, :, 1:]) ** 2) * d[1:]).sum(-1)
    return float(np.mean(np.log(np.exp(scores).sum(1)) - np.diag(scores)))


def test_training_learns_which_dimensions_are_shared():
    module = AnInfoNCE(4)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(60):
        shared = torch.randn(32, 1, 2).expand(-1, 2, -1)
        noise = torch.randn(32, 2, 2)
        optimizer.zero_grad()
        module(torch.cat([shared, noise], dim=2)).backward()
        optimizer.step()
    concentration = module.concentration.detach()
    assert concentration[:2].min() > 2 * concentration[2:].max()
    metrics = module.metrics()
    assert metrics["min_concentration"] == concentration.min()
    assert metrics["max_concentration"] == concentration.max()


def test_entries_are_set_back_to_their_bound():
    module = AnInfoNCE(4, temperature=0.02, min_temperature=0.01)
    with torch.no_grad():
        module.log_concentration.add_(3)
    module(torch.randn(5, 2, 4))
    assert module.concentration.max().item() == pytest.approx(50)

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from myna_rpe.config import InfoNceConfig, ObjectivesConfig
from myna_rpe.errors import ConfigError
from myna_rpe.objectives import InfoNCE, WeightedSum, build_objectives, info_nce


def reference(anchor: np.ndarray, positive: np.ndarray, temperature: float) -> float:
    """One direction of the paper's formula, a loop per sum, in float64."""
    losses = []
    for i in range(len(anchor)):
        similarities = []
        for j in range(len(positive)):
            dot = sum(a * p for a, p in zip(anchor[i], positive[j], strict=True))
            lengths = math.sqrt(sum(a * a for a in anchor[i])) * math.sqrt(
                sum(p * p for p in positive[j])
            )
            similarities.append(math.exp(dot / lengths / temperature))
        losses.append(-math.log(similarities[i] / sum(similarities)))
    return sum(losses) / len(losses)


@pytest.fixture
def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(7, 5, dtype=torch.float64), torch.randn(7, 5, dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.07, 0.1, 1.0])
def test_one_direction_equals_the_loop_over_the_formula(pairs, temperature):
    anchor, positive = pairs
    expected = reference(anchor.numpy(), positive.numpy(), temperature)
    loss = info_nce(anchor, positive, temperature=temperature, symmetric=False)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_symmetric_is_the_mean_of_both_directions(pairs):
    anchor, positive = pairs
    a, p = anchor.numpy(), positive.numpy()
    expected = (reference(a, p, 0.1) + reference(p, a, 0.1)) / 2
    assert info_nce(anchor, positive).item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(info_nce(anchor, positive), info_nce(positive, anchor))


@pytest.mark.parametrize("symmetric", [True, False])
def test_gradient_is_right(pairs, symmetric):
    anchor, positive = (x.requires_grad_() for x in pairs)
    assert torch.autograd.gradcheck(
        lambda a, p: info_nce(a, p, temperature=0.5, symmetric=symmetric), (anchor, positive)
    )


@pytest.mark.parametrize(("batch", "temperature"), [(2, 0.5), (4, 1.0), (16, 0.1)])
def test_identical_orthogonal_pairs_give_the_closed_form(batch, temperature):
    eye = torch.eye(batch, dtype=torch.float64)
    expected = math.log1p((batch - 1) * math.exp(-1 / temperature))
    assert info_nce(eye, eye, temperature=temperature).item() == pytest.approx(expected)


def test_without_structure_the_loss_is_log_batch():
    same = torch.ones(9, 4)
    assert info_nce(same, same).item() == pytest.approx(math.log(9), rel=1e-6)


def test_order_of_tracks_does_not_matter(pairs):
    anchor, positive = pairs
    order = torch.randperm(len(anchor))
    torch.testing.assert_close(info_nce(anchor, positive), info_nce(anchor[order], positive[order]))


def test_lengths_of_projections_do_not_matter(pairs):
    anchor, positive = pairs
    scale = torch.rand(len(anchor), 1, dtype=torch.float64) + 0.1
    torch.testing.assert_close(info_nce(anchor, positive), info_nce(anchor * scale, positive * 3))


def test_matching_pairs_cost_less_than_swapped_ones():
    views = torch.randn(8, 16)
    assert info_nce(views, views) < info_nce(views, views.roll(1, 0))


def test_half_precision_and_autocast_compute_in_float32(pairs):
    anchor, positive = (x.bfloat16() for x in pairs)
    expected = info_nce(anchor.float(), positive.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = info_nce(anchor, positive)
    assert loss.dtype == torch.float32
    assert loss == expected


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_temperature_must_be_above_zero(pairs, temperature):
    with pytest.raises(ConfigError, match="use temperature > 0"):
        info_nce(*pairs, temperature=temperature)


def test_one_track_has_no_negatives():
    with pytest.raises(ConfigError, match="no negatives"):
        info_nce(torch.ones(1, 4), torch.ones(1, 4))


def test_module_takes_the_mean_over_pairs_of_views(pairs):
    first, second = pairs
    third = normalize(first + second, dim=1)
    both = torch.stack([first, second], dim=1)
    torch.testing.assert_close(InfoNCE()(both), info_nce(first, second))
    expected = (info_nce(first, second) + info_nce(first, third) + info_nce(second, third)) / 3
    torch.testing.assert_close(InfoNCE()(torch.stack([first, second, third], dim=1)), expected)


def test_module_needs_two_views():
    with pytest.raises(ConfigError, match="at least 2 views"):
        InfoNCE()(torch.ones(4, 1, 8))


def test_objectives_are_combined_by_weight(pairs):
    views = torch.stack(pairs, dim=1)
    soft, hard = InfoNCE(temperature=1.0), InfoNCE(temperature=0.1)
    total, parts = WeightedSum({"soft": (0.5, soft), "hard": (2.0, hard)})(views)
    torch.testing.assert_close(total, 0.5 * soft(views) + 2.0 * hard(views))
    assert set(parts) == {"soft", "hard"}
    torch.testing.assert_close(parts["hard"], hard(views))


def test_configuration_reaches_the_objective(pairs):
    config = ObjectivesConfig(info_nce=InfoNceConfig(weight=3.0, temperature=0.2, symmetric=False))
    total, _ = build_objectives(config)(torch.stack(pairs, dim=1))
    torch.testing.assert_close(total, 3 * info_nce(*pairs, temperature=0.2, symmetric=False))


def test_no_objective_at_all_is_refused():
    with pytest.raises(ConfigError, match="nothing to minimise"):
        ObjectivesConfig(info_nce=None)

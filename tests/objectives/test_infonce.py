import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from myna_rpe.errors import ConfigError
from myna_rpe.objectives import InfoNCE, info_nce


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


@pytest.mark.parametrize("symmetric", [True, False])
def test_first_pairs_hold_every_other_view_against_view_0(symmetric):
    views = torch.randn(5, 4, 3, dtype=torch.float64)
    first, *others = views.unbind(dim=1)
    losses = [info_nce(first, other, symmetric=symmetric) for other in others]
    module = InfoNCE(pairs="first", symmetric=symmetric)
    torch.testing.assert_close(module(views), torch.stack(losses).mean())
    both = views[:, :2]
    torch.testing.assert_close(module(both), InfoNCE(symmetric=symmetric)(both))


def test_learned_temperature_starts_as_the_fixed_one(pairs):
    views = torch.stack(pairs, dim=1).float()
    learned = InfoNCE(temperature=0.2, learn_temperature=True)
    torch.testing.assert_close(learned(views), InfoNCE(temperature=0.2)(views))
    assert learned.metrics()["temperature"].item() == pytest.approx(0.2)
    assert InfoNCE(temperature=0.2).metrics() == {}
    assert not list(InfoNCE(temperature=0.2).parameters())


def test_gradient_of_a_learned_temperature_is_right(pairs):
    anchor, positive = pairs
    temperature = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda t: info_nce(anchor, positive, temperature=t), (temperature,)
    )


def test_learned_temperature_falls_to_its_bound_where_positives_are_found_and_can_rise_again():
    module = InfoNCE(temperature=0.2, learn_temperature=True, min_temperature=0.1)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    found = torch.randn(8, 1, 16).expand(8, 2, 16)
    missed = torch.stack([found[:, 0], found[:, 0].roll(1, 0)], dim=1)

    def train(views: torch.Tensor) -> float:
        for _ in range(30):
            optimizer.zero_grad()
            module(views).backward()
            optimizer.step()
        module(views)
        return module.metrics()["temperature"].item()

    assert train(found) == pytest.approx(0.1)
    assert train(missed) > 0.2

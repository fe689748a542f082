"""What every objective promises, whatever it computes."""

import copy

import pytest
import torch
from torch import Tensor, nn

from myna_rpe.config import ObjectivesConfig
from myna_rpe.errors import ConfigError
from myna_rpe.objectives import build_objectives

DIM = 6
NODES: dict[str, dict] = {
    "info_nce": {"learn_temperature": True},
    "nt_xent": {},
    "an_info_nce": {},
    "k_means": {"num_clusters": 12, "warmup_steps": 1, "reseed_after": 1},
    "k_means-spherical": {
        "num_clusters": 12,
        "warmup_steps": 1,
        "reseed_after": 1,
        "variant": "spherical",
    },
    "hull_combination": {},
    "hull_pull": {},
    "hull_spread": {},
}
CONTRASTIVE = ("info_nce", "nt_xent", "an_info_nce")


def build(name: str) -> nn.Module:
    """One objective as the configuration builds it, past its warm-up, in eval mode."""
    field = name.split("-")[0]
    config = ObjectivesConfig.from_dict({"info_nce": {}, field: NODES[name]})
    module = build_objectives(config, dim=DIM, seed=3).objectives[field]
    module(views(5))
    return module.eval()


def views(num_views: int, batch: int = 8, seed: int = 1) -> Tensor:
    """Projections of tracks whose views are alike, of all lengths."""
    generator = torch.Generator().manual_seed(seed)
    tracks = torch.randn(batch, 1, DIM, generator=generator)
    return 2 * tracks + torch.randn(batch, num_views, DIM, generator=generator)


@pytest.fixture(params=NODES)
def objective(request) -> nn.Module:
    return build(request.param)


def test_every_objective_is_held_to_the_contract():
    assert {name.split("-")[0] for name in NODES} == set(ObjectivesConfig.model_fields)


@pytest.mark.parametrize("num_views", [2, 3, 5])
def test_loss_is_a_finite_scalar_for_any_number_of_views(objective, num_views):
    loss = objective(views(num_views))
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert loss.isfinite()


@pytest.mark.parametrize("num_views", [2, 3])
def test_gradient_reaches_the_projections_and_is_finite(objective, num_views):
    projections = views(num_views).requires_grad_()
    objective(projections).backward()
    assert projections.grad.isfinite().all()
    assert projections.grad.abs().sum() > 0


def test_order_of_tracks_does_not_matter(objective):
    projections = views(3)
    permuted = projections[torch.randperm(len(projections))]
    torch.testing.assert_close(objective(permuted), objective(projections))


def test_lengths_of_projections_do_not_matter(objective):
    projections = views(3)
    scaled = projections * (torch.rand(8, 3, 1) + 0.1)
    torch.testing.assert_close(objective(scaled), objective(projections))


def test_half_precision_and_autocast_compute_in_float32(objective):
    projections = views(3).bfloat16()
    expected = objective(projections.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = objective(projections)
    assert loss.dtype == torch.float32
    assert loss == expected


def test_double_precision_is_kept(objective):
    projections = views(3)
    loss = objective(projections.double())
    assert loss.dtype == torch.float64
    torch.testing.assert_close(loss.float(), objective(projections))


def test_eval_mode_changes_nothing(objective):
    before = copy.deepcopy(objective.state_dict())
    assert objective(views(2)) == objective(views(2))
    objective(views(3))
    torch.testing.assert_close(objective.state_dict(), before, rtol=0, atol=0)


def test_nothing_depends_on_the_global_generator(objective):
    twin = copy.deepcopy(objective).train()
    objective.train()
    for step in range(3):
        torch.manual_seed(step)
        loss = objective(views(2, seed=step))
        torch.manual_seed(step + 100)
        assert twin(views(2, seed=step)) == loss


@pytest.mark.parametrize("name", NODES)
def test_training_resumes_to_the_bit_from_the_state_dict(name):
    def losses(module: nn.Module, steps: range) -> list[float]:
        return [module(views(2, seed=step)).item() for step in steps]

    uninterrupted = build(name).train()
    expected = losses(uninterrupted, range(12))[6:]
    first, second = build(name).train(), build(name).train()
    losses(first, range(6))
    second.load_state_dict(first.state_dict())
    assert losses(second, range(6, 12)) == expected
    torch.testing.assert_close(second.state_dict(), uninterrupted.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name in NODES if not name.startswith("k_means")])
def test_one_view_is_refused_where_pairs_are_needed(name):
    if name == "hull_spread":
        assert build(name)(views(1)).isfinite()  # it knows no pairs
        return
    with pytest.raises(ConfigError, match="use at least 2 views"):
        build(name)(views(1))


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_one_track_is_refused_where_negatives_are_needed(name):
    with pytest.raises(ConfigError, match="use at least 2 tracks"):
        build(name)(views(2, batch=1))


@pytest.mark.parametrize("name", ["nt_xent", "info_nce", "hull_combination", "hull_pull"])
def test_rotating_the_space_does_not_matter(name):
    rotation = torch.linalg.qr(torch.randn(DIM, DIM))[0]
    projections = views(3)
    torch.testing.assert_close(build(name)(projections @ rotation), build(name)(projections))


@pytest.mark.parametrize("name", ["nt_xent", "info_nce", "an_info_nce", "hull_pull", "k_means"])
def test_order_of_views_does_not_matter(name):
    projections = views(4)
    torch.testing.assert_close(build(name)(projections[:, [2, 0, 3, 1]]), build(name)(projections))

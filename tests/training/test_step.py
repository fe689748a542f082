"""The gradient of a joint batch: the same however it is cut, and by however many processes."""

import json
from pathlib import Path

import pytest
import torch

from myna_rpe.config import RunConfig
from myna_rpe.data.batches import Batches
from myna_rpe.data.shards import ShardSet
from myna_rpe.model.checkpoint import MynaModel
from myna_rpe.objectives import build_objectives
from myna_rpe.recipes import smoke
from myna_rpe.training.step import Projector, len_tracks, split_tracks

from ..synthetic_music import write_shards
from .joint_gradient import main
from .processes import torchrun

# Every kind of state an objective can have: learned parameters, centroids, random directions.
OBJECTIVES = {
    "info_nce": {"learn_temperature": True},
    "k_means": {"num_clusters": 4, "warmup_steps": 1},
    "hull_pull": {},
    "hull_spread": {},
}


@pytest.fixture
def shards(tmp_path) -> Path:
    return write_shards(tmp_path / "shards", [90 + 7 * n for n in range(12)])


def config(**changes: object) -> RunConfig:
    """Eight tracks, three views each, some of them padded."""
    base = smoke().to_dict()
    base |= {
        "batch_size": 8,
        "objectives": OBJECTIVES,
        "views": {"name": "global-local", "local_frames": 32, "num_locals": 2},
        "patchout": {"name": "token-budget", "min_tokens": 40, "max_tokens": 50},
    }
    return RunConfig.from_dict(base | changes)


def joint_gradient(shards: Path, config: RunConfig, out: Path) -> dict:
    main(str(shards), config, out)
    return torch.load(out)


def by_processes(count: int, shards: Path, config: RunConfig, folder: Path) -> dict:
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    arguments = [shards, folder / "config.json", folder / "joint.pt"]
    torchrun("joint_gradient.py", *arguments, processes=count)
    return torch.load(folder / "joint.pt")


def assert_same(left: dict, right: dict, *, tolerance: float = 1e-6) -> None:
    close = {"rtol": 0.0, "atol": tolerance}
    torch.testing.assert_close(left["losses"], right["losses"], **close)
    torch.testing.assert_close(left["gradients"], right["gradients"], **close)
    torch.testing.assert_close(left["buffers"], right["buffers"], **close)


def test_two_processes_give_the_loss_and_gradient_of_one_with_the_joint_batch(shards, tmp_path):
    one = joint_gradient(shards, config(), tmp_path / "one.pt")
    two = by_processes(2, shards, config(), tmp_path)
    assert_same(one, two)
    assert max(gradient.abs().max() for gradient in one["gradients"].values()) > 1e-3


def test_two_processes_with_cached_gradients_and_accumulation_give_the_same(shards, tmp_path):
    optim = smoke().optim.to_dict() | {"accumulate": 2}
    one = joint_gradient(shards, config(optim=optim), tmp_path / "one.pt")
    two = by_processes(2, shards, config(optim=optim, micro_batch_size=3), tmp_path)
    assert_same(one, two)


@pytest.mark.parametrize("size", [1, 3, 4, 8, 100])
def test_cached_gradients_equal_the_direct_gradient(shards, tmp_path, size):
    direct = joint_gradient(shards, config(), tmp_path / "direct.pt")
    cached = joint_gradient(shards, config(micro_batch_size=size), tmp_path / "cached.pt")
    assert_same(direct, cached)


def test_the_gradient_is_that_of_plain_autograd(shards, tmp_path):
    """Independent of `backward`: one graph from the patches to the loss."""
    config_ = config()
    model = MynaModel.untrained(config_.architecture, seed=config_.seed).train()
    objectives = build_objectives(
        config_.objectives, dim=config_.architecture.model.projection_dim
    ).train()
    loss, _ = objectives(Projector(model)(Batches(ShardSet.open(shards), config_).batch(0).groups))
    loss.backward()
    ours = joint_gradient(shards, config_, tmp_path / "ours.pt")
    torch.testing.assert_close(ours["losses"][0], loss.detach(), rtol=0.0, atol=1e-6)
    for name, parameter in model.named_parameters():
        expected = parameter.grad
        torch.testing.assert_close(
            ours["gradients"][f"projector.model.{name}"], expected, rtol=0.0, atol=1e-6
        )


def test_accumulation_is_the_mean_over_batches(shards, tmp_path):
    plain = config(objectives={"info_nce": {}})
    optim = smoke().optim.to_dict() | {"accumulate": 2}
    both = joint_gradient(shards, plain.with_(optim=plain.optim.with_(**optim)), tmp_path / "b.pt")
    batches = Batches(ShardSet.open(shards), plain)
    model = MynaModel.untrained(plain.architecture, seed=plain.seed).train()
    objectives = build_objectives(plain.objectives, dim=plain.architecture.model.projection_dim)
    losses = [objectives(Projector(model)(batches.batch(step).groups))[0] for step in range(2)]
    torch.stack(losses).mean().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            both["gradients"][f"projector.model.{name}"], parameter.grad, rtol=0.0, atol=1e-6
        )


@pytest.mark.parametrize("size", [1, 3, 8, None])
def test_splitting_keeps_every_view_of_every_track_in_order(shards, size):
    groups = Batches(ShardSet.open(shards), config()).batch(0).groups
    chunks = list(split_tracks(groups, size))
    assert sum(len_tracks(chunk) for chunk in chunks) == 8
    for index, group in enumerate(groups):
        values = torch.cat([chunk[index].patches[0].values for chunk in chunks])
        assert torch.equal(values, group.patches[0].values)

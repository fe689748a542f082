import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from myna_rpe.objectives import KMeans, k_means


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / math.sqrt(vector @ vector)


def closest(z: np.ndarray, centroids: np.ndarray) -> int:
    return min(range(len(centroids)), key=lambda k: float((z - centroids[k]) @ (z - centroids[k])))


def reference(vectors: np.ndarray, centroids: np.ndarray, variant: str) -> float:
    total = 0.0
    for vector in vectors:
        z = unit(vector)
        own = centroids[closest(z, centroids)]
        total += 1 - z @ own if variant == "spherical" else (z - own) @ (z - own)
    return total / len(vectors)


def follow(
    vectors: np.ndarray, centroids: np.ndarray, counts: np.ndarray, variant: str
) -> tuple[np.ndarray, np.ndarray]:
    """DCN's update: the batch is assigned, then the centroids take a step 1/n_k per sample."""
    z = [unit(vector) for vector in vectors]
    assigned = [closest(one, centroids) for one in z]
    centroids, counts = centroids.copy(), counts.copy()
    for one, k in zip(z, assigned, strict=True):
        counts[k] += 1
        centroids[k] = centroids[k] - (centroids[k] - one) / counts[k]
    if variant == "spherical":
        centroids = np.stack([unit(centroid) for centroid in centroids])
    return centroids, counts


def batch(seed: int, tracks: int = 12) -> torch.Tensor:
    return torch.randn(tracks, 2, 5, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=["dcn", "spherical"])
def variant(request) -> str:
    return request.param


@pytest.fixture
def centroids(variant) -> torch.Tensor:
    drawn = torch.randn(4, 5, dtype=torch.float64)
    return normalize(drawn, dim=1) if variant == "spherical" else 0.5 * drawn


def test_loss_equals_the_loop_over_the_formula(centroids, variant):
    vectors = torch.randn(9, 5, dtype=torch.float64)
    expected = reference(vectors.numpy(), centroids.numpy(), variant)
    loss = k_means(vectors, centroids, variant=variant)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_gradient_is_right_and_spares_the_centroids(centroids, variant):
    vectors = torch.randn(9, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: k_means(v, centroids, variant=variant), (vectors,))
    centroids.requires_grad_()
    k_means(vectors, centroids, variant=variant).backward()
    assert centroids.grad is None


def test_views_at_centroids_cost_nothing(variant):
    corners = torch.eye(5)
    assert k_means(3 * corners, corners, variant=variant) == 0


def test_centroids_follow_dcns_update(variant):
    module = KMeans(5, num_clusters=4, variant=variant, warmup_steps=1)
    module(batch(0))
    centroids = module.centroids.double().numpy()
    counts = module.counts.clone().numpy()
    for step in range(1, 6):
        vectors = batch(step).flatten(0, 1).double().numpy()
        loss = module(batch(step))
        assert loss.item() == pytest.approx(reference(vectors, centroids, variant), rel=1e-5)
        centroids, counts = follow(vectors, centroids, counts, variant)
        np.testing.assert_allclose(module.centroids.numpy(), centroids, atol=1e-6)
        np.testing.assert_array_equal(module.counts.numpy(), counts)


def test_dcn_centroids_are_the_means_of_all_their_views():
    module = KMeans(5, num_clusters=2, warmup_steps=1)
    module.idle.zero_()
    poles = torch.zeros(8, 2, 5)
    poles[..., 0] = torch.tensor([1.0, -1.0]).repeat(4).unsqueeze(1)
    module.centroids.copy_(poles[:2, 0])
    seen = [poles + 0.2 * batch(step, tracks=8) for step in range(5)]
    for views in seen:
        module(views)
    z = normalize(torch.cat(seen).flatten(0, 1), dim=1)
    means = torch.stack([z[z[:, 0] > 0].mean(0), z[z[:, 0] < 0].mean(0)])
    torch.testing.assert_close(module.centroids, means)
    assert module.counts.tolist() == [40, 40]


def test_spherical_centroids_stay_on_the_sphere():
    module = KMeans(5, num_clusters=4, variant="spherical", warmup_steps=1)
    for step in range(5):
        module(batch(step))
        torch.testing.assert_close(module.centroids.norm(dim=1), torch.ones(4))


def test_loss_and_gradient_are_0_in_the_warm_up_while_centroids_gather():
    module = KMeans(5, num_clusters=4, warmup_steps=3)
    for step in range(3):
        views = batch(step).requires_grad_()
        before = module.centroids.clone()
        loss = module(views)
        loss.backward()
        assert loss == 0
        assert not views.grad.any()
        assert not module.centroids.equal(before)
    assert module(batch(3)) > 0


def test_centroids_start_at_different_views_of_the_first_batch():
    module = KMeans(5, num_clusters=6, warmup_steps=1)
    module._reseed(batch(0).flatten(0, 1))
    z = normalize(batch(0).flatten(0, 1), dim=1)
    distances = torch.cdist(module.centroids, z)
    assert distances.amin(dim=1).max() < 1e-6
    assert len(distances.argmin(dim=1).unique()) == 6


def test_more_clusters_than_views_are_possible():
    module = KMeans(5, num_clusters=40, warmup_steps=1)
    module(batch(0, tracks=3))
    assert module.centroids.isfinite().all()
    assert module(batch(0, tracks=3)) == pytest.approx(0, abs=1e-6)


def test_dead_cluster_takes_a_view_of_the_next_batch_and_only_that_one():
    module = KMeans(5, num_clusters=3, warmup_steps=1, reseed_after=4)
    module(batch(0))
    far = torch.tensor([0, 0, 0, 0, -1.0])
    near = torch.cat([batch(1)[..., :4], 5 * torch.ones(12, 2, 1)], dim=2)  # never chooses it
    module.centroids[1] = far
    dead = []
    for _ in range(4):
        assert module.centroids[1].equal(far)
        module(near)
        dead.append(module.metrics()["dead"].item())
    others = module.centroids[[0, 2]].clone()
    assert dead == pytest.approx([0, 0, 0, 1 / 3])
    module._reseed(near.flatten(0, 1))
    assert torch.cdist(module.centroids[1:2], normalize(near, dim=2).flatten(0, 1)).min() < 1e-6
    assert module.centroids[[0, 2]].equal(others)
    assert module.counts[1] == 0
    assert module.metrics()["dead"] == 0


def test_clusters_that_are_chosen_now_and_then_live():
    module = KMeans(2, num_clusters=2, warmup_steps=1, reseed_after=3)
    module.idle.zero_()
    module.centroids.copy_(torch.eye(2))
    both, one = torch.eye(2).unsqueeze(1).expand(2, 2, 2), torch.eye(2)[:1].expand(2, 2, 2)
    for views in (both, one, one, both, one, one, both):
        module(views)
        assert module.metrics()["dead"] == 0
    assert module.centroids.equal(torch.eye(2))
    assert module.counts.tolist() == [3 * 2 + 4 * 4, 3 * 2]


def test_seed_decides_where_centroids_start():
    def start(seed: int) -> torch.Tensor:
        module = KMeans(5, num_clusters=4, seed=seed)
        module._reseed(batch(0).flatten(0, 1))
        return module.centroids

    assert start(1).equal(start(1))
    assert not start(1).equal(start(2))

import math

import numpy as np
import pytest
import torch

from myna_rpe.errors import ConfigError
from myna_rpe.objectives.health import (
    alignment,
    diagnose,
    effective_rank,
    measure_health,
    separation,
    uniformity,
)


def squared_distance(a: np.ndarray, b: np.ndarray) -> float:
    difference = a / math.sqrt(a @ a) - b / math.sqrt(b @ b)
    return float(difference @ difference)


def views(noise: float, *, batch: int = 64, dim: int = 32, used: int = 32) -> torch.Tensor:
    """Tracks all over the sphere in `used` dimensions; views differ by noise."""
    tracks = torch.randn(batch, 1, dim)
    tracks[..., used:] = 0
    return torch.nn.functional.normalize(tracks, dim=2) + noise * torch.randn(batch, 2, dim)


def test_alignment_equals_the_loop_over_pairs_of_views(rng):
    projections = rng.standard_normal((6, 3, 5))
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = np.mean([squared_distance(t[a], t[b]) for t in projections for a, b in pairs])
    assert alignment(torch.from_numpy(projections)).item() == pytest.approx(expected)


def test_uniformity_and_separation_equal_the_loop_over_pairs(rng):
    vectors = rng.standard_normal((7, 5))
    distances = [squared_distance(vectors[i], vectors[j]) for i in range(7) for j in range(i)]
    expected = math.log(np.mean([math.exp(-2 * distance) for distance in distances]))
    assert uniformity(torch.from_numpy(vectors)).item() == pytest.approx(expected)
    assert separation(torch.from_numpy(vectors)).item() == pytest.approx(np.mean(distances))


def test_effective_rank_equals_the_definition(rng):
    vectors = rng.standard_normal((7, 5))
    units = np.stack([v / math.sqrt(v @ v) for v in vectors])
    values = np.linalg.svd(units, compute_uv=False)
    shares = [value / sum(values) for value in values]
    expected = math.exp(-sum(share * math.log(share) for share in shares))
    assert effective_rank(torch.from_numpy(vectors)).item() == pytest.approx(expected)


@pytest.mark.parametrize("used", [1, 3, 8])
def test_effective_rank_counts_dimensions_used_alike(used):
    vectors = torch.eye(8)[:used].repeat(4, 1)
    assert effective_rank(vectors).item() == pytest.approx(used, rel=1e-4)


def test_one_point_has_rank_1_and_uniformity_0():
    same = torch.randn(1, 8).expand(20, 8)
    assert effective_rank(same).item() == pytest.approx(1, abs=1e-3)
    assert uniformity(same).item() == pytest.approx(0, abs=1e-5)
    assert separation(same).item() == pytest.approx(0, abs=1e-5)


def test_the_sphere_has_uniformity_near_minus_4():
    assert uniformity(torch.randn(400, 256)).item() == pytest.approx(-4, abs=0.1)


def test_all_numbers_are_those_of_the_functions():
    projections = views(0.1)
    first, second = projections.unbind(dim=1)
    health = measure_health(projections.requires_grad_())
    assert health == pytest.approx(
        {
            "alignment": alignment(projections).item(),
            "separation": (separation(first) + separation(second)).item() / 2,
            "uniformity": (uniformity(first) + uniformity(second)).item() / 2,
            "effective_rank": effective_rank(projections.flatten(0, 1)).item(),
            "max_rank": 32.0,
        }
    )


def test_half_precision_is_measured_in_float32():
    projections = views(0.1).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = measure_health(projections)
    assert half == measure_health(projections.float())


def test_one_track_or_one_view_cannot_be_measured():
    with pytest.raises(ConfigError, match="at least 2 tracks"):
        measure_health(torch.randn(1, 2, 4))
    with pytest.raises(ConfigError, match="at least 2 views"):
        measure_health(torch.randn(4, 1, 4))


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.15])
def test_a_healthy_space_has_no_diagnosis(noise):
    assert diagnose(measure_health(views(noise))) is None


def test_small_spaces_are_healthy_too():
    assert diagnose(measure_health(views(0.05, batch=4, dim=4, used=4))) is None
    angles = torch.linspace(0, 6, 20)
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert diagnose(measure_health(circle.unsqueeze(1).expand(-1, 2, -1))) is None


@pytest.mark.parametrize("noise", [0.0, 0.003, 0.02])
def test_one_point_is_called_collapse(noise):
    point = torch.nn.functional.normalize(torch.randn(1, 1, 32), dim=2)
    sentence = diagnose(measure_health(point + noise * torch.randn(64, 2, 32)))
    assert "collapsed" in sentence
    assert "lower optim.learning_rate" in sentence


def test_views_no_closer_than_tracks_are_called_unfound_positives():
    sentence = diagnose(measure_health(torch.randn(64, 2, 32)))
    assert "positives are not found" in sentence


@pytest.mark.parametrize(("used", "dim", "batch"), [(1, 8, 8), (2, 128, 64), (5, 128, 64)])
def test_few_dimensions_are_named(used, dim, batch):
    sentence = diagnose(measure_health(views(0.0, used=used, dim=dim, batch=batch)))
    assert "few dimensions" in sentence
    assert "objectives.hull_spread" in sentence


def test_the_same_cause_gives_the_same_sentence():
    causes = {diagnose(measure_health(torch.randn(32, 2, 16))) for _ in range(3)}
    assert len(causes) == 1

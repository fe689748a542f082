import pytest
import torch

from myna_rpe.config import InfoNceConfig, ObjectivesConfig
from myna_rpe.errors import ConfigError
from myna_rpe.objectives import InfoNCE, KMeans, WeightedSum, build_objectives, info_nce


@pytest.fixture
def views() -> torch.Tensor:
    return torch.randn(7, 2, 5)


def test_objectives_are_combined_by_weight(views):
    soft, hard = InfoNCE(temperature=1.0), InfoNCE(temperature=0.1)
    total, parts = WeightedSum({"soft": (0.5, soft), "hard": (2.0, hard)})(views)
    torch.testing.assert_close(total, 0.5 * soft(views) + 2.0 * hard(views))
    assert set(parts) == {"soft", "hard"}
    torch.testing.assert_close(parts["hard"], hard(views))


def test_metrics_are_logged_but_not_summed(views):
    objectives = {
        "info_nce": (1.0, InfoNCE(temperature=0.25, learn_temperature=True)),
        "k_means": (0.5, KMeans(5, num_clusters=3, warmup_steps=1)),
    }
    total, parts = WeightedSum(objectives)(views)
    assert set(parts) == {"info_nce", "info_nce/temperature", "k_means", "k_means/dead"}
    assert parts["info_nce/temperature"].item() == pytest.approx(0.25)
    torch.testing.assert_close(total.detach(), parts["info_nce"] + 0.5 * parts["k_means"])
    assert not any(part.requires_grad for part in parts.values())


def test_a_logged_metric_is_a_snapshot(views):
    module = WeightedSum({"info_nce": (1.0, InfoNCE(learn_temperature=True))})
    _, parts = module(views)
    with torch.no_grad():
        module.objectives["info_nce"].log_inverse_temperature.add_(1)
    assert parts["info_nce/temperature"].item() == pytest.approx(0.1)


def test_configuration_reaches_the_objective(views):
    config = ObjectivesConfig(info_nce=InfoNceConfig(weight=3.0, temperature=0.2, symmetric=False))
    total, _ = build_objectives(config, dim=5)(views)
    expected = 3 * info_nce(views[:, 0], views[:, 1], temperature=0.2, symmetric=False)
    torch.testing.assert_close(total, expected)


def test_seed_decides_what_is_drawn(views):
    config = ObjectivesConfig.from_dict({"hull_spread": {"num_directions": 4}})

    def spread(seed: int) -> torch.Tensor:
        return build_objectives(config, dim=5, seed=seed)(views)[1]["hull_spread"]

    assert spread(1) == spread(1)
    assert spread(1) != spread(2)


def test_no_objective_at_all_is_refused():
    with pytest.raises(ConfigError, match="nothing to minimise"):
        ObjectivesConfig(info_nce=None)


@pytest.mark.parametrize("name", ["k_means", "hull_combination", "hull_pull", "hull_spread"])
def test_objectives_without_negatives_are_refused_alone(name):
    with pytest.raises(ConfigError, match=rf"objectives={name} cannot .* info_nce, nt_xent, an_"):
        ObjectivesConfig.from_dict({"info_nce": None, name: {}})
    for contrastive in ("info_nce", "nt_xent", "an_info_nce"):
        ObjectivesConfig.from_dict({"info_nce": None, name: {}, contrastive: {}})


@pytest.mark.parametrize(
    ("setting", "value"),
    [("info_nce.pairs", '"some"'), ("k_means.variant", '"fuzzy"'), ("k_means.num_clusters", "1")],
)
def test_impossible_settings_are_refused(setting, value):
    config = ObjectivesConfig.from_dict({"k_means": {}})
    with pytest.raises(ConfigError, match=setting.split(".")[1]):
        config.override(f"{setting}={value}")


def test_a_learned_temperature_starts_within_its_bound():
    with pytest.raises(ConfigError, match=r"temperature=0\.1 is below min_temperature=0\.2"):
        InfoNceConfig(learn_temperature=True, min_temperature=0.2)
    assert InfoNceConfig(temperature=0.005).temperature == 0.005  # fixed: no bound
    with pytest.raises(ConfigError, match="is below min_temperature"):
        ObjectivesConfig.from_dict({"an_info_nce": {"temperature": 0.001}})

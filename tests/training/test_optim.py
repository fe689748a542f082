import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from myna_rpe.config import (
    Architecture,
    BudgetConfig,
    ModelConfig,
    OptimConfig,
    lookup_architecture,
)
from myna_rpe.errors import ConfigError
from myna_rpe.model.checkpoint import MynaModel
from myna_rpe.training.optim import (
    Budget,
    build_optimizer,
    learning_rate_factor,
    parameter_groups,
)


def test_warm_up_is_linear_and_the_cosine_ends_at_zero():
    rates = [learning_rate_factor(done, warmup=0.25) for done in (0.0, 0.125, 0.25, 0.625, 1.0)]
    assert rates == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_without_warm_up_it_starts_at_the_peak():
    assert learning_rate_factor(0.0, warmup=0.0) == 1


def test_past_the_end_it_stays_at_zero():
    assert learning_rate_factor(1.5, warmup=0.1) == 0


def test_it_never_jumps():
    rates = [learning_rate_factor(n / 1000, warmup=0.1) for n in range(1001)]
    assert max(abs(a - b) for a, b in pairwise(rates)) < 0.011


def test_norms_biases_positions_and_the_class_token_do_not_decay():
    names = {"alibi-1d": {"slopes": "learned"}, "learned-freq": {}, "learned-time": {}}
    positions = [{"name": name, **options} for name, options in names.items()]
    config = ModelConfig.from_dict(
        {"dim": 32, "depth": 1, "heads": 2, "head_dim": 16, "mlp_dim": 64, "positions": positions}
    )
    model = MynaModel.untrained(Architecture(model=config))
    by_parameter = {parameter: name for name, parameter in model.named_parameters()}
    decayed, spared = parameter_groups([model], 0.1)
    assert decayed["weight_decay"] == 0.1
    assert spared["weight_decay"] == 0.0
    decayed_names = {by_parameter[parameter] for parameter in decayed["params"]}
    spared_names = {by_parameter[parameter] for parameter in spared["params"]}
    assert decayed_names | spared_names == set(by_parameter.values())
    assert all(name.endswith("weight") and "norm" not in name for name in decayed_names)
    assert {name for name in by_parameter.values() if "positions" in name} <= spared_names
    assert "encoder.cls" in spared_names
    assert "encoder.blocks.0.attention.qkv.weight" in decayed_names


def test_optimizer_takes_the_parameters_of_all_modules():
    modules = [nn.Linear(3, 2), nn.Linear(2, 1)]
    optimizer = build_optimizer(modules, OptimConfig(learning_rate=0.1, weight_decay=0.5))
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4


def test_one_step_follows_the_papers_update():
    linear = nn.Linear(1, 1, bias=False)
    before = linear.weight.item()
    optimizer = build_optimizer([linear], OptimConfig(learning_rate=0.1, weight_decay=0.5))
    (3 * linear(torch.ones(1, 1))).sum().backward()
    optimizer.step()
    # The first update of Adam has length 1, whatever the gradient; decay is decoupled.
    assert linear.weight.item() == pytest.approx(before * (1 - 0.1 * 0.5) - 0.1, abs=1e-6)


@pytest.mark.parametrize(
    ("limits", "total"),
    [({"max_steps": 7}, 7), ({"epochs": 3}, 30), ({"epochs": 3, "max_steps": 7}, 7)],
)
def test_the_first_limit_of_steps_counts(limits, total):
    budget = Budget.of(BudgetConfig(**limits), steps_per_epoch=10)
    assert budget.total_steps == total
    assert budget.done(total, 1e9) == 1


def test_time_and_steps_are_shared_by_the_larger_part_done():
    budget = Budget.of(BudgetConfig(max_steps=100, max_minutes=2), steps_per_epoch=10)
    assert budget.done(50, 30.0) == 0.5
    assert budget.done(50, 90.0) == 0.75
    assert Budget.of(BudgetConfig(max_minutes=2), steps_per_epoch=10).done(10**9, 60.0) == 0.5


def test_a_budget_without_limit_is_refused():
    with pytest.raises(ConfigError, match="give max_steps, epochs or max_minutes"):
        BudgetConfig()


@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan, 0.0])
def test_learning_rate_must_be_a_positive_number(value):
    with pytest.raises(ConfigError, match="learning_rate"):
        OptimConfig(learning_rate=value)


def test_presets_have_an_architecture_of_both_kinds_of_parameters():
    model = MynaModel.untrained(lookup_architecture("tiny-16k"))
    assert all(group["params"] for group in parameter_groups([model], 0.1))

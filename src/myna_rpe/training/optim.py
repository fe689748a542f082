"""AdamW, and a learning rate that follows the share of the run that is done."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..config import BudgetConfig, OptimConfig


def build_optimizer(modules: Iterable[nn.Module], config: OptimConfig) -> torch.optim.AdamW:
    """Return AdamW over all parameters of some modules.

    Source:
        Loshchilov & Hutter 2019; the fused update, which is the fastest on CPU and GPU alike.
    """
    return torch.optim.AdamW(
        parameter_groups(modules, config.weight_decay),
        lr=config.learning_rate,
        betas=config.betas,
        fused=True,
    )


def parameter_groups(modules: Iterable[nn.Module], weight_decay: float) -> list[dict[str, Any]]:
    """Return two groups of parameters: those that decay, and those that must not.

    Decay pulls towards zero, which means something for the matrices of linear layers only: norms,
    biases, slopes, temperatures and the class token have one dimension, and positional embeddings
    are known by their name.
    """
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for module in modules:
        for name, parameter in module.named_parameters():
            is_position = "positions" in name.split(".")
            (spared if parameter.ndim <= 1 or is_position else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]


def clip_gradients(modules: Iterable[nn.Module], max_norm: float | None) -> Tensor:
    """Shorten the gradient of all modules together to at most `max_norm`; return its length before.

    Args:
        modules: with gradients.
        max_norm: None: leave it as it is.
    """
    parameters = [parameter for module in modules for parameter in module.parameters()]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if max_norm is not None:
        nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return norm


def learning_rate_factor(done: float, *, warmup: float) -> float:
    """Return the learning rate as a share of its peak.

    Args:
        done: share of the run that is done, 0 to 1.
        warmup: share of the run in which the rate rises linearly from 0; after it, half a cosine
            falls to 0.

    Source:
        Loshchilov & Hutter 2017 (cosine), without restarts.

    >>> [round(learning_rate_factor(done, warmup=0.2), 2) for done in (0, 0.1, 0.2, 0.6, 1)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if done < warmup:
        return done / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warmup) / (1 - warmup))))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> float:
    """Give all parameters this learning rate; return it."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


@dataclass(frozen=True)
class Budget:
    """How much of a run is done: the larger of the shares of its steps and of its time."""

    total_steps: int | None
    total_seconds: float | None

    @classmethod
    def of(cls, config: BudgetConfig, *, steps_per_epoch: int) -> "Budget":
        """Return the budget of a configuration, epochs turned into steps."""
        limits = [config.max_steps, config.epochs and config.epochs * steps_per_epoch]
        return cls(
            min((limit for limit in limits if limit), default=None),
            config.max_minutes and config.max_minutes * 60,
        )

    def done(self, steps: int | float, seconds: float) -> float:
        """Return the share done after so many steps and seconds; 1 or more ends the run."""
        return max(
            steps / self.total_steps if self.total_steps else 0.0,
            seconds / self.total_seconds if self.total_seconds else 0.0,
        )

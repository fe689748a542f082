"""Devices and processes: one command for one CPU, one GPU or many machines.

Lightning Fabric places the run. Several processes are started by Fabric itself (``devices``), or
by `torchrun` or a cluster's scheduler, whose numbers are then taken from the environment.
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from traceback import clear_frames
from typing import Any, Literal

import torch

from ..config import RunConfig
from ..errors import ConfigError

_PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "bf16-true"]] = {
    "fp32": "32-true",
    "bf16-mixed": "bf16-mixed",
    "bf16": "bf16-true",
}


@dataclass(frozen=True)
class Hardware:
    """Where a run takes place; nothing here changes what is computed.

    ``device``: ``auto``, ``cpu`` or ``cuda``. ``devices``: processes on each of ``nodes`` machines,
    one per GPU. ``workers``: further processes that read batches; 0: a thread.
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    workers: int = 0

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"device={self.device!r} is unknown; use auto, cpu or cuda.")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("device='cuda' is not there; use device='cpu' or 'auto'.")
        for name in ("devices", "nodes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} run nothing; use at least 1.")
        if self.workers < 0:
            raise ConfigError(f"workers={self.workers} is no number of processes; use 0 or more.")

    @property
    def counts(self) -> tuple[int, int]:
        """Processes per machine, and machines: those of `torchrun` where it started this one."""
        if "LOCAL_WORLD_SIZE" in os.environ and "WORLD_SIZE" in os.environ:
            local = int(os.environ["LOCAL_WORLD_SIZE"])
            return local, int(os.environ["WORLD_SIZE"]) // local
        return self.devices, self.nodes

    @property
    def num_processes(self) -> int:
        """Processes of the run, over all machines."""
        devices, nodes = self.counts
        return devices * nodes


def check_fabric() -> None:
    """Refuse to go on without Fabric.

    Raises:
        ConfigError: it is not installed.
    """
    # An extra, so that reading and embedding music does not need it.
    try:
        import lightning_fabric  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "lightning-fabric is not installed, and pretraining needs it; "
            "run: pip install 'myna-rpe[train]'"
        ) from error
    # It announces itself on stderr, between the progress.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


def settle_precision(config: RunConfig, hardware: Hardware) -> RunConfig:
    """Return the run with a precision that is not ``auto``: what this hardware is fast in.

    bfloat16 without units for it costs several times what float32 does.
    """
    if config.precision != "auto":
        return config
    on_gpu = hardware.device != "cpu" and torch.cuda.is_available()
    has_units = _gpu_multiplies_bf16() if on_gpu else _cpu_multiplies_bf16()
    return config.with_(precision="bf16-mixed" if has_units else "fp32")


def _gpu_multiplies_bf16() -> bool:
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _cpu_multiplies_bf16() -> bool:
    """Tell whether the processor has units that were seen to be faster; unknown counts as no."""
    # Older versions of PyTorch do not say.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(unit) for unit in ("amx_bf16", "avx512_bf16"))


@contextmanager
def launch(config: RunConfig, hardware: Hardware) -> Iterator[Any]:
    """A Fabric whose processes are all running, and disconnected from each other at the end."""
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    devices, nodes = hardware.counts
    fabric = Fabric(
        accelerator=hardware.device,
        devices=devices,
        num_nodes=nodes,
        strategy=DDPStrategy() if devices * nodes > 1 else "auto",
        precision=_PRECISIONS[settle_precision(config, hardware).precision],
    )
    fabric.launch()
    try:
        with warnings.catch_warnings():
            # Of what it calls itself and PyTorch has deprecated: no user could change that.
            warnings.filterwarnings("ignore", category=FutureWarning, module="lightning_fabric")
            yield fabric
    except BaseException as error:
        # Its frames hold the wrapped network, which would keep the connection open.
        clear_frames(error.__traceback__)
        raise
    finally:
        # Gloo's threads drop tensors late, and one that does so while Python ends aborts the
        # process: they have to end before. Fabric leaves them to the end of the process.
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

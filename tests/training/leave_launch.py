"""Run by `torchrun`: leave `launch` as a run does, and print what threads of gloo are left.

python leave_launch.py return|raise
"""

import sys
from pathlib import Path
from typing import Any

import torch

from myna_rpe.recipes import smoke
from myna_rpe.training.launch import Hardware, launch


def one_step(fabric: Any, ending: str) -> None:
    """Take a step together, then return or be interrupted."""
    linear = torch.nn.Linear(2, 2)
    network, optimizer = fabric.setup(linear, torch.optim.SGD(linear.parameters()))
    fabric.backward(network(torch.ones(1, 2)).sum())
    optimizer.step()
    fabric.barrier()
    if ending == "raise":
        raise KeyboardInterrupt


def main(ending: str) -> None:
    """Print the names of the threads."""
    torch.set_num_threads(1)
    try:
        with launch(smoke(), Hardware("cpu")) as fabric:
            one_step(fabric, ending)
    except KeyboardInterrupt:
        pass
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    # One write: the other process prints to the same place.
    sys.stdout.write(f"threads: {sorted(name for name in names if 'gloo' in name)}\n")


if __name__ == "__main__":
    main(sys.argv[1])

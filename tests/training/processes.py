"""Scripts of this folder, run by several processes together."""

import os
import subprocess
import sys
from pathlib import Path


def torchrun(script: str, *arguments: object, processes: int = 2) -> str:
    """Run a script to its end; return what all processes print."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    path = Path(__file__).with_name(script)
    done = subprocess.run(
        [*command, "--standalone", str(path), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr, done.stderr  # what a user can do nothing about
    return done.stdout

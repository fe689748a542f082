"""Processes that work together, and part."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
@pytest.mark.parametrize("ending", ["return", "raise"])
def test_no_thread_of_the_connection_outlives_it(ending):
    # Left to the end of the process, they aborted one run of two processes in a hundred.
    script = Path(__file__).with_name("leave_launch.py")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "--standalone", str(script), ending],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines().count("threads: []") == 2, done.stdout

"""Processes that work together, and part."""

from pathlib import Path

import pytest

from .processes import torchrun


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
@pytest.mark.parametrize("ending", ["return", "raise"])
def test_no_thread_of_the_connection_outlives_it(ending):
    # Left to the end of the process, they aborted one run of two processes in a hundred.
    printed = torchrun("leave_launch.py", ending)
    assert printed.splitlines().count("threads: []") == 2, printed

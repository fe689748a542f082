"""What the tests of the commands share."""

from collections.abc import Callable

import pytest

from ..embedding_support import Ended, run_myna


@pytest.fixture
def myna(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a command in this process."""
    return lambda *arguments: run_myna(capsys, *arguments)

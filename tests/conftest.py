"""Fixtures every test may use: isolated user folders, small models, tones, deterministic seeds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def isolated_user_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test may touch the user's own models, caches or libraries."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("MYNA_HOME", str(home / "myna"))
    monkeypatch.delenv("MYNA_LIBRARY", raising=False)
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    return home


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """Commands flush denormals for their process; the next test is not theirs."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)

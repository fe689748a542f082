"""What the tests of embedding share: a model small enough to be fast, and music to give it."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from myna_rpe.cli import main
from myna_rpe.config import Architecture, ModelConfig
from myna_rpe.model.checkpoint import MynaModel, models_folder
from myna_rpe.model.registry import DEFAULT_MODEL

RATE = 16_000
SMALL = Architecture(
    model=ModelConfig(dim=32, depth=2, heads=2, head_dim=16, mlp_dim=64, projection_dim=8)
)


def small_model(*, seed: int = 0) -> MynaModel:
    return MynaModel.untrained(SMALL, seed=seed)


def install(name: str = "small", *, seed: int = 0) -> str:
    """Install a small model, and return its name."""
    small_model(seed=seed).save(models_folder() / name)
    return name


def install_default() -> None:
    """Install the model of `install` as "small" and as the default, which is larger and slower."""
    install()
    install(DEFAULT_MODEL)


def chord(seconds: float, *, pitch: float = 220.0, rate: int = RATE) -> np.ndarray:
    """Return a decaying chord over faint noise: unlike at every time and pitch."""
    time = np.arange(round(seconds * rate)) / rate
    partials = sum(np.sin(2 * np.pi * pitch * ratio * time) for ratio in (1, 5 / 4, 3 / 2, 2))
    noise = np.random.default_rng(round(pitch)).normal(size=time.size)
    return (0.1 * np.exp(-time / 3) * partials + 0.01 * noise).astype(np.float32)


def write_chord(path: Path, seconds: float = 1.0, *, pitch: float = 220.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(path), chord(seconds, pitch=pitch), RATE)
    return path


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def run_myna(capsys: pytest.CaptureFixture[str], *arguments: object) -> Ended:
    """Run the real entry point in this process."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["myna", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Ended(code, *capsys.readouterr())


def start_myna(*arguments: object, code: str = "") -> "subprocess.Popen[str]":
    """Start the command in a process of its own; `code` runs in it first."""
    program = f"import sys; {code}\nfrom myna_rpe.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,  # `code` may wait on it, wherever the tests were started
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_one_sentence(ended: Ended, *phrases: str) -> None:
    """Assert exit code 1, nothing on stdout, one line on stderr with these phrases."""
    assert ended.code == 1, ended
    assert ended.out == ""
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err
    for phrase in phrases:
        assert phrase in ended.err

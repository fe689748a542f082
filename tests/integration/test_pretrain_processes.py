"""`myna pretrain` as users run it: killed, preempted, and in several processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from myna_rpe.model.checkpoint import MynaModel

from ..synthetic_music import write_shards

MYNA = [sys.executable, "-m", "myna_rpe"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
SETTINGS = ["--set", "budget.max_steps=300", "--set", "checkpoint_every=10", "--device", "cpu"]


@pytest.fixture
def shards(tmp_path) -> Path:
    return write_shards(tmp_path / "shards", [90] * 12)


def command(shards: Path, run: Path, *more: str) -> list[str]:
    return [*MYNA, "pretrain", "smoke", "--data", str(shards), "--out", str(run), *SETTINGS, *more]


def finish(shards: Path, run: Path, *more: str) -> None:
    done = subprocess.run(
        command(shards, run, *more), capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    assert done.returncode == 0, done.stderr


def newest(run: Path) -> str:
    return max((path.name for path in (run / "checkpoints").glob("step-*.pt")), default="")


def start(shards: Path, run: Path, *more: str) -> subprocess.Popen:
    """Return the running command, once it has written a checkpoint of its own."""
    before = newest(run)
    process = subprocess.Popen(
        command(shards, run, *more),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while newest(run) == before:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").open()]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return MynaModel.load(run / "model").state_dict()


def test_killed_and_preempted_it_resumes_to_the_same_bits(shards, tmp_path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    finish(shards, whole)

    process = start(shards, run)
    process.kill()
    process.communicate()
    assert not (run / "model").exists()

    process = start(shards, run, "--resume")
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stderr
    assert "Traceback" not in stderr
    assert "--resume" in stderr
    assert not (run / "model").exists()

    finish(shards, run, "--resume")
    assert losses(run) == losses(whole)
    expected = weights(whole)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(run).items())


def test_two_processes_follow_the_curve_of_one(shards, tmp_path):
    short = ["--set", "budget.max_steps=20"]
    finish(shards, tmp_path / "one", *short)
    finish(shards, tmp_path / "two", *short, "--devices", "2")
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-3)
    assert losses(tmp_path / "two")[:3] == pytest.approx(losses(tmp_path / "one")[:3], abs=1e-6)


def test_torchrun_starts_the_same_run_and_resumes_it(shards, tmp_path):
    short = ["--set", "budget.max_steps=20"]
    finish(shards, tmp_path / "one", *short)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
    two = [*torchrun, "--nproc-per-node", "2", *command(shards, tmp_path / "two", *short)]
    for more in ([], ["--resume"]):
        done = subprocess.run(
            [*two, *more], capture_output=True, text=True, env=ENVIRONMENT, check=False
        )
        assert done.returncode == 0, done.stderr
        assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-3)


def test_a_refused_run_of_two_processes_says_so_once(shards, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    done = subprocess.run(
        command(shards, tmp_path / "run", "--devices", "2"),
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("holds a run already") == 1


@pytest.mark.slow
def test_a_compiled_encoder_follows_the_same_curve(shards, tmp_path):
    # In a process of its own: the type checks of the tests cannot be compiled.
    short = ["--set", "budget.max_steps=12"]
    finish(shards, tmp_path / "eager", *short)
    finish(shards, tmp_path / "compiled", *short, "--set", "compile=true")
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "eager"), abs=1e-4)

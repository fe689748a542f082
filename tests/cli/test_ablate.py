"""`myna ablate` as users run it: real training, real questions, on a little made-up music."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ..ablation.support import shards
from ..embedding_support import Ended, assert_one_sentence
from ..evaluation.corpus.small_corpus import write_corpus

Myna = Callable[..., Ended]

GRID = """
data = "shards"
[axes]
recipe = ["smoke"]
positions = [{schemes}]
seed = {seeds}
[set]
budget.max_steps = {steps}
checkpoint_every = 10
{more}
[evaluate]
tasks = ["package"]
corpus = "corpus"
contexts = ["track", 2]
"""
ALIBI = '{name = "ALiBi", architecture.model.positions = [{name = "alibi-2d"}]}'
NONE = '{name = "none", architecture.model.positions = []}'
VALID = GRID.format(schemes=ALIBI, steps=3, seeds=[0], more="")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    shards(tmp_path / "shards")
    write_corpus(tmp_path / "corpus", seconds=6.0)
    return tmp_path


def write_grid(folder: Path, *schemes: str, steps: int = 3, seeds: int = 1, more: str = "") -> Path:
    path = folder / "grid.toml"
    text = ", ".join(schemes or [ALIBI])
    path.write_text(GRID.format(schemes=text, steps=steps, seeds=list(range(seeds)), more=more))
    return path


def started(out: Path) -> int:
    """How many processes the cells have had, as their logs say."""
    logs = [path.read_text() for path in out.glob("cells/*/log.txt")]
    return sum(line.startswith("$ ") for log in logs for line in log.splitlines())


def start(grid: Path, out: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "myna_rpe", "ablate", str(grid), "-o", str(out), "--jobs", "2"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


def wait_for_checkpoints(out: Path, process: "subprocess.Popen[str]", number: int) -> None:
    deadline = time.monotonic() + 120
    while len({path.parent for path in out.glob("cells/*/run/checkpoints/step-*.pt")}) < number:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_cell_is_trained_and_asked_and_a_second_run_starts_no_process(
    folder: Path, myna: Myna
) -> None:
    grid, out = write_grid(folder), folder / "out"
    ended = myna("ablate", grid, "-o", out)
    assert ended.code == 0, ended.err
    assert "1 done + 0 failed + 0 not run = 1 cells" in ended.out
    assert started(out) == 2

    again = myna("ablate", grid, "-o", out, "--json")
    assert again.code == 0
    report = json.loads(again.out)
    assert report["done"] == report["cells"] == 1
    readings = {measure["reading"] for measure in report["rows"][0]["measures"] if measure["task"]}
    assert readings == {"", "windows of 2 s"}
    assert started(out) == 2
    page = (out / "report.md").read_text()
    assert re.search(r"\| [01]\.\d{3} \[[01]\.\d{3}, [01]\.\d{3}\] \|", page)
    paired = page.split("## one pass, minus windows of 2 s")[1]
    assert re.search(r"\| [+-]\d\.\d{3} \[[+-]\d\.\d{3}, [+-]\d\.\d{3}\] p [01]\.\d{3} \|", paired)


@pytest.mark.slow
def test_two_schemes_by_two_seeds_beside_a_peer(folder: Path, myna: Myna) -> None:
    grid, out = write_grid(folder, ALIBI, NONE, seeds=2), folder / "out"
    grid.write_text(grid.read_text() + 'peers = ["mfcc"]\n')
    ended = myna("ablate", grid, "-o", out, "--jobs", 2)
    assert ended.code == 0, ended.err
    assert "4 done + 0 failed + 0 not run = 4 cells" in ended.out
    rows = [line.split(" | ") for line in ended.out.splitlines() if line.startswith("| ")]
    assert rows[0][:2] == ["| positions", "seeds"]
    assert [row[:2] for row in rows[2:4]] == [["| ALiBi", "2"], ["| none", "2"]]
    assert all("±" in row[2] for row in rows[2:4])
    assert rows[-1][0] == "| mfcc"
    assert {path.name for path in out.iterdir()} >= {
        *("report.md", "report.json", "report.csv", "report.svg", "grid.json", "cells")
    }


def test_a_dry_run_lists_the_cells_and_writes_nothing(folder: Path, myna: Myna) -> None:
    ended = myna(
        "ablate", write_grid(folder, ALIBI, NONE, seeds=2), "-o", folder / "out", "--dry-run"
    )
    assert ended.code == 0, ended.err
    lines = [line.split("\t") for line in ended.out.splitlines()]
    assert len(lines) == 4
    assert {line[0] for line in lines} == {"not run"}
    assert lines[0][2] == "recipe=smoke, positions=ALiBi, seed=0"
    assert not (folder / "out").exists()
    ended = myna("ablate", folder / "grid.toml", "-o", folder / "out", "--dry-run", "--json")
    assert [entry["name"] for entry in json.loads(ended.out)] == [line[2] for line in lines]


def test_a_cell_that_fails_is_listed_and_the_exit_code_is_1(folder: Path, myna: Myna) -> None:
    grid = write_grid(folder, more="optim.learning_rate = 1e30")
    out = folder / "out"
    ended = myna("ablate", grid, "-o", out)
    assert ended.code == 1
    assert "0 done + 1 failed + 0 not run = 1 cells" in ended.out
    assert "recipe=smoke, positions=ALiBi, seed=0: pretrain: loss=" in ended.out
    assert "is not a finite number" in ended.err
    assert "Traceback" not in ended.err
    assert myna("ablate", grid, "-o", out).code == 1
    assert started(out) == 1
    assert myna("ablate", grid, "-o", out, "--retry-failed").code == 1
    assert started(out) == 2


@pytest.mark.slow
def test_terminated_it_keeps_what_it_has_and_goes_on(folder: Path, myna: Myna) -> None:
    grid, out = write_grid(folder, ALIBI, NONE, steps=400), folder / "out"
    process = start(grid, out)
    wait_for_checkpoints(out, process, 1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "run the same command again" in said
    assert "Traceback" not in said
    assert "0 done + 0 failed + 2 not run" in (out / "report.md").read_text()
    lists = [
        line.split("\t")[0]
        for line in myna("ablate", grid, "-o", out, "--dry-run").out.splitlines()
    ]
    assert set(lists) <= {"begun", "not run"}

    ended = myna("ablate", grid, "-o", out, "--jobs", 2)
    assert ended.code == 0, ended.err
    logs = [path.read_text() for path in out.glob("cells/*/log.txt")]
    assert any("--resume" in log for log in logs)
    for path in out.glob("cells/*/run/metrics.jsonl"):
        steps = [json.loads(line)["step"] for line in path.open()]
        assert steps == list(range(1, 401))


@pytest.mark.slow
def test_killed_it_leaves_no_second_run_in_before_its_cells_have_ended(
    folder: Path, myna: Myna
) -> None:
    grid, out = write_grid(folder, ALIBI, NONE, steps=400), folder / "out"
    process = start(grid, out)
    wait_for_checkpoints(out, process, 2)
    process.kill()
    process.communicate()
    assert_one_sentence(myna("ablate", grid, "-o", out), "is in use by process")
    deadline = time.monotonic() + 120
    while (ended := myna("ablate", grid, "-o", out, "--jobs", 2)).code:
        assert "is in use" in ended.err
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert "2 done" in ended.out
    assert (
        sum(
            "$" in line and " pretrain " in line
            for path in out.glob("cells/*/log.txt")
            for line in path.open()
        )
        == 2
    )


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        (None, "cannot be read"),
        ("data = [", "is not TOML"),
        ("dat = 'x'", "did you mean 'data'"),
        (VALID.replace("max_steps = 3", "max_steps = 0"), "max_steps=0"),
        (VALID.replace("shards", "nowhere"), "nowhere"),
        (VALID.replace('"package"', '"packages"'), "did you mean 'package'"),
    ],
)
def test_bad_grids_are_one_sentence(
    folder: Path, myna: Myna, text: str | None, phrase: str
) -> None:
    if text is not None:
        (folder / "grid.toml").write_text(text)
    ended = myna("ablate", folder / "grid.toml", "-o", folder / "out")
    assert_one_sentence(ended, phrase)
    assert not (folder / "out").exists()

"""The scripts in runs/ do what they say: one really, the other as far as its commands."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from myna_rpe.cli import app
from myna_rpe.recipes import lookup_recipe

from ..synthetic_music import write_album

RUNS = Path(__file__).parents[2] / "runs"


def run(script: str, *arguments: object, folder: Path, myna: str) -> subprocess.CompletedProcess:
    """Run a script with `folder` first on the path, where `myna` is what is given."""
    (folder / "myna").write_text(f"#!/usr/bin/env bash\n{myna}\n")
    (folder / "myna").chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(RUNS / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"},
        check=False,
    )


@pytest.mark.parametrize("script", ["pretrain_folder.sh", "reproduce_paper.sh"])
def test_without_arguments_a_script_says_what_it_needs(tmp_path, script):
    done = run(script, folder=tmp_path, myna="exit 1")
    assert done.returncode == 2
    assert "Disk" in done.stdout
    assert "Time" in done.stdout


def test_a_folder_becomes_a_model_and_a_table_and_a_second_run_does_nothing(tmp_path):
    write_album(tmp_path / "music", tracks=6, seconds=11.0)
    small = '{"dim": 32, "depth": 1, "heads": 2, "head_dim": 16, "mlp_dim": 64}'
    values = ["batch_size=2", "views.num_frames=64", "budget.max_steps=3", "validation=null"]
    values.append(f"architecture.model={small}")
    settings = [word for value in values for word in ("--set", value)]
    arguments = [tmp_path / "music", tmp_path / "out", *settings]
    myna = f'exec {shlex.quote(sys.executable)} -m myna_rpe "$@"'
    first = run("pretrain_folder.sh", *arguments, folder=tmp_path, myna=myna)
    assert first.returncode == 0, first.stderr
    model = tmp_path / "out/run/model/model.safetensors"
    before = model.stat().st_mtime_ns
    assert (tmp_path / "out/music.parquet").exists()
    second = run("pretrain_folder.sh", *arguments, folder=tmp_path, myna=myna)
    assert second.returncode == 0, second.stderr
    assert model.stat().st_mtime_ns == before


def test_every_command_that_reproduces_the_paper_is_valid(tmp_path):
    myna = f'printf "%s\\n" "${{*@Q}}" >> {tmp_path}/commands'
    done = run("reproduce_paper.sh", tmp_path / "out", "--devices", 4, folder=tmp_path, myna=myna)
    assert done.returncode == 0, done.stderr
    commands = [shlex.split(line) for line in (tmp_path / "commands").read_text().splitlines()]
    names = [words[0] for words in commands]
    assert names == ["download", "prepare", "pretrain", "pretrain", "evaluate"]
    group = typer.main.get_command(app)
    for words in commands:
        command, rest = group, list(words)
        while hasattr(command, "commands"):
            command = command.commands[rest.pop(0)]
        command.make_context(words[0], rest).close()  # parses, and does nothing else
    recipes = [lookup_recipe(words[1])() for words in commands if words[0] == "pretrain"]
    assert [recipe.recipe for recipe in recipes] == ["paper-2d-alibi", "paper-1d-alibi"]
    assert "--devices" in commands[2]

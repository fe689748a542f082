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


@pytest.mark.parametrize("script", ["pretrain_folder.sh", "reproduce_paper.sh", "train_default.sh"])
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


def commands_of(script: str, *arguments: object, folder: Path) -> list[list[str]]:
    """The commands a script runs, each of which must parse."""
    myna = f'printf "%s\\n" "${{*@Q}}" >> {folder}/commands'
    done = run(script, folder / "out", *arguments, folder=folder, myna=myna)
    assert done.returncode == 0, done.stderr
    commands = [shlex.split(line) for line in (folder / "commands").read_text().splitlines()]
    group = typer.main.get_command(app)
    for words in commands:
        command, rest = group, list(words)
        while hasattr(command, "commands"):
            command = command.commands[rest.pop(0)]
        command.make_context(words[0], rest).close()  # parses, and does nothing else
    return commands


def recipes_of(commands: list[list[str]]) -> list[str]:
    return [lookup_recipe(words[1])().recipe for words in commands if words[0] == "pretrain"]


def test_every_command_that_reproduces_the_paper_is_valid(tmp_path):
    commands = commands_of("reproduce_paper.sh", "--devices", 4, folder=tmp_path)
    names = [words[0] for words in commands]
    assert names == ["download", "prepare", "pretrain", "pretrain", "evaluate"]
    assert recipes_of(commands) == ["paper-2d-alibi", "paper-1d-alibi"]
    assert "--devices" in commands[2]


def test_every_command_that_trains_the_default_weights_is_valid(tmp_path):
    commands = commands_of("train_default.sh", "--devices", 4, folder=tmp_path)
    names = [words[0] for words in commands]
    assert names == ["corpus", "corpus", "prepare", "models", *["pretrain"] * 3, *["models"] * 2]
    assert recipes_of(commands) == ["myna-5m-sparse", "myna-5m-keys", "myna-5m"]
    for words, start in zip(
        commands[4:8], ("start", "sparse/model", "keys/model", "dense/model"), strict=True
    ):
        assert f"{tmp_path}/out/{start}" in words
    assert all(words[-2:] == ["--devices", "4"] for words in commands[4:7])
    assert commands[7][-1] in commands[8]

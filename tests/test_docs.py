"""The code on the pages of the documentation runs, and is as short as it says."""

import re
import shlex
from pathlib import Path

import pytest
from typer.core import TyperGroup as Group
from typer.main import get_command

from myna_rpe.cli import app
from myna_rpe.recipes import RECIPES, lookup_recipe

from .synthetic_music import write_album

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_the_code_of_the_page_on_extending_runs_top_to_bottom() -> None:
    names: dict[str, object] = {}
    for block in blocks("extending.md", "python"):
        exec(compile(block, "extending.md", "exec"), names)
    loss = names["loss"]
    loss.backward  # noqa: B018 - it is a tensor


def test_an_objective_and_a_scheme_fit_in_forty_lines() -> None:
    definitions = [block for block in blocks("extending.md", "python") if "class " in block]
    assert len(definitions) == 2
    assert all(len(block.splitlines()) < 40 for block in definitions)


def pretrain_commands() -> list[list[str]]:
    joined = "\n".join(blocks("pretraining.md", "sh")).replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in joined.splitlines()]
    return [words for words in lines if "pretrain" in words]


def test_the_guide_shows_commands() -> None:
    assert len(pretrain_commands()) > 5


@pytest.mark.parametrize("words", pretrain_commands(), ids=" ".join)
def test_the_settings_the_guide_shows_are_valid(words: list[str]) -> None:
    recipe = words[words.index("pretrain") + 1]
    settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    lookup_recipe(recipe)().override(*settings)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_in_the_guide_and_bears_its_name(name: str) -> None:
    assert f"`{name}`" in (DOCS / "pretraining.md").read_text()
    assert lookup_recipe(name)().recipe == name


def evaluation_commands() -> list[list[str]]:
    # A comment may stand before the end of a line: `# so`.
    text = re.sub("`#[^`]*`", "", "\n".join(blocks("evaluation.md", "sh")))
    lines = [shlex.split(line, comments=True) for line in text.replace("\\\n", " ").splitlines()]
    return [words[1:] for words in lines if words and words[0] == "myna"]


@pytest.mark.parametrize("words", evaluation_commands(), ids=" ".join)
def test_the_commands_of_the_page_on_evaluation_exist(words: list[str]) -> None:
    command = get_command(app)
    while isinstance(command, Group):
        command = command.commands[words[0]]
        words = words[1:]
    command.make_context("myna", list(words))


def test_the_code_of_the_page_on_evaluation_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, path in enumerate(write_album(tmp_path / "Music", tracks=4, seconds=2.0)):
        path.rename(tmp_path / "Music" / f"{('Ada', 'Bob')[number % 2]} {number // 2}.wav")
    for block in blocks("evaluation.md", "python"):
        exec(compile(block, "evaluation.md", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out.startswith("loudness Interval(")

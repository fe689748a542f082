"""The code on the pages of the documentation runs, and is as short as it says."""

import re
import shlex
from pathlib import Path

import pytest

from myna_rpe.recipes import RECIPES, lookup_recipe

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

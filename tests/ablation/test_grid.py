"""What a grid is, and what it is refused for."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from myna_rpe.ablation import Grid, cells, read_grid
from myna_rpe.errors import ConfigError

SCHEMES = [
    {"name": "ALiBi", "architecture.model.positions": [{"name": "alibi-2d"}]},
    {"name": "none", "architecture.model.positions": []},
]
PLAIN: dict[str, Any] = {
    "data": "shards",
    "axes": {"recipe": ["smoke"], "positions": SCHEMES, "seed": [0, 1, 2]},
    "set": {"budget.max_steps": 3},
    "evaluate": {"tasks": ["package"], "corpus": "corpus"},
}
RUNS = Path(__file__).parents[2] / "runs"


def changed(**sections: Any) -> dict[str, Any]:
    """The plain grid with keys added to its sections; None takes a key away."""
    data = copy.deepcopy(PLAIN)
    for section, keys in sections.items():
        data[section] = {k: v for k, v in (data[section] | keys).items() if v is not None}
    return data


def found(**sections: Any):
    return cells(Grid.from_dict(changed(**sections)))


def test_every_combination_is_a_cell_and_seeds_change_slowest():
    names = [cell.name for cell in found()]
    assert len(names) == 6
    assert names[:3] == [
        "recipe=smoke, positions=ALiBi, seed=0",
        "recipe=smoke, positions=none, seed=0",
        "recipe=smoke, positions=ALiBi, seed=1",
    ]


def test_settings_reach_the_configuration():
    last = found(axes={"patchout.ratio": [0.5, 0.25]})[-1]
    assert last.config.architecture.model.positions == ()
    assert last.config.patchout.ratio == 0.25
    assert last.config.seed == 2
    assert last.config.budget.max_steps == 3
    assert last.values["patchout.ratio"] == "0.25"
    assert "patchout.ratio=0.25" in last.settings


def test_a_cell_is_identified_by_what_it_trains_whatever_it_is_called():
    before = {cell.id for cell in found()}
    renamed = [scheme | {"name": scheme["name"].upper()} for scheme in SCHEMES]
    assert {cell.id for cell in found(axes={"positions": renamed})} == before
    grown = found(axes={"seed": [0, 1, 2, 3]})
    assert before < {cell.id for cell in grown}
    assert len({cell.id for cell in grown}) == 8
    assert {cell.id for cell in found(evaluate={"tasks": ["composer"]})} == before
    assert not before & {cell.id for cell in found(set={"budget.max_steps": 4})}


def test_dotted_keys_need_no_quotes(tmp_path):
    (tmp_path / "grid.toml").write_text(
        """
        data = "shards"
        [axes]
        recipe = ["smoke"]
        patchout.ratio = [0.5, 0.25]
        views = [
          {name = "frames", views.num_frames = 32},
          {name = "whole", views = {name = "whole-track"}},
        ]
        [set]
        budget.max_steps = 3
        validation = "null"
        augment.spec_augment = {}
        [evaluate]
        tasks = ["package"]
        contexts = ["track", 8.192, "4"]
        """
    )
    grid = read_grid(tmp_path / "grid.toml")
    first, second = [cell.config for cell in cells(grid) if cell.config.patchout.ratio == 0.25]
    assert (first.views.name, first.views.num_frames) == ("excerpts", 32)
    assert second.views.name == "whole-track"
    assert first.budget.max_steps == 3
    assert first.validation is None
    assert first.augment.spec_augment is not None
    assert grid.evaluate.options("contexts", "peers") == ["--contexts", "track,8.192,4"]


def test_questions_become_the_options_of_the_command():
    evaluate = {"root": {"gtzan": "G"}, "allow_partial": True, "seeds": [0, 1], "corpus": None}
    questions = Grid.from_dict(changed(evaluate=evaluate)).evaluate
    words = questions.options("tasks", "corpus", "root", "allow_partial", "seeds")
    assert words == ["--tasks", "package", "--root", "gtzan=G", "--allow-partial", "--seeds", "0,1"]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"axes": {"recipe": None}}, "axes has no recipe"),
        ({"axes": {"recipe": ["smok"]}}, "recipe=smok, positions=ALiBi, seed=0: recipe='smok'"),
        ({"axes": {"recipe": [1]}}, "is no name"),
        ({"axes": {"seed": []}}, "axes.seed=[] has no values"),
        ({"axes": {"seed": 3}}, "axes.seed=3 has no values"),
        ({"axes": {"seed": [1, 1]}}, "axes.seed holds '1' twice"),
        ({"axes": {"seed": [-1]}}, "seed=-1: seed=-1"),
        ({"axes": {"seed": [{"name": "one"}]}}, "is a table; write the seed alone"),
        ({"axes": {"positions": [*SCHEMES, SCHEMES[0] | {"name": "x"}]}}, "'ALiBi' and 'x' twice"),
        ({"axes": {"positions": [{"patchout.ratio": 1}]}}, "axes.positions={'patchout.ratio': 1}"),
        ({"axes": {"positions": ["alibi"]}}, "positions=alibi, seed=0: setting 'positions'"),
        ({"axes": {"patchout.ratio": [1.5]}}, "patchout.ratio=1.5: ratio=1.5"),
        ({"axes": {"patchout.ration": [0.5]}}, "setting 'patchout.ration'"),
        ({"set": {"seed": 1}}, "axes.seed sets seed, which overwrites seed of set"),
        ({"set": {"recipe": "tiny"}}, "overwrites recipe of set"),
        (
            {"set": {"views.num_frames": 32}, "axes": {"views": ['{"name": "whole-track"}']}},
            "axes.views sets views, which overwrites views.num_frames of set",
        ),
        (
            {"axes": {"rate": [{"name": "same"}, {"name": "0", "optim.weight_decay": 1e-4}]}},
            "train the same model",
        ),
        ({"evaluate": {"task": ["package"]}}, "did you mean"),
        ({"evaluate": {"tasks": []}}, "tasks"),
        ({"evaluate": {"contexts": ["whole"]}}, "contexts"),
        ({"evaluate": {"contexts": [-3]}}, "contexts"),
    ],
)
def test_an_impossible_grid_is_refused_in_one_sentence(sections, message):
    with pytest.raises(ConfigError) as refused:
        found(**sections)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read: No such file"),
        ("data = [", "is not TOML"),
        ("data = 'x'", "axes is missing"),
        ("axis = 1", "key='axis' is unknown; did you mean 'axes'?"),
    ],
)
def test_a_file_that_is_no_grid_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "grid.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_grid(path)
    assert message in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


COMES_ALONG = {
    "ablate_positions": (8, {0, 1, 2}),
    "ablate_training": (8, {0, 1, 2}),
    "ablate_default": (11, {0}),
    "ablate_slopes": (6, {0}),
}


@pytest.mark.parametrize("path", sorted(RUNS.glob("ablate_*.toml")), ids=lambda path: path.stem)
def test_the_grids_that_come_along_are_valid(path):
    rows, seeds = COMES_ALONG[path.stem]
    planned = cells(read_grid(path))
    assert len(planned) == rows * len(seeds)
    assert {cell.config.seed for cell in planned} == seeds


def test_the_grid_of_the_guide_is_valid(tmp_path):
    page = (RUNS.parent / "docs" / "ablation.md").read_text()
    block = re.search(r"^```toml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "grid.toml").write_text(block.group(1))
    assert len(cells(read_grid(tmp_path / "grid.toml"))) == 2 * 2 * 2 * 3

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from myna_rpe.cli import app
from myna_rpe.config import FRONT_ENDS, Architecture, ModelConfig, RunConfig
from myna_rpe.data import Folder, prepare_shards
from myna_rpe.errors import CheckpointError, ConfigError, TrainingError
from myna_rpe.model.checkpoint import MynaModel
from myna_rpe.recipes import RECIPES, smoke

from ..synthetic_music import write_album

runner = CliRunner()


@pytest.fixture
def shards(tmp_path):
    write_album(tmp_path / "album", tracks=6, seconds=4.0)
    front_end = smoke().architecture.front_end
    source = Folder(tmp_path / "album")
    prepare_shards(source, tmp_path / "shards", front_end, min_seconds=1.0, workers=1)
    return tmp_path / "shards"


def pretrain(*arguments: object):
    return runner.invoke(app, ["pretrain", *map(str, arguments), "--threads", "1"])


def test_smoke_learns_to_tell_tones_apart(shards, tmp_path):
    run = tmp_path / "run"
    result = pretrain("smoke", "--data", shards, "--out", run)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{run / 'model'}\n"
    losses = [json.loads(line)["loss"] for line in (run / "metrics.jsonl").open()]
    assert len(losses) == 40
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_settings_reach_the_run_and_resume_goes_on(shards, tmp_path):
    arguments = [
        "smoke",
        "--data",
        shards,
        "--out",
        tmp_path / "run",
        "--set",
        "budget.max_steps=3",
    ]
    arguments += ["--set", "objectives.info_nce.temperature=0.5"]
    assert pretrain(*arguments).exit_code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["objectives"]["info_nce"]["temperature"] == 0.5
    assert pretrain(*arguments, "--resume").exit_code == 0


def test_it_goes_on_from_another_models_weights_and_architecture(shards, tmp_path):
    first = tmp_path / "first"
    rope = 'architecture.model.positions=[{"name": "rope-2d"}]'
    settings = ["--set", "budget.max_steps=3"]
    arguments = ["smoke", "--data", shards, *settings]
    assert pretrain(*arguments, "--out", first, "--set", rope).exit_code == 0
    second = tmp_path / "second"
    result = pretrain(*arguments, "--out", second, "--init", first / "model")
    assert result.exit_code == 0, result.exception
    config = json.loads((second / "config.json").read_text())
    given = MynaModel.load(first / "model")
    assert config["init"] == given.space_id
    assert config["architecture"] == given.architecture.to_dict()
    # Resuming needs the same start, or says what differs.
    assert (
        pretrain(*arguments, "--out", second, "--init", first / "model", "--resume").exit_code == 0
    )
    result = pretrain(*arguments, "--out", second, "--resume")
    assert isinstance(result.exception, TrainingError)
    assert f"init: {given.space_id} -> None" in str(result.exception)


def test_a_model_that_does_not_exist_is_refused(shards, tmp_path):
    result = pretrain("smoke", "--data", shards, "--out", tmp_path / "run", "--init", "tiny-16k")
    assert isinstance(result.exception, CheckpointError)
    assert not (tmp_path / "run").exists()


def test_a_model_of_another_front_end_is_refused_with_the_difference(shards, tmp_path):
    model = ModelConfig(dim=32, depth=1, heads=2, head_dim=16, mlp_dim=64)
    other = Architecture(model=model, front_end=FRONT_ENDS["rpe-44k"])
    MynaModel.untrained(other).save(tmp_path / "model")
    result = pretrain(
        "smoke", "--data", shards, "--out", tmp_path / "run", "--init", tmp_path / "model"
    )
    assert isinstance(result.exception, ConfigError)
    assert "sample_rate is 16000, not 44100" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["smok"], "did you mean 'smoke'"),
        (["smoke", "--set", "optim.lr=1"], "unknown"),
        (["smoke", "--set", "batch_size=many"], "batch_size"),
        (["smoke", "--set", "patchout.ratio=1"], "RatioPatchoutConfig"),
        (["smoke", "--set", 'views={"name": "excerps"}'], "did you mean 'excerpts'"),
        (["smoke", "--set", "objectives.info_nce=null"], "leaves nothing to minimise"),
        (["smoke", "--set", "views.min_gap=1", "--set", "views.min_overlap=1"], "contradict"),
        (["smoke", "--set", "batch_size"], "write it as a.b=value"),
    ],
)
def test_bad_settings_are_refused_before_the_shards_are_read(tmp_path, arguments, message):
    result = pretrain(*arguments, "--data", tmp_path / "none", "--out", tmp_path / "run")
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)


def test_the_command_ends_in_one_line_and_exit_code_1(tmp_path):
    command = "import sys; from myna_rpe.cli import main; sys.argv[0] = 'myna'; main()"
    arguments = ["pretrain", "smoke", "--data", str(tmp_path / "none"), "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", command, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.strip().splitlines()[-1].startswith("error: shards=")
    assert "Traceback" not in done.stderr


def test_every_recipe_is_listed_with_its_purpose():
    lines = runner.invoke(app, ["recipes", "list"]).stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == list(RECIPES)
    assert all(line.split("\t")[1].endswith(".") for line in lines)


@pytest.mark.parametrize("name", RECIPES)
def test_a_shown_recipe_is_its_complete_configuration(name):
    shown = json.loads(runner.invoke(app, ["recipes", "show", name]).stdout)
    config = RECIPES[name]()
    assert RunConfig.from_dict(shown) == config
    assert config.recipe == name


def test_recipes_need_no_torch():
    code = "import sys, myna_rpe.recipes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

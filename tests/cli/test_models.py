import json
import sys
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from myna_rpe.cli import main
from myna_rpe.cli.models import app
from myna_rpe.config import Architecture, ModelConfig, PatchShape
from myna_rpe.model.checkpoint import MynaModel, models_folder

GOLDENS = Path(__file__).parents[1] / "goldens"


def invoke(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def fail(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the real entry point; return its one line of stderr."""
    sys.argv = ["myna", "models", *arguments]
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.fixture(autouse=True)
def restored_argv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)


@pytest.fixture
def model() -> MynaModel:
    sizes = ModelConfig(dim=16, depth=2, heads=2, head_dim=8, mlp_dim=32, projection_dim=4)
    model = MynaModel.untrained(Architecture(model=sizes))
    model.provenance = {"recipe": "smoke"}
    model.save(models_folder() / "birds")
    return model


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Return a published state dict whose metadata says nothing."""
    with safe_open(GOLDENS / "rpecl_2d.safetensors", framework="pt") as file:
        names = [name for name in file.keys() if name.startswith("state.")]  # noqa: SIM118
        state = {name.removeprefix("state."): file.get_tensor(name) for name in names}
    save_file(state, tmp_path / "rpe.safetensors")
    return tmp_path / "rpe.safetensors"


def test_list_shows_presets_and_installed_models(model: MynaModel) -> None:
    lines = invoke("list").stdout.splitlines()
    assert lines[0].split()[:3] == ["name", "kind", "parameters"]
    assert any(line.startswith("tiny-16k") and "rpe-16k" in line for line in lines)
    assert any(line.startswith("birds") and line.endswith(model.space_id) for line in lines)


def test_list_as_json_is_json_and_says_the_same(model: MynaModel) -> None:
    records = {record["name"]: record for record in json.loads(invoke("list", "--json").stdout)}
    assert records["birds"]["space_id"] == model.space_id
    assert records["birds"]["kind"] == "checkpoint"
    assert records["tiny-16k"] | {"parameters": 0} == {
        "name": "tiny-16k",
        "kind": "architecture",
        "path": None,
        "space_id": None,
        "error": None,
        "parameters": 0,
        "dim": 192,
        "front_end": "rpe-16k",
        "positions": ["alibi-2d"],
    }


def test_list_warns_of_a_damaged_model_on_stderr(model: MynaModel) -> None:
    (models_folder() / "broken").mkdir()
    result = invoke("list")
    assert "birds" in result.stdout
    assert "has no config.json" in result.stderr


@pytest.mark.parametrize("as_path", [False, True])
def test_show_tells_everything_of_a_checkpoint(model: MynaModel, as_path: bool) -> None:
    name = str(models_folder() / "birds") if as_path else "birds"
    facts = json.loads(invoke("show", name, "--json").stdout)
    assert facts["space_id"] == model.space_id
    assert facts["provenance"] == {"recipe": "smoke"}
    assert facts["architecture"]["model"]["dim"] == 16
    lines = invoke("show", name).stdout.splitlines()
    assert "architecture.model.dim: 16" in lines
    assert "provenance.recipe: smoke" in lines


def test_show_tells_of_a_preset() -> None:
    assert json.loads(invoke("show", "small-44k", "--json").stdout)["dim"] == 384


def test_import_into_a_folder_prints_the_folder(published: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "checkpoint"
    result = invoke("import", str(published), "-o", str(out), "--positions", "2d-alibi")
    assert result.stdout == f"{out}\n"
    loaded = MynaModel.load(out)
    assert loaded.space_id in result.stderr
    assert loaded.architecture.front_end.sample_rate == 44_100


def test_import_under_a_name_installs(published: Path) -> None:
    invoke("import", str(published), "--name", "rpe", "--positions", "2d-alibi")
    assert MynaModel.load(models_folder() / "rpe")


def test_import_does_not_replace_another_model_unasked(
    published: Path, model: MynaModel, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["import", str(published), "--name", "birds", "--positions", "2d-alibi"]
    assert "already holds another model" in fail(capsys, *arguments)
    assert MynaModel.load(models_folder() / "birds").space_id == model.space_id
    invoke(*arguments, "--force")
    assert MynaModel.load(models_folder() / "birds").space_id != model.space_id


@pytest.mark.parametrize("destination", [[], ["-o", "a", "--name", "b"]])
def test_import_needs_one_destination(
    published: Path, destination: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "either --out FOLDER or --name NAME" in fail(
        capsys, "import", str(published), *destination
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show", "tinny-16k"), "did you mean 'tiny-16k'"),
        (("show", "./nothing"), "does not exist"),
        (("import", "nothing.pt", "-o", "x"), "file=nothing.pt does not exist"),
        (("import", "nothing.pt", "--name", "../x"), "cannot name a model"),
    ],
)
def test_failures_are_one_line_and_exit_1(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in fail(capsys, *arguments)


def test_import_asks_for_what_the_file_cannot_tell(
    published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--positions 2d-alibi" in fail(capsys, "import", str(published), "-o", "x")


def test_pull_from_a_server_that_is_down_is_one_line_and_exit_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be downloaded" in fail(capsys, "pull", "someone/birds")


def test_pull_prints_where_the_model_was_installed(
    model: MynaModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from myna_rpe.model import hub

    def pull(repo_id: str, *, name: str | None, revision: str | None, force: bool) -> Path:
        assert (repo_id, name, revision, force) == ("someone/birds", "birds", "v1", False)
        return models_folder() / "birds"

    monkeypatch.setattr(hub, "pull", pull)
    result = invoke("pull", "someone/birds", "--revision", "v1", "--name", "birds")
    assert result.stdout == f"{models_folder() / 'birds'}\n"
    assert result.stderr == "installed as birds\n"


def test_a_part_of_a_hybrid_becomes_a_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ModelConfig(dim=16, depth=1, heads=2, head_dim=8, mlp_dim=32, projection_dim=4)
    shapes = (PatchShape(), PatchShape(mel_bands=128, frames=2))
    hybrid = MynaModel.untrained(Architecture(model=sizes.with_(patches=shapes)))
    hybrid.save(models_folder() / "hybrid")
    out = tmp_path / "columns"
    result = invoke("part", "hybrid", "128x2", "-o", str(out))
    assert result.stdout == f"{out}\n"
    assert MynaModel.load(out).space_id == hybrid.part("128x2").space_id
    assert MynaModel.load(out).space_id in result.stderr
    assert "use one of 16x16, 128x2" in fail(capsys, "part", "hybrid", "2x128", "-o", str(out))
    assert "already holds another model" in fail(capsys, "part", "hybrid", "16x16", "-o", str(out))
    invoke("part", "hybrid", "16x16", "-o", str(out), "--force")
    assert MynaModel.load(out).space_id == hybrid.part("16x16").space_id


def test_a_rounded_model_becomes_a_checkpoint(
    model: MynaModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "half"
    result = invoke("round", "birds", "-o", str(out))
    assert result.stdout == f"{out}\n"
    assert MynaModel.load(out).space_id == model.rounded().space_id
    assert MynaModel.load(out).space_id in result.stderr
    model.save(out)
    assert "already holds another model" in fail(capsys, "round", "birds", "-o", str(out))


def test_the_mean_of_models_becomes_a_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ModelConfig(dim=16, depth=1, heads=2, head_dim=8, mlp_dim=32, projection_dim=4)
    models = [MynaModel.untrained(Architecture(model=sizes), seed=seed) for seed in (1, 2)]
    for name, model in zip(("one", "two"), models, strict=True):
        model.save(models_folder() / name)
    MynaModel.untrained(Architecture(model=sizes.with_(depth=2))).save(models_folder() / "deep")
    out = tmp_path / "mean"
    result = invoke("mean", "one", "two", "-o", str(out))
    mean = MynaModel.mean(models).space_id
    assert result.stdout == f"{out}\n"
    assert result.stderr == f"averaged 2 models as {mean}\n"
    assert MynaModel.load(out).space_id == mean
    assert "another architecture" in fail(capsys, "mean", "one", "deep", "-o", str(out))
    assert "already holds another model" in fail(capsys, "mean", "one", "one", "-o", str(out))
    assert "give two or more" in fail(capsys, "mean", "one", "-o", str(tmp_path / "none"))


def test_random_weights_become_a_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "start"
    result = invoke("untrained", "tiny-16k", "-o", str(out), "--seed", "3")
    assert result.stdout == f"{out}\n"
    drawn = MynaModel.untrained("tiny-16k", seed=3).space_id
    assert result.stderr == f"drew {drawn}\n"
    assert MynaModel.load(out).space_id == drawn
    assert "already holds another model" in fail(capsys, "untrained", "tiny-16k", "-o", str(out))
    assert "architecture='tinny'" in fail(capsys, "untrained", "tinny", "-o", str(tmp_path / "no"))

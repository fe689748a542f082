import json
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from myna_rpe.config import (
    ARCHITECTURES,
    AlibiConfig,
    Architecture,
    LearnedFrequencyConfig,
    ModelConfig,
    PatchShape,
    RopeConfig,
    SinusoidalConfig,
)
from myna_rpe.errors import CheckpointError, ConfigError
from myna_rpe.model import checkpoint, manifest, registry
from myna_rpe.model.checkpoint import MynaModel, list_models, models_folder, resolve_model

SIZES = {"dim": 16, "depth": 2, "heads": 2, "head_dim": 8, "mlp_dim": 32, "projection_dim": 4}


def small(**settings: Any) -> Architecture:
    return Architecture(model=ModelConfig(**{**SIZES, **settings}))


@pytest.fixture
def model() -> MynaModel:
    return MynaModel.untrained(small(), seed=1).eval()


@pytest.fixture
def saved(model: MynaModel, tmp_path: Path) -> Path:
    model.save(tmp_path / "saved")
    return tmp_path / "saved"


def edit_config(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "config.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    state, other_state = one.state_dict(), other.state_dict()
    return state.keys() == other_state.keys() and all(
        torch.equal(state[name], other_state[name]) for name in state
    )


# --- round trips ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "architecture",
    [
        small(),
        small(positions=(AlibiConfig(name="alibi-1d", slopes="learned"), LearnedFrequencyConfig())),
        small(positions=(RopeConfig(),), train_tokens=13),
        small(patches=(PatchShape(), PatchShape(mel_bands=128, frames=2)), pooling="mean"),
        small(positions=()),
    ],
    ids=["alibi", "learned", "rope", "hybrid", "none"],
)
def test_loading_gives_back_what_was_saved(architecture: Architecture, tmp_path: Path) -> None:
    model = MynaModel.untrained(architecture, seed=3).eval()
    model.provenance = {"recipe": "smoke", "steps": 7, "Künstler": ["夜"]}
    model.save(tmp_path)

    loaded = MynaModel.load(tmp_path)

    assert same_weights(model, loaded)
    assert loaded.architecture == architecture
    assert loaded.provenance == model.provenance
    assert loaded.space_id == model.space_id
    assert not loaded.training
    spectrogram = torch.rand(2, 128, 50)
    assert torch.equal(model(spectrogram), loaded(spectrogram))
    assert loaded.project(loaded(spectrogram)).shape == (2, 4)


@pytest.mark.parametrize("name", [".", "model.safetensors", "config.json"])
def test_a_checkpoint_is_named_by_its_folder_or_either_file(saved: Path, name: str) -> None:
    assert MynaModel.load(saved / name).architecture == small()


def test_a_checkpoint_is_two_files_and_saving_keeps_others(model: MynaModel, saved: Path) -> None:
    (saved / "notes.txt").write_text("mine")
    model.save(saved)
    assert {path.name for path in saved.iterdir()} == {
        "model.safetensors",
        "config.json",
        "notes.txt",
    }


def test_weights_are_readable_by_whoever_may_read_the_configuration(saved: Path) -> None:
    modes = {(saved / name).stat().st_mode for name in ("model.safetensors", "config.json")}
    assert len(modes) == 1


def test_untrained_repeats_with_its_seed_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    one, same, other = (MynaModel.untrained(small(), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert same_weights(one, same)
    assert not same_weights(one, other)
    assert one.training


def test_loading_leaves_the_global_generator_alone(saved: Path) -> None:
    before = torch.get_rng_state()
    MynaModel.load(saved)
    assert torch.equal(before, torch.get_rng_state())


def test_unknown_architecture_names_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match="did you mean 'tiny-16k'"):
        MynaModel.untrained("tiny")


# --- precision and space id ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_load_as_float32_with_the_same_space_id(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    model = MynaModel.untrained(small()).to(dtype)
    model.save(tmp_path / "first")
    stored = load_file(tmp_path / "first" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {dtype}

    loaded = MynaModel.load(tmp_path / "first")
    loaded.save(tmp_path / "second")

    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    assert model.space_id == loaded.space_id == MynaModel.load(tmp_path / "second").space_id


def test_a_rounded_model_is_half_as_large_and_a_space_of_its_own(
    model: MynaModel, tmp_path: Path
) -> None:
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    rounded = model.rounded()
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    rounded.save(tmp_path / "half")
    model.save(tmp_path / "whole")
    half, whole = (tmp_path / name / "model.safetensors" for name in ("half", "whole"))
    assert {tensor.dtype for tensor in load_file(half).values()} == {torch.float16}
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    loaded = MynaModel.load(tmp_path / "half")
    assert loaded.space_id == rounded.space_id != model.space_id
    assert all(
        torch.equal(weight, before[name].half().float())
        for name, weight in loaded.state_dict().items()
    )


@pytest.mark.parametrize(
    "positions",
    [(), (AlibiConfig(slopes="learned"), LearnedFrequencyConfig()), (RopeConfig(name="rope-2d"),)],
    ids=["none", "learned", "rope"],
)
def test_a_part_of_a_hybrid_gives_its_part_of_the_embedding(positions, tmp_path: Path) -> None:
    shapes = (PatchShape(), PatchShape(mel_bands=128, frames=2), PatchShape(mel_bands=64, frames=4))
    hybrid = MynaModel.untrained(small(patches=shapes, positions=positions), seed=3).eval()
    with torch.no_grad():
        for weight in hybrid.encoder.stems.parameters():
            weight.normal_()  # the stems are no two alike
    spectrogram = torch.randn(2, 128, 40) * 20 - 40
    whole = hybrid(spectrogram)
    projected = torch.zeros(2, 4)
    for shape, expected in zip(shapes, whole.split(16, dim=1), strict=True):
        hybrid.part(str(shape)).save(tmp_path / str(shape))
        part = MynaModel.load(tmp_path / str(shape)).eval()
        assert part.architecture.model.patches == (shape,)
        assert part.provenance["part_of"] == hybrid.space_id != part.space_id
        torch.testing.assert_close(part(spectrogram), expected)
        projected += part.project(expected) - part.head.bias
    torch.testing.assert_close(projected + hybrid.head.bias, hybrid.project(whole))


def test_taking_a_part_leaves_the_global_generator_alone(model: MynaModel) -> None:
    before = torch.get_rng_state()
    model.part("16x16")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_part_that_is_not_there_is_one_sentence(model: MynaModel) -> None:
    with pytest.raises(ConfigError, match=r"patch='8x8' is not read .* use one of 16x16\.$"):
        model.part("8x8")


def test_the_mean_of_models_has_the_mean_of_each_weight(tmp_path: Path) -> None:
    models = [MynaModel.untrained(small(), seed=seed) for seed in range(3)]
    models[0].provenance["seed"] = 0
    MynaModel.mean(models).save(tmp_path)
    mean = MynaModel.load(tmp_path)
    for name, weight in mean.named_parameters():
        each = [dict(model.named_parameters())[name].detach() for model in models]
        torch.testing.assert_close(weight.detach(), (each[0] + each[1] + each[2]) / 3)
    assert mean.provenance == {"seed": 0, "mean_of": [model.space_id for model in models]}
    assert models[0].provenance == {"seed": 0}


def test_the_mean_of_a_model_with_itself_is_that_model(model: MynaModel) -> None:
    assert MynaModel.mean([model, model]).space_id == model.space_id


def test_models_of_two_architectures_have_no_mean(model: MynaModel) -> None:
    other = MynaModel.untrained(small(positions=()))
    with pytest.raises(ConfigError, match=r"model 3 of 3 has another architecture .*alone\.$"):
        MynaModel.mean([model, model, other])


def test_one_model_has_no_mean(model: MynaModel) -> None:
    with pytest.raises(ConfigError, match=r"^models=1 have no mean; give two or more\.$"):
        MynaModel.mean([model])


def test_space_id_names_the_encoder_and_front_end_not_the_head(model: MynaModel) -> None:
    before = model.space_id
    with torch.no_grad():
        model.head.weight.add_(1.0)
        assert model.space_id == before
        model.provenance["seed"] = 5
        assert model.space_id == before
        model.encoder.norm.weight[0] += 1e-6
        assert model.space_id != before


@pytest.mark.parametrize(
    "override",
    [
        "front_end.hop_length=256",
        "front_end.top_db=60",
        "model.train_tokens=13",
        'model.positions=[{"name": "rope-2d"}]',
        'model.positions=[{"name": "alibi-1d"}]',
        'model.positions=[{"name": "alibi-2d", "slopes": "geometric"}]',
        "model.positions=[]",
    ],
)
def test_space_id_differs_where_equal_weights_mean_another_function(
    model: MynaModel, override: str
) -> None:
    other = MynaModel(small().override(override))
    other.load_state_dict(model.state_dict())
    assert other.space_id != model.space_id


def test_space_id_ignores_the_width_of_the_head(model: MynaModel) -> None:
    other = MynaModel(small(projection_dim=9))
    other.encoder.load_state_dict(model.encoder.state_dict())
    assert other.space_id == model.space_id


def test_space_id_of_given_weights_never_changes() -> None:
    # Stored embeddings carry these ids. If this fails, every table of embeddings is orphaned:
    # a renamed parameter or a changed default needs a new format version and a migration.
    model = MynaModel(small(positions=(AlibiConfig(slopes="geometric"), SinusoidalConfig())))
    with torch.no_grad():
        for index, weight in enumerate(model.encoder.state_dict().values()):
            weight.fill_(index / 8)
    assert model.space_id == "myna-1d1bf9fd6a622986"


# --- saving is atomic ----------------------------------------------------------------------------


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes: the closest thing to a full disk without one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_no_new_folder(model: MynaModel, tmp_path: Path) -> None:
    with files_limited_to(1000), pytest.raises(CheckpointError, match=r"free some space"):
        model.save(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_full_disk_leaves_the_old_checkpoint_whole(saved: Path) -> None:
    other = MynaModel.untrained(small(), seed=2)
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    with files_limited_to(1000), pytest.raises(CheckpointError):
        other.save(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_a_failing_flush_leaves_the_old_checkpoint_whole(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        MynaModel.untrained(small(), seed=2).save(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_saving_into_a_file_is_one_sentence(model: MynaModel, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(CheckpointError, match=r"folder=.*taken cannot take the checkpoint"):
        model.save(tmp_path / "taken")


def test_provenance_is_stored_as_json_has_it(model: MynaModel, tmp_path: Path) -> None:
    model.provenance = {"loss": float("nan"), "data": Path("shards"), "seeds": (1, 2)}
    model.save(tmp_path)
    assert MynaModel.load(tmp_path).provenance == {
        "loss": None,
        "data": "shards",
        "seeds": [1, 2],
    }


def test_provenance_beyond_json_is_refused_before_writing(model: MynaModel, tmp_path: Path) -> None:
    model.provenance["optimizer"] = object()
    with pytest.raises(CheckpointError, match=r"provenance=.* is not JSON"):
        model.save(tmp_path / "new")
    assert not (tmp_path / "new").exists()


# --- damage --------------------------------------------------------------------------------------


def test_missing_tensors_are_named(saved: Path) -> None:
    edit_weights(saved, lambda tensors: tensors.pop("encoder.norm.weight"))
    with pytest.raises(CheckpointError, match=r"1 missing \(encoder\.norm\.weight\)"):
        MynaModel.load(saved)


def test_extra_tensors_are_named(saved: Path) -> None:
    edit_weights(saved, lambda tensors: tensors.update(surprise=torch.ones(1)))
    with pytest.raises(CheckpointError, match=r"1 extra \(surprise\)"):
        MynaModel.load(saved)


def test_wrongly_shaped_tensors_are_named_with_both_shapes(saved: Path) -> None:
    edit_weights(saved, lambda tensors: tensors.update({"head.bias": torch.ones(5)}))
    with pytest.raises(CheckpointError, match=r"head\.bias \(5,\) for \(4,\)"):
        MynaModel.load(saved)


def test_only_the_first_few_of_many_faults_are_named(saved: Path) -> None:
    edit_weights(saved, lambda tensors: [tensors.pop(name) for name in list(tensors)[:9]])
    with pytest.raises(CheckpointError, match=r"9 missing \([^,]+, [^,]+, [^,]+, \.\.\.\)"):
        MynaModel.load(saved)


def test_integer_weights_are_refused(saved: Path) -> None:
    edit_weights(saved, lambda t: t.update({"head.bias": torch.ones(4, dtype=torch.int64)}))
    with pytest.raises(CheckpointError, match=r"head\.bias"):
        MynaModel.load(saved)


def test_changed_weights_are_noticed(saved: Path) -> None:
    edit_weights(saved, lambda tensors: tensors["encoder.norm.weight"].mul_(2.0))
    with pytest.raises(CheckpointError, match="one of them was changed"):
        MynaModel.load(saved)


def test_a_changed_front_end_is_noticed(saved: Path) -> None:
    edit_config(saved, lambda data: data["architecture"]["front_end"].update(hop_length=256))
    with pytest.raises(CheckpointError, match="one of them was changed"):
        MynaModel.load(saved)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_truncated_weights_are_one_sentence(saved: Path, share: float) -> None:
    path = saved / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match="not a readable safetensors file") as caught:
        MynaModel.load(saved)
    assert "\n" not in str(caught.value)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), in_header=st.booleans())
def test_a_flipped_bit_never_changes_the_encoder_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, place: float, bit: int, in_header: bool
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    model = MynaModel.untrained(small())
    model.save(folder)
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[int(place * (512 if in_header else len(data)))] ^= 1 << bit
    path.write_bytes(data)
    with suppress(CheckpointError):
        assert same_weights(model.encoder, MynaModel.load(folder).encoder)
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=rf"has no {name}"):
        MynaModel.load(saved)


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        MynaModel.load(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "\udcff", "{}", "[" * 100_000])
def test_a_config_that_is_no_config_is_one_sentence(saved: Path, text: str) -> None:
    (saved / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(CheckpointError, match=r"config=.*config\.json"):
        MynaModel.load(saved)


@pytest.mark.parametrize("level", [(), ("architecture",), ("architecture", "model")])
def test_an_unknown_key_in_the_config_is_named(saved: Path, level: tuple[str, ...]) -> None:
    def change(data: dict[str, Any]) -> None:
        for key in level:
            data = data[key]
        data["dropout_rate"] = 0.1

    edit_config(saved, change)
    with pytest.raises(CheckpointError, match="dropout_rate"):
        MynaModel.load(saved)


# --- format versions -----------------------------------------------------------------------------


def test_a_newer_format_asks_to_upgrade(saved: Path) -> None:
    edit_config(saved, lambda data: data.update(format_version=manifest.FORMAT_VERSION + 1))
    with pytest.raises(CheckpointError, match=r"newer than .* upgrade"):
        MynaModel.load(saved)


def test_an_older_format_is_migrated(
    model: MynaModel, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename_network_to_model(data: dict[str, Any]) -> dict[str, Any]:
        architecture = data["architecture"]
        return {
            **data,
            "architecture": {
                "model": architecture["network"],
                "front_end": architecture["front_end"],
            },
        }

    def as_version_0(data: dict[str, Any]) -> None:
        data["format_version"] = 0
        data["architecture"]["network"] = data["architecture"].pop("model")

    edit_config(saved, as_version_0)
    with pytest.raises(CheckpointError, match="older than any"):
        MynaModel.load(saved)
    monkeypatch.setitem(checkpoint.MIGRATIONS, 0, rename_network_to_model)
    assert same_weights(MynaModel.load(saved), model)


@pytest.mark.parametrize("version", [-1, 1.0, True, "1", None])
def test_a_format_version_that_is_none_is_refused(saved: Path, version: object) -> None:
    edit_config(saved, lambda data: data.update(format_version=version))
    with pytest.raises(CheckpointError, match="format_version"):
        MynaModel.load(saved)


# --- the hub's own methods -----------------------------------------------------------------------


def test_save_pretrained_and_from_pretrained_use_the_same_two_files(
    model: MynaModel, tmp_path: Path
) -> None:
    model.save(tmp_path / "ours")
    model.save_pretrained(tmp_path / "theirs")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    loaded = MynaModel.from_pretrained(tmp_path / "ours")
    assert same_weights(loaded, model)
    assert loaded.architecture == model.architecture
    assert not loaded.training


def test_push_to_hub_uploads_the_checkpoint(
    model: MynaModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded = tmp_path / "uploaded"

    class Repository:
        repo_id = "someone/birds"

    def upload_folder(self: object, *, folder_path: Path, **_: object) -> str:
        shutil.copytree(folder_path, uploaded)
        return "https://hub/commit"

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda self, **_: Repository)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload_folder)
    model.push_to_hub("someone/birds")
    assert {path.name for path in uploaded.iterdir()} == {
        "model.safetensors",
        "config.json",
        "README.md",
    }
    assert same_weights(MynaModel.load(uploaded), model)


# --- names ---------------------------------------------------------------------------------------


def test_models_lie_under_myna_home_or_the_user_data_folder(
    isolated_user_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert models_folder() == isolated_user_folders / "myna" / "models"
    monkeypatch.delenv("MYNA_HOME")
    assert models_folder().parts[-2:] == ("myna-rpe", "models")


def test_list_models_has_every_preset_the_package_s_own_and_every_installed_model(
    model: MynaModel,
) -> None:
    model.save(models_folder() / "birds")
    records = {record.name: record for record in list_models()}
    assert records.keys() == ARCHITECTURES.keys() | {registry.DEFAULT_MODEL, "birds"}
    assert records["birds"].space_id == model.space_id
    assert records["tiny-16k"].space_id is None
    facts = records["birds"].to_dict()
    assert facts["parameters"] == sum(weight.numel() for weight in model.encoder.parameters())
    assert facts["front_end"] == "rpe-16k"
    assert facts["positions"] == ["alibi-2d"]


def test_one_damaged_model_does_not_hide_the_others(model: MynaModel) -> None:
    model.save(models_folder() / "birds")
    (models_folder() / "broken").mkdir()
    (models_folder() / ".pull-left-behind").mkdir()
    records = {record.name: record for record in list_models()}
    assert "has no config.json" in str(records["broken"].error)
    assert records["broken"].to_dict()["error"]
    assert records["birds"].error is None
    assert not any(name.startswith(".") for name in records)


def test_the_paper_s_model_has_its_22_million_parameters() -> None:
    assert round(registry.count_parameters(ARCHITECTURES["small-44k"].model) / 1e6) in (21, 22)


def test_an_installed_name_comes_before_a_folder_and_a_preset(
    model: MynaModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model.save("birds")
    assert resolve_model("birds") == Path("birds")
    model.save(models_folder() / "birds")
    assert resolve_model("birds") == models_folder() / "birds"
    assert resolve_model("./birds") == Path("./birds")
    assert resolve_model(tmp_path / "birds" / "config.json") == tmp_path / "birds"
    model.save(registry.DEFAULT_MODEL)
    assert resolve_model(registry.DEFAULT_MODEL).parent.name == "weights"
    model.save(models_folder() / registry.DEFAULT_MODEL)
    assert resolve_model(registry.DEFAULT_MODEL) == models_folder() / registry.DEFAULT_MODEL
    model.save(models_folder() / "tiny-16k")
    assert resolve_model("tiny-16k") == models_folder() / "tiny-16k"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tiny-16k", r"architecture without weights; train it .* pretrain.* pull .* import"),
        ("tinny-16k", r"did you mean 'tiny-16k'"),
        ("someone/birds", r"myna models pull someone/birds"),
        ("./nothing", r"does not exist"),
        ("", r"is unknown"),
    ],
)
def test_a_name_without_weights_says_what_to_do(name: str, says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        resolve_model(name)


def test_a_foreign_file_is_sent_to_the_importer(tmp_path: Path) -> None:
    (tmp_path / "myna.pt").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="myna models import"):
        resolve_model(tmp_path / "myna.pt")


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\\b", "ü", "a b", "-x"])
def test_a_name_that_could_leave_the_models_folder_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match="cannot name a model"):
        registry.installed_folder(name)

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from myna_rpe.config import FRONT_ENDS, PatchShape
from myna_rpe.errors import CheckpointError
from myna_rpe.model.checkpoint import MynaModel
from myna_rpe.model.published import import_published

GOLDENS = Path(__file__).parents[1] / "goldens"
MYNA = ("myna_square", "myna_vertical", "myna_hybrid")
RPE = ("rpecl_2d", "rpecl_1d", "rpecl_sinusoidal")


class Golden:
    """A published state dict, an input, and what the published code makes of it."""

    def __init__(self, name: str) -> None:
        with safe_open(GOLDENS / f"{name}.safetensors", framework="pt") as file:
            self.metadata: dict[str, str] = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        self.state = _below("state.", tensors)
        self.outputs = _below("output.", tensors)
        self.input = tensors["input"][:, 0]
        self.input_long = tensors.get("input_long", tensors["input"])[:, 0]


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


@pytest.fixture(params=MYNA + RPE)
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


def write(state: Any, path: Path, metadata: dict[str, str] | None = None) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path, metadata)
    else:
        torch.save(state, path)
    return path


def assert_outputs_are_published(model: MynaModel, golden: Golden) -> None:
    with torch.no_grad():
        embedding = model(golden.input)
        ours = {
            "embedding": embedding[:, : golden.outputs["embedding"].shape[1]],  # a hybrid's first
            "embedding_hybrid": embedding,
            "embedding_long": model(golden.input_long),
            "projection": model.project(embedding),
            "logits": model.project(embedding),
        }
    for name, published in golden.outputs.items():
        torch.testing.assert_close(ours[name], published, atol=1e-5, rtol=0)


@pytest.mark.parametrize("wrapping", ["safetensors", "pt", "state_dict", "model", "parallel"])
def test_imported_models_compute_what_the_published_ones_do(
    golden: Golden, wrapping: str, tmp_path: Path
) -> None:
    options = {
        "positions": golden.metadata.get("positional", "null").strip('"'),
        "patch": "128x2" if golden.metadata["patch_size"] == "[128, 2]" else "16x16",
    }
    if options["positions"] == "null":
        del options["positions"]
    state: Any = golden.state
    if wrapping == "safetensors":  # its metadata answers instead
        path = write(state, tmp_path / "m.safetensors", golden.metadata)
        assert_outputs_are_published(import_published(path), golden)
        return
    if wrapping == "parallel":
        state = {"epoch": 3, "model": {f"module.{name}": value for name, value in state.items()}}
    elif wrapping != "pt":
        state = {"epoch": 3, wrapping: state}
    path = write(state, tmp_path / "m.pth")
    assert_outputs_are_published(import_published(path, **options), golden)


def test_an_imported_model_survives_saving(golden: Golden, tmp_path: Path) -> None:
    path = write(golden.state, tmp_path / "m.safetensors", golden.metadata)
    imported = import_published(path)
    imported.save(tmp_path / "saved")
    loaded = MynaModel.load(tmp_path / "saved")
    assert_outputs_are_published(loaded, golden)
    assert loaded.provenance["imported_from"] == "m.safetensors"
    assert len(loaded.provenance["sha256"]) == 64


@pytest.mark.parametrize(
    ("name", "front_end", "pooling"),
    [*((name, "myna-16k", "mean") for name in MYNA), *((name, "rpecl-44k", "cls") for name in RPE)],
)
def test_the_front_end_is_the_one_the_weights_were_fed(
    name: str, front_end: str, pooling: str, tmp_path: Path
) -> None:
    golden = Golden(name)
    model = import_published(write(golden.state, tmp_path / "m.safetensors", golden.metadata))
    assert model.architecture.front_end == FRONT_ENDS[front_end]
    assert model.architecture.model.pooling == pooling
    assert model.architecture.model.depth == int(golden.metadata["depth"])
    assert model.architecture.model.heads == int(golden.metadata["heads"])


def test_a_hybrid_reads_squares_first_then_verticals(tmp_path: Path) -> None:
    model = import_published(write(Golden("myna_hybrid").state, tmp_path / "m.pt"))
    assert model.architecture.model.patches == (
        PatchShape(mel_bands=16, frames=16),
        PatchShape(mel_bands=128, frames=2),
    )
    assert model.encoder.embedding_dim == 128


def test_half_precision_state_becomes_float32(tmp_path: Path) -> None:
    state = {name: value.half() for name, value in Golden("myna_hybrid").state.items()}
    model = import_published(write(state, tmp_path / "m.pt"))
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_a_state_without_its_head_still_embeds(tmp_path: Path) -> None:
    golden = Golden("myna_hybrid")
    state = {k: v for k, v in golden.state.items() if not k.startswith("linear_head")}
    model = import_published(write(state, tmp_path / "m.pt"))
    torch.testing.assert_close(
        model(golden.input), golden.outputs["embedding_hybrid"], atol=1e-5, rtol=0
    )
    assert model.provenance["head"] == "untrained"


# --- what the file cannot tell -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("rpecl_2d", {}, r"--positions 2d-alibi or --positions sinusoidal"),
        ("rpecl_sinusoidal", {}, r"--positions 2d-alibi or --positions sinusoidal"),
        ("rpecl_2d", {"positions": "rope"}, r"valid: sinusoidal, 2d-alibi, 1d-alibi"),
        ("rpecl_2d", {"positions": "1d-alibi"}, r"need y_pos_embedding"),
        ("rpecl_1d", {"positions": "2D-ALIBI"}, r"contradict the file"),
        ("myna_hybrid", {"positions": "2d-alibi"}, r"contradict the file"),
        ("myna_square", {}, r"--patch 16x16 or --patch 128x2"),
        ("myna_square", {"patch": "square"}, r"is not a shape"),
        ("myna_square", {"patch": "8x8"}, r"holds 64 values, but the file's patches hold 256"),
        ("myna_square", {"patch": "100x3"}, r"holds 300 values"),
        ("myna_square", {"patch": "256x1"}, r"does not divide n_mels"),
    ],
)
def test_an_open_question_is_asked_and_never_guessed(
    name: str, options: dict[str, str], says: str, tmp_path: Path
) -> None:
    path = write(Golden(name).state, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=says) as caught:
        import_published(path, **options)
    assert "\n" not in str(caught.value)


def test_the_frequency_embedding_proves_the_1d_variant(tmp_path: Path) -> None:
    golden = Golden("rpecl_1d")
    assert_outputs_are_published(import_published(write(golden.state, tmp_path / "m.pt")), golden)


def test_an_option_outranks_the_metadata(tmp_path: Path) -> None:
    golden = Golden("rpecl_2d")
    path = write(golden.state, tmp_path / "m.safetensors", {"positional": '"sinusoidal"'})
    assert_outputs_are_published(import_published(path, positions="2D-ALIBI"), golden)


# --- files that are refused ----------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickled_module_is_refused_with_the_reason(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "module.pt"
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"run any code its author chose") as caught:
        import_published(path)
    assert "\n" not in str(caught.value)


class _Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_with_code_is_refused_without_running_it(tmp_path: Path) -> None:
    path = write({"state_dict": _Trap(tmp_path / "sprung")}, tmp_path / "trap.pt")
    with pytest.raises(CheckpointError, match=r"run any code"):
        import_published(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_one_sentence(tmp_path: Path, suffix: str, share: float) -> None:
    path = write(Golden("myna_square").state, tmp_path / f"m{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match=r"not a readable state dict") as caught:
        import_published(path, patch="16x16")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"hello, this is no model", b"\x80\x02X", bytes(range(156, 255))]
)
def test_junk_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "junk.pt").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        import_published(tmp_path / "junk.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(2)), tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match="TorchScript"):
        import_published(tmp_path / "m.pt")


@pytest.mark.parametrize("state", [[1, 2], {"a": 1}, {1: torch.ones(1)}, torch.ones(1)])
def test_something_other_than_a_state_dict_is_refused(tmp_path: Path, state: object) -> None:
    with pytest.raises(CheckpointError, match="mapping of names to tensors"):
        import_published(write(state, tmp_path / "m.pt"))


def test_another_network_is_refused(tmp_path: Path) -> None:
    path = write(torch.nn.Linear(2, 2).state_dict(), tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match="not a published Myna"):
        import_published(path)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        import_published(tmp_path / "nothing.pt")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"transformer.norm.bias": None}, r"lacks transformer\.norm\.bias"),
        ({"transformer.layers.0.0.to_qkv.weight": None}, r"no matrix transformer"),
        ({"transformer.layers.7.0.norm.weight": torch.ones(64)}, r"lacks transformer\.layers\.2"),
        ({"pos_embedding": torch.ones(1)}, r"adds pos_embedding"),
        ({"transformer.norm.bias": torch.ones(3)}, r"encoder\.norm\.bias \(3,\) for \(64,\)"),
        ({"transformer.layers.0.0.to_qkv.weight": torch.ones(100, 64)}, r"multiple of 192"),
        ({"linear_head.bias": None}, r"lacks linear_head\.bias"),
        ({"linear_head.weight": torch.ones(10)}, r"no matrix linear_head"),
    ],
)
def test_a_changed_layout_is_named(
    change: dict[str, Tensor | None], says: str, tmp_path: Path
) -> None:
    changed = {**Golden("myna_square").state, **change}
    path = write({k: v for k, v in changed.items() if v is not None}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=says):
        import_published(path, patch="16x16")

"""Import of published Myna and Myna-RPE weights.

Two state-dict layouts, both SimpleViT's of vit-pytorch:

- **Myna** (Yonay et al. 2025): mean of the tokens, 2D sin-cos positions, patches of 16 x 16 or
  128 x 2, or both (``to_patch_embedding_b``, "hybrid": embeddings side by side, square first).
- **Myna-RPE** (Phillips & Koh 2026, as of October 2025): a class token, and one of three
  positions. Their bias is *added* distance with slope 1 in every head, ``alibi_2d.slopes`` is
  never applied, and "1D" means the frequency axis: in our terms ALiBi with explicit slopes of -1.
  Their tokens are frequency-major, ours time-major, which attention does not see.

What a state dict cannot tell is asked for, never guessed: the shape of a lone Myna patch (16 x 16
and 128 x 2 both hold 256 values), and which of two positions without weights a Myna-RPE model was
trained with. A safetensors file may answer in its metadata (``patch_size``, ``positional``).

Files are read without unpickling anything but tensors.
"""

import hashlib
import json
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from ..config import (
    FRONT_ENDS,
    AlibiConfig,
    Architecture,
    LearnedFrequencyConfig,
    ModelConfig,
    PatchShape,
    SchemeConfig,
    SinusoidalConfig,
)
from ..errors import CheckpointError, ConfigError, unknown_name
from .checkpoint import MynaModel, fill, first_few

_HEAD_DIM = 64
_N_MELS = 128
_SQUARE, _VERTICAL = PatchShape(mel_bands=16, frames=16), PatchShape(mel_bands=128, frames=2)

PUBLISHED_POSITIONS: dict[str, Callable[[int], tuple[SchemeConfig, ...]]] = {
    "sinusoidal": lambda heads: (SinusoidalConfig(),),
    "2d-alibi": lambda heads: (AlibiConfig(name="alibi-2d", slopes=(-1.0,) * heads),),
    "1d-alibi": lambda heads: (
        AlibiConfig(name="alibi-freq", slopes=(-1.0,) * heads),
        LearnedFrequencyConfig(),
    ),
}
"""Myna-RPE's own names, in lower case -> our schemes for a number of heads."""

# Our parameter names -> theirs, as patterns on the beginning of a name.
_THEIR_NAMES: tuple[tuple[str, str], ...] = (
    (r"encoder\.cls$", "cls_token"),
    (r"encoder\.stems\.0\.positions\.schemes\.1\.embedding$", "y_pos_embedding"),
    (r"encoder\.stems\.0\.embed\.norm_in\.", "to_patch_embedding.1."),
    (r"encoder\.stems\.0\.embed\.linear\.", "to_patch_embedding.2."),
    (r"encoder\.stems\.0\.embed\.norm_out\.", "to_patch_embedding.3."),
    (r"encoder\.stems\.1\.embed\.norm_in\.", "to_patch_embedding_b.1."),
    (r"encoder\.stems\.1\.embed\.linear\.", "to_patch_embedding_b.2."),
    (r"encoder\.stems\.1\.embed\.norm_out\.", "to_patch_embedding_b.3."),
    (r"encoder\.blocks\.(\d+)\.norm1\.", r"transformer.layers.\1.0.norm."),
    (r"encoder\.blocks\.(\d+)\.attention\.qkv\.", r"transformer.layers.\1.0.to_qkv."),
    (r"encoder\.blocks\.(\d+)\.attention\.out\.", r"transformer.layers.\1.0.to_out."),
    (r"encoder\.blocks\.(\d+)\.norm2\.", r"transformer.layers.\1.1.net.0."),
    (r"encoder\.blocks\.(\d+)\.mlp\.0\.", r"transformer.layers.\1.1.net.1."),
    (r"encoder\.blocks\.(\d+)\.mlp\.2\.", r"transformer.layers.\1.1.net.3."),
    (r"encoder\.norm\.", "transformer.norm."),
    (r"head\.", "linear_head."),
)
_NEVER_APPLIED = "transformer.alibi_2d.slopes"
_ANCHOR = "to_patch_embedding.2.weight"


def import_published(
    path: str | Path, *, positions: str | None = None, patch: str | None = None
) -> MynaModel:
    """Return the model of a published state dict, in eval mode; its outputs are the published ones.

    Args:
        path: ``.safetensors``, or what ``torch.save`` wrote of a state dict (``.pt``, ``.pth``).
            The state may lie under ``state_dict`` or ``model``, with a DataParallel prefix.
        positions: which of `PUBLISHED_POSITIONS` a Myna-RPE model was trained with, where the
            file cannot tell.
        patch: ``16x16`` or ``128x2`` (mel bands x frames), where a Myna file cannot tell.

    Raises:
        CheckpointError: the file is missing, damaged, or pickles more than tensors; it is not of
            a published layout; or it leaves a question open that the arguments do not answer.
    """
    path = Path(path)
    state, metadata = _read_state(path)
    if _ANCHOR not in state:
        raise CheckpointError(
            f"file={path} is not a published Myna or Myna-RPE state dict: it has no {_ANCHOR}, "
            f"but {first_few(state)}; checkpoints of this package need no import."
        )
    try:
        architecture = _read_architecture(
            state,
            positions if positions is not None else metadata.get("positional"),
            patch if patch is not None else metadata.get("patch_size"),
        )
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"file={path} cannot be imported: {error}") from error

    model = MynaModel.untrained(architecture).eval()
    fill(model, _rename(state, model, source=path), source=path)
    model.provenance = {
        "imported_from": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "layout": "Myna-RPE, October 2025" if _is_rpe(state) else "Myna",
        "head": "published" if "linear_head.weight" in state else "untrained",
    }
    return model


def _read_architecture(
    state: Mapping[str, Tensor], positions: str | None, patch: str | None
) -> Architecture:
    """Return the architecture that the names and shapes of a state dict, and the answers, give."""
    dim, patch_size = _matrix_shape(state, _ANCHOR)
    inner, _ = _matrix_shape(state, "transformer.layers.0.0.to_qkv.weight")
    mlp_dim, _ = _matrix_shape(state, "transformer.layers.0.1.net.1.weight")
    layers = {name.split(".")[2] for name in state if name.startswith("transformer.layers.")}
    if inner % (3 * _HEAD_DIM):
        raise CheckpointError(
            f"to_qkv={inner} rows is not a multiple of {3 * _HEAD_DIM} (3 x head_dim 64), "
            "which every published model has; this layout is not known."
        )
    heads = inner // (3 * _HEAD_DIM)
    projection: dict[str, int] = {}
    if "linear_head.weight" in state:
        projection = {"projection_dim": _matrix_shape(state, "linear_head.weight")[0]}
    return Architecture(
        model=ModelConfig(
            n_mels=_N_MELS,
            patches=_choose_patches(state, patch, patch_size),
            dim=dim,
            depth=len(layers),
            heads=heads,
            head_dim=_HEAD_DIM,
            mlp_dim=mlp_dim,
            pooling="cls" if "cls_token" in state else "mean",
            positions=PUBLISHED_POSITIONS[_choose_positions(state, positions)](heads),
            **projection,
        ),
        front_end=FRONT_ENDS["rpecl-44k" if _is_rpe(state) else "myna-16k"],
    )


def _is_rpe(state: Mapping[str, Tensor]) -> bool:
    return not state.keys().isdisjoint(("cls_token", "y_pos_embedding", _NEVER_APPLIED))


def _choose_positions(state: Mapping[str, Tensor], answer: str | None) -> str:
    """Return the name of the positions: what the tensors prove, else what the answer says."""
    if answer is not None:
        answer = answer.lower()
        if answer not in PUBLISHED_POSITIONS:
            raise CheckpointError(unknown_name("positions", answer, PUBLISHED_POSITIONS))
    if "y_pos_embedding" in state:
        proven, evidence = "1d-alibi", "it has y_pos_embedding"
    elif not _is_rpe(state):
        proven, evidence = "sinusoidal", "it is a Myna without a class token"
    elif answer == "1d-alibi":
        raise CheckpointError(
            "positions='1d-alibi' need y_pos_embedding, which the file lacks; "
            "say 2d-alibi or sinusoidal."
        )
    elif answer is None:
        raise CheckpointError(
            "2D ALiBi and sinusoidal positions leave the same tensors; "
            "say which it was: --positions 2d-alibi or --positions sinusoidal."
        )
    else:
        return answer
    if answer not in (None, proven):
        raise CheckpointError(
            f"positions={answer!r} contradict the file ({evidence}); say {proven} or nothing."
        )
    return proven


def _choose_patches(
    state: Mapping[str, Tensor], answer: str | None, patch_size: int
) -> tuple[PatchShape, ...]:
    """Return the patch shapes; every published Myna-RPE and hybrid begins with squares."""
    hybrid = "to_patch_embedding_b.2.weight" in state
    if answer is not None:
        shape = _parse_patch(answer)
    elif hybrid or _is_rpe(state):
        shape = _SQUARE
    else:
        raise CheckpointError(
            f"patches of {patch_size} values can be square or vertical; "
            "say which they were: --patch 16x16 or --patch 128x2."
        )
    if shape.mel_bands * shape.frames != patch_size:
        raise CheckpointError(
            f"patch={shape} holds {shape.mel_bands * shape.frames} "
            f"values, but the file's patches hold {patch_size}; give a shape that does."
        )
    return (shape, _VERTICAL) if hybrid else (shape,)


def _parse_patch(text: str) -> PatchShape:
    match = re.fullmatch(r"\[?\s*(\d+)\s*[x,]\s*(\d+)\s*\]?", text)  # 16x16, or metadata's [16, 16]
    if match is None:
        raise CheckpointError(
            f"patch={text!r} is not a shape; write mel bands x frames: 16x16 or 128x2."
        )
    return PatchShape(mel_bands=int(match[1]), frames=int(match[2]))


def _matrix_shape(state: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    if name not in state or state[name].ndim != 2:
        raise CheckpointError(f"it has no matrix {name}; the file must hold the whole model.")
    rows, columns = state[name].shape
    return rows, columns


def _rename(state: Mapping[str, Tensor], model: MynaModel, *, source: Path) -> dict[str, Tensor]:
    """Return the published tensors under our names and in our shapes.

    Raises:
        CheckpointError: tensors are missing or left over; the first few are named as published.
    """
    ours = model.state_dict()
    theirs = {name: _their_name(name) for name in ours}
    optional = {"linear_head.weight", "linear_head.bias"}
    if optional.isdisjoint(state):  # saved without the head, which only the objective sees
        state = {**state, **{theirs[name]: ours[name] for name in ("head.weight", "head.bias")}}
    missing = [name for name in theirs.values() if name not in state]
    extra = state.keys() - theirs.values() - {_NEVER_APPLIED}
    if missing or extra:
        raise CheckpointError(
            f"file={source} is not a published layout: it lacks {first_few(missing) or 'nothing'} "
            f"and adds {first_few(sorted(extra)) or 'nothing'}; give the whole, unchanged state."
        )
    tensors = {name: state[theirs[name]] for name in ours}
    if "encoder.cls" in tensors:  # (1, 1, dim)
        tensors["encoder.cls"] = tensors["encoder.cls"].flatten()
    # A hybrid's published head reads the embedding of its square patches only.
    absent = ours["head.weight"].shape[1] - tensors["head.weight"].shape[-1]
    if absent > 0:
        tensors["head.weight"] = torch.nn.functional.pad(tensors["head.weight"], (0, absent))
    return tensors


def _their_name(ours: str) -> str:
    for pattern, replacement in _THEIR_NAMES:
        if re.match(pattern, ours):
            return re.sub(pattern, replacement, ours)
    raise AssertionError(f"{ours} is part of no published model")


# --- files ---------------------------------------------------------------------------------------


def _read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a file's tensors by their published names, and its metadata as plain text."""
    if not path.is_file():
        raise CheckpointError(f"file={path} does not exist; give a .safetensors or .pt file.")
    state: object
    metadata: dict[str, str] = {}
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                metadata = {name: _plain(text) for name, text in (file.metadata() or {}).items()}
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"file={path} pickles more than tensors (a whole module, say), and unpickling can run "
            "any code its author chose; export model.state_dict() on a machine that trusts it."
        ) from error
    except Exception as error:  # what a damaged file does to torch.load has no common class
        reason = re.split(r"\n|\. ", str(error).strip())[0] or type(error).__name__
        raise CheckpointError(
            f"file={path} is not a readable state dict ({reason}); download or export it again."
        ) from error
    return _without_prefix(_innermost(state, path)), metadata


def _innermost(state: object, path: Path) -> dict[str, Tensor]:
    """Return the state dict itself, out of the training checkpoint it may be nested in."""
    while isinstance(state, Mapping):
        nested = [key for key in ("state_dict", "model") if isinstance(state.get(key), Mapping)]
        if not nested:
            break
        state = state[nested[0]]
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise CheckpointError(
            f"file={path} does not hold a mapping of names to tensors; export model.state_dict()."
        )
    return dict(state)


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state without the prefix ("module.", "model.") that all its names share."""
    prefixes = [name.removesuffix(_ANCHOR) for name in state if name.endswith(_ANCHOR)]
    if len(prefixes) == 1 and all(name.startswith(prefixes[0]) for name in state):
        return {name.removeprefix(prefixes[0]): value for name, value in state.items()}
    return state


def _plain(text: str) -> str:
    """Return metadata text without the JSON quotes it may carry."""
    try:
        value: Any = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str) else text

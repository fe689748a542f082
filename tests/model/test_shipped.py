"""The weights that come with the package."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from myna_rpe import load_model
from myna_rpe.model.manifest import Manifest
from myna_rpe.model.registry import DEFAULT_MODEL, resolve_model

from ..synthetic_music import SAMPLE_RATE, chord

GOLDEN = Path(__file__).parents[1] / "goldens" / f"{DEFAULT_MODEL}.json"


def fixture() -> np.ndarray:
    """Twenty seconds: four chords, one after the other."""
    return np.concatenate([chord(number, 5.0) for number in (0, 3, 5, 8)])


def test_the_default_weights_give_the_documented_embedding() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    embedder = load_model()
    assert embedder.space_id == golden["space_id"]
    embedding = embedder.embed(fixture(), sample_rate=SAMPLE_RATE)
    np.testing.assert_allclose(embedding, golden["embedding"], atol=2e-3)


def test_the_default_weights_are_small_and_in_half_precision() -> None:
    weights = resolve_model(DEFAULT_MODEL) / "model.safetensors"
    assert weights.stat().st_size <= 12e6
    assert {str(tensor.dtype) for tensor in load_file(weights).values()} == {"torch.float16"}


@pytest.mark.parametrize("fact", ["tracks", "hours", "fingerprint"])
def test_the_default_weights_say_what_they_were_trained_on_and_name_no_machine(fact: str) -> None:
    provenance = Manifest.read(resolve_model(DEFAULT_MODEL)).provenance
    assert provenance["data"][fact]
    assert provenance["config"]["recipe"] == DEFAULT_MODEL
    assert "/" not in json.dumps(provenance)


def test_the_card_names_the_space_it_describes() -> None:
    folder = resolve_model(DEFAULT_MODEL)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert Manifest.read(folder).space_id in card

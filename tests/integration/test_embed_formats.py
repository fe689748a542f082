"""Files of several formats -> table -> neighbours, through the command line and the library."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from myna_rpe import load_model
from myna_rpe.embedder import Embedder
from myna_rpe.embedding_table import EmbeddingTable
from myna_rpe.model.checkpoint import MynaModel, models_folder

from ..embedding_support import Ended, chord, install_default, run_myna, small_model

FORMATS = {"wav": 16_000, "flac": 44_100, "ogg": 22_050, "mp3": 48_000}
PITCHES = (110.0, 311.0, 880.0)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Return three pieces, each in four formats and sample rates."""
    install_default()
    for extension, rate in FORMATS.items():
        folder = tmp_path / "music" / extension
        folder.mkdir(parents=True)
        for pitch in PITCHES:
            soundfile.write(
                folder / f"{pitch:g}.{extension}", chord(2, pitch=pitch, rate=rate), rate
            )
    return tmp_path / "music"


@pytest.fixture
def myna(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    return lambda *arguments: run_myna(capsys, *arguments)


def test_command_line_and_library_give_one_vector(
    myna: Callable[..., Ended], music: Path, tmp_path: Path
) -> None:
    assert myna("embed", music, "-o", tmp_path / "table.parquet").code == 0
    table = EmbeddingTable.read(tmp_path / "table.parquet")
    assert len(table.rows) == len(FORMATS) * len(PITCHES)
    model = load_model("small")
    by_library = {record.path: record for record in model.embed_many(music.rglob("*.*"))}
    for row in table.rows:
        alone = model.embed(row.path)
        np.testing.assert_allclose(row.embedding, alone, atol=1e-5, rtol=0)
        np.testing.assert_allclose(by_library[row.path].embedding, alone, atol=1e-5, rtol=0)
        assert row.duration == pytest.approx(2, abs=0.1)


def test_a_quieter_copy_is_nearest_to_its_own_piece(
    myna: Callable[..., Ended], music: Path, tmp_path: Path
) -> None:
    table = tmp_path / "table.parquet"
    assert myna("embed", music / "wav", music / "mp3", "-o", table).code == 0
    for pitch in PITCHES:
        outside = tmp_path / "outside.wav"
        waveform, rate = soundfile.read(music / "wav" / f"{pitch:g}.wav", dtype="float32")
        soundfile.write(outside, 0.5 * waveform, rate, subtype="FLOAT")
        ended = myna("similar", outside, "--in", table, "-k", 1, "--json")
        (nearest,) = json.loads(ended.out)
        assert Path(nearest["path"]).name == f"{pitch:g}.wav"


def test_a_saved_model_embeds_as_the_one_in_memory(music: Path) -> None:
    path = music / "flac" / "311.flac"
    in_memory = Embedder(small_model())
    loaded = load_model("small")
    assert loaded.space_id == in_memory.space_id
    assert np.array_equal(loaded.embed(path), in_memory.embed(path))


def test_every_kernel_gives_the_same_vector_of_a_full_sized_model(music: Path) -> None:
    MynaModel.untrained("tiny-16k").save(models_folder() / "tiny")
    path = music / "flac" / "311.flac"
    expected = load_model("tiny").embed(path)
    for kernel in ("reference", "dense", "strided", "chunked"):
        vector = load_model("tiny", kernel=kernel).embed(path)
        np.testing.assert_allclose(vector, expected, atol=1e-5, rtol=0)

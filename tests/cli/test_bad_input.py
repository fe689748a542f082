"""Bad input to `myna embed`: one clear sentence and exit 1, or a row of the failures in a batch."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from myna_rpe.embedding_table import EmbeddingTable
from myna_rpe.model.checkpoint import models_folder

from ..embedding_support import (
    RATE,
    Ended,
    assert_one_sentence,
    chord,
    install_default,
    run_myna,
    write_chord,
)

Myna = Callable[..., Ended]
NOBODY = 65534


@pytest.fixture
def myna(capsys: pytest.CaptureFixture[str]) -> Myna:
    install_default()
    return lambda *arguments: run_myna(capsys, *arguments)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "table.parquet"


# --- files that are no music ---------------------------------------------------------------------


def truncated_mp3(path: Path) -> None:
    soundfile.write(path, chord(20), RATE, format="MP3")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])


def zero_bytes(path: Path) -> None:
    path.touch()


def text(path: Path) -> None:
    path.write_text("These are lyrics.\n" * 100)


def nan(path: Path) -> None:
    samples = chord(1)
    samples[8000] = np.nan
    soundfile.write(path, samples, RATE, subtype="FLOAT")


def infinity(path: Path) -> None:
    samples = chord(1)
    samples[8000] = np.inf
    soundfile.write(path, samples, RATE, subtype="FLOAT")


def no_channels(path: Path) -> None:
    soundfile.write(path, chord(0.1), RATE)
    content = bytearray(path.read_bytes())
    content[22:24] = (0).to_bytes(2, "little")  # the format chunk's number of channels
    path.write_bytes(content)


def no_samples(path: Path) -> None:
    soundfile.write(path, chord(0), RATE)


def no_audio(path: Path) -> None:
    """A video without sound."""
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 16
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


BAD_FILES = [
    (truncated_mp3, "bad.mp3", "truncated"),
    (zero_bytes, "bad.flac", "empty"),
    (text, "bad.mp3", "is not audio"),
    (nan, "bad.wav", "NaN or infinity"),
    (infinity, "bad.wav", "NaN or infinity"),
    (no_channels, "bad.wav", "bad.wav"),
    (no_samples, "bad.wav", "no samples"),
    (no_audio, "bad.mp4", "bad.mp4"),
]
IDS = [make.__name__ for make, _, _ in BAD_FILES]


@pytest.mark.parametrize(("make", "name", "phrase"), BAD_FILES, ids=IDS)
def test_one_bad_file_is_one_sentence(
    myna: Myna,
    tmp_path: Path,
    table: Path,
    make: Callable[[Path], None],
    name: str,
    phrase: str,
) -> None:
    make(tmp_path / name)
    ended = myna("embed", tmp_path / name, "-o", table)
    assert_one_sentence(ended, phrase, name)


@pytest.mark.parametrize(("make", "name", "phrase"), BAD_FILES, ids=IDS)
def test_a_bad_file_in_a_batch_is_a_row_with_the_reason(
    myna: Myna,
    tmp_path: Path,
    table: Path,
    make: Callable[[Path], None],
    name: str,
    phrase: str,
) -> None:
    write_chord(tmp_path / "music" / "good.wav", 0.3)
    make(tmp_path / "music" / name)
    ended = myna("embed", tmp_path / "music", "-o", table, "--json")
    assert ended.code == 0
    summary = json.loads(ended.out)
    assert (summary["found"], summary["embedded"], summary["failed"]) == (2, 1, 1)
    rows = {row.path.name: row for row in EmbeddingTable.read(table).rows}
    assert phrase in rows[name].error
    assert rows["good.wav"].embedding is not None


def test_nothing_but_bad_files_is_one_more_sentence_and_exit_1(
    myna: Myna, tmp_path: Path, table: Path
) -> None:
    for index in range(3):
        (tmp_path / f"{index}.mp3").write_text(f"lyrics {index}")
    ended = myna("embed", tmp_path, "-o", table)
    assert ended.code == 1
    assert ended.err.count("failed: ") == 3
    assert ended.err.splitlines()[-1].startswith("error: files=3 could not be embedded")


def test_a_missing_file_is_one_sentence(myna: Myna, tmp_path: Path, table: Path) -> None:
    ended = myna("embed", tmp_path / "missing.mp3", "-o", table)
    assert_one_sentence(ended, "missing.mp3", "does not exist")
    assert not table.exists()


def test_a_folder_without_audio_is_one_sentence(myna: Myna, tmp_path: Path, table: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "readme.txt").write_text("hello")
    ended = myna("embed", tmp_path / "docs", "-o", table)
    assert_one_sentence(ended, "docs", "no audio file")


@pytest.mark.parametrize("samples", [1, 10])
@pytest.mark.parametrize("rate", [8_000, 192_000])
def test_a_file_of_few_samples_is_embedded(
    myna: Myna, tmp_path: Path, table: Path, samples: int, rate: int
) -> None:
    soundfile.write(tmp_path / "short.wav", chord(1)[100 : 100 + samples], rate)
    ended = myna("embed", tmp_path / "short.wav", "-o", table)
    assert ended.code == 0, ended.err
    (row,) = EmbeddingTable.read(table).rows
    assert np.isfinite(row.embedding).all()


def test_cyclic_links_end(myna: Myna, tmp_path: Path, table: Path) -> None:
    music = tmp_path / "music"
    write_chord(music / "album" / "good.wav", 0.3)
    (music / "album" / "again").symlink_to(music, target_is_directory=True)
    (music / "self.wav").symlink_to("self.wav")
    ended = myna("embed", music, "-o", table, "--json")
    summary = json.loads(ended.out)
    assert summary["found"] == summary["embedded"] + summary["failed"]
    assert summary["embedded"] == 1


def test_any_name_is_embedded_and_kept(myna: Myna, tmp_path: Path, table: Path) -> None:
    music = tmp_path / "music"
    names = ["夜に駆ける.wav", os.fsdecode(b"caf\xe9.wav"), "a\nb.wav", "-x 'y'.wav", "[red].wav"]
    for index, name in enumerate(names):
        shutil.copyfile(
            write_chord(tmp_path / "plain.wav", 0.3, pitch=200 + index), music_file(music, name)
        )
    (music / os.fsdecode(b"b\xe4d.wav")).write_text("no music")
    ended = myna("embed", music, "-o", table, "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["embedded"] == len(names)
    assert "failed: file=" in ended.err
    rows = EmbeddingTable.read(table).rows
    assert {row.path.name for row in rows if row.embedding is not None} == set(names)
    assert all(row.path.exists() for row in rows)


def music_file(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    return folder / name


@contextmanager
def as_nobody() -> Iterator[None]:
    """Give up root's right to read everything, if this is root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
def test_a_file_without_read_permission_is_one_sentence(
    myna: Myna, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as name:  # only its owner may enter pytest's own folder
        folder = Path(name)
        monkeypatch.setenv("MYNA_HOME", name)
        install_default()
        secret = write_chord(folder / "secret.wav", 0.3)
        # What is imported on first use is imported now: nobody may not read this installation.
        assert myna("embed", secret, "-o", folder / "warm.parquet").code == 0
        if os.geteuid() == 0:
            for path in (folder, *folder.rglob("*")):
                shutil.chown(path, NOBODY)
        secret.chmod(0)
        with as_nobody():
            ended = myna("embed", secret, "-o", folder / "table.parquet")
    assert_one_sentence(ended, "secret.wav", "ermission")


# --- models --------------------------------------------------------------------------------------


def test_an_unknown_model_lists_the_valid_names(myna: Myna, tmp_path: Path, table: Path) -> None:
    good = write_chord(tmp_path / "good.wav", 0.3)
    ended = myna("embed", good, "-o", table, "--model", "smal")
    assert_one_sentence(ended, "model='smal' is unknown; did you mean 'small'?", "tiny-16k")


def test_an_architecture_has_no_weights(myna: Myna, tmp_path: Path, table: Path) -> None:
    good = write_chord(tmp_path / "good.wav", 0.3)
    ended = myna("embed", good, "-o", table, "--model", "tiny-16k")
    assert_one_sentence(ended, "without weights", "myna pretrain")


@pytest.mark.parametrize(
    ("file", "damage", "phrase"),
    [
        ("model.safetensors", lambda content: content[:1000], "model.safetensors"),
        ("model.safetensors", lambda content: content[:-1] + b"\x55", "space_id"),
        ("model.safetensors", lambda content: b"", "model.safetensors"),
        ("config.json", lambda content: content[:20], "config.json"),
        ("config.json", lambda content: content.replace(b'"depth"', b'"dpeth"'), "dpeth"),
    ],
    ids=["truncated", "flipped", "empty", "config-truncated", "config-key"],
)
def test_a_damaged_checkpoint_is_one_sentence(
    myna: Myna,
    tmp_path: Path,
    table: Path,
    file: str,
    damage: Callable[[bytes], bytes],
    phrase: str,
) -> None:
    good = write_chord(tmp_path / "good.wav", 0.3)
    path = models_folder() / "small" / file
    if file == "model.safetensors" and phrase == "space_id":
        # The very last bytes belong to the final tensor, the encoder's or the head's: hit them all.
        content = bytearray(path.read_bytes())
        header = 8 + int.from_bytes(content[:8], "little")
        content[header:] = bytes(len(content) - header)
        path.write_bytes(content)
    else:
        path.write_bytes(damage(path.read_bytes()))
    ended = myna("embed", good, "-o", table, "--model", "small")
    assert_one_sentence(ended, phrase)
    assert not table.exists()


# --- the output ----------------------------------------------------------------------------------


def test_an_output_in_a_missing_folder_is_one_sentence(myna: Myna, tmp_path: Path) -> None:
    good = write_chord(tmp_path / "good.wav", 0.3)
    ended = myna("embed", good, "-o", tmp_path / "nowhere" / "table.parquet")
    assert_one_sentence(ended, "cannot be written: No such file or directory")


def test_an_output_that_is_something_else_is_not_overwritten(
    myna: Myna, tmp_path: Path, table: Path
) -> None:
    good = write_chord(tmp_path / "good.wav", 0.3)
    table.write_text("my diary")
    assert_one_sentence(myna("embed", good, "-o", table), "not a table of embeddings")
    assert table.read_text() == "my diary"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("may not mount a file system here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_a_full_disk_is_one_sentence_and_nothing_half_written_stays(
    myna: Myna, tmp_path: Path, small_disk: Path
) -> None:
    (small_disk / "ballast").write_bytes(bytes(60 * 1024))
    for index in range(3):
        write_chord(tmp_path / "music" / f"{index}.wav", 0.3, pitch=200 + 30 * index)
    ended = myna("embed", tmp_path / "music", "-o", small_disk / "table.parquet")
    assert_one_sentence(ended, "No space left on device; free some space and run the same command")
    assert [path.name for path in small_disk.rglob("*")] == ["ballast"]
    (small_disk / "ballast").unlink()
    assert myna("embed", tmp_path / "music", "-o", small_disk / "table.parquet").code == 0


def test_a_refused_write_is_one_sentence_and_nothing_half_written_stays(
    myna: Myna, tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = write_chord(tmp_path / "good.wav", 0.3)

    def fsync(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    ended = myna("embed", good, "-o", table)
    assert_one_sentence(ended, "No space left on device")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good.wav", "home"]

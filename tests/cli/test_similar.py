import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from myna_rpe.embedding_table import EmbeddingTable
from myna_rpe.model.checkpoint import models_folder

from ..embedding_support import (
    RATE,
    Ended,
    assert_one_sentence,
    install,
    install_default,
    write_chord,
)

Myna = Callable[..., Ended]


@pytest.fixture
def music(tmp_path: Path) -> Path:
    install_default()
    for index in range(12):
        write_chord(tmp_path / "music" / f"{index:02}.wav", 0.5, pitch=200 + 30 * index)
    return tmp_path / "music"


@pytest.fixture
def table(myna: Myna, music: Path, tmp_path: Path) -> Path:
    path = tmp_path / "table.parquet"
    assert myna("embed", music, "-o", path, "--model", "small").code == 0
    return path


def test_neighbours_are_aligned_lines_on_stdout(myna: Myna, music: Path, table: Path) -> None:
    ended = myna("similar", music / "03.wav", "--in", table, "-k", 10)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert len(lines) == 10
    assert len({line.index(str(music)) for line in lines}) == 1
    ranks, similarities, paths = zip(*(line.split() for line in lines), strict=True)
    assert ranks == tuple(map(str, range(1, 11)))
    assert list(map(float, similarities)) == sorted(map(float, similarities), reverse=True)
    assert str(music / "03.wav") not in paths


def test_json_says_the_same_as_the_table_itself(myna: Myna, music: Path, table: Path) -> None:
    ended = myna("similar", music / "03.wav", "--in", table, "-k", 4, "--json")
    read = EmbeddingTable.read(table)
    row = read.find(music / "03.wav")
    expected = [
        {"rank": it.rank, "similarity": round(it.similarity, 6), "path": str(it.path)}
        for it in read.nearest(row.embedding, 4, exclude=row)
    ]
    assert json.loads(ended.out) == expected


def test_k_beyond_the_table_gives_all_others(myna: Myna, music: Path, table: Path) -> None:
    ended = myna("similar", music / "03.wav", "--in", table, "-k", 99, "--json")
    assert len(json.loads(ended.out)) == 11


def test_a_file_outside_of_the_table_is_embedded_as_the_table_was(
    myna: Myna, music: Path, tmp_path: Path
) -> None:
    outside = shutil.copyfile(music / "03.wav", tmp_path / "outside.wav")
    table = tmp_path / "windows.parquet"
    myna("embed", music, "-o", table, "--window", 0.2, "--layer", 1)
    ended = myna("similar", outside, "--in", table, "-k", 1, "--json")
    (nearest,) = json.loads(ended.out)
    assert nearest["path"] == str(music / "03.wav")
    assert nearest["similarity"] == pytest.approx(1, abs=1e-5)


def test_a_copy_in_the_table_is_a_neighbour_and_the_track_itself_is_not(
    myna: Myna, music: Path, tmp_path: Path
) -> None:
    shutil.copyfile(music / "03.wav", music / "copy.wav")
    myna("embed", music, "-o", tmp_path / "copies.parquet")
    ended = myna("similar", music / "03.wav", "--in", tmp_path / "copies.parquet", "--json")
    paths = [neighbour["path"] for neighbour in json.loads(ended.out)]
    assert paths[0] == str(music / "copy.wav")
    assert str(music / "03.wav") not in paths


def test_several_tables_of_one_space_are_searched_together(
    myna: Myna, music: Path, table: Path, tmp_path: Path
) -> None:
    more = write_chord(tmp_path / "more" / "x.wav", 0.5, pitch=291)
    myna("embed", more, "-o", tmp_path / "more.parquet")
    ended = myna(
        "similar", music / "03.wav", "--in", table, "--in", tmp_path / "more.parquet", "-k", 99
    )
    assert len(ended.out.splitlines()) == 12
    assert str(more) in ended.out


def test_tables_of_different_spaces_do_not_mix(
    myna: Myna, music: Path, table: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.parquet"
    myna("embed", music, "-o", other, "--layer", 1)
    ended = myna("similar", music / "03.wav", "--in", table, "--in", other)
    assert_one_sentence(ended, "/layer1", "embeddings of different spaces do not mix")


def test_a_model_of_another_space_is_refused(myna: Myna, table: Path, tmp_path: Path) -> None:
    outside = write_chord(tmp_path / "outside.wav", 0.5)
    install("other", seed=1)
    ended = myna("similar", outside, "--in", table, "--model", "other")
    assert_one_sentence(ended, "of model other, and embeddings of different spaces do not mix")


def test_a_silent_track_is_answered_with_a_warning(myna: Myna, table: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    ended = myna("similar", tmp_path / "silent.wav", "--in", table, "-k", 2)
    assert ended.code == 0
    assert len(ended.out.splitlines()) == 2
    assert ended.err.startswith("warning: ")
    assert "silent.wav: the track is silent" in ended.err


def test_a_vanished_model_is_named(myna: Myna, table: Path, tmp_path: Path) -> None:
    outside = write_chord(tmp_path / "outside.wav", 0.5)
    shutil.rmtree(models_folder() / "small")
    assert_one_sentence(myna("similar", outside, "--in", table), "model='small' is unknown")


def test_a_track_that_is_nowhere_is_refused(myna: Myna, table: Path, tmp_path: Path) -> None:
    ended = myna("similar", tmp_path / "nowhere.wav", "--in", table)
    assert_one_sentence(ended, "nowhere.wav' is neither in the table nor a file")


def test_a_track_that_failed_says_why(myna: Myna, music: Path, tmp_path: Path) -> None:
    (music / "bad.wav").write_text("no music")
    myna("embed", music, "-o", tmp_path / "t.parquet")
    ended = myna("similar", music / "bad.wav", "--in", tmp_path / "t.parquet")
    assert_one_sentence(ended, "bad.wav' has no embedding: ")


def test_a_missing_and_a_damaged_table_are_refused(
    myna: Myna, music: Path, table: Path, tmp_path: Path
) -> None:
    ended = myna("similar", music / "03.wav", "--in", tmp_path / "missing.parquet")
    assert_one_sentence(ended, "missing.parquet' does not exist; make it with `myna embed`")
    table.write_bytes(table.read_bytes()[:100])
    ended = myna("similar", music / "03.wav", "--in", table)
    assert_one_sentence(ended, "not a table of embeddings, or damaged")


def test_names_that_are_not_utf8_are_printed_escaped_and_japanese_ones_as_they_are(
    myna: Myna, tmp_path: Path
) -> None:
    install_default()
    music = tmp_path / "music"
    write_chord(music / "夜に駆ける.wav", 0.5, pitch=300)
    odd = music / os.fsdecode(b"caf\xe9.wav")
    shutil.copyfile(write_chord(tmp_path / "plain.wav", 0.5, pitch=200), odd)
    write_chord(music / "query.wav", 0.5, pitch=240)
    myna("embed", music, "-o", tmp_path / "t.parquet")
    for arguments in ((), ("--json",)):
        ended = myna("similar", music / "query.wav", "--in", tmp_path / "t.parquet", *arguments)
        assert ended.code == 0
        assert "夜に駆ける.wav" in ended.out
        assert "caf%E9.wav" in ended.out
    ended = myna("similar", odd, "--in", tmp_path / "t.parquet", "--json")
    assert len(json.loads(ended.out)) == 2

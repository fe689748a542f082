import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myna_rpe import __version__
from myna_rpe.embedding_table import (
    EmbeddingTable,
    Header,
    Row,
    path_from_text,
    path_to_text,
)
from myna_rpe.errors import EmbeddingError

TASKS = Path("/proc/self/task")
HEADER = Header("myna-0123456789abcdef", dim=4, model="small")
LATIN = Path(os.fsdecode(b"caf\xe9/\xff.mp3"))


def row(name: str | Path, vector: object = (1, 0, 0, 0), **facts: object) -> Row:
    facts = {"duration": 1.5, "content_hash": "ab" * 32, "size": 7, "mtime_ns": 10**18 + 1} | facts
    return Row(Path(name), np.array(vector, np.float32), **facts)


@pytest.fixture
def table() -> EmbeddingTable:
    rows = [
        row("a.mp3"),
        Row(Path("broken.mp3"), error="file='broken.mp3' is empty; fetch it again."),
        row("夜に駆ける.flac", (0.6, 0.8, 0, 0), warning="the track is silent."),
        row(LATIN, (-1, 0, 0, 0)),
    ]
    return EmbeddingTable(HEADER, rows)


def assert_same(one: Row, other: Row) -> None:
    assert replace(one, embedding=None).__dict__ == replace(other, embedding=None).__dict__
    if one.embedding is None:
        assert other.embedding is None
    else:
        assert np.array_equal(one.embedding, other.embedding)


# --- the file ------------------------------------------------------------------------------------


def test_a_table_comes_back_as_it_was_written(table: EmbeddingTable, tmp_path: Path) -> None:
    table.write(tmp_path / "table.parquet")
    again = EmbeddingTable.read(tmp_path / "table.parquet")
    assert again.header == table.header
    for one, other in zip(table.rows, again.rows, strict=True):
        assert_same(one, other)


@pytest.mark.skipif(not TASKS.exists(), reason="threads are counted in /proc")
def test_reading_a_table_starts_no_thread(table: EmbeddingTable, tmp_path: Path) -> None:
    table.write(tmp_path / "table.parquet")
    script = (
        "import sys; from pathlib import Path; from myna_rpe.embedding_table import read_parquet;"
        f"count = lambda: len(list(Path({str(TASKS)!r}).iterdir())); before = count();"
        "rows = read_parquet(Path(sys.argv[1])).num_rows; print(rows, count() - before)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "table.parquet")]
    assert subprocess.check_output(command, text=True).split() == ["4", "0"]


@pytest.mark.parametrize("layer", [None, 3])
@pytest.mark.parametrize("windows", [None, (8.2, 4.1)])
def test_the_header_comes_back(
    tmp_path: Path, layer: int | None, windows: tuple[float, float] | None
) -> None:
    header = replace(HEADER, layer=layer, windows=windows)
    EmbeddingTable(header, []).write(tmp_path / "table.parquet")
    assert EmbeddingTable.read(tmp_path / "table.parquet").header == header


def test_any_parquet_reader_sees_the_documented_columns(
    table: EmbeddingTable, tmp_path: Path
) -> None:
    table.write(tmp_path / "table.parquet")
    arrow = pq.read_table(tmp_path / "table.parquet")
    assert {name: str(arrow.schema.field(name).type) for name in arrow.column_names} == {
        "path": "string",
        "embedding": "fixed_size_list<element: float>[4]",
        "duration": "double",
        "space_id": "string",
        "content_hash": "string",
        "error": "string",
        "warning": "string",
        "size": "int64",
        "mtime_ns": "int64",
    }
    assert set(arrow.column("space_id").to_pylist()) == {HEADER.space_id}
    assert arrow.column("embedding").to_pylist()[1] is None
    metadata = arrow.schema.metadata
    assert metadata[b"myna.space_id"] == b'"myna-0123456789abcdef"'
    assert metadata[b"myna.model"] == b'"small"'
    assert metadata[b"myna.version"] == f'"{__version__}"'.encode()
    assert metadata[b"myna.format_version"] == b"1"


def test_only_failures_make_a_table_too(tmp_path: Path) -> None:
    EmbeddingTable(HEADER, [Row(Path("a"), error="no")]).write(tmp_path / "table.parquet")
    again = EmbeddingTable.read(tmp_path / "table.parquet")
    assert again.embeddings.shape == (0, 4)
    assert again.nearest(np.ones(4, np.float32), 3) == []


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_any_file_name_survives_as_text(name: bytes) -> None:
    path = Path(os.fsdecode(name))
    text = path_to_text(path)
    text.encode("utf-8")
    assert path_from_text(text) == path


def test_utf8_names_are_stored_as_they_are() -> None:
    assert path_to_text(Path("音楽/100% file:.mp3")) == "音楽/100% file:.mp3"
    assert path_to_text(LATIN) == "file:caf%E9/%FF.mp3"
    assert path_to_text(Path("file:x.mp3")) == "file:file%3Ax.mp3"


# --- refusals ------------------------------------------------------------------------------------


def test_a_missing_table_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match=r"does not exist; make it with `myna embed`"):
        EmbeddingTable.read(tmp_path / "table.parquet")


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "folder", "header", "data"])
def test_a_damaged_table_is_refused(table: EmbeddingTable, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "table.parquet"
    table.write(path)
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        middle = len(content) // 2
        vector = content.index(np.array([0.6, 0.8], np.float32).tobytes())
        damaged = {
            "truncated": content[:middle],
            "text": b"hello",
            "empty": b"",
            "header": content[:-100]
            + bytes(255 - byte for byte in content[-100:-8])
            + content[-8:],
            "data": content[:vector] + bytes([content[vector] ^ 1]) + content[vector + 1 :],
        }
        path.write_bytes(damaged[damage])
    with pytest.raises(EmbeddingError, match="not a table of embeddings, or damaged; move it"):
        EmbeddingTable.read(path)


def test_a_foreign_parquet_file_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "foreign.parquet")
    with pytest.raises(EmbeddingError, match="not a table of embeddings"):
        EmbeddingTable.read(tmp_path / "foreign.parquet")


def test_a_table_of_a_later_format_is_refused(table: EmbeddingTable, tmp_path: Path) -> None:
    metadata = HEADER.to_metadata() | {"myna.format_version": "2"}
    arrow = table.to_arrow().replace_schema_metadata(metadata)
    pq.write_table(arrow, tmp_path / "later.parquet")
    with pytest.raises(EmbeddingError, match=r"format_version=2 .* newer"):
        EmbeddingTable.read(tmp_path / "later.parquet")


def test_a_table_that_mixes_spaces_is_refused(table: EmbeddingTable, tmp_path: Path) -> None:
    other = EmbeddingTable(replace(HEADER, space_id="myna-other"), table.rows)
    mixed = pa.concat_tables([table.to_arrow(), other.to_arrow().replace_schema_metadata(None)])
    mixed = mixed.replace_schema_metadata(table.to_arrow().schema.metadata)
    pq.write_table(mixed, tmp_path / "mixed.parquet")
    with pytest.raises(EmbeddingError, match="mixes embeddings of myna-0123456789abcdef and"):
        EmbeddingTable.read(tmp_path / "mixed.parquet")
    with pytest.raises(EmbeddingError, match="different spaces do not mix; use the model"):
        EmbeddingTable.join([table, other])


def test_tables_of_one_space_join(table: EmbeddingTable) -> None:
    joined = EmbeddingTable.join([table, EmbeddingTable(HEADER, [row("z.mp3")])])
    assert [row.path.name for row in joined.rows][-1] == "z.mp3"
    assert joined.embeddings.shape == (4, 4)


def test_a_table_in_a_missing_folder_is_refused(table: EmbeddingTable, tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match="cannot be written: No such file or directory"):
        table.write(tmp_path / "nowhere" / "table.parquet")


def test_a_failed_write_leaves_the_table_before_it(
    table: EmbeddingTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.parquet"
    table.write(path)
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EmbeddingError, match="No space left on device; free some space"):
        EmbeddingTable(HEADER, []).write(path)
    assert path.read_bytes() == before
    assert list(tmp_path.glob("*table*")) + list(tmp_path.glob(".*")) == [path]


# --- neighbours ----------------------------------------------------------------------------------


def test_neighbours_are_those_of_a_plain_loop(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(200, 4)).astype(np.float32)
    table = EmbeddingTable(HEADER, [row(f"{i}.mp3", vector) for i, vector in enumerate(vectors)])
    query = table.rows[17]

    def cosine(other: np.ndarray) -> float:
        one = vectors[17]
        return float(one @ other / np.sqrt(one @ one) / np.sqrt(other @ other))

    others = [index for index in range(200) if index != 17]
    expected = sorted(others, key=lambda index: -cosine(vectors[index]))[:10]
    found = table.nearest(query.embedding, 10, exclude=query)
    assert [neighbour.path.name for neighbour in found] == [f"{index}.mp3" for index in expected]
    assert [neighbour.rank for neighbour in found] == list(range(1, 11))
    similarities = [neighbour.similarity for neighbour in found]
    assert similarities == pytest.approx([cosine(vectors[index]) for index in expected], abs=1e-6)


def test_rows_without_embedding_are_no_neighbours(table: EmbeddingTable) -> None:
    found = table.nearest(np.array([1, 0, 0, 0], np.float32), 10)
    assert [neighbour.path for neighbour in found] == [
        Path("a.mp3"),
        Path("夜に駆ける.flac"),
        LATIN,
    ]
    assert [neighbour.similarity for neighbour in found] == pytest.approx([1, 0.6, -1])


def test_equal_similarities_keep_the_order_of_the_table() -> None:
    table = EmbeddingTable(HEADER, [row(f"{i}.mp3", np.full(4, 1 + i)) for i in range(5)])
    found = table.nearest(np.ones(4, np.float32), 3)
    assert [neighbour.path.name for neighbour in found] == ["0.mp3", "1.mp3", "2.mp3"]


def test_a_zero_vector_is_unlike_everything() -> None:
    table = EmbeddingTable(HEADER, [row("zero.mp3", (0, 0, 0, 0)), row("one.mp3")])
    found = table.nearest(np.array([1, 0, 0, 0], np.float32), 2)
    assert [neighbour.similarity for neighbour in found] == [1, 0]
    assert table.nearest(np.zeros(4, np.float32), 1)[0].similarity == 0


def test_impossible_questions_are_refused(table: EmbeddingTable) -> None:
    with pytest.raises(EmbeddingError, match="k=0"):
        table.nearest(np.ones(4, np.float32), 0)
    with pytest.raises(EmbeddingError, match=r"shape=\(3,\) does not fit a table of dim=4"):
        table.nearest(np.ones(3, np.float32), 1)


def test_a_file_is_found_however_its_path_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = EmbeddingTable(HEADER, [row("music/a.mp3"), row(tmp_path / "music/b.mp3")])
    for spelling in ("music/a.mp3", "./music/../music/a.mp3", str(tmp_path / "music/a.mp3")):
        assert table.find(Path(spelling)) is table.rows[0]
    assert table.find(Path("music/b.mp3")) is table.rows[1]
    assert table.find(Path("music/c.mp3")) is None

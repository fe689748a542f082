import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from myna_rpe.embedding_table import EmbeddingTable, path_to_text
from myna_rpe.errors import ExportError
from myna_rpe.library import tables
from myna_rpe.library.filters import Filters
from myna_rpe.library.tables import write_vectors

from .made import hide, make_library

DIM = 5
ODD = Path(os.fsdecode(b'/m\xfcsic/a,b"\n;.mp3'))


@pytest.fixture
def vectors(rng):
    table = rng.normal(size=(9, DIM)).astype(np.float32)
    table[0] = [np.pi, 1e-38, 3.4e38, -0.0, 1 / 3]
    return table


@pytest.fixture
def catalogue(tmp_path, vectors):
    tags = [{"title": f"t{n}", "genres": ["a", "b"], "year": 1990 + n} for n in range(9)]
    tags[4] |= {"path": ODD, "title": '=1+1,"x"', "artist": "夜", "year": None}
    with make_library(tmp_path / "library", vectors, tags) as made:
        hide(made, 2)
        yield made


@pytest.fixture(params=[2, 4096])
def at_once(request, monkeypatch):
    monkeypatch.setattr(tables, "_TRACKS_AT_ONCE", request.param)


PRESENT = [0, *range(2, 9)]


def test_parquet_is_a_table_of_embeddings(catalogue, vectors, tmp_path, at_once):
    path = tmp_path / "out.parquet"
    assert write_vectors(catalogue, path) == 8
    table = EmbeddingTable.read(path)
    assert table.header == catalogue.header
    np.testing.assert_array_equal(table.embeddings, vectors[PRESENT])
    rows = {row.path: row for row in table.rows}
    assert list(rows) == [catalogue.track(n + 1).path for n in PRESENT]
    assert rows[ODD].duration == 200.0
    assert (rows[ODD].size, rows[ODD].mtime_ns, rows[ODD].content_hash) == (10, 20, None)


def test_csv_can_be_read_back_number_by_number(catalogue, vectors, tmp_path, at_once):
    path = tmp_path / "out.csv"
    assert write_vectors(catalogue, path) == 8
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    read = np.array([[row[f"v{n}"] for n in range(DIM)] for row in rows]).astype(np.float32)
    np.testing.assert_array_equal(read, vectors[PRESENT])
    assert rows[3]["path"] == path_to_text(ODD)
    assert (rows[3]["title"], rows[3]["artist"]) == ('=1+1,"x"', "夜")
    assert (rows[0]["genres"], rows[0]["year"], rows[3]["year"]) == ("a; b", "1990", "")


def test_json_can_be_read_back_number_by_number(catalogue, vectors, tmp_path, at_once):
    path = tmp_path / "out.JSON"
    assert write_vectors(catalogue, path) == 8
    data = json.loads(path.read_text("utf-8"))
    assert data["header"]["space_id"] == "space-a"
    read = np.array([track["vector"] for track in data["tracks"]], np.float32)
    np.testing.assert_array_equal(read, vectors[PRESENT])
    assert data["tracks"][3]["path"] == path_to_text(ODD)
    assert data["tracks"][0]["genres"] == ["a", "b"]


@pytest.mark.parametrize("ending", ["parquet", "csv", "json"])
def test_filters_choose_and_nothing_is_a_table_too(catalogue, tmp_path, ending):
    path = tmp_path / f"out.{ending}"
    assert write_vectors(catalogue, path, Filters(artists=("夜",))) == 1
    assert write_vectors(catalogue, path, Filters(folders=(Path("/nowhere"),))) == 0
    if ending == "parquet":
        assert EmbeddingTable.read(path).rows == []
    elif ending == "json":
        assert json.loads(path.read_text())["tracks"] == []


def test_what_cannot_be_written_is_told_and_leaves_nothing(catalogue, tmp_path):
    with pytest.raises(ExportError, match=r"no known format; use one of .parquet, .csv, .json"):
        write_vectors(catalogue, tmp_path / "out.txt")
    with pytest.raises(ExportError, match="cannot be written: No such file"):
        write_vectors(catalogue, tmp_path / "nowhere" / "out.csv")
    assert not list(tmp_path.glob("*out*"))

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from myna_rpe.embedding_table import EmbeddingTable
from myna_rpe.library.catalogue import Catalogue, library_folder

from ..embedding_support import Ended, assert_one_sentence, install, write_chord

Myna = Callable[..., Ended]

COUNT = 8


@pytest.fixture
def music(tmp_path: Path) -> Path:
    install()
    for index in range(COUNT):
        folder = tmp_path / "music" / ("low" if index < COUNT // 2 else "high")
        write_chord(folder / f"song {chr(97 + index)}.wav", 0.3, pitch=200 + 30 * index)
    return tmp_path / "music"


@pytest.fixture
def library(myna: Myna, music: Path) -> Path:
    assert myna("library", "scan", music, "--model", "small", "--threads", 1).code == 0
    return library_folder()


@pytest.fixture
def query(music: Path) -> Path:
    return music / "low" / "song b.wav"


def found(ended: Ended) -> list[dict]:
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def test_the_library_is_searched_as_a_table_of_it_would_be(
    myna: Myna, library: Path, query: Path, tmp_path: Path
) -> None:
    table = tmp_path / "vectors.parquet"
    assert "wrote 8 vectors" in myna("library", "vectors", "-o", table).err
    expected = found(myna("similar", query, "--in", table, "--json"))
    hits = found(myna("similar", query, "--json"))
    assert [hit["path"] for hit in hits] == [hit["path"] for hit in expected]
    for hit, other in zip(hits, expected, strict=True):
        assert hit["similarity"] == pytest.approx(other["similarity"], abs=2e-6)
        assert hit["score"] == hit["similarity"]
    lines = myna("similar", query, "-k", 3).out.splitlines()
    assert [line.split(None, 2)[2] for line in lines] == [hit["path"] for hit in hits[:3]]


def test_a_track_may_be_named_by_its_number(myna: Myna, library: Path, query: Path) -> None:
    with Catalogue(library) as catalogue:
        number = catalogue.by_path(query).id
    assert myna("similar", number).out == myna("similar", query).out
    assert_one_sentence(myna("similar", 999), "track=999 is not in library")


def test_a_file_outside_is_embedded_with_the_librarys_model(
    myna: Myna, library: Path, query: Path, tmp_path: Path
) -> None:
    outside = shutil.copyfile(query, tmp_path / "outside.wav")
    (hit,) = found(myna("similar", outside, "-k", 1, "--json"))
    assert hit["path"] == str(query)
    assert hit["similarity"] == pytest.approx(1, abs=1e-5)
    install("other", seed=1)
    refused = myna("similar", outside, "--model", "other")
    assert_one_sentence(refused, "'other' makes those of", "use model 'small'")


def test_several_tracks_are_asked_by_mean_weights_or_the_best(
    myna: Myna, library: Path, music: Path, query: Path
) -> None:
    other = music / "high" / "song g.wav"
    with Catalogue(library) as catalogue:
        rows = {track.path: catalogue.vector(track.id) for track in catalogue.tracks()}
    unit = {path: row / np.linalg.norm(row) for path, row in rows.items()}
    left = [path for path in unit if path not in (query, other)]

    def expected(score: Callable[[np.ndarray], float]) -> list[str]:
        return [str(path) for path in sorted(left, key=lambda path: -score(unit[path]))]

    mean = found(myna("similar", query, other, "--json"))
    assert [hit["path"] for hit in mean] == expected(lambda row: row @ (unit[query] + unit[other]))
    between = found(myna("similar", query, other, "--weight", 0.9, "--weight", 0.1, "--json"))
    point = 0.9 * unit[query] + 0.1 * unit[other]
    assert [hit["path"] for hit in between] == expected(lambda row: row @ point)
    best = found(myna("similar", query, other, "--combine", "best", "--json"))
    assert [hit["path"] for hit in best] == expected(
        lambda row: max(row @ unit[query], row @ unit[other])
    )
    assert_one_sentence(myna("similar", query, other, "--weight", 1), "give one for each")


def test_filters_hold_before_the_ranking(myna: Myna, library: Path, music: Path) -> None:
    query = music / "low" / "song b.wav"
    hits = found(myna("similar", query, "--below", music / "high", "--json"))
    assert len(hits) == 4
    assert all("/high/" in hit["path"] for hit in hits)
    assert found(myna("similar", query, "--duration", "1:00-", "--json")) == []
    assert_one_sentence(myna("similar", query, "--genre", "x"), "genre='x' is on no track")
    assert_one_sentence(myna("similar", query, "--year", "x"), "year='x' is no range")


def test_copies_are_folded_and_can_be_shown(
    myna: Myna, music: Path, library: Path, query: Path
) -> None:
    twin = shutil.copyfile(music / "low" / "song c.wav", music / "high" / "twin.wav")
    own = shutil.copyfile(query, music / "high" / "own.wav")
    assert myna("library", "scan").code == 0
    hits = found(myna("similar", query, "--json", "-k", 99))
    assert len(hits) == COUNT - 1
    (group,) = [hit for hit in hits if hit["copies"]]
    assert {group["path"], group["copies"][0]["path"]} == {
        str(twin),
        str(music / "low" / "song c.wav"),
    }
    assert group["copies"][0]["reason"] == "the same sound"
    assert "  (+1)" in myna("similar", query, "-k", 99).out
    everything = found(myna("similar", query, "--all", "--json", "-k", 99))
    assert len(everything) == COUNT + 1
    assert everything[0]["path"] == str(own)
    listed = found(myna("library", "duplicates", "--json"))
    assert sorted(len(group["copies"]) for group in listed) == [1, 1]
    shown = myna("library", "duplicates")
    assert "(the same sound)" in shown.out
    assert "2 recordings have 2 copies among 10 tracks" in shown.err
    assert_one_sentence(myna("library", "duplicates", "--cosine", 2), "cosine=2.0 is no")


@pytest.mark.parametrize("scale", ["csls", "nicdm"])
def test_hubs_can_be_weighed_down(myna: Myna, library: Path, query: Path, scale: str) -> None:
    hits = found(myna("similar", query, "--scale", scale, "--json"))
    assert len(hits) == COUNT - 1
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert (library / "scales.npz").exists()


def test_a_track_that_is_nowhere_or_failed_is_refused(
    myna: Myna, music: Path, library: Path, tmp_path: Path
) -> None:
    (music / "bad.wav").write_text("no music")
    myna("library", "scan")
    assert_one_sentence(myna("similar", music / "bad.wav"), "bad.wav' could not be analysed: ")
    assert_one_sentence(myna("similar", tmp_path / "no.wav"), "no.wav' is neither in library")
    ended = myna("similar", music / "bad.wav", "--library", tmp_path / "none")
    assert_one_sentence(ended, "does not exist; make it with `myna library scan")


def test_what_only_a_library_has_is_refused_for_a_table(
    myna: Myna, library: Path, query: Path, tmp_path: Path
) -> None:
    table = tmp_path / "vectors.parquet"
    myna("library", "vectors", "-o", table)
    for more in ((query,), ("--artist", "x"), ("--all",), ("--scale", "csls"), ("--weight", 1)):
        ended = myna("similar", query, *more, "--in", table)
        assert_one_sentence(ended, "is a table, which is searched by one TRACK")


def test_a_map_is_drawn_and_its_places_stay(
    myna: Myna, music: Path, library: Path, tmp_path: Path
) -> None:
    png, page = tmp_path / "map.png", tmp_path / "map.html"
    ended = myna("library", "map", "-o", png, "-o", page, "--colour", "folder")
    assert ended.code == 0, ended.err
    assert "8 tracks; 8 sounds laid out, 0 put among them" in ended.err
    assert png.read_bytes().startswith(b"\x89PNG")
    assert '"name":"high","count":4' in page.read_text("utf-8")
    write_chord(music / "new.wav", 0.3, pitch=333)
    myna("library", "scan")
    again = myna("library", "map", "-o", page, "--below", music)
    assert "9 tracks; 0 sounds laid out, 1 put among them" in again.err
    anew = myna("library", "map", "-o", page, "--refit", "--layout", "pca", "--seed", 5)
    assert "9 sounds laid out" in anew.err
    assert_one_sentence(myna("library", "map", "-o", "x.svg"), "ends in no known format")
    assert_one_sentence(
        myna("library", "map", "-o", png, "--colour", "mood"), "colour='mood' is unknown"
    )


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_vectors_are_written_as_text_too(
    myna: Myna, library: Path, music: Path, tmp_path: Path, ending: str
) -> None:
    out = tmp_path / f"vectors.{ending}"
    assert myna("library", "vectors", "-o", out, "--below", music / "low").code == 0
    assert "song a.wav" in out.read_text("utf-8")
    assert "song h.wav" not in out.read_text("utf-8")
    assert_one_sentence(myna("library", "vectors", "-o", tmp_path / "x.txt"), "no known format")


def test_the_table_of_a_library_can_be_read(myna: Myna, library: Path, tmp_path: Path) -> None:
    myna("library", "vectors", "-o", tmp_path / "v.parquet")
    assert EmbeddingTable.read(tmp_path / "v.parquet").header.model == "small"

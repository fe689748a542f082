"""A library in another space: all of it or nothing, and everything but the vectors as it was."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from myna_rpe.errors import LibraryError
from myna_rpe.library import reembed as module
from myna_rpe.library.catalogue import NEXT_FOLDER, SPACE_FILE, Catalogue
from myna_rpe.library.reembed import reembed
from myna_rpe.library.scan import ScanReport
from myna_rpe.library.vectors import IDENTITIES_FILE, VECTORS_FILE
from myna_rpe.library.verify import verify

from .support import (
    HEADER,
    FakeAnalyser,
    library,
    no_analysis,
    scanned,
    vector_of,
    vectors_by_path,
    write_music,
    write_tone,
)

NEW = replace(HEADER, space_id="space-b", dim=3, model="better")


def new_vector_of(path: Path) -> np.ndarray:
    return vector_of(path)[:3] + 1


class Better(FakeAnalyser):
    """Analyses as another model does; gives up after so many files."""

    space_id = NEW.space_id
    source = NEW.model

    def __init__(self, most: int = 1000) -> None:
        super().__init__()
        self.most = most

    def embed_many(self, paths, *, workers=None) -> Iterator:
        for embedded in super().embed_many(paths, workers=workers):
            if len(self.asked) > self.most:
                raise KeyboardInterrupt
            if hasattr(embedded, "embedding"):
                embedded = replace(embedded, embedding=new_vector_of(embedded.path))
            yield embedded


@pytest.fixture
def music(tmp_path):
    return write_music(tmp_path / "music", 5)


@pytest.fixture
def catalogue(tmp_path, music):
    with library(tmp_path) as catalogue:
        scanned(catalogue, tmp_path / "music")
        catalogue.playlists.save("mine", [3, 1, 2], {"command": "grow", "seed": 1})
        yield catalogue


def moved(catalogue: Catalogue, analyser: FakeAnalyser | None = None) -> ScanReport:
    analyser = analyser or Better()
    return reembed(catalogue, NEW, lambda: analyser, workers=2)


def assert_has_moved(catalogue: Catalogue, paths: list[Path]) -> None:
    """Every one of these tracks has the vector of the new model, and nothing else is there."""
    assert catalogue.header == NEW
    vectors = vectors_by_path(catalogue)
    assert set(vectors) == set(paths)
    for path, vector in vectors.items():
        np.testing.assert_array_equal(vector, new_vector_of(path))
    assert not (catalogue.folder / NEXT_FOLDER).exists()
    assert verify(catalogue.folder).problems == ()


def assert_is_as_before(folder: Path, paths: list[Path]) -> None:
    with Catalogue(folder) as catalogue:
        assert catalogue.header == HEADER
        vectors = vectors_by_path(catalogue)
        assert set(vectors) == set(paths)
        for path, vector in vectors.items():
            np.testing.assert_array_equal(vector, vector_of(path))
    assert verify(folder).problems == ()


def test_all_vectors_change_and_nothing_else_does(catalogue, music, tmp_path):
    before = list(catalogue.tracks())
    playlist = catalogue.playlists.get("mine")
    report = moved(catalogue)
    assert (report.found, report.analysed, report.failed) == (5, 5, 0)
    assert_has_moved(catalogue, music)
    assert list(catalogue.tracks()) == before
    assert catalogue.playlists.get("mine") == playlist
    # It is a library like any other.
    with Catalogue(catalogue.folder) as again:
        report = scan_better(again, tmp_path / "music", no_analysis)
        assert report.unchanged == 5


def scan_better(catalogue, folder, load):
    return module.scan(catalogue, [folder], load, workers=1)


def test_copies_of_one_sound_share_its_new_vector(catalogue, music, tmp_path):
    copy = shutil.copy(music[0], tmp_path / "music" / "copy.wav")
    scanned(catalogue, tmp_path / "music")
    analyser = Better()
    moved(catalogue, analyser)
    assert len(analyser.asked) == 5
    assert_has_moved(catalogue, [*music, Path(copy)])


def test_files_that_were_scanned_one_by_one_come_along(catalogue, music, tmp_path):
    single = write_tone(tmp_path / "elsewhere" / "single", 77)
    scanned(catalogue, single)
    moved(catalogue)
    assert_has_moved(catalogue, [*music, single])


def test_a_track_whose_file_is_gone_keeps_its_number_for_the_day_it_comes_back(
    catalogue, music, tmp_path
):
    number = catalogue.by_path(music[0]).id
    aside = music[0].rename(tmp_path / "aside.wav")
    moved(catalogue)
    assert_has_moved(catalogue, music[1:])
    assert catalogue.vector(number) is None
    aside.rename(music[0])
    assert scan_better(catalogue, tmp_path / "music", Better).analysed == 1
    assert catalogue.by_path(music[0]).id == number
    assert_has_moved(catalogue, music)


def test_interrupted_it_changes_nothing_and_goes_on(catalogue, music):
    with pytest.raises(KeyboardInterrupt):
        moved(catalogue, Better(most=2))
    assert_is_as_before(catalogue.folder, music)
    analyser = Better()
    report = moved(catalogue, analyser)
    assert (report.unchanged, report.analysed) == (2, 3)
    assert len(analyser.asked) == 3
    assert_has_moved(catalogue, music)


@pytest.mark.parametrize("done", range(4))
def test_killed_while_the_files_change_places_the_next_to_open_it_finishes(
    catalogue, music, monkeypatch, done
):
    def killed(folder: Path, space_id: str) -> bool:
        for name in (VECTORS_FILE, IDENTITIES_FILE, SPACE_FILE)[:done]:
            (folder / NEXT_FOLDER / name).replace(folder / name)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "finish_move", killed)
    with pytest.raises(KeyboardInterrupt):
        moved(catalogue)
    with Catalogue(catalogue.folder) as opened:
        if done < 3:
            assert_has_moved(opened, music)
        else:  # the move is over; what is left of the workshop is swept up by the next one
            assert set(vectors_by_path(opened)) == set(music)


def test_what_was_begun_for_a_third_model_is_thrown_away(catalogue, music):
    with pytest.raises(KeyboardInterrupt):
        moved(catalogue, Better(most=2))
    third = replace(NEW, space_id="space-c")

    class Third(Better):
        space_id = third.space_id

    analyser = Third()
    reembed(catalogue, third, lambda: analyser)
    assert len(analyser.asked) == 5
    assert catalogue.header == third
    assert not (catalogue.folder / NEXT_FOLDER).exists()


def test_back_to_the_model_it_has_what_was_begun_is_thrown_away(catalogue, music):
    with pytest.raises(KeyboardInterrupt):
        moved(catalogue, Better(most=2))
    reembed(catalogue, HEADER, no_analysis)
    assert_is_as_before(catalogue.folder, music)
    assert not (catalogue.folder / NEXT_FOLDER).exists()


def test_leftovers_of_a_move_do_not_stop_the_next(catalogue, music):
    moved(catalogue)
    with closing(Catalogue.create(catalogue.folder / NEXT_FOLDER, NEW)) as leftover:
        (leftover.folder / SPACE_FILE).unlink()
    reembed(catalogue, HEADER, FakeAnalyser)
    assert_is_as_before(catalogue.folder, music)


@pytest.mark.parametrize("when", ["before", "during"])
def test_the_vectors_of_a_disk_that_is_not_there_are_kept(catalogue, music, tmp_path, when):
    away = tmp_path / "away"

    class Unplugged(Better):
        def embed_many(self, paths, *, workers=None):
            (tmp_path / "music").rename(away)
            yield from super().embed_many(paths, workers=workers)

    analyser = Unplugged() if when == "during" else Better()
    if when == "before":
        (tmp_path / "music").rename(away)
    with pytest.raises(LibraryError, match=r"cannot be seen into.* 5 tracks below it would lose"):
        moved(catalogue, analyser)
    away.rename(tmp_path / "music")
    assert_is_as_before(catalogue.folder, music)
    moved(catalogue)
    assert_has_moved(catalogue, music)


def test_a_file_that_can_be_read_no_longer_is_counted_and_waits(catalogue, music, tmp_path):
    number = catalogue.by_path(music[0]).id
    music[0].write_text("no music any more")
    report = moved(catalogue)
    assert (report.found, report.analysed, report.failed) == (5, 4, 1)
    assert_has_moved(catalogue, music[1:])
    assert catalogue.vector(number) is None
    assert scan_better(catalogue, tmp_path / "music", Better).failed == 1


def test_in_the_space_it_has_it_is_a_scan(catalogue, music, tmp_path):
    moved(catalogue)
    report = reembed(catalogue, NEW, no_analysis)
    assert (report.found, report.unchanged) == (5, 5)
    new = write_tone(tmp_path / "music" / "new", 55)
    assert moved(catalogue).analysed == 1
    assert_has_moved(catalogue, [*music, new])


def test_who_has_the_library_open_is_told_to_open_it_again(catalogue):
    with Catalogue(catalogue.folder) as reader:
        reader.vectors()
        moved(catalogue)
        for read in (reader.vectors, lambda: reader.vector(1)):
            with pytest.raises(LibraryError, match="analysed anew with another model"):
                read()


def test_no_scan_comes_between(catalogue, tmp_path):
    class Curious(Better):
        def embed_many(self, paths, *, workers=None):
            with Catalogue(catalogue.folder) as other, pytest.raises(LibraryError, match="changed"):
                scanned(other, tmp_path / "music")
            yield from super().embed_many(paths, workers=workers)

    moved(catalogue, Curious())
    assert catalogue.header == NEW

import os
from pathlib import Path

import numpy as np
import pytest

from myna_rpe.errors import LibraryError
from myna_rpe.library.filters import Filters, folded, matching
from myna_rpe.library.ranges import Range

from .made import hide, make_library

TAGS = [
    {"artist": "Beyoncé", "album": "One", "genres": ["Pop", "R&B"], "year": 1999},
    {"artist": "BEYONCE\u0301", "album": "one", "genres": ["pop"], "year": 2003, "duration": 60.0},
    {"artist": "x", "album_artist": "beyoncé", "album": "Two", "year": 2010, "duration": 0.0},
    {"artist": "x'; DROP TABLE tracks; --", "genres": ["%"], "path": Path("/other/50%_off/a.mp3")},
    {"artist": "夜", "path": Path(os.fsdecode(b"/m\xfcsic/a.mp3")), "year": 1999},
    {"path": Path("/music2/a.mp3"), "genres": ["Straße"]},
]


@pytest.fixture
def catalogue(tmp_path):
    with make_library(tmp_path / "library", np.eye(6, dtype=np.float32), TAGS) as made:
        yield made


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), [1, 2, 3, 4, 5, 6]),
        (Filters(artists=("BEYONCÉ",)), [1, 2, 3]),
        (Filters(artists=("beyoncé", "夜")), [1, 2, 3, 5]),
        (Filters(artists=("x'; DROP TABLE tracks; --",)), [4]),
        (Filters(albums=("ONE",)), [1, 2]),
        (Filters(genres=("POP",)), [1, 2]),
        (Filters(genres=("%",)), [4]),
        (Filters(genres=("STRASSE",)), [6]),
        (Filters(years=Range(1999, 2003)), [1, 2, 5]),
        (Filters(years=Range(None, 1999)), [1, 5]),
        (Filters(years=Range(2003, None)), [2, 3]),
        (Filters(seconds=Range(None, 100.0)), [2]),
        (Filters(seconds=Range(200.0, 200.0)), [1, 4, 5, 6]),
        (Filters(folders=(Path("/music"),)), [1, 2, 3]),
        (Filters(folders=(Path("/music/000000.flac"),)), [1]),
        (Filters(folders=(Path("/other/50%_off"), Path("/music2/"))), [4, 6]),
        (Filters(folders=(Path(os.fsdecode(b"/m\xfcsic")),)), [5]),
        (Filters(folders=(Path("/"),)), [1, 2, 3, 4, 5, 6]),
        (Filters(artists=("beyoncé",), years=Range(1999, 2005), genres=("r&b",)), [1]),
        (Filters(artists=("夜",), albums=("two",)), []),
    ],
)
def test_tracks_that_fit_all_conditions_are_found(catalogue, filters, expected):
    assert matching(catalogue, filters).tolist() == expected


def test_missing_tracks_never_fit(catalogue):
    hide(catalogue, 1)
    assert matching(catalogue, Filters(albums=("one",))).tolist() == [2]
    with pytest.raises(LibraryError, match="genre='R&B' is on no track"):
        matching(catalogue, Filters(genres=("R&B",)))


def test_unknown_names_are_refused_with_the_nearest(catalogue):
    with pytest.raises(LibraryError, match=r"artist='beyonse' is on no .*; did you mean 'B"):
        matching(catalogue, Filters(artists=("beyonse",)))
    with pytest.raises(LibraryError, match=r"genre='' is on no track of the library; see"):
        matching(catalogue, Filters(genres=("",)))


def test_no_filters_are_false_and_any_is_true():
    assert not Filters()
    assert Filters(folders=(Path("/"),))


def test_names_are_folded_in_one_form():
    assert folded("ﬁN\u0303") == folded("FIñ")

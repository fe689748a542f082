import pytest

from myna_rpe.errors import LibraryError
from myna_rpe.library.ranges import Range, seconds, years


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1990", Range(1990, 1990)),
        ("1990-1999", Range(1990, 1999)),
        (" 1990 - ", Range(1990, None)),
        ("-1999", Range(None, 1999)),
    ],
)
def test_ranges_of_years(text, expected):
    assert years(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("120-300", Range(120.0, 300.0)),
        ("2:00-5:30", Range(120.0, 330.0)),
        ("1:00:00-", Range(3600.0, None)),
        ("-2.5", Range(None, 2.5)),
    ],
)
def test_ranges_of_durations(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "-", "x", "1990-2000-2010", "20000", "1e3", "\uff11990"])
def test_what_is_no_range_of_years_is_refused(text):
    with pytest.raises(LibraryError, match=r"year=.* write 1990"):
        years(text)


@pytest.mark.parametrize("text", ["", "300", "1:2:3:4", "nan", "inf-", "a-b", "::"])
def test_what_is_no_range_of_durations_is_refused(text):
    with pytest.raises(LibraryError, match=r"duration=.* write 120"):
        seconds(text)


def test_ranges_in_the_wrong_order_are_refused():
    with pytest.raises(LibraryError, match="ends before it begins"):
        years("2000-1990")

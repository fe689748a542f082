from pathlib import Path

import pytest

from myna_rpe.errors import ConfigError
from myna_rpe.library.playlists.constraints import Constraints, broken
from myna_rpe.library.tracks import Track

from .support import facts_of

TRACK = Track(
    1, Path("/music/rock/a.flac"), genres=("Prog Rock", "Jazz"), year=1974, duration=300.0
)


@pytest.mark.parametrize(
    ("constraints", "allowed"),
    [
        (Constraints(), True),
        (Constraints(genres=("jazz", "metal")), True),
        (Constraints(genres=("rock",)), False),
        (Constraints(not_genres=("JAZZ",)), False),
        (Constraints(not_genres=("metal",)), True),
        (Constraints(least_year=1970, most_year=1974), True),
        (Constraints(least_year=1975), False),
        (Constraints(most_year=1973), False),
        (Constraints(least_duration=300.0, most_duration=300.0), True),
        (Constraints(least_duration=301.0), False),
        (Constraints(most_duration=299.0), False),
        (Constraints(folders=("/music/rock",)), True),
        (Constraints(folders=("/music/roc", "/music/rock/a")), False),
        (Constraints(folders=("/music/jazz", "/music")), True),
        (Constraints(least_total=1.0), True),
    ],
)
def test_a_track_is_allowed_or_not(constraints: Constraints, allowed: bool) -> None:
    assert constraints.allows(TRACK) is allowed


def test_what_the_tags_do_not_say_is_in_no_range() -> None:
    unknown = Track(1, Path("/a.flac"))
    assert Constraints(not_genres=("jazz",)).allows(unknown)
    for constraints in (
        Constraints(genres=("jazz",)),
        Constraints(least_year=1),
        Constraints(least_duration=0.0),
        Constraints(most_total=100.0),
    ):
        assert not constraints.allows(unknown)


def test_a_range_that_holds_nothing_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="year=1999-1990 holds nothing"):
        Constraints(least_year=1999, most_year=1990)
    with pytest.raises(ConfigError, match="artist_window"):
        Constraints(artist_window=-1)


def test_constraints_survive_json() -> None:
    asked = Constraints(genres=("a",), artist_cap=2, least_total=60.0, exclude=("x",))
    assert Constraints.from_dict(asked.to_dict()) == asked


@pytest.mark.parametrize(
    ("rows", "constraints", "given", "name"),
    [
        ([0, 1, 2, 3], Constraints(), 0, None),
        ([0, 1, 4], Constraints(), 0, "no repeats"),
        ([0, 4], Constraints(), 2, None),
        ([0, 1], Constraints(artist_window=1), 0, "artist-window=1"),
        ([0, 2, 1], Constraints(artist_window=1), 0, None),
        ([0, 2, 1], Constraints(artist_window=2), 0, "artist-window=2"),
        ([0, 1], Constraints(artist_window=1), 1, "artist-window=1"),
        ([0, 1, 2], Constraints(artist_window=1), 2, None),
        ([0, 1], Constraints(artist_cap=1), 0, "artist-cap=1"),
        ([2, 3], Constraints(artist_cap=1, artist_window=5), 0, None),
        ([0, 2], Constraints(album_cap=1), 0, "album-cap=1"),
        ([0, 1], Constraints(least_total=30.0), 0, None),
        ([0], Constraints(least_total=30.0), 0, "total=0:30-"),
        ([0, 1, 2], Constraints(most_total=59.0), 0, "total=-0:59"),
    ],
)
def test_the_broken_rule_is_named(
    rows: list[int], constraints: Constraints, given: int, name: str | None
) -> None:
    # Tracks 0 and 1 are by one artist, those of 2 and 3 are not known, 4 is a copy of 0.
    facts = facts_of(
        artists=[7, 7, -1, -1, 7],
        albums=[3, 4, 3, 5, 6],
        durations=[20.0] * 5,
        recordings=[0, 1, 2, 3, 0],
    )
    assert broken(rows, facts, constraints, given=given) == name

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from myna_rpe.errors import LibraryError
from myna_rpe.library.catalogue import Catalogue
from myna_rpe.library.playlists import Constraints, Strategy, Workshop, check
from myna_rpe.library.playlists.between import Between
from myna_rpe.library.playlists.check import stands_out
from myna_rpe.library.playlists.cluster import ClusterPart, cluster, group_name
from myna_rpe.library.playlists.constraints import broken
from myna_rpe.library.playlists.edge import Edge
from myna_rpe.library.playlists.fill import Fill
from myna_rpe.library.playlists.grow import Grow
from myna_rpe.library.playlists.order import Order
from myna_rpe.library.playlists.radio import Radio
from myna_rpe.library.playlists.region import MOST_VERTICES, region_of

from .support import DIM, directions, made_library

COUNT = 80
TAGS = [
    {
        "artist": f"Artist {n % 7}",
        "album": f"Album {n % 11}",
        "genres": [["rock", "jazz", "metal", "folk"][n % 4]],
        "year": 1970 + n % 40,
        "duration": 100.0 + 5 * n,
    }
    for n in range(COUNT)
]
STRATEGIES: list[Strategy] = [
    Grow(playlist="mine", until=0.6),
    Fill(playlist="mine", count=5),
    Edge(playlist="mine", count=5),
    Radio(track="1", count=8),
    Between(start="1", end="2", count=7),
    Between(start="mine", end="other", via=("6",), count=9, path="minkowski"),
    Order(playlist="mine"),
]


@pytest.fixture(autouse=True)
def a_shorter_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checking the types of every step makes the search of ways many times slower."""
    monkeypatch.setattr("myna_rpe.library.playlists.between._EXTENSIONS", 300)
    monkeypatch.setattr("myna_rpe.library.playlists.between._BEAM", 24)


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with made_library(tmp_path / "library", COUNT, TAGS) as library:
        library.playlists.save("mine", list(range(1, 49, 4)), {})
        library.playlists.save("other", list(range(2, 30, 4)), {})
        yield library


@pytest.fixture
def workshop(catalogue: Catalogue) -> Workshop:
    return Workshop(catalogue)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: each.name)
def test_the_same_seed_gives_the_same_and_every_track_says_why(
    workshop: Workshop, strategy: Strategy
) -> None:
    first = workshop.generate(strategy, Constraints(), seed=3)
    again = workshop.generate(strategy, Constraints(), seed=3)
    assert [track.id for track in first.tracks] == [track.id for track in again.tracks]
    assert first.tracks
    assert all(choice.why for choice in first.proposal.choices)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: each.name)
def test_constraints_hold_whatever_the_strategy(workshop: Workshop, strategy: Strategy) -> None:
    for constraints in (
        Constraints(artist_window=1, album_window=1),
        Constraints(artist_cap=2, exclude=("10", "14")),
        Constraints(most_total=2000.0),
    ):
        try:
            made = workshop.generate(strategy, constraints, seed=1)
        except LibraryError as error:
            assert "cannot be kept" in str(error)  # noqa: PT017 - either is right, nothing else is
            continue
        rows = [choice.row for choice in made.proposal.choices]
        assert broken(rows, workshop.pool.facts, constraints) is None


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: each.name)
def test_a_stored_playlist_is_made_again_from_what_it_says(
    catalogue: Catalogue, workshop: Workshop, strategy: Strategy
) -> None:
    made = workshop.generate(strategy, Constraints(fresh_days=7.0), seed=5, name="new")
    catalogue.playlists.save("new", [track.id for track in made.tracks], made.made)
    again = workshop.again(catalogue.playlists.get("new"))
    assert [track.id for track in again.tracks] == [track.id for track in made.tracks]
    assert again.made == made.made


def test_grow_takes_exactly_the_tracks_within_the_threshold(workshop: Workshop) -> None:
    made = workshop.generate(Grow(playlist="mine", until="near"), Constraints())
    members = workshop.members("mine")
    region = region_of(workshop.pool, members)
    distances = region.hull.distances(workshop.pool.points).values
    wanted = set(np.flatnonzero(distances <= region.calibration.near + 1e-9)) - set(members)
    assert {choice.row for choice in made.proposal.choices} == wanted
    values = [choice.distance for choice in made.proposal.choices]
    assert values == sorted(values)


def test_grow_can_begin_with_the_members(workshop: Workshop) -> None:
    made = workshop.generate(Grow(playlist="mine", until=0.6, opening="members"), Constraints())
    assert [track.id for track in made.tracks[:12]] == list(range(1, 49, 4))
    assert [choice.why for choice in made.proposal.choices[:12]] == ["given"] * 12


def test_few_members_cannot_tell_near_and_say_so(workshop: Workshop) -> None:
    workshop.catalogue.playlists.save("few", [1, 5, 9, 13], {})
    with pytest.raises(LibraryError, match="until=near cannot be told by 4 members"):
        workshop.generate(Grow(playlist="few", until="near"), Constraints())


def test_fill_lies_inside_and_edge_beyond(workshop: Workshop) -> None:
    inside = workshop.generate(Fill(playlist="mine", count=4), Constraints())
    assert {choice.place for choice in inside.proposal.choices} == {"inside"}
    beyond = workshop.generate(Edge(playlist="mine", count=4), Constraints())
    assert {choice.place for choice in beyond.proposal.choices} == {"near"}
    members = set(workshop.members("mine"))
    assert members.isdisjoint(c.row for made in (inside, beyond) for c in made.proposal.choices)


def test_fewer_than_wanted_is_told_and_none_is_one_sentence(workshop: Workshop) -> None:
    rock = Constraints(genres=("rock",))
    made = workshop.generate(Fill(playlist="mine", count=60), rock)
    assert 0 < len(made.tracks) < 60
    assert "of 60 tracks: there are" in made.proposal.notes[-1]
    assert "genre=rock leaves 20 of 80 tracks" in made.proposal.notes[-1]
    with pytest.raises(LibraryError, match=r"genre=polka leaves 0 of 80 tracks; relax one"):
        workshop.generate(Fill(playlist="mine"), Constraints(genres=("polka",)))


def test_nothing_of_a_playlist_generated_lately_comes(
    catalogue: Catalogue, workshop: Workshop
) -> None:
    first = workshop.generate(Radio(track="1", count=10), Constraints())
    numbers = {track.id for track in first.tracks}
    catalogue.playlists.save("monday", list(numbers), first.made)
    second = workshop.generate(Radio(track="1", count=10), Constraints(fresh_days=7.0))
    assert numbers & {track.id for track in second.tracks} == {1}  # where the radio starts
    catalogue.playlists.save("monday", list(numbers), {})  # now by hand
    third = workshop.generate(Radio(track="1", count=10), Constraints(fresh_days=7.0))
    assert [track.id for track in third.tracks] == [track.id for track in first.tracks]


def test_radio_starts_with_the_track_drifts_outwards_and_says_what_near_means(
    workshop: Workshop,
) -> None:
    made = workshop.generate(Radio(track="1", count=10), Constraints(), seed=1)
    assert made.tracks[0].id == 1
    distances = [choice.distance or 0.0 for choice in made.proposal.choices[1:]]
    assert distances == sorted(distances)
    assert "neighbours in the library" in made.proposal.notes[0]
    other = workshop.generate(Radio(track="1", count=10), Constraints(), seed=2)
    assert [t.id for t in other.tracks] != [t.id for t in made.tracks]


@pytest.mark.parametrize("path", ["matched", "minkowski"])
def test_between_starts_passes_and_ends_where_it_was_told(workshop: Workshop, path: str) -> None:
    strategy = Between(start="mine", end="2", via=("3",), count=9, path=path)
    made = workshop.generate(strategy, Constraints(artist_window=1))
    ids = [track.id for track in made.tracks]
    assert len(ids) == 9
    assert ids[0] in range(1, 49, 4)
    assert (ids[4], ids[-1]) == (3, 2)
    assert [c.why for c in made.proposal.choices if not c.why.startswith("at ")] == [
        "start",
        "waypoint",
        "end",
    ]
    assert not any(one.artist == two.artist for one, two in pairwise(made.tracks))


def test_between_keeps_a_total_duration(workshop: Workshop) -> None:
    constraints = Constraints(least_total=1800.0, most_total=2100.0)
    made = workshop.generate(Between(start="1", end="2"), constraints)
    assert 1800 <= sum(track.duration for track in made.tracks) <= 2100


def test_between_names_the_rule_in_the_way(workshop: Workshop) -> None:
    # Tracks 1 and 8 are by one artist.
    with pytest.raises(LibraryError, match=r"^artist-window=5 cannot be kept by 3 tracks"):
        workshop.generate(Between(start="1", end="8", count=3), Constraints(artist_window=5))


def test_order_keeps_all_tracks_and_is_no_longer_than_before(workshop: Workshop) -> None:
    rows = workshop.members("mine")
    made = workshop.generate(Order(playlist="mine", first="9", last="5"), Constraints())
    ordered = [choice.row for choice in made.proposal.choices]
    assert sorted(ordered) == sorted(rows)
    assert (made.tracks[0].id, made.tracks[-1].id) == (9, 5)
    free = workshop.generate(Order(playlist="mine"), Constraints())

    def length(path: list[int]) -> float:
        return float(np.linalg.norm(np.diff(workshop.pool.points[path], axis=0), axis=1).sum())

    assert length([c.row for c in free.proposal.choices]) <= min(length(rows), length(ordered))
    with pytest.raises(LibraryError, match="is not in the playlist"):
        workshop.generate(Order(playlist="mine", first="2"), Constraints())


@pytest.mark.parametrize(
    "strategy", [ClusterPart(groups=4), ClusterPart(method="hdbscan", least=5)]
)
def test_groups_are_the_clouds_they_were_drawn_from(tmp_path: Path, strategy: ClusterPart) -> None:
    vectors = directions(COUNT, spread=0.2)
    with made_library(tmp_path / "clouds", tags=TAGS, vectors=vectors) as catalogue:
        workshop = Workshop(catalogue)
        context = workshop.context(Constraints(), seed=0)
        found = cluster(context, strategy.grouping, context.tracks())
        kinds = [{choice.row % 4 for choice in each.proposal.choices} for each in found]
        assert sorted(map(tuple, kinds)) == [(0,), (1,), (2,), (3,)]
        assert {each.name.split(",")[0] for each in found} == {"rock", "jazz", "metal", "folk"}
        part = strategy.with_(part=found[0].name)
        made = workshop.generate(part, Constraints())
        assert [c.row for c in made.proposal.choices] == [c.row for c in found[0].proposal.choices]


def test_a_group_is_named_by_what_it_has_more_often_than_all() -> None:
    overall = {"rock": 50, "live": 90, "X": 10}
    members = [["rock", "live"], ["rock", "live"], ["rock", "X"], ["live", "X"]]
    assert group_name(members, overall, 100) == "X, rock"
    assert group_name([["live"]] * 4, overall | {"live": 100}, 100) == ""


# --- check ---------------------------------------------------------------------------------------


def test_the_odd_one_out_is_the_one_from_another_cloud(workshop: Workshop) -> None:
    rows = [*range(0, 40, 4), 1]
    result = check(workshop.pool, rows, workshop.label)
    assert result.odd_one_out.row == 1
    assert result.stands_out
    assert result.odd_one_out.place == "outside"
    assert len(result.standings) == 11


def test_each_distance_is_that_to_the_hull_of_the_others(workshop: Workshop) -> None:
    from myna_rpe.geometry import Hull

    rows = list(range(0, 28, 4))
    for standing in check(workshop.pool, rows, workshop.label).standings:
        others = [row for row in rows if row != standing.row]
        slow = Hull(workshop.pool.points[others]).distances(workshop.pool.points[[standing.row]])
        assert standing.distance == pytest.approx(float(slow.values[0]), abs=1e-7)


def test_two_tracks_are_measured_by_the_library_and_one_is_one_sentence(
    workshop: Workshop,
) -> None:
    result = check(workshop.pool, [0, 4], workshop.label)
    assert "2 members say nothing" in result.notes[0]
    assert result.standings[0].distance == pytest.approx(result.standings[1].distance)
    with pytest.raises(LibraryError, match="has 1 tracks of the library"):
        check(workshop.pool, [0], workshop.label)
    with pytest.raises(LibraryError, match="has 0 tracks of the library"):
        check(workshop.pool, [], workshop.label)


def test_nobody_stands_out_of_a_row_of_equals() -> None:
    assert not stands_out(np.array([1.0, 1.1, 1.2, 1.3, 1.4]))
    assert stands_out(np.array([1.0, 1.1, 1.2, 1.3, 9.0]))
    assert not stands_out(np.array([1.0, 1.1, 9.0]))


def test_copies_of_a_recording_count_once(tmp_path: Path) -> None:
    vectors = directions(20)
    tags = [{"recording_mbid": "r"} if n in (0, 5) else {} for n in range(20)]
    with made_library(tmp_path / "library", tags=tags, vectors=vectors) as catalogue:
        workshop = Workshop(catalogue)
        result = check(workshop.pool, [0, 4, 5, 8], workshop.label)
        assert len(result.standings) == 3
        assert "1 further copies" in result.notes[-1]
        made = workshop.generate(Radio(track="1", count=19), Constraints())
        assert 6 not in {track.id for track in made.tracks}


def test_a_song_of_two_albums_comes_once_though_no_identifier_says_so(tmp_path: Path) -> None:
    vectors = directions(20)
    vectors[5] = vectors[9] = 1.01 * vectors[0]
    tags = [{} for _ in range(20)]
    for n, title, duration in ((0, "Song", 200.0), (5, "song (Remastered)", 201.0)):
        tags[n] = {"title": title, "duration": duration}
    tags[9] = {"title": "Song", "duration": 260.0}  # another version
    with made_library(tmp_path / "library", tags=tags, vectors=vectors) as catalogue:
        made = Workshop(catalogue).generate(Radio(track="1", count=18), Constraints())
        assert {track.id for track in made.tracks} == set(range(1, 21)) - {6}
        only = Constraints(exclude=("6",))
        without = Workshop(catalogue).generate(Radio(track="2", count=17), only)
        assert {1, 6}.isdisjoint(track.id for track in without.tracks)


def test_many_members_are_stood_for_by_few_and_the_error_is_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, DIM)).astype(np.float32)
    with made_library(tmp_path / "library", vectors=vectors) as catalogue:
        workshop = Workshop(catalogue)
        region = region_of(workshop.pool, list(range(300)))
        assert len(region.vertices) == MOST_VERTICES
        assert len(region.calibration.scatter) == 300
        assert (
            0
            < region.error
            == pytest.approx(region.hull.distances(workshop.pool.points[:300]).values.max())
        )
        result = check(workshop.pool, list(range(300)), workshop.label)
        assert len(result.standings) == 300
        assert "60 of 300 members stand for all" in result.notes[0]

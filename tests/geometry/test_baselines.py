import numpy as np
import pytest

from myna_rpe.errors import LibraryError
from myna_rpe.geometry.baselines import (
    RANKINGS,
    Contest,
    Standing,
    centroid,
    compare,
    hull,
    nearest_member,
)


def test_baselines_are_what_their_names_say(rng):
    members, x = rng.normal(size=(5, 3)), rng.normal(size=(20, 3))
    table = np.linalg.norm(x[:, None] - members[None], axis=2)
    np.testing.assert_allclose(nearest_member(members, x), table.min(axis=1))
    np.testing.assert_allclose(
        centroid(members, x), np.linalg.norm(x - members.mean(axis=0), axis=1)
    )
    assert (hull(members, x) <= nearest_member(members, x) + 1e-8).all()
    assert (hull(members, x) <= centroid(members, x) + 1e-8).all()


def test_one_member_makes_all_three_the_same(rng):
    members, x = rng.normal(size=(1, 3)), rng.normal(size=(20, 3))
    expected = np.linalg.norm(x - members, axis=1)
    for rank in RANKINGS.values():
        np.testing.assert_allclose(rank(members, x), expected)


def test_the_contest_counts_places_by_hand(rng):
    x = np.arange(10.0)[:, None]
    # Of {0, 1}, whichever is held out is the nearest of the nine others to the one that is kept.
    contest = compare(x, [np.array([0, 1])], rng=rng, rankings={"centroid": centroid}, k=1)
    assert contest.held_out == 1
    assert contest.standings[0].mean_percentile in (0.0, 0.5 / 8)  # next to 1 stands 2 as well
    assert contest.standings[0].recall == 1.0


def test_a_ranking_that_cannot_tell_is_as_good_as_chance(rng):
    x = rng.normal(size=(50, 3))
    blind = {"blind": lambda members, x: np.zeros(len(x))}
    contest = compare(x, [np.arange(10)], rng=rng, rankings=blind)
    assert contest.standings[0].mean_percentile == pytest.approx(0.5)


def test_the_hull_wins_where_playlists_fill_long_regions_that_others_surround(rng):
    tracks, playlists, size = [], [], np.array([4.0, 0.5])
    for place in range(5):
        around = rng.uniform(-1, 1, size=(200, 2)) * (size + 1)
        around = around[(np.abs(around) > size + 0.4).any(axis=1)]
        members = rng.uniform(-1, 1, size=(15, 2)) * size
        playlists.append(np.arange(15) + sum(map(len, tracks)))
        tracks.append(np.vstack([members, around]) + np.array([0.0, 10.0 * place]))
    contest = compare(np.vstack(tracks), playlists, rng=rng, k=5)
    assert contest.held_out == 15
    assert contest.standings[0].name == "hull"
    assert "does not win" not in str(contest)


@pytest.mark.parametrize("other", [0.1, 0.2])
def test_a_hull_that_does_not_win_is_said_not_to(other):
    standings = (Standing("centroid", other, 0.5), Standing("hull", 0.2, 0.5))
    assert "The hull does not win here: centroid" in str(Contest(standings, 7, 100))
    assert "does not win" not in str(Contest((Standing("centroid", other, 0.5),), 7, 100))


def test_the_same_seed_gives_the_same_contest(rng):
    x = rng.normal(size=(60, 4))
    contests = [compare(x, [np.arange(12)], rng=np.random.default_rng(5)) for _ in range(2)]
    assert contests[0] == contests[1]


def test_what_is_no_contest_is_refused(rng):
    x = rng.normal(size=(10, 2))
    for playlists, arguments, message in (
        ([np.array([0, 0])], {}, "repeats a track"),
        ([np.array([0, 99])], {}, "names none"),
        ([np.array([0])], {}, "playlists=0"),
        ([np.array([0, 1])], {"share": 1.0}, "no contest"),
        ([np.array([0, 1])], {"k": 0}, "no contest"),
        ([np.array([0, 1])], {"rankings": {}}, "no contest"),
    ):
        with pytest.raises(LibraryError, match=message):
            compare(x, playlists, rng=rng, **arguments)

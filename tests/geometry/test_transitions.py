import numpy as np
import pytest

from myna_rpe.errors import LibraryError
from myna_rpe.geometry.hull import Hull
from myna_rpe.geometry.matching import Matched, Minkowski
from myna_rpe.geometry.transitions import slot_times, transition


@pytest.fixture
def scene(rng):
    """Two playlists at two ends of a library."""
    x = np.vstack([rng.normal(size=(400, 5)) + at for at in (-4.0, -2.0, 0.0, 2.0, 4.0)])
    first, second = np.arange(8), np.arange(1600, 1606)
    artists = (np.arange(len(x)) % 150).tolist()
    return x, first, second, artists


@pytest.mark.parametrize("kind", [Matched, Minkowski])
def test_a_transition_keeps_all_rules_and_leads_from_one_to_the_other(scene, kind):
    x, first, second, artists = scene
    used = [*first.tolist(), *second.tolist()]
    found = transition(
        kind(x[first], x[second]),
        x,
        count=10,
        used=used,
        artists=artists,
        artist_window=4,
    )
    path = found.indices.tolist()
    assert len(set(path)) == 10
    assert not set(path) & set(used)
    who = [artists[row] for row in path]
    assert all(who[i] not in who[max(0, i - 4) : i] for i in range(10))
    along = x[path].mean(axis=1)
    assert along[0] < -2
    assert along[-1] > 2
    assert np.corrcoef(along, found.times)[0, 1] > 0.9
    ends = [
        Hull(x[rows]).distance(x[row]).value for rows, row in ((first, path[0]), (second, path[-1]))
    ]
    assert found.distances.values[[0, -1]] == pytest.approx(ends, abs=1e-7)


def test_the_cost_is_what_the_module_says(scene):
    x, first, second, _ = scene
    path = Matched(x[first], x[second])
    found = transition(path, x, count=6, smoothness=0.7)
    own = sum(
        path.at(float(t)).distance(x[row]).value
        for t, row in zip(found.times, found.indices, strict=True)
    )
    steps = np.linalg.norm(np.diff(x[found.indices], axis=0), axis=1).sum()
    assert found.cost == pytest.approx(own + 0.7 * steps)


def test_the_same_question_has_the_same_answer(scene):
    x, first, second, artists = scene

    def ask():
        path = Matched(x[first], x[second])
        return transition(path, x, count=8, artists=artists, artist_window=2).indices.tolist()

    assert ask() == ask()


def test_as_many_slots_as_tracks_use_each_once(rng):
    x = rng.normal(size=(9, 3))
    found = transition(Matched(x[:3], x[3:6]), x, count=9, per_slot=1)
    assert sorted(found.indices.tolist()) == list(range(9))


def test_slots_stand_evenly_from_end_to_end():
    assert slot_times(5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert slot_times(1).tolist() == [0.5]
    with pytest.raises(LibraryError, match="count=0"):
        slot_times(0)


def test_rules_that_cannot_be_kept_are_errors(scene):
    x, first, second, artists = scene
    path = Matched(x[first], x[second])
    for arguments, message in (
        ({"artists": ["A"] * len(x), "artist_window": 1}, "no sequence without repeats"),
        ({"artist_window": 1}, "without artists"),
        ({"artists": artists[:5]}, "artists=5 do not fit"),
        ({"used": range(len(x) - 2)}, "tracks=2 cannot fill 4 slots"),
        ({"per_slot": 0}, "per_slot=0"),
        ({"smoothness": -1.0}, "smoothness=-1"),
    ):
        with pytest.raises(LibraryError, match=message):
            transition(path, x, count=4, **arguments)

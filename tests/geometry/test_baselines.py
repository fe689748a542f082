import numpy as np
import pytest

from myna_rpe.errors import LibraryError
from myna_rpe.geometry.baselines import RANKINGS, centroid, compare, hull, nearest_member


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


def test_a_contest_counted_by_hand(rng):
    x = np.array([0.0, 1.0, 3.0, 4.0, 9.0])[:, None]
    nearest = {"nearest member": nearest_member}
    # Whichever of 0 and 4 is held out is before the stranger at 9, and after those at 1 and 3.
    contest = compare(x, [np.array([0, 3])], rng=rng, rankings=nearest, k=1)
    assert contest["nearest member"].auc == pytest.approx([1 / 3])
    assert contest["nearest member"].precision.tolist() == [0.0]
    contest = compare(x, [np.array([0, 3])], rng=rng, rankings=nearest, k=3)
    assert contest["nearest member"].precision.tolist() == [1.0]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_contest_is_what_scikit_learn_says(rng, share):
    from sklearn.metrics import roc_auc_score

    x, playlist, k = rng.normal(size=(40, 3)), np.arange(7), 4
    standing = compare(x, [playlist], rng=np.random.default_rng(3), share=share, draws=1, k=k)
    order = np.random.default_rng(3).permutation(playlist)
    held_out = {0.1: 1, 0.5: 4, 0.9: 6}[share]
    out, kept = set(order[:held_out]), order[held_out:]
    others = [track for track in range(40) if track not in kept]
    for name, rank in RANKINGS.items():
        distances = rank(x[kept], x[others])
        labels = [track in out for track in others]
        found = sorted(zip(distances, labels, strict=True))[:k]
        assert standing[name].auc[0] == pytest.approx(roc_auc_score(labels, -distances))
        hits = sum(label for _, label in found)
        assert standing[name].precision[0] == pytest.approx(hits / min(k, held_out))


def test_a_ranking_that_cannot_tell_is_as_good_as_chance(rng):
    x = rng.normal(size=(50, 3))
    blind = {"blind": lambda members, x: np.zeros(len(x))}
    contest = compare(x, [np.arange(10)], rng=rng, rankings=blind)
    assert contest["blind"].auc.tolist() == [0.5]


def test_the_hull_wins_where_playlists_fill_long_regions_that_others_surround(rng):
    tracks, playlists, size = [], [], np.array([4.0, 0.5])
    for place in range(5):
        around = rng.uniform(-1, 1, size=(200, 2)) * (size + 1)
        around = around[(np.abs(around) > size + 0.4).any(axis=1)]
        members = rng.uniform(-1, 1, size=(15, 2)) * size
        playlists.append(np.arange(15) + sum(map(len, tracks)))
        tracks.append(np.vstack([members, around]) + np.array([0.0, 10.0 * place]))
    contest = compare(np.vstack(tracks), playlists, rng=rng, share=0.2)
    for other in ("nearest member", "centroid"):
        assert (contest["hull"].auc > contest[other].auc).all()
        assert contest["hull"].precision.mean() > contest[other].precision.mean()


def test_the_same_seed_gives_the_same_contest(rng):
    x = rng.normal(size=(60, 4))
    one, two = (compare(x, [np.arange(12)], rng=np.random.default_rng(5)) for _ in range(2))
    assert all(one[name].auc.tolist() == two[name].auc.tolist() for name in RANKINGS)


def test_what_is_no_contest_is_refused(rng):
    x = rng.normal(size=(10, 2))
    for playlist, arguments, message in (
        ([0, 0], {}, "repeats a track"),
        ([0, 99], {}, "names none"),
        ([0], {}, "leaves nothing to find"),
        (range(10), {}, "nothing to find it among"),
        ([0, 1], {"share": 1.0}, "no contest"),
        ([0, 1], {"draws": 0}, "no contest"),
        ([0, 1], {"k": 0}, "no contest"),
    ):
        with pytest.raises(LibraryError, match=message):
            compare(x, [np.array(playlist)], rng=rng, **arguments)

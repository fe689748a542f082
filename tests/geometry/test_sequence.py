from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myna_rpe.errors import LibraryError
from myna_rpe.geometry.sequence import (
    ArtistWindow,
    NoRepeat,
    Rule,
    Slot,
    best_sequence,
    sequence_cost,
)


def random_problem(rng, slots, candidates, tracks):
    chosen = [
        Slot(
            rng.choice(tracks, size=min(candidates, tracks), replace=False), rng.random(candidates)
        )
        for _ in range(slots)
    ]
    steps = [rng.random((candidates, candidates)) for _ in range(slots - 1)]
    return chosen, steps


def brute_force(slots, steps, artists, window):
    """The least cost over everything that obeys the rules, or None."""
    best = None
    for positions in product(*[range(len(slot.tracks)) for slot in slots]):
        path = [int(slot.tracks[at]) for slot, at in zip(slots, positions, strict=True)]
        if len(set(path)) < len(path):
            continue
        who = [artists[track] for track in path]
        if any(
            who[i] == who[j]
            for i in range(len(who))
            for j in range(i + 1, min(len(who), i + window + 1))
        ):
            continue
        cost = sequence_cost(slots, steps, positions)
        best = cost if best is None else min(best, cost)
    return best


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    slots=st.integers(1, 5),
    tracks=st.integers(4, 9),
    window=st.integers(0, 3),
)
def test_the_best_sequence_is_that_of_brute_force(seed, slots, tracks, window):
    rng = np.random.default_rng(seed)
    problem, steps = random_problem(rng, slots, 4, tracks)
    artists = rng.integers(0, 5, tracks).tolist()
    expected = brute_force(problem, steps, artists, window)
    rules = [ArtistWindow(artists, window)]
    if expected is None:
        with pytest.raises(LibraryError, match="there is no sequence"):
            best_sequence(problem, steps, rules=rules)
        return
    chosen = best_sequence(problem, steps, rules=rules)
    assert chosen.exact
    assert chosen.cost == pytest.approx(expected)
    assert len(set(chosen.tracks.tolist())) == slots


def test_without_clashes_it_is_viterbis_sequence(rng):
    slots = [Slot(np.arange(5) + 5 * k, rng.random(5)) for k in range(6)]
    steps = [rng.random((5, 5)) for _ in range(5)]
    best = slots[0].costs
    for slot, step in zip(slots[1:], steps, strict=True):
        best = (best[:, None] + step).min(axis=0) + slot.costs
    assert best_sequence(slots, steps).cost == pytest.approx(best.min())


def test_a_repeat_between_slots_far_apart_is_never_returned():
    # Track 0 costs nothing in every slot.
    slots = [Slot(np.array([0, 1 + k]), np.array([0.0, 1.0])) for k in range(8)]
    steps = [np.zeros((2, 2)) for _ in range(7)]
    chosen = best_sequence(slots, steps)
    assert len(set(chosen.tracks.tolist())) == 8
    assert chosen.cost == pytest.approx(7.0)


@pytest.mark.parametrize("extensions", [0, 30])
def test_beyond_the_exact_search_the_rules_hold_and_it_says_so(rng, extensions):
    problem, steps = random_problem(rng, 8, 12, 14)
    artists = [track // 2 for track in range(14)]
    rules = [ArtistWindow(artists, 2)]
    rough = best_sequence(problem, steps, rules=rules, extensions=extensions)
    exact = best_sequence(problem, steps, rules=rules)
    assert exact.exact
    assert not rough.exact
    assert rough.cost >= exact.cost - 1e-12
    path = rough.tracks.tolist()
    assert len(set(path)) == 8
    assert all(
        artists[path[i]] != artists[path[j]] for i in range(8) for j in range(i + 1, min(8, i + 3))
    )
    assert rough.cost == pytest.approx(sequence_cost(problem, steps, rough.positions.tolist()))


def test_a_beam_that_runs_dry_is_an_error_and_not_a_broken_rule():
    slots = [Slot(np.array([0, 1]), np.array([0.0, 1.0])), Slot(np.array([0]), np.array([0.0]))]
    steps = [np.zeros((2, 1))]
    with pytest.raises(LibraryError, match="the search found no sequence"):
        best_sequence(slots, steps, extensions=0, beam=1)
    assert best_sequence(slots, steps).tracks.tolist() == [1, 0]


def test_unknown_artists_clash_with_none_and_known_ones_only_in_the_window():
    rule = ArtistWindow([None, None, "A", "A"], 2)
    assert isinstance(rule, Rule)
    assert rule.allows([0], 1)
    assert not rule.allows([2], 3)
    assert not rule.allows([2, 0], 3)
    assert rule.allows([2, 0, 1], 3)
    assert ArtistWindow(["A", "A"], 0).allows([0], 1)
    assert not NoRepeat().allows([4, 0, 1], 4)


def test_what_cannot_be_sequenced_is_refused():
    slot = Slot(np.array([0, 1]), np.array([0.0, 1.0]))
    for slots, steps, message in (
        ([], [], "at least one candidate"),
        ([Slot(np.array([], dtype=int), np.array([]))], [], "at least one candidate"),
        ([slot, slot], [], "do not fit"),
        ([slot, slot], [np.zeros((2, 3))], "do not fit"),
        ([slot, slot], [np.full((2, 2), np.nan)], "NaN"),
    ):
        with pytest.raises(LibraryError, match=message):
            best_sequence(slots, steps)

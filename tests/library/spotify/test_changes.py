from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from myna_rpe.library.spotify.changes import Append, Remove, Replace, next_step

lists = st.lists(st.sampled_from("abcdefgh"), max_size=12)


def steps(have: Sequence[str], want: Sequence[str]) -> list[object]:
    found = []
    current = list(have)
    while (step := next_step(current, want)) is not None:
        found.append(step)
        current = step.applied(current)
        assert len(found) < 40, found
    assert current == list(want)
    return found


@given(have=st.lists(st.sampled_from(["a", "b", "c", "d", "e", ""]), max_size=12), want=lists)
def test_steps_end_at_the_wanted_list(have: list[str], want: list[str]) -> None:
    steps(have, want)


@given(size=st.integers(0, 450), kept=st.integers(0, 450))
def test_a_list_that_is_begun_is_only_gone_on_with(size: int, kept: int) -> None:
    want = [str(i) for i in range(size)]
    found = steps(want[: min(kept, size)], want)
    assert all(isinstance(step, Append) for step in found)
    assert len(found) == -(-(size - min(kept, size)) // 100)
    assert all(len(step.uris) <= 100 for step in found)


@given(want=st.lists(st.integers(0, 500), unique=True, max_size=300), data=st.data())
def test_tracks_that_only_have_to_go_are_taken_out_alone(want: list[int], data) -> None:
    have = [str(i) for i in want]
    gone = set(data.draw(st.lists(st.sampled_from(have), unique=True))) if have else set()
    found = steps(have, [uri for uri in have if uri not in gone])
    if 0 < len(gone) < len(have):
        assert all(isinstance(step, Remove) for step in found)
        assert sum(len(step.uris) for step in found) == len(gone)


def test_no_step_names_more_than_100_items() -> None:
    want, have = [f"w{i}" for i in range(250)], [f"h{i}" for i in range(250)]
    found = steps(have, want)
    assert [type(step) for step in found] == [Replace, Append, Append]
    assert [len(step.uris) for step in found] == [100, 100, 50]


def test_the_end_of_a_list_changes_without_touching_its_beginning() -> None:
    assert steps("abcd", "abdc") == [Remove(("c", "d")), Append(("d", "c"), 2)]


def test_items_that_removal_by_name_cannot_tell_apart_are_replaced() -> None:
    assert steps("abab", "abba") == [Replace(("a", "b", "b", "a"))]
    assert steps(["a", ""], "a") == [Replace(("a",))]


def test_an_emptied_list_is_replaced_by_nothing() -> None:
    assert steps("abc", "") == [Replace(())]
    assert steps("", "") == []

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myna_rpe.errors import LibraryError
from myna_rpe.library import duplicates
from myna_rpe.library.duplicates import (
    Candidate,
    Sameness,
    file_title,
    find_groups,
    library_groups,
    plain_title,
)
from myna_rpe.library.index import Index
from myna_rpe.library.tracks import Track

from .made import make_library


def candidate(number, identity=None, duration=100.0, **tags):
    track = Track(number, Path(f"/m/{number}.mp3"), duration=duration, **tags)
    return Candidate(track, identity or b"%032d" % number).evidence


def groups_of(candidates, vectors=None, sameness=None):
    rows = np.eye(len(candidates), dtype=np.float32) if vectors is None else vectors
    return [
        (group.first, *(copy.position for copy in group.copies))
        for group in find_groups(candidates, lambda some: rows[some], sameness)
    ]


@pytest.mark.parametrize(
    ("title", "plain"),
    [
        ("Yesterday", "yesterday"),
        ("YESTERDAY (Remastered 2009)", "yesterday"),
        ("Yesterday - 2009 Remaster", "yesterday"),
        ("Yesterday \u2013 Live at the BBC", "yesterday"),
        ("Yesterday [Live] (Mono)", "yesterday"),
        ("Yesterday (feat. Someone) - Remastered", "yesterday"),
        ("Yesterday ft. Someone", "yesterday"),
        ("Live Forever", "live forever"),
        ("Alive (and well)", "alive and well"),
        ("Olive (Delivery)", "olive delivery"),
        ("Symphony No. 5 - II. Andante", "symphony no 5 ii andante"),
        ("(Live)", "live"),
        ("...", "..."),
        ("夜に駆ける", "夜に駆ける"),
        ("Cafe\u0301", "café"),
    ],
)
def test_titles_are_compared_without_versions_guests_and_marks(title, plain):
    assert plain_title(title) == plain


@pytest.mark.parametrize("name", ["01 - Yesterday", "1-07 Yesterday", "07. yesterday (live)"])
def test_without_a_title_the_name_of_the_file_counts(name):
    assert plain_title(file_title(f"{name}.mp3")) == "yesterday"


def test_a_year_is_a_title_of_its_own():
    assert plain_title(file_title("1999.mp3")) == "1999"


def test_the_same_sound_and_the_same_recording_are_grouped_whatever_else_they_are():
    found = [
        candidate(1, b"a" * 32, title="x"),
        candidate(2, title="y", recording_mbid="m"),
        candidate(3, b"a" * 32, title="z"),
        candidate(4, title="w", recording_mbid="m", duration=900.0),
        candidate(5),
    ]
    groups = find_groups(found, lambda some: np.eye(5, dtype=np.float32)[some])
    assert [(group.first, group.copies[0].position) for group in groups] == [(0, 2), (1, 3)]
    reasons = [group.copies[0].reason for group in groups]
    assert reasons == ["the same sound", "the same recording by MusicBrainz"]


def test_an_isrc_counts_where_the_length_agrees():
    found = [candidate(n, isrc="X", duration=float(d)) for n, d in enumerate((100, 150, 101, 152))]
    assert groups_of(found) == [(0, 2), (1, 3)]


@pytest.mark.parametrize(
    ("cosine", "duration", "title", "same"),
    [
        (0.99, 101.9, "Yes (live)", True),
        (0.94, 101.9, "Yes", False),
        (0.99, 102.5, "Yes", False),
        (0.99, 98.1, "Yes", True),
        (0.99, 100.0, "No", False),
        (0.99, 0.0, "Yes", False),
    ],
)
def test_vector_length_and_title_have_to_agree(cosine, duration, title, same):
    vectors = np.array([[1, 0], [cosine, np.sqrt(1 - cosine**2)]], np.float32)
    found = [candidate(1, title="Yes"), candidate(2, title=title, duration=duration)]
    assert groups_of(found, vectors) == ([(0, 1)] if same else [])


def test_how_alike_tracks_have_to_be_can_be_said():
    vectors = np.array([[1, 0], [0.9, np.sqrt(1 - 0.81)]], np.float32)
    found = [candidate(1, title="Yes"), candidate(2, title="Yes", duration=110.0)]
    assert groups_of(found, vectors, Sameness(0.89, 0.2)) == [(0, 1)]
    for wrong in ({"cosine": 0.0}, {"cosine": 1.1}, {"length": -0.1}, {"length": 1.0}):
        with pytest.raises(LibraryError, match=next(iter(wrong))):
            Sameness(**wrong)


def slow_groups(candidates, vectors, sameness):
    """Return the groups by comparing every pair, and joining until nothing changes."""
    leader = list(range(len(candidates)))
    for one in range(len(candidates)):
        for other in range(one):
            a, b = candidates[one], candidates[other]
            short, long = sorted((a.duration, b.duration))
            near = long <= short * (1 + sameness.length)
            if (
                a.identity == b.identity
                or (a.recording_mbid and a.recording_mbid == b.recording_mbid)
                or (a.isrc and a.isrc == b.isrc and near)
                or (
                    plain_title(a.title) == plain_title(b.title)
                    and near
                    and short > 0
                    and vectors[one] @ vectors[other] >= sameness.cosine
                )
            ):
                old, new = leader[one], leader[other]
                leader = [new if it == old else it for it in leader]
    groups = {}
    for position, name in enumerate(leader):
        groups.setdefault(name, []).append(position)
    return sorted(tuple(group) for group in groups.values() if len(group) > 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 512]))
def test_groups_are_those_of_comparing_every_pair(seed, at_once):
    rng = np.random.default_rng(seed)
    angles = rng.uniform(0, 1.0, 25)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = [
        candidate(
            n,
            b"%032d" % rng.integers(40),
            duration=float(rng.choice([0, 100, 101.5, 103, 104, 110])),
            title=str(rng.choice(["a", "A (live)", "b"])),
            recording_mbid=str(rng.choice(["", "", "", "m1", "m2"])),
            isrc=str(rng.choice(["", "", "", "i1", "i2"])),
        )
        for n in range(25)
    ]
    sameness = Sameness()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_ROWS_AT_ONCE", at_once)
        assert sorted(groups_of(found, vectors)) == slow_groups(found, vectors, sameness)


def test_every_copy_has_a_reason_that_names_a_member(rng):
    found = [candidate(n, title="a", duration=100.0 + n) for n in range(6)]
    vectors = np.ones((6, 1), np.float32)
    (group,) = find_groups(found, lambda some: vectors[some])
    assert [copy.position for copy in group.copies] == [1, 2, 3, 4, 5]
    for copy in group.copies:
        lengths = sorted((found[copy.position].duration, found[copy.like].duration))
        assert lengths[1] <= lengths[0] * 1.02
        assert copy.reason == "the same title and length, cosine 1.0000"


def test_the_groups_of_a_library_are_of_its_tracks(tmp_path, rng):
    vectors = rng.normal(size=(8, 4)).astype(np.float32)
    vectors[5] = 3 * vectors[2]
    tags = [{"title": title} for title in "abcdefgh"]
    tags[5]["title"] = "C (2011 Remaster)"
    with make_library(tmp_path / "library", vectors, tags) as catalogue:
        index = Index(catalogue)
        (group,) = library_groups(index, index.numbers)
        assert group.first.id == 3
        (copy,) = group.copies
        assert (copy.track.id, copy.like.id) == (6, 3)
        assert copy.reason.endswith("cosine 1.0000 (C (2011 Remaster) / c)")
        assert library_groups(index, np.array([1, 3, 99])) == []

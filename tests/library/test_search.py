import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myna_rpe.errors import LibraryError
from myna_rpe.library import kept, scales
from myna_rpe.library.catalogue import Catalogue
from myna_rpe.library.index import Index
from myna_rpe.library.scales import CSLS, NICDM, SCALES_FILE, LocalScaling, library_scales
from myna_rpe.library.search import (
    FoldCopies,
    ShowAll,
    each_direction,
    find_similar,
    mean_direction,
)

from ..geometry.support import hubness, mean_cosines, mean_distances
from .made import add_tracks, hide, make_library

N, DIM = 60, 6


@pytest.fixture
def vectors(rng):
    """Return vectors of many lengths, some of them alike, one of them zero."""
    table = rng.normal(size=(N, DIM)) * rng.uniform(0.01, 100, (N, 1))
    table[7] = 0
    table[20:25] = table[3]
    return table.astype(np.float32)


@pytest.fixture
def catalogue(tmp_path, vectors):
    with make_library(tmp_path / "library", vectors) as made:
        yield made


def slow_unit(vectors):
    wide = vectors.astype(np.float64)
    return np.array([row / n if (n := np.sqrt((row**2).sum())) else row for row in wide])


def slow_ranking(vectors, question, k, allowed, score=lambda cosine, query, track: cosine):
    """Return numbers and scores by a loop over all tracks."""
    rows = slow_unit(vectors)
    found = []
    for number in allowed:
        cosines = [float(rows[number - 1] @ direction) for direction in slow_unit(question)]
        best = max(score(cosine, query, number - 1) for query, cosine in enumerate(cosines))
        found.append((-round(best, 12), number))
    found.sort()
    return [number for _, number in found[:k]], [-score for score, _ in found[:k]]


def assert_same(ranking, expected):
    numbers, scores = expected
    np.testing.assert_allclose(ranking.scores, scores, atol=1e-9)
    assert ranking.numbers.tolist() == numbers


# --- the index -----------------------------------------------------------------------------------


@pytest.mark.parametrize("in_memory", [0, 1000])
@pytest.mark.parametrize("k", [1, 5, N, 3 * N])
def test_the_ranking_is_that_of_a_loop_over_all_tracks(catalogue, vectors, rng, k, in_memory):
    index = Index(catalogue, in_memory=in_memory)
    for questions in (1, 3):
        question = each_direction(rng.normal(size=(questions, DIM)))
        expected = slow_ranking(vectors, question, k, range(1, N + 1))
        assert_same(index.rank(question, k), expected)


def test_blocks_of_any_size_give_the_same(catalogue, rng, monkeypatch):
    question = each_direction(rng.normal(size=(2, DIM)))
    expected = Index(catalogue).rank(question, 20)
    for name in ("_ROWS_AT_ONCE", "_REFINED_AT_ONCE", "NUMBERS_AT_ONCE"):
        monkeypatch.setattr(f"myna_rpe.library.index.{name}", 7)
    for in_memory in (0, 1000):
        ranking = Index(catalogue, in_memory=in_memory).rank(question, 20)
        assert ranking.numbers.tolist() == expected.numbers.tolist()
        np.testing.assert_array_equal(ranking.scores, expected.scores)


def test_equal_tracks_are_in_order_of_number_wherever_they_lie(tmp_path, rng):
    row = rng.normal(size=(1, 48)).astype(np.float32)
    with make_library(tmp_path / "same", np.repeat(row, 300, axis=0)) as catalogue:
        ranking = Index(catalogue).rank(each_direction(row), 100)
        assert ranking.numbers.tolist() == list(range(1, 101))
        assert set(ranking.scores.tolist()) == {ranking.scores[0]}


def test_what_is_nearest_by_less_than_float32_can_tell_is_first(tmp_path):
    base = np.zeros((200, 64), np.float32)
    base[:, 0], base[:, 1] = 1.0, np.linspace(3e-4, 1e-4, 200)  # cosines differ by some 1e-10
    question = np.zeros((1, 64), np.float32)
    question[0, 0] = 1
    with make_library(tmp_path / "near", base) as catalogue:
        ranking = Index(catalogue).rank(each_direction(question), 5)
        assert ranking.numbers.tolist() == [200, 199, 198, 197, 196]


def test_missing_tracks_and_shared_rows_are_handled(tmp_path, vectors, rng):
    identities = [b"%032d" % (n % 40) for n in range(N)]
    with make_library(tmp_path / "shared", vectors, identities=identities) as catalogue:
        hide(catalogue, 1, 2, 50)
        shared = vectors[np.arange(N) % 40]
        allowed = [n for n in range(1, N + 1) if n not in (1, 2, 50)]
        question = each_direction(rng.normal(size=(1, DIM)))
        for in_memory in (0, 1000):
            index = Index(catalogue, in_memory=in_memory)
            assert len(index) == N - 3
            assert_same(index.rank(question, 30), slow_ranking(shared, question, 30, allowed))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-5, N + 20), max_size=30), st.integers(1, 20))
def test_only_chosen_tracks_are_found_and_as_many_as_asked(catalogue_of_all, chosen, k):
    index, vectors = catalogue_of_all
    question = np.ones((1, DIM), np.float32) / np.sqrt(np.float32(DIM))
    allowed = sorted({number for number in chosen if 1 <= number <= N})
    ranking = index.rank(question, k, among=np.array(chosen, np.int64), exclude=allowed[:1])
    assert_same(ranking, slow_ranking(vectors, question, k, allowed[1:]))


@pytest.fixture(scope="module")
def catalogue_of_all(tmp_path_factory):
    vectors = np.random.default_rng(5).normal(size=(N, DIM)).astype(np.float32)
    with make_library(tmp_path_factory.mktemp("all") / "library", vectors) as catalogue:
        yield Index(catalogue), vectors


def test_an_empty_library_answers_with_nothing(tmp_path):
    with make_library(tmp_path / "empty", np.zeros((0, DIM), np.float32)) as catalogue:
        index = Index(catalogue)
        question = np.ones((1, DIM), np.float32)
        assert len(index.rank(question, 3)) == 0
        assert find_similar(index, question, 3) == []


def test_questions_that_are_none_are_refused(catalogue):
    index = Index(catalogue)
    with pytest.raises(LibraryError, match="k=0 asks for no tracks"):
        index.rank(np.ones((1, DIM), np.float32), 0)
    with pytest.raises(LibraryError, match="does not fit a library of dim=6"):
        index.rank(np.ones((1, DIM + 1), np.float32), 1)


# --- questions -----------------------------------------------------------------------------------


def test_the_mean_is_of_directions_and_not_of_vectors():
    vectors = np.array([[100.0, 0.0], [0.0, 0.01]])
    np.testing.assert_allclose(mean_direction(vectors), [[0.5**0.5, 0.5**0.5]], atol=1e-7)
    np.testing.assert_allclose(mean_direction(vectors, [1, 0]), [[1, 0]], atol=1e-7)
    weighted = mean_direction(vectors, [3.0, 4.0])
    np.testing.assert_allclose(weighted, [[0.6, 0.8]], atol=1e-7)
    np.testing.assert_allclose(mean_direction(vectors, [30.0, 40.0]), weighted)


@pytest.mark.parametrize("weights", [[1], [1, 2, 3], [0, 0], [1, -1], [float("nan"), 1]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(LibraryError, match="weights="):
        mean_direction(np.eye(2), weights)


def test_what_cancels_out_has_no_direction():
    with pytest.raises(LibraryError, match="cancel out"):
        mean_direction(np.array([[1.0, 0.0], [-2.0, 0.0]]))
    with pytest.raises(LibraryError, match="leave them out"):
        each_direction(np.eye(2), [1, 1])


# --- local scaling -------------------------------------------------------------------------------


@pytest.fixture
def distinct(tmp_path, rng):
    vectors = rng.normal(size=(N, DIM)).astype(np.float32)
    with make_library(tmp_path / "distinct", vectors) as catalogue:
        yield catalogue, vectors


def test_scales_are_those_of_the_geometry(distinct):
    catalogue, vectors = distinct
    found = library_scales(Index(catalogue))
    np.testing.assert_allclose(CSLS().scales(found.cosines), mean_cosines(vectors), atol=1e-6)
    distances = mean_distances(slow_unit(vectors))
    np.testing.assert_allclose(NICDM().scales(found.cosines), distances, atol=1e-5)


@pytest.mark.parametrize("name", ["csls", "nicdm"])
@pytest.mark.parametrize("in_memory", [0, 1000])
def test_scaled_rankings_are_those_of_the_formulas(distinct, name, in_memory):
    catalogue, vectors = distinct
    unit = slow_unit(vectors)
    index = Index(catalogue, in_memory=in_memory)
    question = each_direction(vectors[[4, 9]])
    if name == "csls":
        scale = mean_cosines(vectors)
        # Neither of the two that were asked about is a neighbour of the question.
        ours = [np.sort(np.delete(unit @ unit[row], [4, 9]))[-10:].mean() for row in (4, 9)]

        def score(cosine, query, track):
            return 2 * cosine - ours[query] - scale[track]
    else:
        scale = mean_distances(unit)
        ours = [
            np.sort(np.delete(np.sqrt(np.maximum(2 - 2 * unit @ unit[row], 0)), [4, 9]))[:10].mean()
            for row in (4, 9)
        ]

        def score(cosine, query, track):
            return -np.sqrt(max(0, 2 - 2 * cosine)) / np.sqrt(ours[query] * scale[track])

    judge = LocalScaling(index, scales.SCALINGS[name]).judge(question, [5, 10])
    ranking = index.rank(question, 12, exclude=[5, 10], judge=judge)
    allowed = [n for n in range(1, N + 1) if n not in (5, 10)]
    numbers, scores = slow_ranking(vectors, question, 12, allowed, score)
    np.testing.assert_allclose(ranking.scores, scores, atol=1e-4)
    assert ranking.numbers.tolist() == numbers


def test_scaling_takes_hubs_from_the_answers(tmp_path, rng):
    vectors = rng.normal(size=(300, 40)).astype(np.float32)
    vectors[0] = vectors.mean(axis=0) * 50  # near the middle of everything
    vectors += 0.3
    with make_library(tmp_path / "hubs", vectors) as catalogue:
        index = Index(catalogue)
        plain, scaled = (
            np.array(
                [
                    index.rank(
                        each_direction(vectors[n : n + 1]),
                        5,
                        exclude=[n + 1],
                        judge=judge(each_direction(vectors[n : n + 1]), [n + 1]),
                    ).numbers
                    for n in range(300)
                ]
            )
            - 1
            for judge in (
                lambda question, exclude: lambda cosines, at: cosines,
                LocalScaling(index, CSLS()).judge,
            )
        )
        assert hubness(scaled, 300) < hubness(plain, 300)


def test_scales_are_worked_out_once_and_new_tracks_are_added(distinct, rng, monkeypatch):
    catalogue, _ = distinct
    first = library_scales(Index(catalogue))
    worked_out = []
    real = scales._scales_of

    def counted(index, keys, sample, positions, k, progress):
        worked_out.append(len(positions))
        return real(index, keys, sample, positions, k, progress)

    monkeypatch.setattr(scales, "_scales_of", counted)
    again = library_scales(Index(catalogue))
    np.testing.assert_array_equal(again.cosines, first.cosines)
    add_tracks(catalogue, rng.normal(size=(3, DIM)).astype(np.float32))
    grown = library_scales(Index(catalogue))
    assert len(grown.cosines) == N + 3
    np.testing.assert_array_equal(grown.cosines[:N], first.cosines)
    add_tracks(catalogue, rng.normal(size=(20, DIM)).astype(np.float32))
    library_scales(Index(catalogue))
    assert worked_out == [0, 3, N + 23]
    (catalogue.folder / SCALES_FILE).write_bytes(b"damaged")
    assert len(library_scales(Index(catalogue)).cosines) == N + 23


def test_what_takes_several_blocks_tells_how_far_it_is(distinct, monkeypatch):
    catalogue, _ = distinct
    told = []
    library_scales(Index(catalogue), progress=lambda *step: told.append(step))
    assert told == []
    (catalogue.folder / SCALES_FILE).unlink()
    monkeypatch.setattr(scales, "NUMBERS_AT_ONCE", 25 * N)
    LocalScaling(Index(catalogue), CSLS(), progress=lambda *step: told.append(step))
    assert told == [(25, N), (50, N), (N, N)]


def test_a_large_library_is_scaled_by_a_sample(distinct):
    catalogue, vectors = distinct
    found = library_scales(Index(catalogue), reference=25)
    assert len(found.reference) == 25
    unit = slow_unit(vectors)
    for track in (0, 31):
        others = [other for other in found.reference if other != track]
        expected = np.sort(unit[others] @ unit[track])[-10:]
        np.testing.assert_allclose(np.sort(found.cosines[track]), expected, atol=1e-6)


def test_a_library_of_one_track_can_be_scaled(tmp_path):
    vectors = np.ones((1, DIM), np.float32)
    with make_library(tmp_path / "one", vectors) as catalogue:
        index = Index(catalogue)
        for scaling in (CSLS(), NICDM()):
            hits = find_similar(
                index, each_direction(vectors), 3, scaling=LocalScaling(index, scaling)
            )
            assert [hit.track.id for hit in hits] == [1]


# --- what is kept --------------------------------------------------------------------------------


def test_kept_arrays_come_back_under_their_stamp_only(tmp_path):
    path = tmp_path / "kept.npz"
    kept.write_kept(path, {"seed": 1}, values=np.arange(3))
    np.testing.assert_array_equal(kept.read_kept(path, {"seed": 1})["values"], [0, 1, 2])
    assert kept.read_kept(path, {"seed": 2}) is None
    assert kept.read_kept(tmp_path / "nothing.npz", {}) is None
    for content in (b"", b"PK", path.read_bytes()[:-30]):
        path.write_bytes(content)
        assert kept.read_kept(path, {"seed": 1}) is None


def test_places_of_keys():
    keys = np.array([9, 3, 5], np.uint64)
    assert kept.places_of(np.array([3, 4, 9], np.uint64), keys).tolist() == [1, -1, 0]
    assert kept.places_of(keys, np.zeros(0, np.uint64)).tolist() == [-1, -1, -1]


# --- answers -------------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path, rng):
    """Return a library where track 2 is a remaster of 1, and 4 and 5 are copies of 3."""
    vectors = rng.normal(size=(30, DIM)).astype(np.float32)
    vectors[1] = vectors[0] * 1.01
    vectors[2] = vectors[0] + 0.3 * rng.normal(size=DIM)
    vectors[3] = vectors[4] = vectors[2]
    titles = ["Yes", "Yes (Remastered 2009)", "No", "No", "No - Live at Home"]
    titles += [f"song {letter}" for letter in "abcdefghijklmnopqrstuvwxy"]
    tags = [{"title": title} for title in titles]
    with make_library(tmp_path / "copied", vectors, tags) as catalogue:
        yield catalogue


def test_a_recording_comes_once_and_that_of_the_question_not_at_all(copied):
    index = Index(copied)
    question = mean_direction(copied.vector(1)[None])
    hits = find_similar(index, question, 5, known=[1])
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
    assert hits[0].track.id == 3
    assert [copy.track.id for copy in hits[0].copies] == [4, 5]
    assert all("same title" in copy.reason for copy in hits[0].copies)
    assert 2 not in [hit.track.id for hit in hits]
    everything = find_similar(index, question, 5, known=[1], folding=ShowAll())
    assert [hit.track.id for hit in everything][:4] == [2, 3, 4, 5]
    assert not any(hit.copies for hit in everything)


def test_as_many_recordings_come_as_were_asked_for(tmp_path, rng):
    vectors = np.repeat(rng.normal(size=(6, DIM)), 40, axis=0).astype(np.float32)
    tags = [{"title": f"t{n // 40}x"} for n in range(240)]
    with make_library(tmp_path / "many", vectors, tags) as catalogue:
        index = Index(catalogue)
        hits = find_similar(index, each_direction(vectors[:1]), 6, folding=FoldCopies())
        assert sorted(hit.track.id for hit in hits) == [1, 41, 81, 121, 161, 201]
        assert all(copy.track.title == hit.track.title for hit in hits for copy in hit.copies)
        assert len(find_similar(index, each_direction(vectors[:1]), 7)) == 6


def test_a_library_that_may_only_be_read_is_searched_and_scaled(distinct, tmp_path):
    catalogue, vectors = distinct
    folder = catalogue.folder
    catalogue.close()
    with Catalogue(folder) as reading:
        reading.database.read_only = True
        index = Index(reading)
        hits = find_similar(
            index, each_direction(vectors[:1]), 3, scaling=LocalScaling(index, CSLS())
        )
        assert hits[0].track.id == 1
        assert not (folder / SCALES_FILE).exists()

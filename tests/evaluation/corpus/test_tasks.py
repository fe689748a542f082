from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myna_rpe.errors import ConfigError, TaskError
from myna_rpe.evaluation.corpus.composer import assign_folds, composer_probe, composer_retrieval
from myna_rpe.evaluation.corpus.identification import LENGTHS, identification
from myna_rpe.evaluation.corpus.manifest import MANIFEST, CorpusTrack, read_corpus, write_tracks

DEV = "supertux-data"


def track(number, composer="", album="", package=DEV, duration=40.0):
    return CorpusTrack(
        path=f"{package}/{number}.ogg",
        package=package,
        role="dev",
        album=album,
        composer=composer,
        licence="CC0-1.0",
        duration=duration,
        sample_rate=44100,
        bytes=1,
        sha256=f"{number}",
    )


@pytest.fixture
def corpus(tmp_path):
    """Write a corpus of given tracks; their files hold no sound."""

    def write(*tracks):
        for one in tracks:
            (tmp_path / one.path).parent.mkdir(exist_ok=True)
            (tmp_path / one.path).write_bytes(b"x")
        write_tracks(tmp_path / MANIFEST, tracks)
        return tmp_path

    return write


TRACKS = [
    *(track(n, "Ada", "one") for n in range(5)),
    *(track(n, "Ada", "two") for n in range(5, 7)),
    *(track(n, "Bob", "one") for n in range(7, 13)),
    *(track(n, "Cyd", f"album {n}") for n in range(13, 20)),
    track(20, "Dan"),
    track(21),
]


def test_retrieval_asks_for_composers_of_two_tracks_or_more(corpus):
    data = composer_retrieval(corpus(*TRACKS))
    assert (data.kind, data.classes) == ("retrieval", ("Ada", "Bob", "Cyd"))
    assert len(data.examples) == 20
    assert all(example.duration is None for example in data.examples)
    assert {e.group for e in data.examples if e.label == "Ada"} == {f"{DEV}/one", f"{DEV}/two"}
    # The same album is the same group, whoever composed its tracks.
    assert data.examples[0].group == data.examples[8].group
    assert data.notes["tracks"] == "20 of 22: composer unknown for 1, with one track only 1"
    assert "2 of them on several albums: 14 queries" in data.notes["composers"]


def test_the_by_package_figure_is_of_the_same_tracks(corpus):
    other = [track(n, "Ada", package="freecol") for n in (30, 31)]
    folder = corpus(*TRACKS, *other)
    by_composer = composer_retrieval(folder)
    by_package = composer_retrieval(folder, by="package")
    assert [e.path for e in by_package.examples] == [e.path for e in by_composer.examples]
    assert by_package.classes == ("freecol", DEV)
    assert {e.group for e in by_package.examples} == {""}
    assert by_composer.notes["packages"].startswith("1 composers in more than one package")


def test_every_track_is_tested_once_and_all_splits_have_all_composers(corpus):
    folder = corpus(*TRACKS)
    probe = composer_probe(folder, num_folds=5)
    folds = probe.in_folds()
    assert len(folds) == 5
    tested = Counter(e.id for data in folds for e in data.of_split("test"))
    assert set(tested.values()) == {1}
    assert len(tested) == 20
    for data in folds:
        for split in ("train", "valid", "test"):
            assert {e.label for e in data.of_split(split)} == {"Ada", "Bob", "Cyd"}
    assert probe == composer_probe(folder, num_folds=5)


def test_packages_are_told_apart_on_the_same_terms(corpus):
    other = [track(n, "Ada", package="freecol") for n in range(30, 36)]
    data = composer_probe(corpus(*TRACKS, *other), by="package", num_folds=3)
    assert (data.name, data.classes) == ("corpus-package-probe", ("freecol", DEV))


def test_albums_stay_in_one_fold_where_there_are_enough_of_them(corpus):
    more = [track(40 + n, "Cyd", f"album {13 + n}") for n in range(4)]
    for data in composer_probe(corpus(*TRACKS, *more), num_folds=5).in_folds():
        splits = defaultdict(set)
        for example in data.examples:
            if example.label == "Cyd":
                splits[example.group].add(example.split)
        assert all(len(of_album) == 1 for of_album in splits.values())
        assert "for 1 of 3 composers" in data.notes["albums"]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("123456")), min_size=1, max_size=60),
    st.integers(1, 6),
    st.integers(0, 9),
)
@settings(deadline=None)
def test_folds_are_even_and_keep_groups_whole_where_they_can(labels, num_folds, seed):
    items = dict(enumerate(labels))
    folds = assign_folds(items, num_folds=num_folds, seed=seed)
    assert folds.keys() == items.keys()
    assert set(folds.values()) <= set(range(num_folds))
    for label in {label for label, _ in labels}:
        own = [item for item in items if items[item][0] == label]
        groups = {items[item][1] for item in own}
        counts = Counter(folds[item] for item in own)
        if len(groups) >= num_folds:
            for group in groups:
                assert len({folds[item] for item in own if items[item][1] == group}) == 1
            assert len(counts) == num_folds
        else:
            assert max(counts.values()) - min(counts[fold] for fold in range(num_folds)) <= 1


def test_folds_that_leave_something_empty_are_refused(corpus):
    folder = corpus(*TRACKS)
    with pytest.raises(TaskError, match="leaves a split empty"):
        composer_probe(folder, num_folds=2)
    with pytest.raises(TaskError, match="use fewer folds"):
        composer_probe(folder, num_folds=7 + 1)


def test_an_excerpt_lies_in_its_own_track_and_asks_for_it(corpus):
    tracks = [track(n, duration=5.0 + n) for n in range(30)]
    folder = corpus(*tracks)
    for seconds in LENGTHS:
        data = identification(folder, seconds=seconds, excerpts=2)
        long_enough = [one for one in tracks if one.duration >= seconds]
        queries = data.of_split("test")
        assert len(queries) == 2 * len(long_enough)
        assert [e.track for e in data.of_split("")] == [one.path for one in tracks]
        assert len({e.id for e in data.examples}) == len(data.examples)
        durations = {one.path: one.duration for one in tracks}
        for query in queries:
            assert query.path == folder / query.track
            assert query.duration == seconds
            assert 0 <= query.start <= durations[query.track] - seconds


def test_excerpts_are_those_of_the_seed_whatever_else_is_there(corpus):
    few = identification(corpus(*TRACKS[:3]), seconds=10.0, seed=1).of_split("test")
    folder = corpus(*TRACKS)
    many = identification(folder, seconds=10.0, seed=1).of_split("test")
    assert many[:3] == few
    assert identification(folder, seconds=10.0, seed=2).of_split("test") != many
    assert len({query.start for query in many}) == len(many)


def test_impossible_excerpts_are_refused(corpus):
    folder = corpus(*TRACKS)
    for wrong in ({"seconds": 0.0}, {"seconds": 3.0, "excerpts": 0}):
        with pytest.raises(TaskError, match="must be positive"):
            identification(folder, **wrong)


def test_a_corpus_that_is_not_there_names_the_command(tmp_path, corpus):
    with pytest.raises(TaskError, match=r"holds no corpus\.jsonl; run `myna corpus fetch"):
        read_corpus(tmp_path)
    folder = corpus(*TRACKS)
    with pytest.raises(TaskError, match="has no tracks of role train"):
        read_corpus(folder, role="train")
    with pytest.raises(ConfigError, match="role='test' is unknown"):
        read_corpus(folder, role="test")
    (folder / TRACKS[0].path).unlink()
    with pytest.raises(TaskError, match="lacks 1 of its 22 tracks"):
        read_corpus(folder)
    (folder / MANIFEST).write_bytes(b'{"path": "half')
    with pytest.raises(TaskError, match="is damaged, every line must hold path, package"):
        read_corpus(folder)


def test_a_corpus_without_labels_has_no_composer_task(corpus):
    with pytest.raises(TaskError, match="no two tracks of one composer"):
        composer_retrieval(corpus(*(replace(one, composer="") for one in TRACKS)))

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myna_rpe.errors import TaskError
from myna_rpe.evaluation.corpus import scores
from myna_rpe.evaluation.corpus.scores import (
    RUN,
    Note,
    Tune,
    distinct,
    parse_abc_key,
    runs,
    sharps_of,
)
from myna_rpe.evaluation.keys import KEYS, key_at

# Long enough to have a run: notes that are never the same twice in a row.
melodies = st.lists(st.integers(-5, 5).filter(bool), min_size=RUN, max_size=RUN + 20).map(
    lambda steps: [60 + sum(steps[:n]) for n in range(len(steps) + 1)]
)


def tune(melody, name="tune", tonic=0, mode="major"):
    notes = tuple(Note(pitch, float(i), 1.0) for i, pitch in enumerate(melody))
    return Tune(name, name, tonic, mode, notes, tuple(melody))


@given(melodies, st.integers(-24, 24))
def test_runs_do_not_change_under_transposition(melody, shift):
    assert runs([pitch + shift for pitch in melody]) == runs(melody)


@given(melodies, st.integers(0, 1000))
def test_repeated_notes_do_not_hide_a_tune(melody, seed):
    times = np.random.default_rng(seed).integers(1, 4, size=len(melody))
    ornamented = [pitch for pitch, n in zip(melody, times, strict=True) for _ in range(n)]
    assert runs(ornamented) == runs(melody)


def test_runs_are_every_stretch_of_intervals():
    melody = [60, 62, 64, 65, 65, 67]
    assert runs(melody, 2) == {(2, 2), (2, 1), (1, 2)}
    assert runs(melody, 9) == {(2, 2, 1, 2)}
    assert runs([60, 60, 60], 2) == set()


@given(st.lists(melodies, min_size=1, max_size=4), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_no_two_distinct_tunes_share_a_run(several, seed):
    rng = np.random.default_rng(seed)
    tunes = [tune(melody, f"tune {n}") for n, melody in enumerate(several)]
    # The same tunes again in other keys, under other titles, with a tail of their own.
    for number, melody in enumerate(several):
        shift = int(rng.integers(-12, 13))
        tail = [int(pitch) for pitch in rng.integers(60, 80, size=5)]
        tunes.append(tune([pitch + shift for pitch in melody] + tail, f"variant {number}"))
    rng.shuffle(tunes)
    kept = list(distinct(tunes))
    seen: set[tuple[int, ...]] = set()
    for one in kept:
        own = runs(one.melody)
        assert own.isdisjoint(seen)
        seen |= own
    # Of a tune and its variant one is there at most, and the first tune always is.
    assert kept[0] is tunes[0]
    numbers = [one.id.split()[1] for one in kept]
    assert len(numbers) == len(set(numbers))


def test_tunes_known_before_are_left_out_in_any_key(rng):
    one, other = ([int(p) for p in rng.integers(60, 80, size=40)] for _ in range(2))
    moved = [pitch + 5 for pitch in one]
    assert [t.id for t in distinct([tune(moved, "a"), tune(other, "b")], known=[tune(one)])] == [
        "b"
    ]


def test_a_tune_that_links_two_others_drops_both(rng):
    first, second = ([int(p) for p in rng.integers(60, 80, size=30)] for _ in range(2))
    tunes = [tune(first, "a"), tune(first + second, "medley"), tune(second, "b")]
    assert [t.id for t in distinct(tunes)] == ["a"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("G", "G major"),
        ("Em", "E minor"),
        ("E Minor", "E minor"),
        ("EMin", "E minor"),
        ("Bb", "Bb major"),
        ("F#m", "Gb minor"),
        ("Dmaj % a comment", "D major"),
        ("A Mixolydian", None),
        ("Ador", None),
        ("Hp", None),
        ("Bphr", None),
        ("Bn", None),
        ("AM", "A major"),
        ("none", None),
        ("", None),
    ],
)
def test_only_plain_major_and_minor_are_keys(text, key):
    parsed = parse_abc_key(text)
    assert (key_at(*parsed) if parsed else None) == key


def test_keys_are_the_24_that_mir_eval_knows():
    from mir_eval.key import validate_key

    assert len(set(KEYS)) == 24
    for key in KEYS:
        validate_key(key)


@pytest.mark.parametrize("mode", ["major", "minor"])
def test_a_fifth_up_is_one_sharp_more(mode):
    for tonic in range(12):
        step = sharps_of(tonic + 7, mode) - sharps_of(tonic, mode)
        assert step % 12 == 1
    assert sharps_of(9, "minor") == sharps_of(0, "major") == 0


def test_signatures_are_those_that_music21_gives_to_keys():
    music21 = pytest.importorskip("music21")
    for mode in ("major", "minor"):
        for tonic in ("C", "D", "E", "F", "G", "A", "B"):
            key = music21.key.Key(tonic, mode)
            assert sharps_of(key.tonic.pitchClass, mode) % 12 == key.sharps % 12


SCALE = """X:1
T:Up and down
R:Slip Jig
M:4/4
L:1/4
K:{key}
|: {notes} :|
"""


def parsed(key, notes):
    music21 = pytest.importorskip("music21")
    return scores._traditional_tune(music21, "book/1", SCALE.format(key=key, notes=notes), "major")


def test_a_tune_has_its_key_its_dance_and_its_repeats():
    found = parsed("D", "D E F G | A B c d | d c B A | G F E D")
    assert (found.tonic, found.mode, found.dance) == (2, "major", "slip jig")
    assert [note.pitch for note in found.notes[:4]] == [62, 64, 66, 67]
    assert (len(found.notes), found.length) == (32, 32.0)


def test_tied_notes_are_one_and_grace_notes_none():
    found = parsed("D", "D E F G | A B c d- | d2 {e}c B- | BA G F | E2 D2")
    once = {7.0: 3.0, 11.0: 2.0, 16.0: 2.0, 18.0: 2.0}
    tied = {note.start: note.length for note in found.notes if note.length > 1}
    assert tied == {**once, **{start + 20: length for start, length in once.items()}}
    assert len(found.melody) == len(found.notes) == 2 * 15


@pytest.mark.parametrize(
    ("key", "notes"),
    [
        ("D", "D E F G | A B c d | d c B A | G F D E"),  # ends elsewhere
        ("Dm", "D E F G | A B c d | d c B A | G F E D"),  # the other mode
        ("D Dorian", "D E F G | A B c d | d c B A | G F E D"),
        ("D", "D E F G | A F E D"),  # too short to be told from others
        ("D", "D E F G | A B c d | [K:G] d c B A | G F E D"),  # two keys
        ("D", "no music"),
    ],
)
def test_a_tune_that_does_not_say_its_key_plainly_does_not_count(key, notes):
    assert parsed(key, notes) is None


def test_a_chorale_is_in_minor_where_one_part_says_so_and_it_ends_there(tmp_path):
    music21 = pytest.importorskip("music21")
    folder = scores.Path(music21.__file__).parent / "corpus/bach"
    # Signatures: three parts F major, one D minor; all B minor but an ending on D.
    found = scores._chorale(music21, folder / "bwv101.7.mxl")
    assert (found.id, found.tonic, found.mode) == ("bach/bwv101.7", 2, "minor")
    assert len({note.pitch for note in found.notes if note.start == 0}) > 1
    assert scores._chorale(music21, folder / "bwv120.6.mxl") is None
    broken = tmp_path / "broken.mxl"
    shutil.copy(folder / "bwv101.7.mxl", broken)
    broken.write_bytes(broken.read_bytes()[:200])
    assert scores._chorale(music21, broken) is None


def test_scores_come_in_an_order_of_the_seed():
    pytest.importorskip("music21")

    def first(seed, mode="major"):
        return next(scores.traditional_tunes(seed=seed, mode=mode))

    assert first(0) == first(0)
    assert first(0) != first(1)
    assert (first(0).mode, first(0, "minor").mode) == ("major", "minor")


def test_without_music21_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "music21", None)
    with pytest.raises(TaskError, match=r"pip install myna-rpe\[eval\]"):
        next(scores.chorales(seed=0))

"""Files to pretrain on: what a tune's performances have in common, and what not."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from myna_rpe.errors import TaskError
from myna_rpe.evaluation.corpus import performances
from myna_rpe.evaluation.corpus.arrangement import accompaniment
from myna_rpe.evaluation.corpus.midi import pitch_class_histogram
from myna_rpe.evaluation.corpus.performances import (
    MANIFEST,
    PerformanceSettings,
    parts_of,
    plan_medleys,
    render_performances,
)
from myna_rpe.evaluation.corpus.scores import Note
from myna_rpe.evaluation.corpus.synthesis import SAMPLE_RATE, SOUNDFONTS

from .test_render import Tones, scale, varied

SMALL = PerformanceSettings(tunes=8, keys=3, performances=3, seconds=4.0)


def some_tunes():
    return [scale(number, mode) for mode in ("major", "minor") for number in range(4)]


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(performances, "choose_training_tunes", lambda settings: some_tunes())
    return SMALL


def test_keys_are_equally_frequent_and_the_plan_depends_on_the_seed_alone():
    plan = plan_medleys(some_tunes(), SMALL)
    assert plan == plan_medleys(some_tunes(), SMALL)
    assert plan != plan_medleys(some_tunes(), replace(SMALL, seed=1))
    keys = Counter(medley.key for medley in plan)
    assert len(plan) == 8 * 3
    assert set(keys.values()) == {1}
    assert len({medley.path for medley in plan}) == len(plan)


def test_performances_of_a_file_share_key_and_tune_and_differ_in_the_rest():
    tunes = {tune.id: tune for tune in some_tunes()}
    seen = set()
    for medley in plan_medleys(some_tunes(), SMALL):
        tune = tunes[medley.tune]
        for performance in medley.performances:
            melody = parts_of(tune, performance, 60.0)[0].notes
            steps = sorted({(note.pitch - medley.tonic) % 12 for note in melody})
            assert steps == sorted({(note.pitch - tune.tonic) % 12 for note in tune.notes})
            assert len(performance.programs) in (1, 3)
            assert SMALL.slowest <= performance.tempo <= SMALL.fastest
        seen.add(len({(p.programs, p.tempo) for p in medley.performances}))
    assert seen == {3}


def test_voices_move_together_and_end_in_time():
    tune = scale(1, "minor")
    performance = plan_medleys([tune], replace(SMALL, accompanied=1.0))[1].performances[0]
    parts = parts_of(tune, performance, 2.0)
    assert [len(part.notes) > 0 for part in parts] == [True] * 3
    quarters = 2.0 * performance.tempo / 60
    assert all(n.start + n.length <= quarters for part in parts for n in part.notes)
    assert all(0 <= n.pitch <= 127 for part in parts for n in part.notes)
    chords, _ = accompaniment(tune)
    shift = (parts[1].notes[0].pitch - chords[0].pitch) % 12
    assert shift == performance.transposition % 12


@pytest.mark.parametrize("mode", ["major", "minor"])
def test_chords_are_those_of_the_key_and_fit_the_melody(mode):
    tune = scale(2, mode)
    triads = {"major": (0, 4, 7), "minor": (0, 3, 7)}[mode]
    held = [Note(60 + tune.tonic + step, float(i), 1.0) for i, step in enumerate(triads)]
    chords, bass = accompaniment(replace(tune, notes=tuple(held)))
    assert {(note.pitch - tune.tonic) % 12 for note in chords[:3]} == set(triads)
    assert bass[0].pitch % 12 == tune.tonic % 12
    # Scales with a raised seventh, as dominants have in minor.
    allowed = {"major": {0, 2, 4, 5, 7, 9, 11}, "minor": {0, 2, 3, 5, 7, 8, 10, 11}}[mode]
    chords, _ = accompaniment(varied(3, mode))
    used = np.flatnonzero(pitch_class_histogram(chords))
    assert {(pitch - varied(3, mode).tonic) % 12 for pitch in used.tolist()} <= allowed


def test_files_hold_their_performances_one_after_another_and_are_not_made_twice(few, tmp_path):
    voice = Tones()
    told = []
    done = render_performances(
        tmp_path,
        few,
        announce=lambda *plan: told.append(plan[:2]) or True,
        synthesiser=voice,
    )
    assert told == [(24, 24)]
    assert len(voice.played) == 24 * 3
    assert set(voice.played) == set(SOUNDFONTS)
    for medley in done:
        info = soundfile.info(tmp_path / medley.path)
        assert (info.format, info.channels, info.samplerate) == ("FLAC", 1, SAMPLE_RATE)
        assert medley.duration == pytest.approx(0.3)
    again = Tones()
    assert render_performances(tmp_path, few, synthesiser=again) == done
    assert again.played == []


@pytest.mark.parametrize("damage", [b"{", b"[1]", b'{"path": "x"}', b"\xff"])
def test_a_damaged_manifest_is_written_again_and_no_file_is_rendered_twice(few, tmp_path, damage):
    whole = render_performances(tmp_path, few, synthesiser=Tones())
    (tmp_path / MANIFEST).write_bytes(damage)
    voice = Tones()
    assert render_performances(tmp_path, few, synthesiser=voice) == whole
    assert voice.played == []
    assert len((tmp_path / MANIFEST).read_bytes().splitlines()) == len(whole)


def test_a_run_that_was_cut_renders_only_what_is_missing(few, tmp_path):
    whole = render_performances(tmp_path, few, synthesiser=Tones())
    (tmp_path / MANIFEST).unlink()
    for medley in whole[:5]:
        (tmp_path / medley.path).unlink()
    voice = Tones()
    assert render_performances(tmp_path, few, synthesiser=voice) == whole
    assert len(voice.played) == 5 * 3


def test_other_or_impossible_settings_are_refused(few, tmp_path):
    render_performances(tmp_path, few, announce=lambda *plan: False)
    with pytest.raises(TaskError, match="renderings of other settings"):
        render_performances(tmp_path, replace(few, seed=1), synthesiser=Tones())
    for wrong in ({"keys": 13}, {"tunes": 0}, {"performances": 0}, {"seconds": 0.5}):
        with pytest.raises(TaskError, match="there must be"):
            PerformanceSettings(**wrong)


def test_no_tune_that_the_key_task_holds_out_is_trained_on(monkeypatch):
    task = {"train": [varied(0, "major")], "valid": [varied(1, "minor")], "test": []}
    monkeypatch.setattr(performances, "choose_tunes", lambda settings: task)
    monkeypatch.setattr(
        performances,
        "traditional_tunes",
        lambda *, seed, mode: iter([varied(number, mode) for number in range(4)]),
    )
    chosen = performances.choose_training_tunes(PerformanceSettings(tunes=6))
    names = [tune.id for tune in chosen]
    assert "minor 1" not in names
    assert len(names) == len(set(names)) == 6
    assert Counter(tune.mode for tune in chosen) == {"minor": 3, "major": 3}

import shutil
import struct
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from myna_rpe.errors import TaskError
from myna_rpe.evaluation.corpus import render, synthesis
from myna_rpe.evaluation.corpus.key import rendered_key
from myna_rpe.evaluation.corpus.midi import Part, midi_file, pitch_class_histogram
from myna_rpe.evaluation.corpus.render import (
    MANIFEST,
    RenderSettings,
    plan_renderings,
    read_renderings,
    render_scores,
    transposition,
)
from myna_rpe.evaluation.corpus.rhythm import rendered_dance, rendered_tempo
from myna_rpe.evaluation.corpus.scores import Note, Tune
from myna_rpe.evaluation.corpus.synthesis import SOUNDFONTS, Synthesiser, find_synthesiser
from myna_rpe.evaluation.keys import KEYS
from myna_rpe.evaluation.peers import NotesExtractor

from .packages_on_path import install_tools

SCALES = {"major": (0, 2, 4, 5, 7, 9, 11, 12), "minor": (0, 2, 3, 5, 7, 8, 10, 12)}


def scale(number, mode, dance="reel"):
    tonic = number * 5 % 12
    melody = [60 + tonic + step for step in SCALES[mode]]
    notes = tuple(Note(pitch, i / 2, 0.5) for i, pitch in enumerate(melody))
    name = f"{mode} {number}"
    return Tune(name, name, tonic, mode, notes, tuple(melody), dance)


def tunes(train=12, valid=6, test=6):
    dances = ("reel", "jig")
    return {
        split: [
            scale(start + n, mode, dances[n % 2])
            for mode in ("major", "minor")
            for n in range(count)
        ]
        for split, start, count in (
            ("train", 0, train),
            ("valid", 100, valid),
            ("test", 200, test),
        )
    }


def planned(**options):
    return plan_renderings(tunes(), RenderSettings(**options))


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 5))
@settings(max_examples=12, deadline=None)
def test_keys_are_balanced_in_every_split_and_each_tune_stays_in_one(renderings, count, seed):
    choice = RenderSettings(renderings=renderings, seed=seed)
    plan = plan_renderings(tunes(count, count, count), choice)
    splits = defaultdict(set)
    keys = defaultdict(Counter)
    everywhere = Counter()
    own = defaultdict(list)
    for rendering, _ in plan:
        splits[rendering.tune].add(rendering.split)
        keys[rendering.split, rendering.mode][rendering.key] += 1
        everywhere[rendering.key] += 1
        own[rendering.tune].append(rendering.key)
    assert all(len(of_tune) == 1 for of_tune in splits.values())
    assert all(len(set(of_tune)) == renderings for of_tune in own.values())
    for (_, mode), counts in keys.items():
        assert sum(counts.values()) == renderings * count
        numbers = [counts[key] for key in KEYS if key.endswith(mode)]
        assert max(numbers) - min(numbers) <= 1
    for mode in ("major", "minor"):
        numbers = [everywhere[key] for key in KEYS if key.endswith(mode)]
        assert max(numbers) - min(numbers) <= 1
    assert len({rendering.path for rendering, _ in plan}) == len(plan)


def test_the_notes_of_a_rendering_are_those_of_its_key():
    for rendering, notes in planned(renderings=3):
        scale_of_key = {(rendering.tonic + step) % 12 for step in SCALES[rendering.mode]}
        assert {note.pitch % 12 for note in notes} == scale_of_key
        assert notes[-1].pitch % 12 == rendering.tonic
        assert rendering.key in KEYS
        sounding = {pitch for pitch in range(12) if rendering.pitch_classes[pitch] > 0}
        assert sounding == scale_of_key


def test_the_plan_is_a_function_of_the_seed():
    assert planned(seed=1) == planned(seed=1)
    assert planned(seed=1) != planned(seed=2)


def test_a_rendering_does_not_depend_on_other_tunes():
    every = tunes()
    fewer = {**every, "test": every["test"][:1]}
    first = next(r for r, _ in plan_renderings(every, RenderSettings()) if r.split == "test")
    assert first in [r for r, _ in plan_renderings(fewer, RenderSettings())]


@given(st.integers(0, 11), st.integers(0, 11), st.integers(0, 1000))
@settings(deadline=None)
def test_transposition_brings_the_tonic_home_in_any_octave(tonic, target, seed):
    one = replace(scale(0, "major"), tonic=tonic)
    shift = transposition(one, target, np.random.default_rng(seed))
    assert (tonic + shift) % 12 == target
    assert all(33 <= note.pitch + shift <= 100 for note in one.notes)


def test_register_gives_the_key_away_no_more_than_chance():
    plan = planned(renderings=12)
    octaves = defaultdict(set)
    for rendering, notes in plan:
        octaves[rendering.key].add(notes[0].pitch // 12)
    assert all(len(of_key) >= 4 for of_key in octaves.values())


def test_a_tune_too_wide_for_every_octave_is_moved_as_little_as_can_be(rng):
    wide = replace(scale(0, "major"), notes=(Note(20, 0.0, 1.0), Note(110, 1.0, 1.0)))
    assert [transposition(wide, tonic, rng) for tonic in (0, 6, 7, 11)] == [0, 6, -5, -1]


def test_what_comes_after_a_minute_is_left_out():
    long = replace(
        scale(0, "major"), notes=tuple(Note(60 + i % 12, float(i), 1.0) for i in range(400))
    )
    plan = plan_renderings({"train": [long]}, RenderSettings())
    for rendering, notes in plan:
        assert max(n.start + n.length for n in notes) * 60 / rendering.tempo <= 60


def read_midi(data):
    """Return tempo, program and (tick, on, pitch) of a format 0 file, by the standard."""
    kind, size, form, tracks, ticks = struct.unpack_from(">4sIHHH", data)
    assert (kind, size, form, tracks) == (b"MThd", 6, 0, 1)
    chunk, length = struct.unpack_from(">4sI", data, 14)
    assert (chunk, length) == (b"MTrk", len(data) - 22)
    place, now, events, tempo, program = 22, 0, [], None, None
    while place < len(data):
        delta = 0
        while True:
            byte = data[place]
            place += 1
            delta = delta << 7 | byte & 0x7F
            if byte < 0x80:
                break
        now += delta
        status = data[place]
        if status == 0xFF:
            kind, size = data[place + 1], data[place + 2]
            body = data[place + 3 : place + 3 + size]
            place += 3 + size
            if kind == 0x51:
                tempo = int.from_bytes(body, "big")
            else:
                assert (kind, place) == (0x2F, len(data))
        elif status == 0xC0:
            program = data[place + 1]
            place += 2
        else:
            assert status in (0x80, 0x90)
            events.append((now, status == 0x90, data[place + 1]))
            place += 3
    return ticks, tempo, program, events


def test_a_midi_file_holds_the_notes_the_tempo_and_the_instrument():
    notes = [Note(60, 0.0, 1.0), Note(60, 1.0, 40.0), Note(64, 1.0, 0.5)]
    ticks, tempo, program, events = read_midi(midi_file([Part(notes, 73)], tempo=120.0))
    assert (tempo, program) == (500_000, 73)
    assert events == [
        (0, True, 60),
        (ticks, False, 60),
        (ticks, True, 60),
        (ticks, True, 64),
        (ticks * 3 // 2, False, 64),
        (ticks * 41, False, 60),
    ]


def test_pitch_classes_are_weighed_by_length_whatever_the_octave():
    notes = [Note(60, 0.0, 3.0), Note(72, 0.0, 1.0), Note(69, 3.0, 4.0)]
    expected = np.zeros(12)
    expected[[0, 9]] = 0.5
    np.testing.assert_allclose(pitch_class_histogram(notes), expected)


class Tones(Synthesiser):
    """Plays a second of noise for anything."""

    def __init__(self):
        super().__init__(synthesis.Path("none"), {})
        object.__setattr__(self, "played", [])

    def render(self, midi, sound, *, soundfont):
        assert midi.read_bytes()[:4] == b"MThd"
        self.played.append(soundfont)
        noise = np.random.default_rng(0).normal(0, 0.1, (2205, 2))
        soundfile.write(sound, noise, synthesis.SAMPLE_RATE)


@pytest.fixture
def small(monkeypatch):
    """Settings whose tunes need no music21."""
    monkeypatch.setattr(render, "choose_tunes", lambda settings: tunes(6, 5, 6))
    return RenderSettings(tunes=22, chorales=12, renderings=1)


def test_renderings_are_mono_flac_with_their_facts(small, tmp_path):
    voice = Tones()
    told = []
    done = render_scores(
        tmp_path / "out",
        small,
        announce=lambda pending, total, needed: bool(told.append((pending, total)) or True),
        synthesiser=voice,
    )
    assert told == [(34, 34)]
    assert len(done) == len(voice.played) == small.total
    assert set(voice.played) == set(SOUNDFONTS)
    assert read_renderings(tmp_path / "out") == done
    for rendering in done:
        info = soundfile.info(tmp_path / "out" / rendering.path)
        assert (info.format, info.channels, info.samplerate) == ("FLAC", 1, 22050)
        assert rendering.duration == pytest.approx(0.1)


def test_a_second_run_renders_nothing_and_reads_no_score(small, tmp_path, monkeypatch):
    first = render_scores(tmp_path / "out", small, synthesiser=Tones())
    monkeypatch.setattr(render, "choose_tunes", lambda settings: pytest.fail("reads scores"))
    voice = Tones()
    assert render_scores(tmp_path / "out", small, synthesiser=voice) == first
    assert voice.played == []


@pytest.mark.parametrize("cut", ["interrupted", "manifest", "lost"])
def test_a_run_that_was_cut_renders_only_what_is_missing(small, tmp_path, cut):
    folder = tmp_path / "out"
    whole = render_scores(tmp_path / "whole", small, synthesiser=Tones())
    if cut == "interrupted":

        def stop(done: int, total: int, name: str) -> None:
            if done == 5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            render_scores(folder, small, synthesiser=Tones(), progress=stop, workers=1)
        assert not (folder / MANIFEST).exists()
    else:
        render_scores(folder, small, synthesiser=Tones())
        if cut == "manifest":
            (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes()[:500])
        else:
            (folder / whole[7].path).unlink()
            with pytest.raises(TaskError, match="lacks 1 of 34 files"):
                read_renderings(folder)
    there = len(list(folder.rglob("*.flac")))
    voice = Tones()
    assert render_scores(folder, small, synthesiser=voice) == whole
    assert len(voice.played) == small.total - there
    assert not list(folder.rglob("*.tmp"))


def test_a_folder_of_other_settings_is_refused(small, tmp_path):
    render_scores(tmp_path / "out", small, announce=lambda *plan: False)
    with pytest.raises(TaskError, match="renderings of other settings"):
        render_scores(tmp_path / "out", replace(small, seed=1), synthesiser=Tones())


def test_impossible_settings_are_refused():
    for wrong in ({"renderings": 13}, {"tunes": 1}, {"chorales": 0}):
        with pytest.raises(TaskError, match="there must be"):
            RenderSettings(**wrong)


def test_a_silent_rendering_is_an_error(small, tmp_path, monkeypatch):
    monkeypatch.setattr(
        Tones,
        "render",
        lambda self, midi, sound, *, soundfont: soundfile.write(sound, np.zeros((9, 2)), 22050),
    )
    with pytest.raises(TaskError, match="is silent"):
        render_scores(tmp_path / "out", small, synthesiser=Tones())


def varied(number, mode):
    """A tune of its own, with enough notes to be told from others."""
    melody = np.random.default_rng([number, mode == "minor"]).integers(55, 80, size=40).tolist()
    return replace(scale(number, mode), id=f"{mode} {number}", melody=tuple(melody))


def test_tunes_are_chosen_once_for_one_split_half_of_them_minor(monkeypatch):
    bach = [varied(n, mode) for n in range(9) for mode in ("major", "minor")]
    bach += [varied(40 + n, "major") for n in range(9)]
    # Chorale 3 is a folk song, tune 104 is in another book, too.
    folk = {
        mode: [varied(3, mode), *(varied(shift + n, mode) for n in range(9)), varied(104, mode)]
        for mode, shift in (("major", 100), ("minor", 200))
    }
    monkeypatch.setattr(render, "chorales", lambda *, seed: iter(bach))
    monkeypatch.setattr(render, "traditional_tunes", lambda *, seed, mode: iter(folk[mode]))
    chosen = render.choose_tunes(RenderSettings(tunes=16, chorales=8))
    assert {split: len(of_split) for split, of_split in chosen.items()} == {
        "train": 12,
        "valid": 4,
        "test": 8,
    }
    for of_split in chosen.values():
        assert len({tune.mode for tune in of_split}) == 2
        assert sum(tune.mode == "minor" for tune in of_split) * 2 == len(of_split)
    melodies = [tune.melody for of_split in chosen.values() for tune in of_split]
    assert len(set(melodies)) == len(melodies) == 24


def test_too_few_scores_are_an_error(monkeypatch):
    monkeypatch.setattr(render, "chorales", lambda *, seed: iter([varied(0, "major")]))
    message = r"chorales=96 .*more than music21's corpus has \(1 of 48 major, 0 of 48 minor"
    with pytest.raises(TaskError, match=message):
        render.choose_tunes(RenderSettings())


def test_tasks_on_renderings(small, tmp_path):
    folder = tmp_path / "out"
    with pytest.raises(TaskError, match="run `myna corpus render"):
        rendered_key(folder)
    done = render_scores(folder, small, synthesiser=Tones())
    keys = rendered_key(folder)
    assert (keys.kind, keys.classes, len(keys.examples)) == ("key", KEYS, 34)
    assert {e.group for e in keys.of_split("test")}.isdisjoint(
        e.group for split in ("train", "valid") for e in keys.of_split(split)
    )
    notes = NotesExtractor(folder)
    assert notes.answers(keys)
    assert not notes.answers(replace(keys, length=10.0))
    shares = [notes.extract(example.path) for example in keys.examples]
    np.testing.assert_allclose(shares, [r.pitch_classes for r in done], rtol=1e-6)
    with pytest.raises(TaskError, match="is no rendering"):
        notes.extract(folder / "else.flac")

    tempo = rendered_tempo(folder)
    for rendering, example in zip(done, tempo.examples, strict=True):
        limit = {"slow": (0, 95), "medium": (95, 125), "fast": (125, 999)}[str(example.label)]
        assert limit[0] <= rendering.tempo < limit[1]

    dance = rendered_dance(folder)
    assert dance.classes == ("jig", "reel")
    splits = defaultdict(set)
    for example in dance.examples:
        splits[example.group].add(example.split)
    assert all(len(of_tune) == 1 for of_tune in splits.values())
    for label in dance.classes:
        assert {e.split for e in dance.examples if e.label == label} == {"train", "valid", "test"}


def test_dances_with_few_tunes_are_refused(small, tmp_path, monkeypatch):
    monkeypatch.setattr(render, "choose_tunes", lambda settings: tunes(2, 1, 1))
    few = RenderSettings(tunes=6, chorales=2, renderings=1)
    render_scores(tmp_path / "out", few, synthesiser=Tones())
    with pytest.raises(TaskError, match="render more tunes"):
        rendered_dance(tmp_path / "out")


def fake_fluidsynth(folder, script):
    program = folder / "fluidsynth"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Synthesiser(program, {"font": folder / "font.sf2"}, (folder / "lib",))


def test_fluidsynth_is_called_with_its_libraries(tmp_path):
    voice = fake_fluidsynth(tmp_path, 'echo "$LD_LIBRARY_PATH $*" > "$8"')
    voice.render(tmp_path / "in.mid", tmp_path / "out.wav", soundfont="font")
    said = (tmp_path / "out.wav").read_text()
    assert said.startswith(f"{tmp_path / 'lib'}")
    assert said.strip().endswith(
        "-ni -q -r 22050 -o synth.dynamic-sample-loading=1 "
        f"-F {tmp_path / 'out.wav'} {tmp_path / 'font.sf2'} {tmp_path / 'in.mid'}"
    )


@pytest.mark.parametrize("script", ["echo 'no such font' >&2; exit 3", "echo 'no such font' >&2"])
def test_a_synthesiser_that_fails_ends_in_one_sentence(tmp_path, script):
    voice = fake_fluidsynth(tmp_path, script)
    with pytest.raises(TaskError, match=r"could not render in\.mid: no such font; run it by hand"):
        voice.render(tmp_path / "in.mid", tmp_path / "out.wav", soundfont="font")


@pytest.fixture
def no_fluidsynth(tmp_path, monkeypatch):
    """A system without FluidSynth, whose packages have it."""
    which = shutil.which
    monkeypatch.setattr(
        synthesis.shutil, "which", lambda name: None if name == "fluidsynth" else which(name)
    )
    fonts = {"one": ("one-font", "usr/fonts-of-test/one.sf2")}
    monkeypatch.setattr(synthesis, "SOUNDFONTS", fonts)
    return install_tools(tmp_path / "system", monkeypatch)


def test_fluidsynth_is_fetched_once_where_it_is_missing(no_fluidsynth, tmp_path):
    files = {"usr/bin/fluidsynth": b"#!/bin/sh", "usr/lib/here/libfluid.so.3": b"ELF"}
    no_fluidsynth.publish("fluidsynth", files)
    no_fluidsynth.publish("one-font", {"usr/fonts-of-test/one.sf2": b"RIFF"})
    voice = find_synthesiser(tmp_path / "tools")
    root = tmp_path / "tools/root"
    assert voice.program == root / "usr/bin/fluidsynth"
    assert voice.soundfonts == {"one": root / "usr/fonts-of-test/one.sf2"}
    assert voice.libraries == (root / "usr/lib/here",)
    unpacked = [call for call in no_fluidsynth.calls() if call.startswith("dpkg")]
    assert len(unpacked) == 2
    assert "archives/fluidsynth/" in unpacked[-1]
    assert find_synthesiser(tmp_path / "tools") == voice
    assert no_fluidsynth.calls() == []


def test_fluidsynth_that_cannot_be_had_ends_in_one_sentence(no_fluidsynth, tmp_path):
    with pytest.raises(TaskError, match="package='fluidsynth' is not known to apt-get"):
        find_synthesiser(tmp_path / "tools")
    no_fluidsynth.publish("fluidsynth", {"usr/bin/other": b""})
    no_fluidsynth.publish("one-font", {})
    with pytest.raises(TaskError, match="install fluidsynth, one-font"):
        find_synthesiser(tmp_path / "tools")


@pytest.mark.slow
@pytest.mark.network
def test_real_scores_are_rendered_in_their_keys(tmp_path):
    pytest.importorskip("music21")
    librosa = pytest.importorskip("librosa")
    if not (shutil.which("fluidsynth") or shutil.which("apt-get")):
        pytest.skip("neither fluidsynth nor apt-get are here")
    try:
        find_synthesiser(tmp_path / "out/.tools")
    except TaskError as error:
        pytest.skip(str(error))
    done = render_scores(tmp_path / "out", RenderSettings(tunes=8, chorales=4, renderings=1))
    agree = 0
    for rendering in done:
        samples, rate = soundfile.read(tmp_path / "out" / rendering.path)
        chroma = librosa.feature.chroma_cqt(y=samples, sr=rate).mean(axis=1)
        written = np.array(rendering.pitch_classes)
        agreement = [float(np.roll(written, shift) @ chroma) for shift in range(12)]
        agree += agreement[0] == max(agreement)
    # What sounds is what is written: by chance, one of twelve would agree.
    assert agree >= 9

"""Tunes -> files to pretrain on: each is one tune in one key, performed several times in a row.

Two excerpts of such a file agree in tune and key and in nothing else: instruments, soundfont,
tempo, octave and accompaniment are drawn anew for each performance. So a contrastive objective,
which is told only that they belong together, learns what is left: pitch classes and intervals.

The tunes are those of Aird's and O'Neill's collections that the key task does not choose or test
with. The plan is a pure function of the settings. What is in the files is written down, one JSON
object a line.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import TaskError
from ...storage import only_run, write_json_lines
from ..keys import MODES, Mode, key_at
from .arrangement import accompaniment
from .midi import Part, midi_file
from .render import RenderSettings, choose_tunes, transposition
from .scores import Note, Tune, distinct, traditional_tunes
from .synthesis import (
    SAMPLE_RATE,
    SOUNDFONTS,
    Announce,
    Progress,
    Synthesiser,
    render_missing,
    same_settings,
    write_sound,
)

MANIFEST = "performances.jsonl"

# General MIDI programs that hold a pitch: no bells, basses, choirs' effects or percussion.
_LEADS = (*range(8), *range(16, 32), *range(40, 46), *range(48, 52), *range(56, 80), 104, 105, 110)
_CHORDS = (*range(8), *range(16, 26), 46, 48, 49, 50, 52, 88, 89)
_BASSES = (*range(32, 40), 42, 43, 58, 70)


@dataclass(frozen=True)
class PerformanceSettings:
    """What decides the files.

    Attributes:
        tunes: at most so many, half of them minor as long as there are any.
        keys: files of each tune, each in another key; at most 12.
        performances: in each file.
        seconds: of each performance, at most.
        accompanied: share of performances with chords and bass.
        slowest, fastest: quarter notes a minute.
        seed: of everything drawn.
    """

    tunes: int = 600
    keys: int = 2
    performances: int = 4
    seconds: float = 24.0
    accompanied: float = 0.6
    slowest: float = 60.0
    fastest: float = 170.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be rendered."""
        if self.tunes < 1 or not 1 <= self.keys <= 12 or self.performances < 1 or self.seconds < 1:
            raise TaskError(
                f"tunes={self.tunes}, keys={self.keys}, performances={self.performances}, "
                f"seconds={self.seconds:g}: there must be a tune, 1 to 12 keys, a performance, and "
                "a second of each or more."
            )


@dataclass(frozen=True)
class Performance:
    """How a tune is played. ``programs`` are General MIDI's: melody, then chords and bass if any.

    ``transposition`` is in semitones from the score, of the melody; ``tempo`` in quarter notes a
    minute.
    """

    programs: tuple[int, ...]
    soundfont: str
    tempo: float
    transposition: int


@dataclass(frozen=True)
class Medley:
    """One file: a tune in one key, several times. ``duration`` in s."""

    path: str
    tune: str
    title: str
    key: str
    tonic: int
    mode: Mode
    performances: tuple[Performance, ...]
    duration: float = 0.0


def choose_training_tunes(settings: PerformanceSettings) -> list[Tune]:
    """Return the tunes, no two the same, and none that the key task holds out.

    Raises:
        TaskError: music21 is not installed.
    """
    task = choose_tunes(RenderSettings())
    held_out = [*task["valid"], *task["test"]]
    chosen: list[Tune] = []
    for mode in reversed(MODES):  # minor tunes are fewer
        same = distinct(traditional_tunes(seed=settings.seed, mode=mode), known=held_out + chosen)
        room = settings.tunes // 2 if mode == MODES[-1] else settings.tunes - len(chosen)
        chosen += [tune for tune, _ in zip(same, range(room), strict=False)]
    return chosen


def plan_medleys(tunes: Sequence[Tune], settings: PerformanceSettings) -> list[Medley]:
    """Return every file; keys go round, so that all are equally frequent within a mode."""
    plan = []
    for mode in MODES:
        same = [tune for tune in tunes if tune.mode == mode]
        for number, tune in enumerate(same):
            tonics = [(number * settings.keys + i) % 12 for i in range(settings.keys)]
            plan += [_medley(tune, tonic, settings) for tonic in tonics]
    return plan


def _medley(tune: Tune, tonic: int, settings: PerformanceSettings) -> Medley:
    digest = hashlib.sha256(f"{settings.seed} {tune.id} {tonic}".encode())
    rng = np.random.default_rng(list(digest.digest()))
    performances = tuple(
        _performance(tune, tonic, settings, rng) for _ in range(settings.performances)
    )
    return Medley(
        path=f"performances/{digest.hexdigest()[:16]}.flac",
        tune=tune.id,
        title=tune.title,
        key=key_at(tonic, tune.mode),
        tonic=tonic,
        mode=tune.mode,
        performances=performances,
    )


def _performance(
    tune: Tune, tonic: int, settings: PerformanceSettings, rng: np.random.Generator
) -> Performance:
    programs = [int(rng.choice(_LEADS))]
    if rng.random() < settings.accompanied:
        programs += [int(rng.choice(_CHORDS)), int(rng.choice(_BASSES))]
    low, high = np.log([settings.slowest, settings.fastest])
    return Performance(
        programs=tuple(programs),
        soundfont=str(rng.choice(list(SOUNDFONTS))),
        tempo=round(float(np.exp(rng.uniform(low, high))), 1),
        transposition=transposition(tune, tonic, rng),
    )


def parts_of(tune: Tune, performance: Performance, seconds: float) -> list[Part]:
    """Return what each instrument plays in the first seconds."""
    shift = performance.transposition
    voices: list[tuple[Sequence[Note], int, int]] = [(tune.notes, shift, 96)]
    if len(performance.programs) > 1:
        # Chords and bass stay in their register.
        near = (shift + 6) % 12 - 6
        voices += [(notes, near, 72) for notes in accompaniment(tune)]
    end = seconds * performance.tempo / 60
    return [
        Part(
            [
                Note(note.pitch + up, note.start, note.length)
                for note in notes
                if note.start + note.length <= end
            ],
            program,
            velocity,
        )
        for (notes, up, velocity), program in zip(voices, performance.programs, strict=True)
    ]


def render_performances(
    folder: Path,
    settings: PerformanceSettings,
    *,
    announce: Announce = lambda pending, total, needed: True,
    progress: Progress = lambda done, total, name: None,
    synthesiser: Synthesiser | None = None,
    workers: int | None = None,
) -> list[Medley]:
    """Render the plan of the settings; interrupted at any point, run it again.

    Args:
        folder: made if need be.
        settings: what to render.
        announce: see `Announce`.
        progress: told as work goes on.
        synthesiser: None: the system's, or one fetched below `folder`.
        workers: processes at once; None: one per core.

    Returns:
        What is there, in the plan's order.

    Raises:
        TaskError: the folder holds renderings of other settings, or music21 or FluidSynth are not
            to be had.
    """
    with only_run(folder, ".render", doing="rendered", error=TaskError):
        same_settings(folder, asdict(settings))
        done = _read(folder)
        if done:  # scores take minutes to read
            announce(0, len(done), 0.0)
            return done
        tunes = choose_training_tunes(settings)
        plan = plan_medleys(tunes, settings)
        by_id = {tune.id: tune for tune in tunes}
        there = render_missing(
            folder,
            [(m, partial(_render, folder, m, by_id[m.tune], settings.seconds)) for m in plan],
            seconds=settings.performances * settings.seconds,
            announce=announce,
            progress=progress,
            synthesiser=synthesiser,
            workers=workers,
        )
        if len(there) == len(plan):
            write_json_lines(folder / MANIFEST, map(asdict, there))
        return there


def _read(folder: Path) -> list[Medley]:
    """Return what the manifest lists if all of it is there, otherwise nothing."""
    try:
        lines = (folder / MANIFEST).read_bytes().splitlines()
        medleys = [_medley_of(json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError, KeyError):  # it will be written again
        return []
    return medleys if all((folder / medley.path).exists() for medley in medleys) else []


def _medley_of(row: dict[str, Any]) -> Medley:
    performances = (
        Performance(**{**each, "programs": tuple(each["programs"])}) for each in row["performances"]
    )
    return Medley(**{**row, "performances": tuple(performances)})


def _render(folder: Path, medley: Medley, tune: Tune, seconds: float, voice: Synthesiser) -> None:
    """Write one file: its performances, one after another."""
    sounds = []
    for performance in medley.performances:
        midi = midi_file(parts_of(tune, performance, seconds), tempo=performance.tempo)
        sound = voice.perform(midi, soundfont=performance.soundfont)
        sounds.append(sound[: round((seconds + 1) * SAMPLE_RATE)])
    write_sound(folder / medley.path, np.concatenate(sounds))

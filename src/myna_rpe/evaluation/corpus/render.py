"""Scores with a known key -> sound, in as many runs as it takes: `myna corpus render`.

The plan is a pure function of the settings: which tunes, each in which keys, octaves, tempi,
instruments and soundfonts. All 24 keys are equally frequent in each split, and all renderings of a
tune are in one split. What is written down of each rendering, one JSON object a line, includes how
long each pitch class sounds: the upper reference for whatever listens.
"""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np

from ...errors import TaskError
from ...storage import only_run, write_json_lines
from ..examples import Split
from ..keys import MODES, Mode, key_at
from .midi import Part, midi_file, pitch_class_histogram
from .scores import Note, Tune, chorales, distinct, traditional_tunes
from .synthesis import (
    SOUNDFONTS,
    Announce,
    Progress,
    Synthesiser,
    render_missing,
    same_settings,
    write_sound,
)

MANIFEST = "renderings.jsonl"

# General MIDI programs that sustain a tune or a chord.
INSTRUMENTS = {
    "piano": 0,
    "harpsichord": 6,
    "church organ": 19,
    "accordion": 21,
    "nylon guitar": 24,
    "strings": 48,
    "oboe": 68,
    "clarinet": 71,
    "flute": 73,
}

# Between these MIDI pitches every instrument of the soundfonts sounds like itself.
_LOWEST, _HIGHEST = 33, 100

# Of a rendering: what comes after is left out.
MAX_SECONDS = 60.0
_SECONDS = 40.0  # they are that long, on average


@dataclass(frozen=True)
class RenderSettings:
    """What decides the renderings.

    Attributes:
        tunes: traditional tunes, for train and valid, half of them minor.
        chorales: for test, half of them minor.
        renderings: of each tune, in different keys; at most 12.
        valid_share: of the traditional tunes.
        slowest, fastest: quarter notes a minute.
        seed: of everything drawn.
    """

    tunes: int = 240
    chorales: int = 96
    renderings: int = 2
    valid_share: float = 0.2
    slowest: float = 70.0
    fastest: float = 150.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be rendered."""
        if self.tunes < 4 or self.chorales < 2 or not 1 <= self.renderings <= 12:
            raise TaskError(
                f"tunes={self.tunes}, chorales={self.chorales}, renderings={self.renderings}: "
                "there must be 4 tunes and 2 chorales or more, in 1 to 12 keys."
            )

    @property
    def total(self) -> int:
        """How many renderings there will be."""
        return (self.tunes + self.chorales) * self.renderings


@dataclass(frozen=True)
class Rendering:
    """One rendering. ``transposition`` in semitones from the score, ``duration`` in s.

    ``pitch_classes`` are shares of the time that notes sound, C first.
    """

    path: str
    split: Split
    tune: str
    title: str
    dance: str
    key: str
    tonic: int
    mode: Mode
    transposition: int
    instrument: str
    soundfont: str
    tempo: float
    pitch_classes: tuple[float, ...]
    duration: float = 0.0


def choose_tunes(settings: RenderSettings) -> dict[Split, list[Tune]]:
    """Return the tunes of each split, as many major as minor, no two of them the same.

    Raises:
        TaskError: music21 is not installed, or its corpus has too few.
    """
    half = settings.chorales // 2
    room: dict[Mode, int] = {"major": half, "minor": settings.chorales - half}
    test = _first_of(distinct(chorales(seed=settings.seed)), room, "chorales")
    train: list[Tune] = []
    valid: list[Tune] = []
    for mode in MODES:
        count = settings.tunes // 2 if mode == "major" else settings.tunes - settings.tunes // 2
        tunes = traditional_tunes(seed=settings.seed, mode=mode)
        same = _first_of(distinct(tunes, known=[*test, *train, *valid]), {mode: count}, "tunes")
        held_out = min(max(1, round(settings.valid_share * count)), count - 1)
        valid += same[:held_out]
        train += same[held_out:]
    return {"train": train, "valid": valid, "test": test}


def _first_of(tunes: Iterable[Tune], room: Mapping[Mode, int], what: str) -> list[Tune]:
    """Return the first tunes, so many of each mode."""
    left = Counter(room)
    chosen = []
    for tune in tunes:
        if left[tune.mode] > 0:
            left[tune.mode] -= 1
            chosen.append(tune)
            if not left.total():
                break
    if left.total():
        found = ", ".join(f"{n - left[mode]} of {n} {mode}" for mode, n in room.items())
        raise TaskError(
            f"{what}={sum(room.values())} with a plain key are more than music21's corpus has "
            f"({found} were found); ask for fewer."
        )
    return chosen


def plan_renderings(
    tunes: dict[Split, list[Tune]], settings: RenderSettings
) -> list[tuple[Rendering, list[Note]]]:
    """Return every rendering with its notes.

    Keys go round: of one mode, no key is more than one rendering ahead of another, neither in a
    split nor in all.
    """
    plan = []
    tonics = {mode: itertools.cycle(range(12)) for mode in MODES}
    for split, of_split in tunes.items():
        for mode in MODES:
            same = [tune for tune in of_split if tune.mode == mode]
            plan += [
                _rendering(tune, split, next(tonics[mode]), settings)
                for tune in same
                for _ in range(settings.renderings)
            ]
    return plan


def _rendering(
    tune: Tune, split: Split, tonic: int, settings: RenderSettings
) -> tuple[Rendering, list[Note]]:
    """Return a rendering of a tune in a key; all else is drawn by seed, tune and key."""
    words = f"{settings.seed} {tune.id} {tonic}"
    digest = hashlib.sha256(words.encode())
    rng = np.random.default_rng(list(digest.digest()))
    shift = transposition(tune, tonic, rng)
    tempo = round(float(rng.uniform(settings.slowest, settings.fastest)), 1)
    end = MAX_SECONDS * tempo / 60
    notes = [
        Note(note.pitch + shift, note.start, note.length)
        for note in tune.notes
        if note.start + note.length <= end
    ]
    rendering = Rendering(
        path=f"{split}/{digest.hexdigest()[:16]}.flac",
        split=split,
        tune=tune.id,
        title=tune.title,
        dance=tune.dance,
        key=key_at(tonic, tune.mode),
        tonic=tonic,
        mode=tune.mode,
        transposition=shift,
        instrument=str(rng.choice(list(INSTRUMENTS))),
        soundfont=str(rng.choice(list(SOUNDFONTS))),
        tempo=tempo,
        pitch_classes=tuple(round(float(share), 6) for share in pitch_class_histogram(notes)),
    )
    return rendering, notes


def transposition(tune: Tune, tonic: int, rng: np.random.Generator) -> int:
    """Return the semitones that bring a tune to a tonic, in any octave that instruments play."""
    pitches = [note.pitch for note in tune.notes]
    semitones = (tonic - tune.tonic) % 12
    shifts = [
        semitones + 12 * octave
        for octave in range(-5, 5)
        if min(pitches) + semitones + 12 * octave >= _LOWEST
        and max(pitches) + semitones + 12 * octave <= _HIGHEST
    ]
    return int(rng.choice(shifts)) if shifts else semitones - 12 * (semitones > 6)


def render_scores(
    folder: Path,
    settings: RenderSettings,
    *,
    announce: Announce = lambda pending, total, needed: True,
    progress: Progress = lambda done, total, name: None,
    synthesiser: Synthesiser | None = None,
    workers: int | None = None,
) -> list[Rendering]:
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
        done = _all_done(folder, settings)
        if done:  # scores take a minute to read
            announce(0, len(done), 0.0)
            return done
        plan = plan_renderings(choose_tunes(settings), settings)
        there = render_missing(
            folder,
            [(r, partial(_render, folder, r, notes)) for r, notes in plan],
            seconds=_SECONDS,
            announce=announce,
            progress=progress,
            synthesiser=synthesiser,
            workers=workers,
        )
        write_json_lines(folder / MANIFEST, map(asdict, there))
        return there


def _all_done(folder: Path, settings: RenderSettings) -> list[Rendering]:
    """Return what was rendered if that is all there is to render, otherwise nothing."""
    try:
        there = read_renderings(folder)
    except TaskError:
        return []
    return there if len(there) == settings.total else []


def _render(folder: Path, rendering: Rendering, notes: Sequence[Note], voice: Synthesiser) -> None:
    """Write one rendering as mono FLAC."""
    midi = midi_file([Part(notes, INSTRUMENTS[rendering.instrument])], tempo=rendering.tempo)
    write_sound(folder / rendering.path, voice.perform(midi, soundfont=rendering.soundfont))


def _read(folder: Path) -> list[Rendering]:
    try:
        lines = (folder / MANIFEST).read_text(encoding="ascii").splitlines()
        rows = [json.loads(line) for line in lines]
        return [Rendering(**{**row, "pitch_classes": tuple(row["pitch_classes"])}) for row in rows]
    except (ValueError, TypeError, KeyError) as error:
        names = ", ".join(field.name for field in fields(Rendering))
        raise TaskError(
            f"manifest={str(folder / MANIFEST)!r} is damaged, every line must hold {names}; "
            "run `myna corpus render` again."
        ) from error


def read_renderings(folder: Path) -> list[Rendering]:
    """Return what was rendered to a folder, in the plan's order.

    Raises:
        TaskError: nothing was, the manifest is damaged, or files are gone.
    """
    try:
        renderings = _read(folder)
    except OSError as error:
        raise TaskError(
            f"renderings={str(folder)!r} holds no {MANIFEST}; run `myna corpus render {folder}`."
        ) from error
    missing = [r.path for r in renderings if not (folder / r.path).is_file()]
    if missing or not renderings:
        raise TaskError(
            f"renderings={str(folder)!r} lacks {len(missing)} of {len(renderings)} files; "
            f"run `myna corpus render {folder}` again."
        )
    return renderings

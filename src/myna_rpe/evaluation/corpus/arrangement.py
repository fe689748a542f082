"""A tune -> melody, chords and bass: what a plain accompanist would play.

Each stretch of two quarter notes (one and a half in jigs) gets the triad of the key that shares
most sounding time with the melody; what was played before is kept among equals. Pitches are those
of the tune's own key: all voices move together under transposition.
"""

import math

import numpy as np

from .scores import Note, Tune

# Triads as steps above the tonic, the tonic's own first.
_TRIADS = {
    "major": ((0, 4, 7), (5, 9, 0), (7, 11, 2), (9, 0, 4), (2, 5, 9)),
    "minor": ((0, 3, 7), (5, 8, 0), (7, 11, 2), (8, 0, 3), (10, 2, 5)),
}
_BASS, _CHORD = 36, 55  # the lowest pitches of each


def accompaniment(tune: Tune) -> tuple[list[Note], list[Note]]:
    """Return chords and bass, in the tune's own key and whatever register it is in."""
    stretch = 1.5 if "jig" in tune.dance else 2.0
    triads = np.array(_TRIADS[tune.mode])
    first = min(note.start for note in tune.notes)
    chords: list[Note] = []
    bass: list[Note] = []
    before = 0
    for number, time in enumerate(_steps_heard(tune, first, stretch)):
        shared = time[triads].sum(axis=1).round(6)
        if shared[before] < shared.max():
            before = int(shared.argmax())
        start = first + number * stretch
        pitches = [(tune.tonic + int(step)) % 12 for step in triads[before]]
        bass.append(Note(_BASS + (pitches[0] - _BASS) % 12, start, stretch))
        chords += [Note(_CHORD + (pitch - _CHORD) % 12, start, stretch) for pitch in pitches]
    return chords, bass


def _steps_heard(tune: Tune, first: float, stretch: float) -> np.ndarray:
    """Return how long each step above the tonic sounds in each stretch: (stretches, 12)."""
    time = np.zeros((math.ceil((tune.length - first) / stretch), 12))
    for note in tune.notes:
        start, end = (note.start - first) / stretch, (note.start + note.length - first) / stretch
        for number in range(int(start), math.ceil(end)):
            heard = min(end, number + 1) - max(start, number)
            time[number, (note.pitch - tune.tonic) % 12] += heard
    return time

"""The 24 keys, each under one name: flats throughout, ``Db major``, ``A minor``.

These are the classes of every task about key, and mir_eval.key reads them.
"""

from typing import Literal

from ..errors import TaskError

Mode = Literal["major", "minor"]

MODES: tuple[Mode, ...] = ("major", "minor")

TONICS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
"""By pitch class."""

KEYS = tuple(f"{tonic} {mode}" for mode in MODES for tonic in TONICS)

_NATURALS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"": 0, "b": -1, "#": 1}


def key_at(pitch_class: int, mode: Mode) -> str:
    """Return the key on a pitch class, counted in semitones from C, in any octave.

    >>> key_at(9, "minor"), key_at(-1, "major")
    ('A minor', 'B major')
    """
    return f"{TONICS[pitch_class % 12]} {mode}"


def key_name(tonic: str, mode: str) -> str:
    """Return a key as `KEYS` spells it.

    Args:
        tonic: a letter, and ``#`` or ``b``; upper or lower case.
        mode: ``major`` or ``minor``.

    Raises:
        TaskError: neither.

    >>> key_name("f#", "minor"), key_name("Cb", "major")
    ('Gb minor', 'B major')
    """
    letter, accidental = tonic[:1].upper(), tonic[1:]
    if letter not in _NATURALS or accidental not in _ACCIDENTALS or mode not in MODES:
        raise TaskError(
            f"key={f'{tonic} {mode}'!r} is none of the 24 keys; "
            "write it as 'Db major' or 'A minor'."
        )
    return f"{TONICS[(_NATURALS[letter] + _ACCIDENTALS[accidental]) % 12]} {mode}"

"""Notes -> a MIDI file, and the pitch classes in them.

Standard MIDI file, format 0: one track, one tempo. Source: MIDI Manufacturers
Association, Standard MIDI Files 1.0.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from .scores import Note

_TICKS = 480  # of a quarter note

# The tenth is for drums.
_CHANNELS = [channel for channel in range(16) if channel != 9]


class Part(NamedTuple):
    """Notes of one instrument: General MIDI ``program`` 0 to 127, ``velocity`` 1 to 127."""

    notes: Sequence[Note]
    program: int
    velocity: int = 88


def midi_file(parts: Sequence[Part], *, tempo: float) -> bytes:
    """Return the bytes of a MIDI file.

    Args:
        parts: 1 to 15, at least one note in all; pitches 0 to 127.
        tempo: quarter notes a minute; > 3.6, which is as slow as the format goes.
    """
    events = [(0, 0, bytes([0xFF, 0x51, 3]) + round(60e6 / tempo).to_bytes(3, "big"))]
    for channel, part in zip(_CHANNELS, parts, strict=False):
        on, off = 0x90 | channel, 0x80 | channel
        events.append((0, 1, bytes([0xC0 | channel, part.program])))
        for note in part.notes:
            end = max(note.start + note.length, note.start + 1 / _TICKS)
            # A note that ends is off before the same pitch begins anew.
            events.append((round(note.start * _TICKS), 3, bytes([on, note.pitch, part.velocity])))
            events.append((round(end * _TICKS), 2, bytes([off, note.pitch, 0])))
    track, now = b"", 0
    for tick, _, event in sorted(events):
        track += _variable(tick - now) + event
        now = tick
    track += _variable(_TICKS) + bytes([0xFF, 0x2F, 0])
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, _TICKS)
    return header + struct.pack(">4sI", b"MTrk", len(track)) + track


def pitch_class_histogram(notes: Sequence[Note]) -> Float64[np.ndarray, " pitch_classes"]:
    """Return how long each of the 12 pitch classes sounds, as shares; C first."""
    weights = np.zeros(12)
    for note in notes:
        weights[note.pitch % 12] += note.length
    shares: np.ndarray = weights / weights.sum()
    return shares


def _variable(number: int) -> bytes:
    """Return a number in groups of 7 bits, all but the last marked."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(reversed(groups))

"""Tunes whose key is known: notes, tonic and mode of scores in music21's corpus.

Train and valid come from Aird's and O'Neill's collections (ABC), test from Bach's chorales
(MusicXML). A tune counts if its score says major or minor, once, agrees with itself (the key
signature is that of the key) and ends on the tonic. Traditional tunes recur under other titles:
two that share a run of notes are one, whatever the key, and only the first is kept.

Pitches are MIDI numbers, pitch classes 0 (C) to 11 (B), times in quarter notes.
Source: music21 corpus, https://www.music21.org/music21docs/about/referenceCorpus.html; the
collections are in the public domain.
"""

import contextlib
import itertools
import random
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import TaskError
from ..keys import MODES, Mode

RUN = 14
"""As many intervals in a row, the same in two tunes, make them one tune."""

# Sharps of the major key on each pitch class; minor keys have those of the key a third above.
_SHARPS = (0, -5, 2, -3, 4, -1, 6, 1, -4, 3, -2, 5)

_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}

# K:G, K:Bb, K:Em, K:E Minor, K:F#min; modes and pipes' keys are others.
_ABC_KEY = re.compile(r"([A-G])([#b]?)\s*(|m|min|minor|maj|major)", re.IGNORECASE)

_DANCES = {
    "reel": "reel",
    "jig": "jig",
    "double jig": "jig",
    "slip jig": "slip jig",
    "slipjig": "slip jig",
    "hornpipe": "hornpipe",
}


@dataclass(frozen=True)
class Note:
    """A note: MIDI pitch, beginning and length in quarter notes."""

    pitch: int
    start: float
    length: float


@dataclass(frozen=True)
class Tune:
    """A tune in its own key; ``melody`` is its top voice, by which it is recognised.

    ``dance`` is reel, jig, slip jig or hornpipe where the score says so, otherwise "".
    """

    id: str
    title: str
    tonic: int
    mode: Mode
    notes: tuple[Note, ...]
    melody: tuple[int, ...]
    dance: str = ""

    @property
    def length(self) -> float:
        """In quarter notes."""
        return max(note.start + note.length for note in self.notes)


def sharps_of(tonic: int, mode: Mode) -> int:
    """Return the sharps in a key's signature, flats below 0; six are six sharps.

    >>> sharps_of(9, "minor"), sharps_of(7, "major")
    (0, 1)
    """
    return _SHARPS[(tonic + (3 if mode == "minor" else 0)) % 12]


def parse_abc_key(text: str) -> tuple[int, Mode] | None:
    """Return tonic and mode of an ABC key field; None where it is not plainly major or minor.

    >>> parse_abc_key("E Minor"), parse_abc_key("Bb"), parse_abc_key("A Mixolydian")
    ((4, 'minor'), (10, 'major'), None)
    """
    found = _ABC_KEY.fullmatch(text.partition("%")[0].strip())
    if not found:
        return None
    letter, accidental, mode = found.groups()
    if letter.islower():
        return None
    tonic = (_LETTERS[letter] + {"": 0, "#": 1, "b": -1}[accidental]) % 12
    return tonic, "minor" if mode.lower() in ("m", "min", "minor") and mode != "M" else "major"


def runs(melody: Sequence[int], length: int = RUN) -> set[tuple[int, ...]]:
    """Return every run of `length` intervals of a melody, in semitones; repeated notes count once.

    They do not change under transposition. A melody with fewer intervals is one run.
    """
    steps = [high - low for low, high in itertools.pairwise(melody) if high != low]
    last = max(0, len(steps) - length)
    return {tuple(steps[start : start + length]) for start in range(last + 1)} if steps else set()


def distinct(tunes: Iterable[Tune], *, known: Iterable[Tune] = ()) -> Iterator[Tune]:
    """Yield the tunes that share no run of notes with a tune before them, or a known one."""
    seen: set[tuple[int, ...]] = set()
    for tune in known:
        seen |= runs(tune.melody)
    for tune in tunes:
        own = runs(tune.melody)
        if own.isdisjoint(seen):
            yield tune
        # Dropped ones count too: A like B and B like C make one tune of three.
        seen |= own


def traditional_tunes(*, seed: int, mode: Mode) -> Iterator[Tune]:
    """Yield the tunes of a mode of Aird's and O'Neill's collections, in an order of the seed.

    Each is parsed when it is asked for (0.05 s).

    Raises:
        TaskError: music21 is not installed.
    """
    music21 = _music21()
    folder = Path(music21.__file__).parent / "corpus"
    texts = []
    for path in sorted([*folder.glob("airdsAirs/*.abc"), *folder.glob("oneills1850/*.abc")]):
        parts = re.split(r"^(?=X:)", path.read_text("utf-8", errors="replace"), flags=re.MULTILINE)
        name = f"{path.parent.name}/{path.stem}"
        texts += [(f"{name}/{number}", text) for number, text in enumerate(parts) if number]
    random.Random(seed).shuffle(texts)
    for name, text in texts:
        tune = _traditional_tune(music21, name, text, mode)
        if tune is not None:
            yield tune


def chorales(*, seed: int) -> Iterator[Tune]:
    """Yield Bach's chorales in music21's corpus, in an order of the seed; 0.1 s each.

    Raises:
        TaskError: music21 is not installed.
    """
    music21 = _music21()
    paths = sorted((Path(music21.__file__).parent / "corpus" / "bach").glob("*.mxl"))
    random.Random(seed).shuffle(paths)
    for path in paths:
        tune = _chorale(music21, path)
        if tune is not None:
            yield tune


def _music21() -> Any:
    try:
        import music21
    except ImportError as error:
        raise TaskError(
            "package='music21' is not installed, which holds the scores; "
            "run `pip install myna-rpe[eval]`."
        ) from error
    return music21


def _traditional_tune(music21: Any, name: str, text: str, mode: Mode) -> Tune | None:
    """Return a tune of ABC text; None where it does not count, or is of the other mode."""
    fields = re.findall(r"^([A-Z]):\s*(.*)$", text, re.MULTILINE)
    keys = [value for field, value in fields if field == "K"]
    key = parse_abc_key(keys[0]) if len(keys) == 1 and "[K:" not in text else None
    score = _parsed(music21, text, "abc") if key and key[1] == mode else None
    if key is None or score is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Where repeat signs do not match, the tune is taken as it is written.
        with contextlib.suppress(music21.exceptions21.Music21Exception):
            score = score.expandRepeats()
    values = dict(reversed(fields))
    dance = _DANCES.get(" ".join(values.get("R", "").lower().split()), "")
    signatures = score.flatten().getElementsByClass(music21.key.KeySignature)
    if {signature.sharps for signature in signatures} != {sharps_of(*key)}:
        return None
    return _tune(name, values.get("T", "").strip(), key, [score.flatten()], dance)


def _chorale(music21: Any, path: Path) -> Tune | None:
    """Return a chorale; None where it does not count."""
    score = _parsed(music21, path, None)
    if score is None:
        return None
    # Instruments may double or go above the melody, which is the soprano's.
    parts = [p.flatten() for p in sorted(score.parts, key=lambda part: part.id != "Soprano")]
    signatures = [s for part in parts for s in part.getElementsByClass(music21.key.KeySignature)]
    said = {getattr(s, "mode", None) for s in signatures} - {None}
    if len({s.sharps for s in signatures}) != 1 or not said or not said <= set(MODES):
        return None
    # Where only one part says minor, the others are major by default.
    mode: Mode = "minor" if "minor" in said else "major"
    tonic = next(t for t in range(12) if sharps_of(t, mode) % 12 == signatures[0].sharps % 12)
    return _tune(f"bach/{path.stem}", path.stem, (tonic, mode), parts, "")


def _tune(
    name: str, title: str, key: tuple[int, Mode], parts: Sequence[Any], dance: str
) -> Tune | None:
    """Return a tune of music21's parts, the melody first; None unless it ends on the tonic."""
    voices = [_notes(part) for part in parts]
    notes = [note for voice in voices for note in voice]
    highest = {note.start: note.pitch for note in sorted(voices[0], key=lambda note: note.pitch)}
    melody = tuple(highest[start] for start in sorted(highest))
    if len(melody) <= RUN:
        return None
    # The lowest note of the last chord.
    end = max(note.start for note in notes)
    last = min(note.pitch for note in notes if note.start == end)
    if last % 12 != key[0]:
        return None
    ordered = tuple(sorted(notes, key=lambda note: (note.start, note.pitch)))
    return Tune(name, title, *key, ordered, melody, dance)


def _notes(part: Any) -> list[Note]:
    """Return the notes of a part, tied ones as one (music21's own way is slow on long parts)."""
    notes: list[Note] = []
    tied: dict[int, int] = {}
    for element in part.notes:
        length = float(element.quarterLength)
        if length == 0:  # a grace note
            continue
        for single in getattr(element, "notes", [element]):  # of a chord
            pitch, tie = single.pitch.midi, single.tie.type if single.tie else ""
            if tie in ("continue", "stop") and pitch in tied:
                place = tied.pop(pitch)
                notes[place] = replace(notes[place], length=notes[place].length + length)
            else:
                place = len(notes)
                notes.append(Note(pitch, float(element.offset), length))
            if tie in ("start", "continue"):
                tied[pitch] = place
    return notes


def _parsed(music21: Any, source: Any, kind: str | None) -> Any:
    """Return music21's score of a text or file; None where it cannot read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return music21.converter.parse(source, format=kind, forceSource=True)
        except Exception:  # its parsers raise anything on odd input
            return None

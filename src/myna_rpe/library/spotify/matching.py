"""Is what Spotify offers the recording that is meant? Pure.

The score of an offer is the weighted mean, over what both sides say, of three likenesses in
[0, 1]:

    title     weight 5   likeness of the normalised titles
    artist    weight 3   the best likeness with one of its artists, or with all of them together
    duration  weight 2   1 up to 2 s apart, falling evenly to 0 at 15 s

Likeness of two texts is the share of letters in common runs, 2 M / T (Ratcliff and Obershelp).
Texts are normalised: case, accents, punctuation, featured guests and remaster suffixes do not
count. Two limits hold afterwards: where only one of the titles says live, remix, acoustic and the
like, it is another recording, and where the artist is unknown, nothing proves it the same; both
end at 0.85.

0.9 and more is matched, 0.6 and more unsure, anything else missing. An ISRC names a recording, so
what it finds counts as matched from 0.5 on; less means a wrong tag, and is unsure.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import Enum
from pathlib import PurePath

from ..formats import Entry
from .client import SpotifyTrack

MATCHED, UNSURE, TRUSTED_ISRC = 0.9, 0.6, 0.5
DOUBTFUL = 0.85
"""The most that an offer reaches which is another version, or whose artist is unknown."""

_TITLE, _ARTIST, _DURATION = 5.0, 3.0, 2.0
_CLOSE, _FAR = 2.0, 15.0  # seconds
_LONGEST = 300  # letters: beyond, tags are not names

_VERSIONS = frozenset(
    (
        *("live", "session", "sessions", "unplugged", "rehearsal", "demo", "cover"),
        *("remix", "mix", "edit", "dub", "extended", "sped", "slowed"),
        *("acoustic", "instrumental", "karaoke", "orchestral", "cappella", "reprise"),
    )
)
_GUESTS = re.compile(
    r"[(\[]\s*(?:feat|ft|featuring|with)\b[^)\]]*[)\]]|\s(?:feat|ft|featuring)\b.*$",
    re.IGNORECASE,
)
_REMASTER = re.compile(
    r"(?:\s[-\u2013\u2014]\s|\s?[(\[])\s*(?:\d{4}\s)?(?:digital(?:ly)?\s)?re-?master(?:ed)?"
    r"(?:\s(?:version|edition|in|\d{4}|mono|stereo))*\s*[)\]]?\s*$",
    re.IGNORECASE,
)
# Before a file's name: 03, 1-03, "3." but not the 7 of "7 Seconds".
_NUMBER = re.compile(r"(?:(?:\d{1,2}[-.])?\d{2,3}[\s._-]+|\d\s*[._-]+\s*)(?=\S)")


@dataclass(frozen=True)
class Wanted:
    """What is known of a recording; empty or 0 where it is not. ``duration`` in seconds."""

    title: str
    artist: str = ""
    duration: float = 0.0
    isrc: str = ""


class Verdict(str, Enum):
    """What became of an entry."""

    matched = "matched"
    unsure = "unsure"
    missing = "missing"


@dataclass(frozen=True)
class Judgement:
    """A verdict, and the offers with their scores, best first; a match is the first of them."""

    verdict: Verdict
    candidates: tuple[tuple[float, SpotifyTrack], ...]


def wanted_of(entry: Entry) -> Wanted:
    """Return what an entry says; one without a title is asked for by its file's name."""
    title, artist = entry.title, entry.artist
    if not title and entry.path is not None:
        stem = PurePath(entry.path).stem.encode("utf-8", "surrogateescape")
        name = _NUMBER.sub("", stem.decode("utf-8", "replace"), count=1)
        before, between, after = name.partition(" - ")
        title = after if between else name
        artist = artist or (before if between else "")
    return Wanted(title.strip(), artist.strip(), entry.duration, entry.isrc)


def judge(
    wanted: Wanted, offers: Sequence[SpotifyTrack], *, matched_from: float = MATCHED
) -> Judgement:
    """Return the verdict over what a search found.

    Args:
        wanted: the recording meant.
        offers: tracks, in Spotify's order, which decides between equals.
        matched_from: least score of a match.
    """
    scored = [(score(wanted, offer), offer) for offer in offers]
    scored.sort(key=lambda pair: -pair[0])
    best = scored[0][0] if scored else 0.0
    unsure_from = min(UNSURE, matched_from)
    if best >= matched_from:
        verdict = Verdict.matched
    else:
        verdict = Verdict.unsure if best >= unsure_from else Verdict.missing
    return Judgement(verdict, tuple(pair for pair in scored if pair[0] >= unsure_from))


def judge_isrc(wanted: Wanted, offers: Sequence[SpotifyTrack]) -> Judgement:
    """Return the verdict over what a search for the ISRC found; those that bear another are left.

    Who has an ISRC and no title trusts it.
    """
    named = [offer for offer in offers if offer.isrc in ("", wanted.isrc)]
    if not wanted.title:
        verdict = Verdict.matched if named else Verdict.missing
        return Judgement(verdict, tuple((1.0, offer) for offer in named))
    found = judge(wanted, named, matched_from=TRUSTED_ISRC)
    if found.candidates or not named:
        return found
    worst = tuple((score(wanted, offer), offer) for offer in named)
    return Judgement(Verdict.unsure, worst)


def score(wanted: Wanted, offer: SpotifyTrack) -> float:
    """Return how well an offer fits, in [0, 1]; the module says how."""
    parts = [(_TITLE, likeness(normalised(wanted.title), normalised(offer.title)))]
    if wanted.artist:
        artist = normalised(wanted.artist)
        names = [*offer.artists, " ".join(offer.artists)]
        parts.append((_ARTIST, max(likeness(artist, normalised(name)) for name in names)))
    if wanted.duration > 0 and offer.duration > 0:
        apart = abs(wanted.duration - offer.duration)
        near = (_FAR - apart) / (_FAR - _CLOSE)
        parts.append((_DURATION, min(max(near, 0.0), 1.0)))
    mean = sum(weight * part for weight, part in parts) / sum(weight for weight, _ in parts)
    doubtful = not wanted.artist or _versions(wanted.title) != _versions(offer.title)
    return min(mean, DOUBTFUL) if doubtful else mean


def normalised(text: str) -> str:
    """Return a name as it is compared.

    >>> normalised("Déjà Vu (feat. Someone) - 2011 Remastered Version")
    'deja vu'
    """
    short = text[:_LONGEST]
    bare = _REMASTER.sub("", _GUESTS.sub("", short))
    return _plain(bare) or _plain(short) or short.casefold().strip()


def likeness(first: str, second: str) -> float:
    """Return the likeness of two texts: 1 for equal ones, 0 where one is empty."""
    if not first or not second:
        return 0.0
    return SequenceMatcher(None, first, second, autojunk=False).ratio()


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.casefold().replace("&", " and "))
    # Accents go. Marks of a lower class make other letters: Japanese voicing, Indic vowels.
    kept = "".join(letter for letter in letters if unicodedata.combining(letter) < 200)
    words = unicodedata.normalize("NFKC", kept.replace("'", "").replace("\u2019", ""))
    return " ".join(re.sub(r"[^\w\s]|_", " ", words).split())


def _versions(title: str) -> frozenset[str]:
    return _VERSIONS.intersection(normalised(title).split())

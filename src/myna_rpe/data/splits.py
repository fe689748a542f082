"""Which tracks are trained on and which are held out: whole artists at a time.

Tracks of one artist share a voice, a studio and a mastering chain; a model measured on artists it
was trained on looks better than it is (Pampalk et al. 2005, the "artist effect"). All functions
are pure: the same tracks, share and seed give the same split.
"""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

from ..errors import ConfigError
from .tracks import Labels, Track

# "A; B" (several artists in one file) and "A feat. B" count as A.
_MORE_ARTISTS = re.compile(r"[;\0]|\s[(\[]?(?:feat|ft|featuring)\b", re.IGNORECASE)


def split_key(track: Track | Labels) -> str:
    """Return what must not be divided between two sides: the artist, or else the folder.

    Case, spacing and the form of accents make no difference, and only the first artist counts.
    """
    first = _MORE_ARTISTS.split(track.artist)[0]
    artist = " ".join(unicodedata.normalize("NFKC", first).casefold().split())
    return f"artist {artist}" if artist else f"folder {track.group}"


def crossing(tracks: Iterable[Track | Labels]) -> dict[str, set[str]]:
    """Return the artists whose tracks lie in several official splits, with these splits."""
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for track in tracks:
        if track.split:
            splits[split_key(track)].add(track.split)
    return {key: names for key, names in splits.items() if len(names) > 1}


def trainable(tracks: Sequence[Track]) -> list[int]:
    """Return the indices of the tracks that may be trained on.

    Where tracks have official splits, those of ``train``; what belongs to no split stays out,
    because its artist may be in another. Without official splits, all.

    Raises:
        ConfigError: there are official splits but none is ``train``, or an artist is in several.
    """
    names = {track.split for track in tracks} - {""}
    if not names:
        return list(range(len(tracks)))
    if "train" not in names:
        raise ConfigError(
            f"splits={', '.join(sorted(names))} hold no track to train on; "
            "prepare the split 'train' too."
        )
    if crossed := crossing(tracks):
        key, where = next(iter(crossed.items()))
        raise ConfigError(
            f"artists={len(crossed)} lie in several official splits, the first, {key!r}, in "
            f"{' and '.join(sorted(where))}, so what is held out would be known; "
            "correct the splits and prepare again."
        )
    return [index for index, track in enumerate(tracks) if track.split == "train"]


def hold_out(tracks: Sequence[Track], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return the indices of the tracks to train on, and of those held out to measure on.

    The official validation split is held out where there is one, whatever the share; the official
    test split is in neither. Otherwise artists (folders, where no artist is known) are held out
    one after the other, in an order that depends on the seed and each name only, so that most of
    them stay on their side when music is added. The largest error in the share is one artist.

    Args:
        tracks: of a shard set.
        share: of the tracks to hold out, in [0, 1); with 0 none is.
        seed: of the choice.

    Raises:
        ConfigError: an impossible share, one artist only, or official splits that cannot be used.
    """
    if not 0.0 <= share < 1.0:
        raise ConfigError(f"share={share} cannot be held out; use 0 <= share < 1.")
    train = trainable(tracks)
    if share == 0.0:
        return train, []
    if official := [i for i, track in enumerate(tracks) if track.split == "validation"]:
        return train, official

    members: defaultdict[str, list[int]] = defaultdict(list)
    for index in train:
        members[split_key(tracks[index])].append(index)
    if len(members) < 2:
        raise ConfigError(
            f"tracks={len(train)} are all of {next(iter(members), 'nobody')!r}, so no artist can "
            "be held out; add music by another artist, or train without validation."
        )
    held = {index for key in _chosen(members, share * len(train), seed) for index in members[key]}
    return [index for index in train if index not in held], sorted(held)


def _chosen(members: dict[str, list[int]], target: float, seed: int) -> list[str]:
    """Return keys whose members come as near to the target as one pass gets; never all, or none."""
    keys = sorted(members, key=lambda key: _draw(key, seed))
    chosen: list[str] = []
    count = 0
    for key in keys:
        size = len(members[key])
        if len(chosen) < len(keys) - 1 and abs(count + size - target) < abs(count - target):
            chosen.append(key)
            count += size
    return chosen or [min(keys, key=lambda key: len(members[key]))]


def _draw(key: str, seed: int) -> bytes:
    """Return the pseudo-random place of a key in the order of a seed."""
    return hashlib.sha256(f"{seed} {key}".encode("utf-8", "surrogateescape")).digest()

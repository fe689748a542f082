"""EmoMusic (MediaEval 2013, "1000 songs"): arousal and valence of 744 clips of 45 s.

On the disk, as its two archives unpack (the tables may lie in a folder, such as ``annotations``):

    songs_info.csv                song_id, file_name, Artist, ..., Mediaeval 2013 set
    static_annotations.csv        song_id, mean_arousal, std_arousal, mean_valence, std_valence
    clips_45seconds/2.mp3         named by song_id; of 1 to 1000, 256 are left out as redundant

Cells of ``songs_info.csv`` are padded with tabs. The set ``evaluation`` is the test set; the others
are divided by artist as Castellon et al. do: valid if the SHA-1 of the artist's name (lower case,
letters of ASCII and single blanks only), as a number, modulo 10 is at least 8. 504, 115 and 125.

Targets are z-scored with mean and deviation of train and valid together, as published. R2 does not
depend on that scale.

Source:
    Soleymani et al. 2013, "1000 Songs for Emotional Analysis of Music", CrowdMM;
    http://cvml.unige.ch/databases/emoMusic. Castellon, Donahue and Liang 2021, arXiv 2107.05677,
    https://github.com/p-lambda/jukemir.
"""

import hashlib
import math
import statistics
from pathlib import Path

from ...errors import TaskError
from ..examples import Example, Split
from .base import Listing, Remote, Task, audio_files, read_table, tally

TARGETS = ("arousal", "valence")

_COLUMNS = ("mean_arousal", "mean_valence")

_SOURCE = (
    "fetch clips_45sec.tar.gz and annotations.tar.gz (cvml.unige.ch/databases/emoMusic, on request)"
    " and unpack both there"
)


def artist_split(artist: str) -> Split:
    """Return ``train`` or ``valid``, by the artist's name alone."""
    name = "".join(c for c in artist.lower() if ord(c) < 128 and (c.isalpha() or c.isspace()))
    digest = hashlib.sha1(" ".join(name.split()).encode(), usedforsecurity=False).hexdigest()
    return "valid" if int(digest, 16) % 10 >= 8 else "train"


def _find(root: Path, pattern: str, *, folder: bool = False) -> Path:
    """Return the first file, or folder, of that name at or below the root."""
    for path in sorted(root.glob(f"**/{pattern}"), key=lambda path: (len(path.parts), path)):
        if path.is_dir() == folder:
            return path
    raise TaskError(f"root={str(root)!r} holds no {pattern}, which EmoMusic has; {_SOURCE}.")


def _number(row: dict[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise TaskError(
            f"{column}={row[column]!r} of song {row.get('song_id', '')!r} is no number; fetch the "
            "annotations again."
        )
    return value


def _list_files(root: Path) -> Listing:
    songs = read_table(
        _find(root, "songs_info.csv"), ["song_id", "Artist", "Song title", "Mediaeval 2013 set"]
    )
    ratings = {
        int(_number(row, "song_id")): tuple(_number(row, column) for column in _COLUMNS)
        for row in read_table(_find(root, "static_annotations.csv"), ["song_id", *_COLUMNS])
    }
    clips = _find(root, "clips_45sec*", folder=True)
    rated: dict[int, tuple[Split, str]] = {}
    excluded: dict[Path, str] = {}
    for row in songs:
        song = int(_number(row, "song_id"))
        if song not in ratings:
            excluded[clips / f"{song}.mp3"] = "without a rating"
            continue
        test = row["Mediaeval 2013 set"] == "evaluation"
        rated[song] = "test" if test else artist_split(row["Artist"]), row["Artist"]
    for path in audio_files(clips):
        if path.stem.isdigit() and int(path.stem) not in rated:
            excluded.setdefault(path, "not among the songs")
    developed = [ratings[song] for song, (split, _) in rated.items() if split != "test"]
    if len({a for a, _ in developed}) < 2 or len({v for _, v in developed}) < 2:
        raise TaskError(
            f"songs={len(developed)} of the development set have no spread of ratings to be scaled "
            "by; fetch the annotations again."
        )
    centre = [statistics.fmean(values) for values in zip(*developed, strict=True)]
    spread = [statistics.pstdev(values) for values in zip(*developed, strict=True)]
    examples = [
        Example(
            id=str(song),
            path=clips / f"{song}.mp3",
            label=tuple(
                (value - mean) / deviation
                for value, mean, deviation in zip(ratings[song], centre, spread, strict=True)
            ),
            split=split,
            track=str(song),
            group=artist,
        )
        for song, (split, artist) in rated.items()
    ]
    notes = {
        "scale": "; ".join(
            f"{target} {mean:.3f} +- {deviation:.3f}"
            for target, mean, deviation in zip(TARGETS, centre, spread, strict=True)
        )
    }
    if excluded:
        notes["left out"] = tally(excluded)
    return Listing(examples, TARGETS, excluded, notes=notes)


_URL = "http://cvml.unige.ch/databases/emoMusic"

EMOMUSIC = Task(
    name="emomusic",
    title="EmoMusic",
    kind="regression",
    metric="R2 of arousal and of valence",
    num_classes=len(TARGETS),
    counts={"train": 504, "valid": 115, "test": 125},
    citation=(
        "Soleymani et al. 2013, 1000 Songs for Emotional Analysis of Music; split of Castellon et "
        "al. 2021, arXiv 2107.05677"
    ),
    licence="on request, for research; the songs under Creative Commons licences",
    source=_SOURCE,
    list_files=_list_files,
    remotes=(
        Remote(
            f"{_URL}/clips_45sec.tar.gz",
            "3994a5d5fefc27f9540d1a69cd7f1294c68e6cb311ce49765021e2e9c7a1057b",
        ),
        Remote(
            f"{_URL}/annotations.tar.gz",
            "e0cb0b06e1b0ce7f04b1572fc410937699b7fad9dae67ddaa745f06cda4b0b33",
            tables=True,
        ),
    ),
)

"""GTZAN, fault-filtered: 930 clips of 30 s in 10 genres.

On the disk, as its archive lays it out (or Kaggle's copy, ``Data/genres_original/...``):

    genres/blues/blues.00000.wav          or .au; ten folders of a hundred clips

The fault-filtered lists (Kereliuk, Sturm and Larsen) leave out 70 repetitions, distortions and
wrong labels, and divide no artist. The lists are here as runs of numbers; written out, they have
the SHA-256 of the published files, which the tests check:

    train_filtered.txt  2b04966cef1486f1a7767b74271533fa23e220388db804a1937835e1fc4fa3fa
    valid_filtered.txt  f8fbee7c52397a0e0f3a91dc54fedecb2e27f5bdc9a9daeab8cb10d077e26956
    test_filtered.txt   09cafa6a89ce0a27f30ed250d56ecb4d03c22fffb5a693f96c7ae655ee02ac72

Known defects: ``jazz.00054``, a train clip, does not decode in Kaggle's copy (442 train clips are
left; the archive's own is sound). 14 pairs of files are bit-identical (the MD5s in mirdata's
index), one pair across genres; the lists hold at most one of each.

Source:
    Tzanetakis and Cook 2002, "Musical genre classification of audio signals". Lists: Kereliuk,
    Sturm and Larsen 2015, "Deep Learning and Music Adversaries", arXiv 1507.04761, at
    https://github.com/coreyker/dnn-mgr/tree/bdad579/gtzan. Faults: Sturm 2013, arXiv 1306.1461.
"""

import re
from pathlib import Path

from ...errors import TaskError
from ..examples import Example, Split
from .base import Listing, Remote, Task, audio_files, tally

GENRES = (
    *("blues", "classical", "country", "disco", "hiphop"),
    *("jazz", "metal", "pop", "reggae", "rock"),
)

# Split -> for each genre, the numbers of its clips.
_FILTERED: dict[Split, tuple[str, ...]] = {
    "train": (
        "29-49 73-97",
        "30-33 43-48 50-67 80-99",
        "19-26 28-29 65-99",
        "5 15-20 22-37 39-45 47 49 53-54 56-57 59 61 70 73-74 89",
        "2-25 28-29 31-38 41-42 55-61 77-80",
        "0-1 11-24 41 47-72",
        "2-3 5 21 24 35 46-57 59-66 69 71-72 79-80 84 86 89-99",
        "2-9 11-12 16-20 23-29 31-36 38-42 44 46 49-50 80 97-99",
        "0-2 4 6 9 11-12 14-32 42-45 49-51 54-60 63 69",
        "0-9 16-26 57-70 91-99",
    ),
    "valid": (
        "0-11 50-60",
        "0-10 68-76",
        "0-7 9-18 27 41-42 45 49",
        "0 2-4 6-14 46 48 52 67-68 72 75 90 95",
        "81-98",
        "2-10 25-32",
        "0-1 6-11 16-20 36-37 68 76-77 81-82",
        "10 53 55 58-62 81 83-86",
        "61-62 70 72 74 76-78 85 92-99",
        "38 49-56 71-85",
    ),
    "test": (
        "12-28 61-72 98-99",
        "11-29 34-41 49 77-79",
        "30-40 43-44 46-48 50-51 53-64",
        "1 21 58 62-66 69 76-88 91-94 96-97 99",
        "0 26-27 30 40 43-45 51-54 62-75 99",
        "73-99",
        "12-15 22-23 25-33 38-39 67 70 73-75 78 83 85 87-88",
        "0-1 13-14 43 63-66 69-79 82 88-96",
        "34-40 46-48 52-53 64-68 71 79 82-84 87-90",
        "10-15 27-37 39-48 86-90",
    ),
}

_CLIP = re.compile(rf"((?:{'|'.join(GENRES)})\.\d{{5}})\.(?:wav|au)")

_SOURCE = (
    "fetch genres.tar.gz (1.2 GB; opihi.cs.uvic.ca/sound, where it still answers) or Kaggle's "
    "'GTZAN Dataset - Music Genre Classification', and unpack it there"
)


def filtered(split: Split) -> list[str]:
    """Return the clips of a split of the fault-filtered lists: ``blues.00029``, in their order."""
    clips = []
    for genre, runs in zip(GENRES, _FILTERED[split], strict=True):
        for run in runs.split():
            first, _, last = run.partition("-")
            clips += [f"{genre}.{n:05d}" for n in range(int(first), int(last or first) + 1)]
    return clips


def _list_files(root: Path) -> Listing:
    found: dict[str, Path] = {}
    excluded: dict[Path, str] = {}
    for path in audio_files(root):
        if match := _CLIP.fullmatch(path.name):
            if match[1] in found:
                excluded[path] = "second copy"
            else:
                found[match[1]] = path
    if not found:
        raise TaskError(
            f"root={str(root)!r} holds no clip of GTZAN, such as genres/blues/blues.00000.wav; "
            f"{_SOURCE}."
        )
    examples = []
    for split in _FILTERED:
        for clip in filtered(split):
            genre = clip.partition(".")[0]
            path = found.pop(clip, root / "genres" / genre / f"{clip}.wav")
            examples.append(Example(clip, path, genre, split, track=clip))
    excluded |= dict.fromkeys(found.values(), "not in the fault-filtered lists")
    notes = {"left out": tally(excluded)} if excluded else {}
    return Listing(examples, GENRES, excluded, notes=notes)


GTZAN = Task(
    name="gtzan",
    title="GTZAN",
    kind="classification",
    metric="accuracy",
    num_classes=len(GENRES),
    counts={"train": 443, "valid": 197, "test": 290},
    citation=(
        "Tzanetakis and Cook 2002, Musical genre classification of audio signals; fault-filtered "
        "split of Kereliuk, Sturm and Larsen 2015, arXiv 1507.04761"
    ),
    licence="none stated; excerpts of commercial recordings, for research",
    source=_SOURCE,
    list_files=_list_files,
    remotes=(
        Remote(
            "http://opihi.cs.uvic.ca/sound/genres.tar.gz",
            "24347e0223d2ba798e0a558c4c172d9d4a19c00bb7963fe055d183dadb4ef2c6",
        ),
    ),
)

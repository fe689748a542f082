"""GiantSteps key: two minutes of electronic dance music, one of 24 keys.

Two data sets, side by side, as their repositories lay them out (a suffix of the folder, such as
``-master``, makes no difference; nor do leading zeros of the numbers):

    giantsteps-key-dataset/        604 tracks, the test set
      annotations/key/10089.LOFI.key                "D major"
      md5/10089.LOFI.md5                            MD5 of the sound
      audio/10089.LOFI.mp3
    giantsteps-mtg-key-dataset/    1486 tracks, of which train and valid are taken
      annotations/annotations.txt                   ID, MANUAL KEY, C (confidence), by tabs
      annotations/beatport_metadata.txt             ID, ARTIST, ..., by tabs
      md5/, audio/                                  as above

Of the second, tracks with confidence 2 and a single key are used (Korzeniowski and Widmer 2018).
Its lines are odd: "-" or a blank for none, "C minor / F# minor", "A/E major", "G minor/major",
"A-A# minor", trailing blanks. Sharps and flats are written as one name.

Train and valid, by artist, are computed as Castellon et al. do: an artist belongs to train if the
SHA-1 of the name in lower case, as a number, modulo 116 is below 100; then, twice and in the
table's order, all who share a track with a valid artist become valid. 923 and 236 tracks (their
tests assert these counts; the metadata table itself was not at hand when this was written).

Source:
    Knees et al. 2015, "Two data sets for tempo estimation and key detection in electronic dance
    music annotated from user corrections", ISMIR. Faraldo 2017, PhD thesis, UPF. Castellon,
    Donahue and Liang 2021, arXiv 2107.05677, https://github.com/p-lambda/jukemir.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import TaskError
from ..examples import Example, Split
from ..keys import KEYS, key_name
from .base import Listing, Remote, Task, audio_files, read_table, tally

_KEY = re.compile(r"([A-Ga-g][#b]?) +(major|minor)")
_FILE = re.compile(r"0*(\d+)(?:\.LOFI)?\.\w+")

_SOURCE = (
    "put there github.com/GiantSteps/giantsteps-key-dataset and giantsteps-mtg-key-dataset, each "
    "with its sound in 'audio' (run its audio_dl.sh; a backup lies at "
    "cp.jku.at/datasets/giantsteps)"
)


def parse_key(text: str) -> str | None:
    """Return the one key a text names, as in `KEYS`; None where it names none, or several.

    >>> parse_key("D# minor "), parse_key("eb minor"), parse_key("C minor / F# minor")
    ('Eb minor', 'Eb minor', None)
    """
    match = _KEY.fullmatch(text.strip())
    if match is None:
        return None
    return key_name(*match.groups())


def artist_splits(rows: list[dict[str, str]]) -> dict[int, Split]:
    """Return the splits of the tracks of the metadata table, by their artists.

    A track whose artists are in both has none; in the published table no track that is used is.

    Args:
        rows: with ``ID`` and ``ARTIST`` (names between commas), in the table's order.

    Raises:
        TaskError: an ID is no number.
    """
    artists = {_number(row["ID"]): _names(row["ARTIST"]) for row in rows}
    valid: dict[str, bool] = {}
    for names in artists.values():
        for name in names:
            digest = hashlib.sha1(name.lower().encode(), usedforsecurity=False).hexdigest()
            valid[name] = int(digest, 16) % 116 >= 100
    for _ in range(2):
        for names in artists.values():
            if any(valid[name] for name in names):
                valid |= dict.fromkeys(names, True)
    return {
        track: "valid" if valid[names[0]] else "train"
        for track, names in artists.items()
        if len({valid[name] for name in names}) == 1
    }


def _names(artists: str) -> list[str]:
    return [name.strip() for name in artists.strip().split(",")]


def _number(text: str) -> int:
    if not text.isdecimal():
        raise TaskError(f"ID={text!r} is no track number; fetch the annotations again.")
    return int(text)


def _repository(root: Path, sign: str, without: str, name: str) -> Path:
    """Return the folder, the root or one in it, that holds one path and not another."""
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    for folder in folders:
        if (folder / sign).exists() and not (without and (folder / without).exists()):
            return folder
    raise TaskError(f"root={str(root)!r} holds no {name} (a folder with {sign}); {_SOURCE}.")


def _numbered(paths: list[Path]) -> dict[int, Path]:
    """Return files by the number in their name; the first where there are several."""
    files: dict[int, Path] = {}
    for path in paths:
        if match := _FILE.fullmatch(path.name):
            files.setdefault(int(match[1]), path)
    return files


class _Copy:
    """The sound and the MD5s of one of the two repositories."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sound = _numbered(
            audio_files(folder / "audio") if folder.joinpath("audio").is_dir() else []
        )
        self.sums = _numbered(sorted(folder.glob("md5/*.md5")))

    def file(self, track: int) -> Path:
        return self.sound.get(track, self.folder / "audio" / f"{track}.LOFI.mp3")

    def md5(self, track: int) -> str:
        """Return the published MD5; "" where there is none, or the sound is not the published."""
        if track not in self.sums or not self.file(track).name.endswith(".LOFI.mp3"):
            return ""
        words = self.sums[track].read_text(errors="replace").split()
        return words[0].lower() if words else ""


def _test_keys(folder: Path) -> Iterator[tuple[int, str]]:
    for track, path in sorted(_numbered(sorted(folder.glob("annotations/key/*.key"))).items()):
        # A comment, or a confidence, may follow after a tab.
        yield track, path.read_text(encoding="utf-8", errors="replace").partition("\t")[0]


def _list_files(root: Path) -> Listing:
    annotations = "annotations/annotations.txt"
    test = _Copy(_repository(root, "annotations/key", annotations, "giantsteps-key-dataset"))
    mtg = _Copy(_repository(root, annotations, "", "giantsteps-mtg-key-dataset"))
    examples, excluded, md5 = [], dict[Path, str](), dict[str, str]()
    reasons = []

    def add(copy: _Copy, track: int, text: str, split: Split | None, why: str) -> None:
        key = parse_key(text)
        why = why or ("" if key else "without a single key")
        if key is None or split is None or why:
            reasons.append(why)
            excluded[copy.file(track)] = why
            return
        name = f"{'key' if copy is test else 'mtg'}-{track}"
        examples.append(Example(name, copy.file(track), key, split, track=name))
        md5[name] = copy.md5(track)

    rows = read_table(
        mtg.folder / "annotations" / "beatport_metadata.txt", ["ID", "ARTIST"], delimiter="\t"
    )
    splits = artist_splits(rows)
    known = {_number(row["ID"]) for row in rows}
    for row in read_table(mtg.folder / annotations, ["ID", "MANUAL KEY", "C"], delimiter="\t"):
        track = _number(row["ID"])
        sure = row["C"] == "2"
        if sure and parse_key(row["MANUAL KEY"]) and track not in splits:
            fault = "are in both train and valid" if track in known else "are not in the table"
            raise TaskError(
                f"track={track}: its artists {fault} beatport_metadata.txt, which is then not "
                "the published one; fetch it again."
            )
        why = "" if sure else "of low confidence"
        add(mtg, track, row["MANUAL KEY"], splits.get(track), why)
    mine = {example.id.partition("-")[2] for example in examples}
    for track, text in _test_keys(test.folder):
        if str(track) in mine:
            raise TaskError(
                f"track={track} is in both data sets, so it would be trained on and tested; "
                "fetch their annotations again."
            )
        add(test, track, text, "test", "")
    notes = {"left out": tally(reasons)} if reasons else {}
    return Listing(examples, KEYS, excluded, {k: v for k, v in md5.items() if v}, notes)


_GITHUB = "https://github.com/GiantSteps"

GIANTSTEPS = Task(
    name="giantsteps",
    title="GiantSteps key",
    kind="key",
    metric="MIREX weighted score",
    num_classes=len(KEYS),
    counts={"train": 923, "valid": 236, "test": 604},
    citation=(
        "Knees et al. 2015, Two data sets for tempo estimation and key detection in electronic "
        "dance music; Faraldo 2017 (MTG key); split of Castellon et al. 2021, arXiv 2107.05677"
    ),
    licence="annotations CC BY-SA 4.0 (as on Zenodo); sound: previews of a shop, for research",
    source=_SOURCE,
    list_files=_list_files,
    remotes=(
        Remote(
            f"{_GITHUB}/giantsteps-key-dataset/archive/c8cb8aad2cb53f165be51ea099d0dc75c64a844f.zip",
            "7749bee0f919b0f53db2c540fa6707f322b82a5d140e453f10f9af7875ad5bb8",
            tables=True,
        ),
        Remote(
            f"{_GITHUB}/giantsteps-mtg-key-dataset/archive/fd7b8c584f7bd6d720d170c325a6d42c9bf75a6b.zip",
            "c754c3fabbc0bf275d399028e212fa2c9c6680084bd003e3a283ae7b3ea22996",
            tables=True,
        ),
    ),
    clip_seconds=30.0,
)

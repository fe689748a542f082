"""MTG-Jamendo: 55,000 full tracks of 3,500 artists under Creative Commons licences, with tags.

On the disk, as its own repository and archives lay it out (`download_mtg_jamendo` makes just this):

    data/autotagging_top50tags.tsv                            a subset: one track a line
    data/splits/split-0/autotagging_top50tags-train.tsv       its official splits, by artist
    .../48/948.mp3, or .../48/948.low.mp3 (low quality)       the sound, in any folder below

A line of a table: TRACK_ID, ARTIST_ID, ALBUM_ID, PATH, DURATION (s), and any number of tags.

Source:
    Bogdanov et al. 2019, "The MTG-Jamendo Dataset for Automatic Music Tagging", ICML workshop;
    https://github.com/MTG/mtg-jamendo-dataset. Metadata CC BY-NC-SA 4.0; each track under its
    artist's Creative Commons licence.
"""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from ...audio.files import find_audio_files
from ...errors import ConfigError, DatasetError, unknown_name
from ..splits import crossing
from ..tracks import SPLITS, Entry, Labels, Listing, Rejected

# Name of a subset -> its table, and the stem of its splits. (`autotagging.tsv` is a link in the
# repository, which a download gets as a line of text; the table it leads to is this one.)
SUBSETS: dict[str, tuple[str, str]] = {
    "top50": ("autotagging_top50tags", "autotagging_top50tags"),
    "all": ("raw_30s_cleantags_50artists", "autotagging"),
    "raw_30s": ("raw_30s", "autotagging"),
    "genre": ("autotagging_genre", "autotagging_genre"),
    "instrument": ("autotagging_instrument", "autotagging_instrument"),
    "moodtheme": ("autotagging_moodtheme", "autotagging_moodtheme"),
}

_COLUMNS = ["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]
_PATH = re.compile(r"\d\d/\d+\.mp3")


class MtgJamendo:
    """A subset of MTG-Jamendo with its official splits.

    A track is named by its official path (``48/948.mp3``), whatever the quality of its file; where
    both are there, the full one is taken. Its artist is ``artist_000087``, its group the album. A
    track of the subset that is in no split (its tags are too rare) has an empty one.

    Args:
        folder: holds the sound, anywhere below it.
        subset: one of `SUBSETS`.
        splits: those to take.
        metadata: folder that holds ``data``; None: the same.

    Raises:
        ConfigError: no such subset or split.
    """

    def __init__(
        self,
        folder: Path,
        *,
        subset: str = "top50",
        splits: Sequence[str] = (*SPLITS, ""),
        metadata: Path | None = None,
    ) -> None:
        if subset not in SUBSETS:
            raise ConfigError(unknown_name("subset", subset, SUBSETS))
        for split in splits:
            if split not in (*SPLITS, ""):
                raise ConfigError(unknown_name("split", split, SPLITS))
        self.folder = folder
        self.subset = subset
        self.splits = tuple(splits)
        self.data = (metadata or folder) / "data"

    def listing(self) -> Listing:
        """Return the tracks whose files are there, and what is missing, unknown or not asked for.

        Raises:
            AudioError: there is no sound.
            DatasetError: a table is missing or damaged, or an artist is in several splits.
        """
        tracks, rejected = self._tracks()
        files, copies = self._files()
        rejected += copies
        entries = []
        for path, labels in tracks.items():
            file = files.pop(path, None)
            if labels.split not in self.splits:
                reason = f"is in the split {labels.split or 'none'!r}, which was not asked for"
                rejected.append(Rejected(path, reason, kind="other split"))
            elif file is None:
                reason = "is in the subset, but its file is not there"
                rejected.append(Rejected(path, reason, kind="missing"))
            else:
                entries.append(Entry(file, path, labels))
        reason = f"is not in the subset {self.subset!r}"
        for file in files.values():
            rejected.append(Rejected(self._name(file), reason, kind="unlisted"))
        return Listing(entries, rejected)

    def in_splits(self) -> dict[str, Labels]:
        """Return the tracks of the official splits by their paths, split after split.

        Raises:
            DatasetError: a table is missing or damaged, or an artist is in several splits.
        """
        _, stem = SUBSETS[self.subset]
        in_split: dict[str, Labels] = {}
        for split in SPLITS:
            rows = _read_table(self.data / "splits" / "split-0" / f"{stem}-{split}.tsv", split)
            if twice := rows.keys() & in_split.keys():
                raise DatasetError(
                    f"tracks={len(twice)} are in the split {split!r} and in another one, the first "
                    f"{min(twice)}; {_FETCH_AGAIN}"
                )
            in_split |= rows
        if crossed := crossing(in_split.values()):
            key, where = min(crossed.items())
            raise DatasetError(
                f"artists={len(crossed)} are in several splits, the first, {key!r}, in "
                f"{' and '.join(sorted(where))}, and the official splits divide no artist; "
                f"{_FETCH_AGAIN}"
            )
        return in_split

    def _tracks(self) -> tuple[dict[str, Labels], list[Rejected]]:
        """Return the tracks of the subset, each with its split, and those only a split knows."""
        table, _ = SUBSETS[self.subset]
        tracks = _read_table(self.data / f"{table}.tsv")
        in_split = self.in_splits()
        unknown = [
            Rejected(path, f"is in a split, but not in {table}.tsv", kind="unknown")
            for path in sorted(in_split.keys() - tracks.keys())
        ]
        return {path: in_split.get(path, tracks[path]) for path in tracks}, unknown

    def _files(self) -> tuple[dict[str, Path], list[Rejected]]:
        """Return the files by the official path of their track, and second copies of a track."""
        files: dict[str, Path] = {}
        copies = []
        # Full quality first: the low one's names, 948.low.mp3, have two suffixes.
        for file in sorted(find_audio_files([self.folder]), key=lambda file: len(file.suffixes)):
            path = f"{file.parent.name}/{file.name.replace('.low.mp3', '.mp3')}"
            if path in files:
                reason = f"is a second copy of {path}"
                copies.append(Rejected(self._name(file), reason, kind="second copy"))
            else:
                files[path] = file
        return files, copies

    def _name(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()


_FETCH_AGAIN = "fetch its tables again: delete the folder 'data' and run myna download mtg-jamendo"


def _read_table(path: Path, split: str = "") -> dict[str, Labels]:
    """Return what a table says of its tracks, by their paths."""
    tracks: dict[str, Labels] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            if next(lines, None) != _COLUMNS:
                raise ValueError(f"it does not begin with {' '.join(_COLUMNS)}")
            for line in lines:
                if len(line) < 5 or not _PATH.fullmatch(line[3]) or line[3] in tracks:
                    raise ValueError(f"line {lines.line_num} is damaged, or its track there twice")
                _, artist, album, name, _, *tags = line
                tracks[name] = Labels(artist, tuple(filter(None, tags)), split, album)
    except FileNotFoundError as error:
        raise DatasetError(
            f"table={str(path)!r} is not there; run myna download mtg-jamendo, or name the folder "
            "that holds the data set's 'data' as metadata."
        ) from error
    except (OSError, ValueError, csv.Error) as error:
        raise DatasetError(
            f"table={str(path)!r} cannot be read: {error}; {_FETCH_AGAIN}"
        ) from error
    return tracks

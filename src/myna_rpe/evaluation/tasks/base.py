"""What all data sets share: a task, the list of its files, loading, and the reading of tables.

A data set is one file of this package: what it is, under which licence, where it comes from, how
many clips each split must have, and one function that lists the clips of a user's copy. All else
(loading, partial copies, the doctor) is here and in `doctor`, the same for all.

Conventions: splits are ``train``, ``valid`` and ``test``; times are in seconds.
"""

import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...audio.files import find_audio_files
from ...errors import AudioError, TaskError
from ..examples import Dataset, Example, Kind, Split
from .doctor import Diagnosis, Progress, diagnose

SPLITS: tuple[Split, ...] = ("train", "valid", "test")


@dataclass(frozen=True)
class Remote:
    """A published file of a data set.

    ``file`` is its place below the root, "" for an archive that is unpacked there. ``tables``: it
    holds labels and lists rather than sound, and `fetch_tables` gets it.
    """

    url: str
    sha256: str
    file: str = ""
    tables: bool = False


@dataclass(frozen=True)
class Listing:
    """What the protocol takes from a copy of a data set.

    Attributes:
        examples: all clips of the protocol, of this copy or not; ``path`` is where a clip lies, or
            where it should.
        classes: as `Dataset.classes`.
        excluded: files of the data set that the protocol leaves out -> why, in a few words.
        md5: published MD5 of clips, by their ids.
        notes: as `Dataset.notes`.
    """

    examples: Sequence[Example]
    classes: tuple[str, ...]
    excluded: Mapping[Path, str] = field(default_factory=dict)
    md5: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A published data set, and what is asked of it.

    Attributes:
        name: what the command line calls it.
        title: what people call it.
        kind: what is asked; see `Kind`.
        metric: what is reported.
        num_classes: classes, tags or targets.
        counts: clips per split of the whole data set; empty where the data set's own tables are
            the only source of that.
        citation: who made it, and whose split it is.
        licence: of sound and labels, as far as it is known.
        source: how a user gets it, as a clause that goes after "; ".
        list_files: root of a copy -> what it should hold. Raises TaskError where it is not such a
            data set.
        remotes: published files, with their checksums.
        clip_seconds: the published protocol cuts tracks into clips of this length; None: not.
    """

    name: str
    title: str
    kind: Kind
    metric: str
    num_classes: int
    counts: Mapping[Split, int]
    citation: str
    licence: str
    source: str
    list_files: Callable[[Path], Listing]
    remotes: tuple[Remote, ...] = ()
    clip_seconds: float | None = None

    def listing(self, root: Path) -> Listing:
        """Return what the protocol takes from the copy in a folder.

        Raises:
            TaskError: there is no such folder, or it does not hold this data set.
        """
        if not root.is_dir():
            raise TaskError(
                f"root={str(root)!r} is not a folder, {self.title} should be in it; {self.source}."
            )
        try:
            return self.list_files(root)
        except OSError as error:
            raise TaskError(
                f"root={str(root)!r} cannot be read ({error}); check its permissions."
            ) from error

    def load(self, root: Path, *, allow_partial: bool = False) -> Dataset:
        """Return the clips whose files are there, with labels and splits.

        No sound is read: a file that does not decode is found by the doctor, or on the way.

        Args:
            root: folder of the copy.
            allow_partial: take an incomplete copy; ``notes["partial"]`` then says what is there.

        Raises:
            TaskError: it is not this data set, nothing of it is there, or it is incomplete.
        """
        listing = self.listing(root)
        there = [e for e in listing.examples if e.path.is_file() and e.path.stat().st_size]
        if not there:
            raise TaskError(
                f"root={str(root)!r} holds none of the {len(listing.examples)} clips of "
                f"{self.title}; {self.source}."
            )
        notes = dict(listing.notes)
        expected = self.expected(listing)
        found = Counter(example.split for example in there)
        if any(found[split] != expected[split] for split in SPLITS):
            partial = ", ".join(f"{split} {found[split]} of {expected[split]}" for split in SPLITS)
            if not allow_partial:
                raise TaskError(
                    f"root={str(root)!r} holds a partial copy of {self.title} ({partial}), whose "
                    f"scores are not comparable; see myna tasks doctor {self.name}, complete it, "
                    "or use --allow-partial."
                )
            notes["partial"] = partial
        return Dataset(
            self.name, self.kind, listing.classes, there, notes, clip_seconds=self.clip_seconds
        )

    def doctor(
        self, root: Path, *, deep: bool = False, progress: Progress = lambda done, total: None
    ) -> Diagnosis:
        """Return what is there, missing, corrupt, duplicated and unlisted, file by file.

        Args:
            root: folder of the copy.
            deep: decode every file, rather than read its header only.
            progress: told as work goes on.

        Raises:
            TaskError: it is not this data set.
        """
        listing = self.listing(root)
        tables = {remote.file: remote.sha256 for remote in self.remotes if remote.file}
        return diagnose(
            self.name,
            root,
            listing.examples,
            expected=self.expected(listing),
            excluded=listing.excluded,
            md5=listing.md5,
            tables=tables,
            notes=listing.notes,
            deep=deep,
            progress=progress,
        )

    def expected(self, listing: Listing) -> dict[Split, int]:
        """Return how many clips each split of the whole data set has."""
        listed = Counter(example.split for example in listing.examples)
        return {split: self.counts.get(split, listed[split]) for split in SPLITS}


def audio_files(root: Path) -> list[Path]:
    """Return the audio files at and below a folder, sorted; none is no error.

    Raises:
        TaskError: a folder cannot be listed.
    """
    try:
        return find_audio_files([root])
    except AudioError as error:
        if "holds no audio file" in str(error):
            return []
        raise TaskError(str(error)) from error


def read_table(path: Path, columns: Sequence[str], *, delimiter: str = ",") -> list[dict[str, str]]:
    """Return the rows of a table as dictionaries, names and values stripped of blanks.

    Bytes that are not UTF-8 become replacement marks; cells that are not there are empty.

    Args:
        path: the file.
        columns: those it must have.
        delimiter: between cells.

    Raises:
        TaskError: it is not there, or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter)
            header = [name.strip() for name in next(reader, [])]
            if missing := [name for name in columns if name not in header]:
                raise TaskError(
                    f"table={str(path)!r} has no column {missing[0]!r}, so it is not the published "
                    "one; fetch it again."
                )
            return [
                dict.fromkeys(header, "") | dict(zip(header, map(str.strip, row), strict=False))
                for row in reader
                if row
            ]
    except (OSError, csv.Error) as error:
        raise TaskError(f"table={str(path)!r} cannot be read ({error}); fetch it again.") from error


def tally(reasons: Mapping[Path, str] | Sequence[str]) -> str:
    """Return how often each reason is given: ``12 low confidence, 3 several keys``."""
    counts = Counter(reasons.values() if isinstance(reasons, Mapping) else reasons)
    return ", ".join(f"{count} {reason}" for reason, count in counts.most_common())

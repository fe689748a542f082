"""A user's copy of a data set, checked file by file.

Every listed clip is in one of three states: ``there``, ``missing``, or ``corrupt`` (empty, not of
its published MD5, or not readable as audio). Every audio file below the root is one of: a clip that
is there or corrupt, excluded by the protocol, or unlisted. So both counts add up. Bit-identical
files are reported beside that; where they lie in different splits, what is tested was trained on.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...audio.decode import decode_blocks, probe
from ...audio.files import find_audio_files
from ...errors import AudioError
from ...storage import file_sha256
from ..examples import Example, Split

Progress = Callable[[int, int], None]
"""Called with the clips that are done, and their number."""

# A clip is decoded at this rate when all of it is; none is resampled to less than speech.
_DEEP_RATE = 16_000


@dataclass(frozen=True)
class Problem:
    """A clip that cannot be used, and why."""

    id: str
    split: Split
    state: Literal["missing", "corrupt"]
    reason: str


@dataclass(frozen=True)
class SplitCount:
    """Clips of a split: ``listed`` = ``there`` + ``missing`` + ``corrupt``.

    ``expected`` is what the whole data set has; ``listed`` what the tables of this copy name.
    """

    expected: int
    listed: int
    there: int
    missing: int
    corrupt: int


@dataclass(frozen=True)
class Diagnosis:
    """What was found in a copy of a data set.

    Attributes:
        task: its name.
        root: its folder.
        deep: every file was decoded; otherwise headers were read.
        splits: counts.
        problems: clips that are missing or corrupt.
        duplicates: groups of bit-identical files, each as (path below the root, split); the split
            is "" for files that the protocol leaves out.
        excluded: files that the protocol leaves out, by reason.
        unlisted: audio files that the data set does not name, below the root.
        tables: tables with a published SHA-256 -> it is theirs.
        notes: what the reader of the data set has to say.
    """

    task: str
    root: Path
    deep: bool
    splits: Mapping[Split, SplitCount]
    problems: Sequence[Problem]
    duplicates: Sequence[tuple[tuple[str, Split], ...]]
    excluded: Mapping[str, int]
    unlisted: Sequence[str]
    tables: Mapping[str, bool]
    notes: Mapping[str, str]

    @property
    def complete(self) -> bool:
        """Every clip of the protocol is there and readable, and the tables are the published."""
        return all(self.tables.values()) and all(
            count.expected == count.listed == count.there for count in self.splits.values()
        )

    @property
    def leaks(self) -> list[tuple[tuple[str, Split], ...]]:
        """Groups of bit-identical files of which two lie in different splits."""
        return [group for group in self.duplicates if len({split for _, split in group} - {""}) > 1]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON's types."""
        return {
            "task": self.task,
            "root": str(self.root),
            "deep": self.deep,
            "complete": self.complete,
            "splits": {split: vars(count) for split, count in self.splits.items()},
            "problems": [vars(problem) for problem in self.problems],
            "duplicates": [
                [{"file": file, "split": split} for file, split in group]
                for group in self.duplicates
            ],
            "excluded": dict(self.excluded),
            "unlisted": list(self.unlisted),
            "tables": dict(self.tables),
            "notes": dict(self.notes),
        }


def diagnose(
    task: str,
    root: Path,
    examples: Sequence[Example],
    *,
    expected: Mapping[Split, int],
    excluded: Mapping[Path, str],
    md5: Mapping[str, str],
    tables: Mapping[str, str],
    notes: Mapping[str, str],
    deep: bool,
    progress: Progress,
) -> Diagnosis:
    """Return the state of every clip, and of every audio file below the root.

    Args:
        task: name of the data set.
        root: its folder.
        examples: the clips of the protocol, of pairwise different paths.
        expected: clips per split of the whole data set.
        excluded: files that the protocol leaves out -> why.
        md5: published MD5 of clips, by id.
        tables: tables below the root -> their published SHA-256.
        notes: passed on.
        deep: decode every file.
        progress: told as work goes on.
    """
    problems, usable = [], dict[Path, Split]()
    for number, example in enumerate(examples, start=1):
        problem = _problem(example, md5.get(example.id, ""), deep=deep)
        if problem is None:
            usable[example.path] = example.split
        else:
            problems.append(problem)
        progress(number, len(examples))
    listed = Counter(example.split for example in examples)
    there = Counter(usable.values())
    states = Counter((problem.split, problem.state) for problem in problems)
    splits = {
        split: SplitCount(
            count, listed[split], there[split], states[split, "missing"], states[split, "corrupt"]
        )
        for split, count in expected.items()
    }
    known = {example.path for example in examples} | excluded.keys()
    left_out = {path: why for path, why in excluded.items() if path.is_file()}
    files: dict[Path, Split] = {**dict.fromkeys(left_out, ""), **usable}
    return Diagnosis(
        task=task,
        root=root,
        deep=deep,
        splits=splits,
        problems=problems,
        duplicates=[
            tuple((_below(path, root), files[path]) for path in group)
            for group in _identical(files)
        ],
        excluded=dict(Counter(left_out.values())),
        unlisted=[_below(path, root) for path in _audio(root) if path not in known],
        tables={
            name: file_sha256(root / name) == sha256
            for name, sha256 in tables.items()
            if (root / name).is_file()
        },
        notes=notes,
    )


def _problem(example: Example, md5: str, *, deep: bool) -> Problem | None:
    """Return what is wrong with a clip's file, if anything."""
    path = example.path
    try:
        if not path.stat().st_size:
            return Problem(example.id, example.split, "corrupt", f"{path} is empty")
    except FileNotFoundError:
        return Problem(example.id, example.split, "missing", f"{path} is not there")
    except OSError as error:
        return Problem(example.id, example.split, "corrupt", f"{path}: {error.strerror}")
    try:
        if md5 and _md5(path) != md5:
            return Problem(
                example.id, example.split, "corrupt", f"{path} does not have its published MD5"
            )
        probe(path)
        if deep:
            for _ in decode_blocks(path, sample_rate=_DEEP_RATE):
                pass
    except (AudioError, OSError) as error:
        return Problem(example.id, example.split, "corrupt", str(error))
    return None


def _identical(files: Iterable[Path]) -> list[list[Path]]:
    """Return groups of files with the same bytes; only files of equal size are read."""
    by_size: defaultdict[int, list[Path]] = defaultdict(list)
    for path in files:
        if size := path.stat().st_size:
            by_size[size].append(path)
    by_content: defaultdict[str, list[Path]] = defaultdict(list)
    for group in by_size.values():
        if len(group) > 1:
            for path in group:
                by_content[file_sha256(path)].append(path)
    return [sorted(group) for group in by_content.values() if len(group) > 1]


def _audio(root: Path) -> list[Path]:
    try:
        return find_audio_files([root])
    except AudioError:  # there is none
        return []


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.md5(usedforsecurity=False)
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

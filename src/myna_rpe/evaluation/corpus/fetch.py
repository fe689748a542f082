"""Free music of Debian packages -> a folder of tracks with a manifest, in as many runs as it takes.

A package is fetched, unpacked and filtered in a hidden folder, which takes the package's name when
all is there: ``DIR/PACKAGE/`` holds the music as it was packed, ``COPYRIGHT`` and ``tracks.jsonl``.
A package whose files are there, with their sizes, is not fetched again, unless what this version
knows of it has changed.
"""

import contextlib
import hashlib
import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import soundfile

from ...audio.decode import decode_blocks, probe
from ...audio.files import AUDIO_EXTENSIONS
from ...audio.readers import read_metadata
from ...data.download import FetchPlan
from ...errors import AudioError, TaskError
from ...storage import atomic_write, file_sha256, only_run, write_json
from .debian import Debian
from .manifest import MANIFEST, CorpusTrack, read_tracks, write_tracks
from .packages import ALIASES, VARIANTS, Package, composer_of, matches

# Shorter files are jingles and sound effects, as a rule; seconds.
MIN_SECONDS = 30.0

_TRACKS = "tracks.jsonl"
_COUNTS = "counts.json"

Progress = Callable[[int, int, str], None]
"""Called with packages done, packages in all, and the one at work."""


@dataclass(frozen=True)
class FetchReport:
    """What is there now. Of ``found`` sound files, ``tracks`` were kept, the others ``dropped``."""

    folder: Path
    packages: int
    fetched: int
    found: int
    tracks: tuple[CorpusTrack, ...]
    dropped: dict[str, int]

    @property
    def seconds(self) -> float:
        """The music's length."""
        return sum((track.duration for track in self.tracks), 0.0)

    @property
    def bytes(self) -> int:
        """The music's size."""
        return sum(track.bytes for track in self.tracks)


def fetch_corpus(
    folder: Path,
    packages: Sequence[Package],
    *,
    announce: Callable[[FetchPlan], bool] = lambda plan: True,
    progress: Progress = lambda done, total, name: None,
) -> FetchReport:
    """Bring the music of packages into a folder; interrupted at any point, run it again.

    Args:
        folder: made if need be.
        packages: what to fetch; what others were fetched before stays.
        announce: told the plan before anything is fetched; False: nothing is.
        progress: told as work goes on.

    Raises:
        TaskError: the tools are missing, a package is unknown, damaged or cannot be fetched, or
            the folder cannot be written to.
    """
    with only_run(folder, ".fetch", doing="fetched", error=TaskError) as workspace:
        debian = Debian(workspace)
        pending = [package for package in packages if not _is_current(folder, package)]
        sizes = debian.sizes([package.name for package in pending]) if pending else {}
        to_fetch = sum(sizes.values())
        # Music hardly compresses: what is kept is no larger than what is fetched. The largest
        # package lies there packed and unpacked besides.
        needed = to_fetch + 3 * max(sizes.values(), default=0)
        free = shutil.disk_usage(folder).free
        plan = FetchPlan(folder, "packages", len(packages), len(pending), to_fetch, needed, free)
        go_on = announce(plan)
        if go_on and needed > free:
            raise TaskError(
                f"free={free / 1e9:.2f} GB in {folder} is less than the {needed / 1e9:.2f} GB that "
                "are needed; free some space, or fetch one role."
            )
        for number, package in enumerate(pending if go_on else ()):
            progress(number, len(pending), package.name)
            _bring(package, folder, debian)
            progress(number + 1, len(pending), package.name)
            _write_manifest(folder)
        if not pending:
            _write_manifest(folder)
        there = [package for package in packages if _is_current(folder, package)]
        return _report(folder, there, len(pending) if go_on else 0)


def _report(folder: Path, packages: Sequence[Package], fetched: int) -> FetchReport:
    """Return what the folders of packages hold."""
    tracks: list[CorpusTrack] = []
    dropped: Counter[str] = Counter()
    found = 0
    for package in packages:
        tracks += read_tracks(folder / package.name / _TRACKS)
        counts = json.loads((folder / package.name / _COUNTS).read_bytes())
        found += counts["found"]
        dropped.update(counts["dropped"])
    return FetchReport(folder, len(packages), fetched, found, tuple(tracks), dict(dropped))


def _write_manifest(folder: Path) -> None:
    """Join the facts of all packages that are there."""
    tracks = []
    for path in sorted(folder.glob(f"*/{_TRACKS}")):
        if _is_complete(path.parent):
            tracks += read_tracks(path)
    write_tracks(folder / MANIFEST, tracks)


def _is_current(folder: Path, package: Package) -> bool:
    """Tell whether a package is there, filtered and labelled by the rules as they are now."""
    place = folder / package.name
    return _is_complete(place) and json.loads((place / _COUNTS).read_bytes())["rules"] == _rules(
        package
    )


def _rules(package: Package) -> str:
    """Return what stands for all that decides the facts of a package's tracks."""
    return hashlib.sha256(f"{package} {VARIANTS} {ALIASES} {MIN_SECONDS}".encode()).hexdigest()


def _is_complete(folder: Path) -> bool:
    """Tell whether all files of a package are there, with their sizes."""
    try:
        tracks = read_tracks(folder / _TRACKS)
        counts = json.loads((folder / _COUNTS).read_bytes())
        sizes = [(folder.parent / track.path).stat().st_size for track in tracks]
    except (OSError, ValueError, TaskError):
        return False
    return "rules" in counts and sizes == [track.bytes for track in tracks]


def _bring(package: Package, folder: Path, debian: Debian) -> None:
    """Make a package's folder."""
    archive = debian.download(package.name)
    unpacked = debian.workspace / "unpacked"
    staging = debian.workspace / "staging"
    for place in (unpacked, staging):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
    debian.unpack(archive, unpacked)
    _keep_music(package, unpacked, staging)
    shutil.rmtree(unpacked)
    final = folder / package.name
    if final.exists():  # something of it was lost
        shutil.rmtree(final)
    staging.rename(final)
    debian.forget(package.name)


def _keep_music(package: Package, unpacked: Path, staging: Path) -> None:
    """Move the music of an unpacked package to `staging`, with its facts."""
    root = unpacked / package.root
    if root.is_file():
        archive, root = root, unpacked / "contents"
        _unzip(archive, root)
    files = _sound_below(root)
    if not files:
        raise TaskError(
            f"package={package.name!r} holds no music in {package.root}; "
            "its contents have changed, use the package of Debian 12."
        )
    tracks: list[CorpusTrack] = []
    dropped: Counter[str] = Counter()
    seen: set[str] = set()
    parts = _stems(package, root, files)
    for path in files:
        name = path.relative_to(root).as_posix()
        reason = ""
        if path in parts.values():
            reason = "part of another"
        elif matches(f"/{name}", package.leave_out):
            reason = "no music"
        elif matches(name, VARIANTS):
            reason = "variant"
        else:
            try:
                duration = _seconds(path)
                said = _tags(path)
                if path in parts:
                    path = _mixed(path, parts[path])
                    name = path.relative_to(root).as_posix()
                sha256 = file_sha256(path)
                if duration < MIN_SECONDS:
                    reason = "too short"
                elif sha256 in seen:
                    reason = "duplicate"
                else:
                    seen.add(sha256)
                    tracks.append(_facts(package, path, name, duration, said, sha256))
            except AudioError:
                reason = "unreadable"
        if reason:
            dropped[reason] += 1
    for track in tracks:
        place = staging / PurePosixPath(track.path).relative_to(package.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        (root / place.relative_to(staging)).replace(place)
    with contextlib.suppress(FileNotFoundError):
        shutil.copy(unpacked / "usr/share/doc" / package.name / "copyright", staging / "COPYRIGHT")
    counts = {"found": len(files), "dropped": dict(dropped), "rules": _rules(package)}
    write_json(staging / _COUNTS, counts)
    write_tracks(staging / _TRACKS, tracks)


def _facts(
    package: Package, path: Path, name: str, duration: float, said: dict[str, str], sha256: str
) -> CorpusTrack:
    """Return what is known of a file."""
    folder = PurePosixPath(name).parent.as_posix()
    album = {"folder": folder, "tag": said.get("album", ""), "package": ""}[package.albums]
    # An empty comment is none, as some files have both.
    who = said.get("composer", "").strip() or said.get("artist", "").strip()
    return CorpusTrack(
        path=f"{package.name}/{name}",
        package=package.name,
        role=package.role,
        album="" if album == "." else album.strip(),
        composer=composer_of(package, f"/{name}", who),
        licence=package.licence,
        duration=round(duration, 3),
        sample_rate=probe(path).sample_rate,
        bytes=path.stat().st_size,
        sha256=sha256,
    )


def _sound_below(root: Path) -> list[Path]:
    """Return the sound files at and below a folder, sorted; links lead to what is there already."""
    real = root.resolve()
    return sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in AUDIO_EXTENSIONS
        and path.is_file()
        and path.resolve() == real / path.relative_to(root)
    )


def _unzip(archive: Path, folder: Path) -> None:
    """Unpack the sound files of a zip archive (.pk3), none of them outside the folder."""
    try:
        with zipfile.ZipFile(archive) as contents:
            for member in contents.infolist():
                name = PurePosixPath(member.filename.replace("\\", "/"))
                if name.is_absolute() or ".." in name.parts or ":" in member.filename:
                    raise TaskError(
                        f"archive={archive.name!r} names a file outside of it, "
                        f"{member.filename!r}; it was not unpacked, tell its maintainers."
                    )
                if name.suffix.lower() in AUDIO_EXTENSIONS and not member.is_dir():
                    place = folder / name
                    place.parent.mkdir(parents=True, exist_ok=True)
                    with contents.open(member) as source, place.open("wb") as target:
                        shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise TaskError(
            f"archive={archive.name!r} cannot be unpacked ({error}); run the same command again."
        ) from error


def _seconds(path: Path) -> float:
    """Return the length of a file; of those that do not tell it, by decoding."""
    duration = probe(path).duration
    if duration is None:
        duration = sum(len(block) for block in decode_blocks(path, sample_rate=16_000)) / 16_000
    return duration


def _tags(path: Path) -> dict[str, str]:
    """Return a file's own tags; none where it has none."""
    try:
        return read_metadata(path)
    except AudioError:
        return {}


def _stems(package: Package, root: Path, files: Sequence[Path]) -> dict[Path, Path]:
    """Return, for each file that is not whole, the one that completes it."""
    parts = {}
    for path in files:
        for pattern, other in package.stems.items():
            completing = path.with_name(other)
            if matches(f"/{path.relative_to(root).as_posix()}", [pattern]) and completing in files:
                parts[path] = completing
    return parts


def _mixed(path: Path, other: Path) -> Path:
    """Write the sum of two files beside them, as the game plays them, and return it.

    Raises:
        AudioError: one of them cannot be read, or they are not of one rate.
    """
    try:
        first, rate = soundfile.read(path, dtype="float32", always_2d=True)
        second, other_rate = soundfile.read(other, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"file={str(path)!r} cannot be mixed: {error}; fetch it again.") from error
    if rate != other_rate:
        raise AudioError(f"file={str(path)!r} and {other.name} differ in rate; leave them out.")
    length = max(len(first), len(second))
    mixed = np.zeros((length, max(first.shape[1], second.shape[1])), np.float32)
    mixed[: len(first)] += first
    mixed[: len(second)] += second
    mixed /= max(1.0, float(np.abs(mixed).max()))  # their sum may clip
    whole = path.with_name("song+guitar.flac")
    with atomic_write(whole) as file:
        soundfile.write(file, mixed, rate, format="FLAC", subtype="PCM_16")
    return whole

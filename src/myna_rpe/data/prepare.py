"""Music of a source -> shards: in parallel, in bounded memory, and never the same file twice.

Workers (workers.py) turn one file each into a spectrogram; the parent alone writes, in the order
of the paths, so the shards do not depend on how many workers there are. What is finished stays
finished: each full shard has its index beside it, and a later run takes from there every track
whose file has kept its size and modification time. The manifest comes last; until then the
folder's old manifest, if any, stays true. One run at a time may work in a folder.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, count
from math import fsum
from pathlib import Path

from ..config import FrontEndConfig, differences
from ..errors import ConfigError, ShardError
from ..storage import TEMPORARY_SUFFIX, AlreadyLockedError, acquire_lock, file_sha256
from .shards import (
    MANIFEST,
    STORAGES,
    Manifest,
    Piece,
    Settings,
    Shard,
    map_frames,
    read_index,
    read_manifest,
    write_shard,
)
from .tracks import SPLITS, Entry, Labels, Rejected, Source, Track
from .workers import TOO_SHORT, Job, MusicFile, count_cores, run_job

DEFAULT_MIN_SECONDS = 10.0

# A shard holds at least this much, and as much as keeps the number of shards below so many if
# tracks have the usual length: each is an open file, and a name in one folder.
_MIN_SHARD_BYTES = 64 << 20
_MAX_SHARDS = 500
_USUAL_SECONDS = 240.0

_LOCK = ".lock"

Progress = Callable[[int, int, str], None]
"""Called with files done, files in all, and the path of the last one."""


@dataclass(frozen=True)
class PrepareReport:
    """What became of the files: ``found`` == ``tracks`` + ``len(rejected)``.

    Attributes:
        folder: of the shards.
        found: files there are, or should be.
        tracks: in the shards now.
        reused: of them, there from an earlier run.
        artists: different ones among the tracks, as written.
        splits: tracks of each official split; those of none count as "".
        duplicates: tracks whose frames another track has too, to the bit.
        seconds: music in all tracks.
        rejected: what became no track.
        bytes: the shards take on the disk, with their indices.
        read_files: read in this run.
        read_seconds: music in those of them that became tracks.
        elapsed: seconds this run took.
    """

    folder: Path
    found: int
    tracks: int
    reused: int
    artists: int
    splits: dict[str, int]
    duplicates: int
    seconds: float
    rejected: tuple[Rejected, ...]
    bytes: int
    read_files: int
    read_seconds: float
    elapsed: float

    @cached_property
    def kinds(self) -> dict[str, list[Rejected]]:
        """The rejected files by the kind of reason, the most frequent first."""
        kinds: dict[str, list[Rejected]] = {}
        for kind, _ in Counter(file.kind for file in self.rejected).most_common():
            kinds[kind] = [file for file in self.rejected if file.kind == kind]
        return kinds


def prepare_shards(
    source: Source,
    out: Path,
    front_end: FrontEndConfig,
    *,
    storage: str = "float16",
    min_seconds: float = DEFAULT_MIN_SECONDS,
    workers: int | None = None,
    shard_bytes: int | None = None,
    progress: Progress = lambda done, total, path: None,
) -> PrepareReport:
    """Turn music into shards that `ShardSet.open` reads; interrupted at any point, run it again.

    A file that cannot be read, or holds nothing but silence, is listed in the manifest with its
    reason and tried again by the next run.

    Args:
        source: lists the music: `Folder`, `MtgJamendo`.
        out: folder of the shards; made if need be.
        front_end: how spectrograms are computed.
        storage: numbers in the shards: ``float16``, ``uint8`` or ``float32``.
        min_seconds: shorter files are left out, and counted; >= 0.
        workers: processes; None: one per core; 1: none but this one.
        shard_bytes: a shard is closed once it holds this much; None: 64 MiB, or more where there
            are many files.
        progress: told after each file.

    Returns:
        Counts that add up, and the files that became no track.

    Raises:
        AudioError, DatasetError: there is no music, or not what the source should hold.
        ConfigError: impossible settings, or other ones than the folder was prepared with.
        ShardError: nothing could be prepared, the folder holds other music, another run is at work
            in it, or it cannot be written to.

    Note:
        Workers are spawned: a script that calls this with more than one needs the usual
        ``if __name__ == "__main__":``.
    """
    settings = Settings(front_end, storage)
    if not min_seconds >= 0:
        raise ConfigError(f"min_seconds={min_seconds} is not a length; use min_seconds >= 0.")
    if workers is not None and workers < 1:
        raise ConfigError(f"workers={workers} cannot do anything; use workers >= 1.")
    listing = source.listing()
    files = _stat(listing.entries)
    with _only_run(out):
        run = _Run(out, settings, min_seconds, shard_bytes or _shard_bytes(settings, len(files)))
        run.recognise(files)
        run.read(workers or count_cores(), progress)
        run.repack()
        return run.finish(listing.rejected)


class _Run:
    """One run: what is there already, what is read, and what the folder holds in the end."""

    def __init__(self, out: Path, settings: Settings, min_seconds: float, shard_bytes: int) -> None:
        self.out = out
        self.settings = settings
        self.min_seconds = min_seconds
        self.shard_bytes = shard_bytes
        self.started = time.monotonic()
        self.shards, self.known = _finished(out, settings)
        self._numbers = count(_next_number(self.shards))
        self.tracks: list[Track] = []
        self.rejected: list[Rejected] = []
        self.todo: list[MusicFile] = []
        self.num_files = self.num_reused = 0
        self.read_seconds = 0.0

    def recognise(self, files: Sequence[MusicFile]) -> None:
        """Take what is known of unchanged files from earlier runs; the rest is left to `read`."""
        manifest = read_manifest(self.out)
        self._refuse_other_music(manifest, files)
        rejected = manifest.rejected if manifest else []
        earlier = {(r.path, r.size, r.mtime_ns): r for r in rejected if r.seconds is not None}
        for file in files:
            key = (file.path, file.size, file.mtime_ns)
            track, short = self.known.get(key), earlier.get(key)
            if track and self._seconds(track) >= self.min_seconds:
                self.tracks.append(_labelled(track, file.entry.labels))
            elif short and (short.seconds or 0.0) < self.min_seconds:
                self.rejected.append(replace(short, kind=TOO_SHORT))
            else:
                self.todo.append(file)
        self.num_files, self.num_reused = len(files), len(self.tracks)

    def _refuse_other_music(self, manifest: Manifest | None, files: Sequence[MusicFile]) -> None:
        there = {track.path for track in manifest.tracks} if manifest else set()
        if there and there.isdisjoint(file.path for file in files):
            raise ShardError(
                f"out={self.out} holds {len(there)} tracks, none of which is among the "
                f"{len(files)} files given; choose another folder, or delete this one."
            )

    def read(self, workers: int, progress: Progress) -> None:
        """Turn what is left to do into tracks and rejected files."""
        done = self.num_files - len(self.todo)
        progress(done, self.num_files, "")
        outcomes = run_job(Job(self.settings, self.min_seconds), self.todo, workers=workers)

        def pieces() -> Iterator[Piece]:
            for number, outcome in enumerate(outcomes, start=done + 1):
                progress(number, self.num_files, outcome.path)
                if isinstance(outcome, Rejected):
                    self.rejected.append(outcome)
                else:
                    yield outcome

        with closing(outcomes):
            written = self._write(pieces())
        self.tracks += written
        self.read_seconds = fsum(map(self._seconds, written))

    def repack(self) -> None:
        """Move the tracks of shards that are mostly dead frames, of changed files, to new ones."""
        alive: Counter[str] = Counter()
        for track in self.tracks:
            alive[track.shard] += track.frames
        sparse = {
            name
            for name, frames in alive.items()
            if 2 * frames < self.shards[name].frames and self._is_intact(self.shards[name])
        }
        if not sparse:
            return
        frames_of = {
            name: map_frames(self.out, self.shards[name], self.settings) for name in sparse
        }
        moving = [track for track in self.tracks if track.shard in sparse]
        pieces = (
            Piece(
                track.path,
                track.size,
                track.mtime_ns,
                frames_of[track.shard][track.offset : track.offset + track.frames],
                Labels(track.artist, track.tags, track.split, track.group),
            )
            for track in moving
        )
        moved = self._write(pieces)
        self.tracks = [track for track in self.tracks if track.shard not in sparse] + moved

    def _is_intact(self, shard: Shard) -> bool:
        # Damage must not be copied under a new checksum.
        return file_sha256(self.out / f"{shard.name}.safetensors") == shard.sha256

    def _write(self, pieces: Iterator[Piece]) -> list[Track]:
        """Write pieces into as many new shards as they need."""
        tracks: list[Track] = []
        for first in pieces:
            name = f"shard-{next(self._numbers):05d}"
            self.shards[name], written = write_shard(
                self.out, name, chain([first], pieces), self.settings, max_bytes=self.shard_bytes
            )
            tracks += written
        return tracks

    def finish(self, missing: Sequence[Rejected]) -> PrepareReport:
        """Write the manifest, drop what it no longer needs, and count."""
        assert self.num_files == len(self.tracks) + len(self.rejected)
        tracks = sorted(self.tracks, key=lambda track: track.path)
        rejected = sorted([*self.rejected, *missing], key=lambda file: file.path)
        used = {track.shard for track in tracks}
        live = [shard for name, shard in sorted(self.shards.items()) if name in used]
        try:
            Manifest(self.settings, live, tracks, rejected).write(self.out)
        except OSError as error:
            raise ShardError(
                f"manifest={self.out / MANIFEST} could not be written: {error.strerror or error}; "
                "mend that and run the same command again, finished shards are kept."
            ) from error
        for name in self.shards.keys() - used:
            (self.out / f"{name}.json").unlink(missing_ok=True)
            (self.out / f"{name}.safetensors").unlink(missing_ok=True)
        splits = Counter(track.split for track in tracks)
        report = PrepareReport(
            folder=self.out,
            found=len(tracks) + len(rejected),
            tracks=len(tracks),
            reused=self.num_reused,
            artists=len({track.artist for track in tracks} - {""}),
            splits={split: splits[split] for split in (*SPLITS, "") if split in splits},
            duplicates=len(tracks) - len({track.sha256 for track in tracks}),
            seconds=fsum(map(self._seconds, tracks)),
            rejected=tuple(rejected),
            bytes=sum(path.stat().st_size for path in self.out.glob("[!.]*")),
            read_files=len(self.todo),
            read_seconds=self.read_seconds,
            elapsed=time.monotonic() - self.started,
        )
        if not tracks:
            counts = " and ".join(f"{len(files)} {kind}" for kind, files in report.kinds.items())
            raise ShardError(
                f"files={report.found} gave no track, there are {counts}; the first: "
                f"{rejected[0].path}: {rejected[0].reason}"
            )
        return report

    def _seconds(self, track: Track) -> float:
        return track.frames / self.settings.front_end.frame_rate


# --- what is there -------------------------------------------------------------------------------


def _stat(entries: Sequence[Entry]) -> list[MusicFile]:
    """Return the files as they lie on the disk, in the order of the tracks' paths."""
    return [_on_disk(entry) for entry in sorted(entries, key=lambda entry: entry.path)]


def _on_disk(entry: Entry) -> MusicFile:
    try:
        stat = entry.file.stat()
    except OSError:  # gone or out of reach: decoding it will say so
        return MusicFile(entry, -1, -1)
    return MusicFile(entry, stat.st_size, stat.st_mtime_ns)


def _shard_bytes(settings: Settings, num_files: int) -> int:
    """Return after how many bytes a shard is full."""
    dtype, _ = STORAGES[settings.storage]
    front_end = settings.front_end
    track = _USUAL_SECONDS * front_end.frame_rate * front_end.n_mels * dtype.itemsize
    return max(_MIN_SHARD_BYTES, round(num_files * track / _MAX_SHARDS))


def _labelled(track: Track, labels: Labels | None) -> Track:
    """Return a known track with what its source says of it now; None: nothing."""
    if labels is None:
        return track
    group = labels.group or track.path.rpartition("/")[0]
    return replace(track, artist=labels.artist, tags=labels.tags, split=labels.split, group=group)


@contextmanager
def _only_run(out: Path) -> Iterator[None]:
    """Make the folder and keep other runs out of it; what a killed run left half-written goes."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = acquire_lock(out / _LOCK)
    except AlreadyLockedError as error:
        raise ShardError(
            f"out={out} is being prepared by process {error.owner}; "
            "wait for it, or choose another folder."
        ) from error
    except OSError as error:
        raise ShardError(
            f"out={out} cannot be a folder of shards: {error.strerror or error}; choose another."
        ) from error
    with lock:
        try:
            for leftover in out.glob(f".*{TEMPORARY_SUFFIX}"):
                leftover.unlink()
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows keeps a file that is open
                (out / _LOCK).unlink()


def _finished(
    out: Path, settings: Settings
) -> tuple[dict[str, Shard], dict[tuple[str, int, int], Track]]:
    """Return the finished shards of a folder and their tracks by (path, size, mtime)."""
    shards: dict[str, Shard] = {}
    tracks: dict[tuple[str, int, int], Track] = {}
    for data in sorted(out.glob("shard-*.safetensors")):
        index = data.with_suffix(".json")
        if not index.exists():
            data.unlink()  # a kill came between a shard and its index
            continue
        theirs, shard, listed = read_index(index)
        if theirs != settings:
            changed = differences(theirs.front_end, settings.front_end)
            if theirs.storage != settings.storage:
                changed["storage"] = (theirs.storage, settings.storage)
            words = ", ".join(f"{key}={old} not {new}" for key, (old, new) in changed.items())
            raise ConfigError(
                f"out={out} was prepared with {words}; choose another folder, or delete this one."
            )
        if data.stat().st_size == shard.bytes:
            shards[shard.name] = shard
            tracks |= {(track.path, track.size, track.mtime_ns): track for track in listed}
    return shards, tracks


def _next_number(shards: dict[str, Shard]) -> int:
    return 1 + max((int(name.removeprefix("shard-")) for name in shards), default=-1)

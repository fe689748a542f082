"""Music files -> shards: in parallel, in bounded memory, and never the same file twice.

Workers (workers.py) turn one file each into a spectrogram; the parent alone writes, in the order
of the paths, so the shards do not depend on how many workers there are. What is finished stays
finished: each full shard has its index beside it, and a later run takes from there every track
whose file has kept its size and modification time. The manifest comes last; until then the
folder's old manifest, if any, stays true.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ..audio.files import find_audio_files
from ..config import FrontEndConfig, differences
from ..errors import ConfigError, ShardError
from ..storage import TEMPORARY_SUFFIX
from .shards import (
    MANIFEST,
    Manifest,
    Piece,
    Rejected,
    Settings,
    Shard,
    Track,
    read_index,
    read_manifest,
    write_shard,
)
from .workers import Job, Source, count_cores, run_job

DEFAULT_MIN_SECONDS = 10.0
DEFAULT_SHARD_BYTES = 64 << 20

Progress = Callable[[int, int, str], None]
"""Called with files done, files in all, and the path of the last one."""


@dataclass(frozen=True)
class PrepareReport:
    """What became of the files: ``found`` == tracks + failed + too_short.

    ``reused`` tracks were there from an earlier run; ``seconds`` is the music in all tracks.
    """

    folder: Path
    found: int
    tracks: int
    reused: int
    seconds: float
    failed: tuple[Rejected, ...]
    too_short: tuple[Rejected, ...]


def prepare_shards(
    sources: Sequence[Path],
    out: Path,
    front_end: FrontEndConfig,
    *,
    storage: str = "float16",
    min_seconds: float = DEFAULT_MIN_SECONDS,
    workers: int | None = None,
    shard_bytes: int = DEFAULT_SHARD_BYTES,
    progress: Progress | None = None,
) -> PrepareReport:
    """Turn music into shards that `ShardSet.open` reads; interrupted at any point, run it again.

    A track is named by its path relative to the source folder (the common parent of several).
    A file that cannot be read, or holds nothing but silence, is listed in the manifest with its
    reason and tried again by the next run.

    Args:
        sources: files and folders; folders are searched recursively.
        out: folder of the shards; made if need be.
        front_end: how spectrograms are computed.
        storage: numbers in the shards: ``float16``, ``uint8`` or ``float32``.
        min_seconds: shorter files are left out, and counted; >= 0.
        workers: processes; None: one per core; 1: none but this one.
        shard_bytes: a shard is closed once it holds this much.
        progress: told after each file.

    Returns:
        Counts that add up, and the files that became no track.

    Raises:
        AudioError: a source is missing or holds no music files.
        ConfigError: impossible settings, or other ones than the folder was prepared with.
        ShardError: nothing could be prepared, the folder holds other music, or it cannot be
            written to.

    Note:
        Workers are spawned: a script that calls this with more than one needs the usual
        ``if __name__ == "__main__":``.
    """
    settings = Settings(front_end, storage)
    if not min_seconds >= 0:
        raise ConfigError(f"min_seconds={min_seconds} is not a length; use min_seconds >= 0.")
    if workers is not None and workers < 1:
        raise ConfigError(f"workers={workers} cannot do anything; use workers >= 1.")
    found = _stat(find_audio_files(sources), _root(sources))

    _make_folder(out)
    shards, known = _finished(out, settings)
    _refuse_other_music(out, found)
    tracks: list[Track] = []
    rejected: list[Rejected] = []
    todo: list[Source] = []
    earlier = _too_short_before(out)
    for source in found:
        key = (source.path, source.size, source.mtime_ns)
        if (track := known.get(key)) and track.frames / front_end.frame_rate >= min_seconds:
            tracks.append(track)
        elif key in earlier and (earlier[key].seconds or 0.0) < min_seconds:
            rejected.append(earlier[key])
        else:
            todo.append(source)
    reused = len(tracks)

    done = len(found) - len(todo)
    if progress:
        progress(done, len(found), "")
    outcomes = run_job(Job(settings, min_seconds), todo, workers=workers or count_cores())

    def pieces() -> Iterator[Piece]:
        nonlocal done
        for outcome in outcomes:
            done += 1
            if progress:
                progress(done, len(found), outcome.path)
            if isinstance(outcome, Rejected):
                rejected.append(outcome)
            else:
                yield outcome

    with closing(outcomes):
        stream = pieces()
        for first in stream:
            name = _next_name(shards)
            shard, written = write_shard(
                out, name, chain([first], stream), settings, max_bytes=shard_bytes
            )
            shards[name] = shard
            tracks += written

    return _finish(out, settings, shards, tracks, rejected, reused=reused, found=len(found))


def _finish(
    out: Path,
    settings: Settings,
    shards: dict[str, Shard],
    tracks: list[Track],
    rejected: list[Rejected],
    *,
    reused: int,
    found: int,
) -> PrepareReport:
    """Write the manifest, drop what it no longer needs, and count."""
    assert found == len(tracks) + len(rejected)
    tracks.sort(key=lambda track: track.path)
    rejected.sort(key=lambda file: file.path)
    used = {track.shard for track in tracks}
    live = [shard for name, shard in sorted(shards.items()) if name in used]
    try:
        Manifest(settings, live, tracks, rejected).write(out)
    except OSError as error:
        raise ShardError(
            f"manifest={out / MANIFEST} could not be written: {error.strerror or error}; mend that "
            "and run the same command again, finished shards are kept."
        ) from error
    for name in shards.keys() - used:
        (out / f"{name}.json").unlink(missing_ok=True)
        (out / f"{name}.safetensors").unlink(missing_ok=True)
    report = PrepareReport(
        folder=out,
        found=found,
        tracks=len(tracks),
        reused=reused,
        seconds=sum(track.frames for track in tracks) / settings.front_end.frame_rate,
        failed=tuple(file for file in rejected if file.seconds is None),
        too_short=tuple(file for file in rejected if file.seconds is not None),
    )
    if not tracks:
        raise ShardError(
            f"files={found} gave no track, {len(report.failed)} failed and "
            f"{len(report.too_short)} were too short; the first: {rejected[0].path}: "
            f"{rejected[0].reason}"
        )
    return report


# --- what is there -------------------------------------------------------------------------------


def _root(sources: Sequence[Path]) -> Path:
    """Return the folder that track paths are relative to."""
    parents = [Path(os.path.abspath(s)) for s in sources]  # noqa: PTH100 - keeps symlinks
    folders = [path if path.is_dir() else path.parent for path in parents]
    return Path(os.path.commonpath(folders)) if folders else Path()


def _stat(files: Sequence[Path], root: Path) -> list[Source]:
    sources: dict[str, Source] = {}
    for file in files:
        path = Path(os.path.abspath(file)).relative_to(root).as_posix()  # noqa: PTH100
        try:
            stat = file.stat()
            sources[path] = Source(file, path, stat.st_size, stat.st_mtime_ns)
        except OSError:
            # Gone or out of reach: decoding it will say so.
            sources[path] = Source(file, path, -1, -1)
    return [sources[path] for path in sorted(sources)]


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for leftover in out.glob(f".*{TEMPORARY_SUFFIX}"):
            leftover.unlink()
    except OSError as error:
        raise ShardError(
            f"out={out} cannot be a folder of shards: {error.strerror or error}; choose another."
        ) from error


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


def _too_short_before(out: Path) -> dict[tuple[str, int, int], Rejected]:
    manifest = read_manifest(out)
    rejected = manifest.rejected if manifest else []
    return {(r.path, r.size, r.mtime_ns): r for r in rejected if r.seconds is not None}


def _refuse_other_music(out: Path, found: list[Source]) -> None:
    manifest = read_manifest(out)
    there = {track.path for track in manifest.tracks} if manifest else set()
    if there and there.isdisjoint(source.path for source in found):
        raise ShardError(
            f"out={out} holds {len(there)} tracks, none of which is among the {len(found)} files "
            "given; choose another folder, or delete this one."
        )


def _next_name(shards: dict[str, Shard]) -> str:
    last = max((int(name.removeprefix("shard-")) for name in shards), default=-1)
    return f"shard-{last + 1:05d}"

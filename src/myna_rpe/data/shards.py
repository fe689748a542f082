"""Spectrogram shards: many tracks in one file, so that an excerpt is one contiguous read.

A folder of shards holds

    manifest.json               settings, shards, tracks, rejected files; written last
    shard-00000.safetensors     one tensor "spectrogram" (frames, mel_bands): track after track
    shard-00000.json            its index: which tracks, from which files; written after the shard

A shard is frame-major: frames `offset + start` to `offset + start + n` of it are an excerpt. They
are read through a memory map and leave as float32 in the unit of the front end (dB below the
track's maximum, or power).

Storage: ``float16``; ``uint8``, 256 even steps from the front end's floor to 0 dB (0.31 dB each,
for the dB scales only); ``float32``.
"""

import hashlib
import json
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from torch import Tensor

from ..config import FrontEndConfig
from ..errors import ConfigError, ShardError, unknown_name
from ..storage import atomic_write, file_sha256, write_json
from .tracks import NO_LABELS, Labels, Rejected, Track

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
TENSOR = "spectrogram"

# Name -> (NumPy's dtype, safetensors' name for it).
STORAGES: dict[str, tuple[np.dtype[Any], str]] = {
    "float16": (np.dtype("<f2"), "F16"),
    "uint8": (np.dtype("u1"), "U8"),
    "float32": (np.dtype("<f4"), "F32"),
}

Stored = Shaped[np.ndarray, "frames mel_bands"]


@dataclass(frozen=True)
class Settings:
    """What all tracks of a folder share."""

    front_end: FrontEndConfig
    storage: str = "float16"

    def __post_init__(self) -> None:
        if self.storage not in STORAGES:
            raise ConfigError(unknown_name("storage", self.storage, STORAGES))
        if self.storage == "uint8" and self.front_end.scale == "power":
            raise ConfigError(
                "storage='uint8' has 256 even steps, too coarse for scale='power' without a "
                "logarithm; use storage='float16'."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {
            "format_version": FORMAT_VERSION,
            "storage": self.storage,
            "front_end": self.front_end.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Settings":
        """Return the settings that `to_dict` described."""
        return cls(FrontEndConfig.from_dict(data["front_end"]), data["storage"])

    def encode(self, spectrogram: Float32[Tensor, "mel_bands frames"]) -> Stored:
        """Return what is stored of a spectrogram: frame-major, in the storage's numbers."""
        dtype, _ = STORAGES[self.storage]
        values = spectrogram.T.contiguous()
        if self.storage == "uint8":
            values = ((values / -self.front_end.floor + 1) * 255).round_().clamp_(0, 255)
        elif self.storage == "float16":
            values = values.clamp(max=float(np.finfo(dtype).max))
        return values.numpy().astype(dtype)

    def decode(
        self, stored: Shaped[Tensor, "*batch frames mel_bands"]
    ) -> Float32[Tensor, "*batch frames mel_bands"]:
        """Return stored values in the front end's unit."""
        if self.storage == "uint8":
            return stored.float().mul_(-self.front_end.floor / 255).add_(self.front_end.floor)
        return stored.float()


@dataclass(frozen=True)
class Shard:
    """One file of spectrograms; ``frames`` of all its tracks, ``bytes`` and ``sha256`` of all."""

    name: str
    frames: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Piece:
    """A track on its way into a shard: everything about it but its place."""

    path: str
    size: int
    mtime_ns: int
    stored: Stored
    labels: Labels = NO_LABELS


def write_shard(
    folder: Path, name: str, pieces: Iterable[Piece], settings: Settings, *, max_bytes: int
) -> tuple[Shard, list[Track]]:
    """Append pieces to a new shard until it is full or they run out, then write its index.

    Only one piece is held in memory. The file follows the safetensors layout (header length,
    JSON header, data), with room left for a header whose numbers are known only at the end.

    Args:
        folder: where the shard goes.
        name: its name, without suffix.
        pieces: at least one is taken.
        settings: go into the header, with the index.
        max_bytes: the shard is full once it holds this many.

    Returns:
        The shard and its tracks, in order.

    Raises:
        ShardError: it cannot be written (a full disk, as a rule); nothing of it stays.
    """
    path = folder / f"{name}.safetensors"
    room = len(_header(settings, frames=10**12))
    tracks: list[Track] = []
    frames = written = 0
    try:
        with atomic_write(path) as file:
            file.write(bytes(room))
            for piece in pieces:
                data = np.ascontiguousarray(piece.stored)
                file.write(data.data)
                tracks.append(
                    Track(
                        id=track_id(piece.path),
                        path=piece.path,
                        group=piece.labels.group or piece.path.rpartition("/")[0],
                        frames=len(data),
                        shard=name,
                        offset=frames,
                        sha256=hashlib.sha256(data.data).hexdigest(),
                        size=piece.size,
                        mtime_ns=piece.mtime_ns,
                        artist=piece.labels.artist,
                        tags=piece.labels.tags,
                        split=piece.labels.split,
                    )
                )
                frames += len(data)
                written += data.nbytes
                if written >= max_bytes:
                    break
            file.seek(0)
            file.write(_header(settings, frames, room))
        shard = Shard(name, frames, path.stat().st_size, file_sha256(path))
        index = {"settings": settings.to_dict(), "shard": vars(shard)}
        write_json(folder / f"{name}.json", index | {"tracks": [vars(t) for t in tracks]})
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ShardError(
            f"shard={path} could not be written: {error.strerror or error}; mend that (free some "
            "space?) and run the same command again, finished shards are kept."
        ) from error
    return shard, tracks


def _header(settings: Settings, frames: int, size: int = 0) -> bytes:
    """Return the start of a shard, padded to `size` bytes or to the next multiple of 64."""
    dtype, code = STORAGES[settings.storage]
    shape = [frames, settings.front_end.n_mels]
    tensor = {
        "dtype": code,
        "shape": shape,
        "data_offsets": [0, shape[0] * shape[1] * dtype.itemsize],
    }
    metadata = {"format": "myna-shard", "settings": json.dumps(settings.to_dict())}
    text = json.dumps({"__metadata__": metadata, TENSOR: tensor}).encode("ascii")
    size = size or -(-(8 + len(text)) // 64) * 64
    return (size - 8).to_bytes(8, "little") + text.ljust(size - 8)


def track_id(path: str) -> str:
    """Return the stable name of a track: 16 hex digits of its relative path's SHA-256."""
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:16]


class ShardSet:
    """A folder of prepared tracks, memory-mapped.

    Attributes:
        settings: front end and storage.
        tracks: in order of their paths, whatever shard they are in.
        fingerprint: a hash of all tracks, their content and labels; equal data, equal fingerprint.
    """

    def __init__(self, folder: Path, settings: Settings, shards: list[Shard], tracks: list[Track]):
        self.folder = folder
        self.settings = settings
        self.tracks = tuple(tracks)
        _allow_open_files(len(shards))
        self._frames = {shard.name: map_frames(folder, shard, settings) for shard in shards}
        content = json.dumps([settings.to_dict(), [_content(track) for track in tracks]])
        self.fingerprint = hashlib.sha256(content.encode()).hexdigest()[:16]

    @classmethod
    def open(cls, folder: Path | str, *, verify: bool = True) -> "ShardSet":
        """Return the tracks of a folder that `prepare_shards` made.

        Args:
            folder: where the manifest lies.
            verify: compare every shard with its checksum (a few seconds for 10 GB).

        Raises:
            ShardError: no manifest, another format version, no tracks, or a shard that is missing
                or damaged.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        if manifest is None:
            raise ShardError(
                f"shards={folder} hold no {MANIFEST}, so they were never finished; "
                f"run: myna prepare SOURCE -o {folder}"
            )
        settings, shards, tracks = manifest.settings, manifest.shards, manifest.tracks
        if not tracks:
            raise ShardError(
                f"shards={folder} hold no tracks; prepare a folder with music that can be read."
            )
        for shard in shards:
            path = folder / f"{shard.name}.safetensors"
            if not path.is_file() or path.stat().st_size != shard.bytes:
                raise _damaged(path, "is missing or has another size than the manifest says")
        if verify:
            paths = [folder / f"{shard.name}.safetensors" for shard in shards]
            with ThreadPoolExecutor() as pool:
                for path, shard, sha256 in zip(
                    paths, shards, pool.map(file_sha256, paths), strict=True
                ):
                    if sha256 != shard.sha256:
                        raise _damaged(path, "does not match its checksum")
        return cls(folder, settings, shards, tracks)

    def __len__(self) -> int:
        return len(self.tracks)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process maps the files again; the frames themselves do not travel.
        return partial(ShardSet.open, self.folder, verify=False), ()

    @property
    def front_end(self) -> FrontEndConfig:
        """How the spectrograms were made."""
        return self.settings.front_end

    def stored(self, track: int, start: int, frames: int) -> Stored:
        """Return a view of an excerpt as it is stored; nothing is copied."""
        entry = self.tracks[track]
        if not 0 <= start <= start + frames <= entry.frames:
            raise ShardError(
                f"excerpt={start}:{start + frames} reaches outside track {entry.path!r} of "
                f"{entry.frames} frames; use a start from 0 to {entry.frames - frames}."
            )
        first = entry.offset + start
        return self._frames[entry.shard][first : first + frames]

    def excerpt(
        self, track: int, start: int, frames: int
    ) -> Float32[np.ndarray, "frames mel_bands"]:
        """Return `frames` frames of a track from frame `start`, in the front end's unit.

        Args:
            track: index into `tracks`.
            start: first frame.
            frames: how many.

        Raises:
            ShardError: the excerpt reaches outside the track.
        """
        stored = torch.from_numpy(np.array(self.stored(track, start, frames)))
        return self.settings.decode(stored).numpy()


def map_frames(folder: Path, shard: Shard, settings: Settings) -> Stored:
    """Return all frames of a shard, memory-mapped and read-only.

    Raises:
        ShardError: the file cannot be mapped.
    """
    dtype, _ = STORAGES[settings.storage]
    n_mels = settings.front_end.n_mels
    path = folder / f"{shard.name}.safetensors"
    offset = shard.bytes - shard.frames * n_mels * dtype.itemsize
    try:
        mapped = np.memmap(path, dtype, mode="r", offset=offset, shape=(shard.frames, n_mels))
    except (OSError, ValueError) as error:
        raise _damaged(path, f"cannot be mapped ({error})") from error
    # A plain array over the map: slicing a `memmap` costs more than reading the excerpt.
    return np.asarray(mapped)


def _allow_open_files(count: int) -> None:
    """Let this process open so many more files: each memory map holds one, often 1024 may be open.

    The soft limit may be raised as far as the hard one, which is far higher as a rule.
    """
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = count + 1024
        if soft != resource.RLIM_INFINITY and soft < wanted:
            limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _content(track: Track) -> list[Any]:
    """Return what makes a track what it is, wherever its frames lie."""
    labels = [track.group, track.artist, track.tags, track.split]
    content = [track.id, track.frames, track.sha256]
    return content + labels if any(labels[1:]) else content


@dataclass(frozen=True)
class Manifest:
    """What `manifest.json` says."""

    settings: Settings
    shards: list[Shard]
    tracks: list[Track]
    rejected: list[Rejected]

    def write(self, folder: Path) -> None:
        """Write it, atomically; it makes the folder complete."""
        data = self.settings.to_dict() | {
            "shards": [vars(shard) for shard in self.shards],
            "tracks": [vars(track) for track in self.tracks],
            "rejected": [vars(file) for file in self.rejected],
        }
        write_json(folder / MANIFEST, data)


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a folder, or None where there is none.

    Raises:
        ShardError: it is damaged, or of a format version this package does not know.
    """
    data = _read(folder / MANIFEST)
    if data is None:
        return None
    try:
        return Manifest(
            Settings.from_dict(data),
            [Shard(**shard) for shard in data["shards"]],
            [Track.from_dict(track) for track in data["tracks"]],
            [Rejected(**file) for file in data["rejected"]],
        )
    except (KeyError, TypeError, ConfigError) as error:
        raise _damaged(folder / MANIFEST, "is not a manifest") from error


def read_index(path: Path) -> tuple[Settings, Shard, list[Track]]:
    """Return the settings, the shard and the tracks of a shard's index.

    Raises:
        ShardError: it is missing, damaged, or of another format version.
    """
    data = _read(path)
    try:
        if data is None:
            raise KeyError(path.name)
        tracks = [Track.from_dict(track) for track in data["tracks"]]
        return Settings.from_dict(data["settings"]), Shard(**data["shard"]), tracks
    except (KeyError, TypeError, ConfigError) as error:
        raise _damaged(path, "is not the index of a shard") from error


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path, "cannot be read") from error
    if not isinstance(data, dict):
        raise _damaged(path, "is not a JSON object")
    version = data.get("settings", data).get("format_version")
    if version != FORMAT_VERSION:
        raise ShardError(
            f"format_version={version} of {path} is not {FORMAT_VERSION}, the one this version "
            "reads; prepare the music again into another folder."
        )
    return data


def _damaged(path: Path, what: str) -> ShardError:
    return ShardError(
        f"shard={path} {what}; delete the file and run the same `myna prepare` again."
    )

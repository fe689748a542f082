"""Music that needs no files from anywhere: chords as waveforms, and spectrograms that tell tracks
apart."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from myna_rpe.config import FrontEndConfig
from myna_rpe.data.shards import Manifest, Piece, Settings, write_shard

SAMPLE_RATE = 16_000


def chord(number: int, seconds: float, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Three partials of a pitch of its own per number, with a slow tremolo."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    pitch = 110.0 * 2 ** (number / 5)
    partials = [np.sin(2 * np.pi * pitch * k * time) / k for k in (1, 2, 3)]
    tremolo = 1 + 0.5 * np.sin(2 * np.pi * (0.5 + 0.1 * number) * time)
    return (0.2 * tremolo * np.sum(partials, axis=0)).astype(np.float32)


def write_album(folder: Path, tracks: int = 6, seconds: float = 3.0) -> list[Path]:
    """Write one chord per file, in two sub-folders."""
    paths = [folder / f"side-{'ab'[n % 2]}" / f"{n:02d}.wav" for n in range(tracks)]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, chord(number, seconds), SAMPLE_RATE)
    return paths


def spectrogram(number: int, frames: int, settings: Settings) -> np.ndarray:
    """Noise around a profile over mel bands that belongs to this number; (frames, mel_bands)."""
    rng = np.random.default_rng(number)
    profile = rng.uniform(-70, -10, size=settings.front_end.n_mels)
    noise = rng.normal(0, 3, size=(frames, settings.front_end.n_mels))
    return np.clip(profile + noise, -80, 0).astype(np.float32)


def write_shards(
    folder: Path,
    lengths: list[int],
    *,
    storage: str = "float32",
    front_end: FrontEndConfig | None = None,
    max_bytes: int = 1 << 20,
    tracks_per_folder: int | None = None,
) -> Path:
    """Write shards of tracks of these numbers of frames, without any audio."""
    import torch

    settings = Settings(front_end or FrontEndConfig(), storage)
    folder.mkdir(parents=True, exist_ok=True)

    def pieces() -> Iterator[Piece]:
        for number, frames in enumerate(lengths):
            values = torch.from_numpy(spectrogram(number, frames, settings)).T
            album = f"album-{number // tracks_per_folder}" if tracks_per_folder else "album"
            yield Piece(f"{album}/{number:03d}.wav", 1, 1, settings.encode(values))

    stream, shards, tracks = pieces(), [], []
    while sum(shard.frames for shard in shards) < sum(lengths):
        name = f"shard-{len(shards):05d}"
        shard, written = write_shard(folder, name, stream, settings, max_bytes=max_bytes)
        shards.append(shard)
        tracks += written
    Manifest(settings, shards, tracks, []).write(folder)
    return folder

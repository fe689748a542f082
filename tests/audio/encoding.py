"""Audio files of every format, written when a test asks for them."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile

# name: how to write it. Lossless formats hold the very samples that were written.
SOUNDFILE_FORMATS = {
    "wav-u8": (".wav", "PCM_U8"),
    "wav-16": (".wav", "PCM_16"),
    "wav-24": (".wav", "PCM_24"),
    "wav-32": (".wav", "PCM_32"),
    "wav-float": (".wav", "FLOAT"),
    "wav-double": (".wav", "DOUBLE"),
    "aiff": (".aiff", "PCM_16"),
    "flac": (".flac", "PCM_16"),
    "flac-24": (".flac", "PCM_24"),
    "vorbis": (".ogg", "VORBIS"),
    "opus": (".opus", "OPUS"),
    "mp3": (".mp3", "MPEG_LAYER_III"),
}
FFMPEG_FORMATS = {
    "m4a-aac": (".m4a", "aac"),
    "m4a-alac": (".m4a", "alac"),
    "mp4-aac": (".mp4", "aac"),
    "wma": (".wma", "wmav2"),
    "webm-opus": (".webm", "libopus"),
    "mka-flac": (".mka", "flac"),
    "adts-aac": (".aac", "aac"),
    "wavpack": (".wv", "wavpack"),
    "aiff-24": (".aiff", "pcm_s24be"),
}
LOSSLESS = {
    *("wav-u8", "wav-16", "wav-24", "wav-32", "wav-float", "wav-double"),
    *("aiff", "flac", "flac-24", "m4a-alac", "mka-flac"),
}
FORMATS = [*SOUNDFILE_FORMATS, *FFMPEG_FORMATS]


def music(seconds: float, sample_rate: int, channels: int = 2) -> np.ndarray:
    """Return (samples, channels) float32: a chord whose notes swell, unlike in each channel.

    No noise: codecs may replace noise by other noise.
    """
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    sides = []
    for channel in range(channels):
        side = np.zeros_like(time)
        for index, pitch in enumerate((110.0, 165.0, 277.2, 440.0, 659.3, 1108.7)):
            swell = 0.6 + 0.4 * np.sin(2 * np.pi * (0.31 + 0.17 * index) * time + channel)
            side += swell * np.sin(2 * np.pi * pitch * time + 0.7 * channel * index)
        sides.append(0.1 * side)
    return np.stack(sides, axis=1).astype(np.float32)


def mono(samples: np.ndarray) -> np.ndarray:
    """Return the average of the channels."""
    return samples.mean(axis=1)


def write(path: Path, name: str, samples: np.ndarray, sample_rate: int) -> Path:
    """Write samples (samples, channels) in the format of that name; return the path with suffix."""
    if name in SOUNDFILE_FORMATS:
        suffix, subtype = SOUNDFILE_FORMATS[name]
        path = path.with_suffix(suffix)
        container = "OGG" if suffix == ".opus" else None
        with soundfile.SoundFile(
            path, "w", sample_rate, samples.shape[1], subtype, format=container
        ) as file:
            for at in range(0, len(samples), 4096):  # libsndfile's Vorbis dislikes long writes
                file.write(samples[at : at + 4096])
        return path
    suffix, codec = FFMPEG_FORMATS[name]
    return write_ffmpeg(path.with_suffix(suffix), codec, [samples], sample_rate)


def write_ffmpeg(
    path: Path,
    codec: str,
    pieces: Sequence[np.ndarray],
    sample_rate: int,
    *,
    muxer: dict[str, str] | None = None,
    encoder: dict[str, str] | None = None,
    video: bool = False,
    tags: dict[str, str] | None = None,
) -> Path:
    """Encode pieces (samples, channels) one after another with an FFmpeg encoder."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[pieces[0].shape[1]]
    with av.open(str(path), "w", options=muxer or {}) as container:
        container.metadata.update(tags or {})
        streams = []
        if video:
            picture = container.add_stream("mpeg4", rate=25)
            picture.width = picture.height = 32
            picture.pix_fmt = "yuv420p"
            streams.append(picture)
        sound = container.add_stream(codec, rate=sample_rate, options=encoder or {})
        sound.layout = layout
        if not encoder:
            sound.bit_rate = 128_000
        if video:
            for number in range(10):
                frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), "u1"), format="rgb24")
                frame.pts = number
                container.mux(picture.encode(frame))
            container.mux(picture.encode(None))
        at = 0
        for piece in pieces:
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(piece.T, np.float32), format="fltp", layout=layout
            )
            frame.sample_rate, frame.pts, frame.time_base = (
                sample_rate,
                at,
                Fraction(1, sample_rate),
            )
            at += len(piece)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def cut(path: Path, share: float) -> Path:
    """Keep only the first `share` of a file's bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: round(len(content) * share)])
    return path

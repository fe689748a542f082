"""Every file format behind one reader: mono blocks at the file's own rate, from any sample on.

libsndfile reads uncompressed containers, FLAC and Ogg Vorbis, where it is exact to the sample
(FFmpeg finds a Vorbis packet only by its page, and does not trim the last one of a short file).
FFmpeg, through PyAV, reads the rest and whatever libsndfile refuses. Though libsndfile knows mp3
and Opus, they go to FFmpeg: libsndfile ends an mp3 of variable bit rate without a Xing header at an
*estimate* of its length (half the track was missing) and writes to stderr while it reads; FFmpeg
decodes mp3 as fast and Opus 2.5 times as fast (benchmarks/front_end.py). Its Opus is not libopus to
the bit: on real stereo a tenth of the frames differ, by about -50 dB.

A reader that meets damage ends early; whether too much is missing is for its caller to judge, by
what the file ``announces`` of its length. A packet of compressed audio that does not decode is
dropped.

Conventions: blocks are (samples,) float32, nominally in [-1, 1]; channels are averaged.
"""

import io
import itertools
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import av
import numpy as np
import soundfile
from jaxtyping import Float32

from ..errors import AudioError

# What PyAV raises when FFmpeg fails: its own errors, and the built-in ones it maps errno to.
FFMPEG_ERRORS = (av.error.FFmpegError, OSError, ValueError, EOFError)

Mono = Float32[np.ndarray, " samples"]

BLOCK_SAMPLES = 16_384


@dataclass(frozen=True)
class AudioInfo:
    """What a file says of itself.

    ``duration`` is in seconds; some formats do not store it, then it is an estimate or None.
    """

    sample_rate: int
    channels: int
    duration: float | None
    codec: str


@runtime_checkable
class Reader(Protocol):
    """An open audio file. It is read once."""

    info: AudioInfo
    announced: float | None  # length its header vouches for, in seconds

    def blocks(self, first: int) -> Iterator[tuple[int, Mono]]:
        """Yield (sample rate, samples) from sample `first` of the track to its end."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


# The first bytes of WAV (and its 64-bit variants), AIFF, AU, CAF, FLAC and Ogg files.
_UNCOMPRESSED = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b".snd", b"caff")
_COMPRESSED = (b"fLaC", b"OggS")


def open_reader(path: Path) -> Reader:
    """Return a reader for the file.

    Raises:
        AudioError: the file is missing, unreadable, empty, or not audio.
    """
    head = first_bytes(path)
    if head.startswith(_UNCOMPRESSED + _COMPRESSED) and b"OpusHead" not in head:
        try:
            return SoundFileReader(path)
        except soundfile.LibsndfileError:
            pass  # e.g. ADPCM variants, AAC in CAF: FFmpeg may know them, or say what is wrong
    return FFmpegReader(path)


def first_bytes(path: Path) -> bytes:
    """Return the first bytes of a readable, regular, non-empty file."""
    subject = f"file={str(path)!r}"
    try:
        if path.is_dir():
            raise AudioError(f"{subject} is a folder; give a file in it.")
        if not path.exists():
            raise AudioError(f"{subject} does not exist; check its spelling.")
        if not path.is_file():
            raise AudioError(f"{subject} is not a regular file; save the audio to one first.")
        with path.open("rb") as file:
            head = file.read(64)
    except PermissionError as error:
        raise AudioError(f"{subject} may not be read; give yourself read permission.") from error
    except (OSError, ValueError) as error:
        raise AudioError(f"{subject} cannot be opened ({error}); check the path.") from error
    if not head:
        raise AudioError(f"{subject} is empty (0 bytes); fetch or export it again.")
    return head


def downmix(channels: Sequence[Mono] | Float32[np.ndarray, "channels samples"]) -> Mono:
    """Return the average of the channels, as a new array."""
    if len(channels) == 1:
        return np.array(channels[0])
    # Adding channels beats mean(axis) by an order of magnitude on interleaved samples.
    mono: Mono = channels[0] + channels[1]
    for channel in channels[2:]:
        mono += channel
    mono *= np.float32(1 / len(channels))
    return mono


# --- libsndfile ----------------------------------------------------------------------------------


class SoundFileReader:
    """WAV and its variants, AIFF, FLAC, AU, CAF, Ogg Vorbis: exact to the sample.

    Raises:
        soundfile.LibsndfileError: libsndfile does not read the file.
    """

    def __init__(self, path: Path) -> None:
        self._file: Any = soundfile.SoundFile(str(path) if os.name == "nt" else os.fsencode(path))
        rate, frames = self._file.samplerate, self._file.frames
        duration, present = frames / rate, _share_present(path)
        self.info = AudioInfo(rate, self._file.channels, duration, self._file.subtype.lower())
        self.announced = duration / present if present else None

    def blocks(self, first: int) -> Iterator[tuple[int, Mono]]:
        """Yield (sample rate, samples) from sample `first` of the track to its end."""
        if first >= self._file.frames:
            return
        buffer = np.empty((BLOCK_SAMPLES, self.info.channels), np.float32)
        try:
            self._file.seek(first)
            while len(block := self._file.read(out=buffer)):
                with np.errstate(invalid="ignore", over="ignore"):  # for the caller to judge
                    mono = downmix(block.T)
                yield self.info.sample_rate, mono
        except soundfile.LibsndfileError:
            return  # damaged from here on

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _share_present(path: Path) -> float:
    """Return which share of its sample data a WAV or AIFF file holds; 1 for any other.

    libsndfile quietly shortens a truncated file. Sizes near 2^31 and 2^32 are what writers to a
    pipe put where they do not know the length.
    """
    with path.open("rb") as file:
        total = os.fstat(file.fileno()).st_size
        container, _, _ = file.read(4), file.read(4), file.read(4)
        if container not in (b"RIFF", b"RIFX", b"FORM"):
            return 1.0
        order = "<4sI" if container == b"RIFF" else ">4sI"
        while len(header := file.read(8)) == 8:
            name, size = struct.unpack(order, header)
            if name in (b"data", b"SSND"):
                present = total - file.tell()
                return present / size if present < size < 0x7FFF_0000 else 1.0
            file.seek(size + size % 2, io.SEEK_CUR)
    return 1.0


# --- FFmpeg --------------------------------------------------------------------------------------


class FFmpegReader:
    """Whatever FFmpeg decodes: mp3, AAC, ALAC, Opus, WMA, the sound of mp4, webm and matroska.

    Raises:
        AudioError: FFmpeg does not read the file, it holds no audio, or none that decodes.
    """

    # Decoding starts this long before a wanted sample: decoders need some packets to settle (mp3's
    # bit reservoir, the overlap of transform codecs, 80 ms for Opus).
    PREROLL_SECONDS = 0.5

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()
        try:
            self._head = self._first_frame()
        except AudioError:
            self.close()
            raise
        duration = _stream_seconds(self._stream)
        self.announced = _announced_seconds(self._container, self._stream, path)
        if duration is None and self.announced is not None:
            duration = self.announced
        elif duration is None and self._container.duration is not None:
            duration = self._container.duration / av.time_base
        self.info = AudioInfo(
            # HE-AAC is announced at half the rate it decodes to, so the first frame decides.
            self._head.sample_rate,
            self._head.layout.nb_channels,
            duration,
            self._stream.codec_context.name.removesuffix("float"),
        )

    def _open(self) -> None:
        subject = f"file={str(self._path)!r}"
        self._file, self._container = open_container(self._path)
        if not self._container.streams.audio:
            self.close()
            raise AudioError(f"{subject} has no audio stream; give a file with sound.")
        self._stream = self._container.streams.audio[0]
        if self._stream.codec_context is None:
            self.close()
            raise AudioError(
                f"{subject} is in a codec FFmpeg does not know; convert it to flac or mp3."
            )
        self._stream.codec_context.thread_count = 1

    def _first_frame(self) -> av.AudioFrame:
        subject = f"file={str(self._path)!r}"
        self._damaged_packets = self._decoded_packets = 0
        self._frames = self._decoded_frames()
        frame = next(self._frames, None)
        if frame is not None:
            return frame
        if self._stream.channels == 0 and self._stream.sample_rate > 0:
            raise AudioError(f"{subject} has 0 channels; export it again with at least one.")
        if self._damaged_packets:
            raise AudioError(
                f"{subject} holds no audio that decodes; it is damaged, encrypted or no music file."
            )
        raise AudioError(f"{subject} holds no samples; export it again with sound in it.")

    def _decoded_frames(self) -> Iterator[av.AudioFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except FFMPEG_ERRORS:
                self._damaged_packets += 1
                return
            try:
                frames = packet.decode()
            except FFMPEG_ERRORS:
                self._damaged_packets += 1
                continue
            self._decoded_packets += len(frames) > 0
            for frame in frames:
                if isinstance(frame, av.AudioFrame) and frame.samples:
                    yield frame

    def blocks(self, first: int) -> Iterator[tuple[int, Mono]]:
        """Yield (sample rate, samples) from sample `first` of the track to its end."""
        position, frames = self._from_before(first)
        early = first - position
        for frame in _joined(frames):
            # Where the rate changes midway, places are still counted at the first rate.
            samples = frame.samples * self.info.sample_rate // frame.sample_rate
            if samples > early:
                skip = early * frame.sample_rate // self.info.sample_rate
                yield frame.sample_rate, downmix([c[skip:] for c in _channels(frame)])
            early = max(0, early - samples)
        if self._damaged_packets > self._decoded_packets:
            packets = self._damaged_packets + self._decoded_packets
            raise AudioError(
                f"file={str(self._path)!r} has {self._damaged_packets} damaged packets of "
                f"{packets}; it is damaged or no music file."
            )

    def _from_before(self, first: int) -> tuple[int, Iterator[av.AudioFrame]]:
        """Return frames that start at or before sample `first`, and the sample they start at."""
        head, rate = self._head, self.info.sample_rate
        from_start = itertools.chain([head], self._frames)
        before = first - round(self.PREROLL_SECONDS * rate)
        seekable = (
            _formats(self._container) & _SEEKABLE and self.info.codec not in _NOT_SEEKABLE_CODECS
        )
        if before <= head.samples or not seekable or head.pts is None or head.time_base is None:
            return 0, from_start
        try:
            tick = head.time_base * rate  # samples
            self._container.seek(head.pts + int(before / tick), stream=self._stream)
            frames = self._decoded_frames()
            frame = next(frames, None)
        except FFMPEG_ERRORS:
            frame = None
        if frame is not None and frame.pts is not None:
            position = _position(frame, head, tick)
            # The first frame lacks the overlap with the one before it, and is left out by this.
            if position + frame.samples <= first:
                return position, itertools.chain([frame], frames)
        # No way to seek: decode from the start.
        self.close()
        self._open()
        return 0, self._decoded_frames()

    def close(self) -> None:
        """Close the file."""
        self._container.close()
        self._file.close()


def read_metadata(path: Path) -> dict[str, str]:
    """Return the tags of a file by name, in lower case: those of the file, then of its sound.

    Raises:
        AudioError: FFmpeg does not read the file.
    """
    first_bytes(path)
    file, container = open_container(path)
    with file, container:
        found = [container.metadata, *(stream.metadata for stream in container.streams.audio)]
        return {name.lower(): value for metadata in found for name, value in metadata.items()}


def open_container(path: Path) -> tuple["_QuietFile", av.container.InputContainer]:
    """Return FFmpeg's view of a file, and the file, which is to be closed after it.

    Raises:
        AudioError: it is none that FFmpeg reads.
    """
    file = _QuietFile(path, "rb")
    try:
        # No protocols: a playlist in disguise must not make FFmpeg open other files or hosts.
        options = {"protocol_whitelist": "none"}
        return file, av.open(file, "r", options=options, metadata_errors="replace")
    except FFMPEG_ERRORS as error:
        file.close()
        raise AudioError(
            f"file={str(path)!r} is not audio that libsndfile or FFmpeg can read; "
            "check that it is a music file and complete."
        ) from error


class _QuietFile(io.FileIO):
    """A file that refuses a negative position by its result; PyAV would print an exception."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET and offset < 0:
            return -1
        return super().seek(offset, whence)


def _joined(frames: Iterable[av.AudioFrame]) -> Iterator[av.AudioFrame]:
    """Yield the frames joined to long ones: what Python does with a frame costs more than most."""
    queue, kind = av.AudioFifo(), None
    for frame in frames:
        this = frame.sample_rate, frame.layout.nb_channels, frame.format.name
        if this != kind:  # a queue takes one kind, and does not notice a change of channels
            if rest := queue.read():
                yield rest
            queue, kind = av.AudioFifo(), this
        frame.pts = None  # or the queue would refuse a gap in time
        queue.write(frame)
        if queue.samples >= BLOCK_SAMPLES and (joined := queue.read()):
            yield joined
    if rest := queue.read():
        yield rest


def _position(frame: av.AudioFrame, head: av.AudioFrame, tick: Fraction) -> int:
    """Return the sample `frame` starts at, counted from the track's first frame.

    Matroska, WebM and ASF keep time in ms, dozens of samples. Their frames are of one length but
    for a shortened first one, so the place is the nearest multiple where one is near enough.
    """
    assert frame.pts is not None
    assert head.pts is not None
    position = (frame.pts - head.pts) * tick
    steps = round((position - head.samples) / frame.samples)
    on_grid = head.samples + steps * frame.samples
    return on_grid if tick > 1 and abs(on_grid - position) <= 2 * tick else round(position)


_FULL_SCALE = {"u8": 128, "s16": 2**15, "s32": 2**31, "s64": 2**63}


def _channels(frame: av.AudioFrame) -> Sequence[Mono]:
    """Return each channel of a decoded frame, (samples,) float32 scaled to [-1, 1]."""
    name = frame.format.name
    if name == "fltp":  # nearly every lossy codec; read in place
        planes: Sequence[Any] = frame.planes
        return [np.frombuffer(plane, np.float32, frame.samples) for plane in planes]
    samples = frame.to_ndarray()
    if frame.format.is_packed:
        samples = samples.reshape(frame.samples, -1).T
    scale = _FULL_SCALE.get(name.removesuffix("p"))
    if scale is not None:
        offset = 128 if name.startswith("u8") else 0
        # float32 keeps 24 bits; the division by a power of two is exact.
        samples = (samples.astype(np.float32) - np.float32(offset)) * np.float32(1 / scale)
    return list(samples.astype(np.float32, copy=False))


# Formats in which a frame found by seeking says exactly where it is.
_SEEKABLE = {"mov", "matroska", "asf", "ogg", "mp3", "aac", "flac", "caf", "wav", "tta", "wv"}
# Frames of varying length: in a container that rounds times, their places cannot be told.
_NOT_SEEKABLE_CODECS = {"vorbis"}

# Formats whose header stores the length, as opposed to FFmpeg's estimate from size and bit rate.
_LENGTH_IN_HEADER = {"mov", "flac", "aiff", "caf", "tta", "wv", "ape"}


def _formats(container: av.container.InputContainer) -> set[str]:
    return set(container.format.name.split(","))


def _stream_seconds(stream: av.AudioStream) -> float | None:
    if stream.duration is None or stream.time_base is None:
        return None
    return float(stream.duration * stream.time_base)


def _announced_seconds(
    container: av.container.InputContainer, stream: av.AudioStream, path: Path
) -> float | None:
    """Return the length the file's header vouches for, in seconds; None where there is none."""
    formats = _formats(container)
    if formats & _LENGTH_IN_HEADER:
        return _stream_seconds(stream)
    if "matroska" in formats:
        hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
        minutes, _, seconds = rest.partition(":")
        try:
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        except ValueError:
            return None
    if "mp3" in formats:
        frames = _xing_frames(path)
        if frames is not None and stream.sample_rate:
            return frames * stream.codec_context.frame_size / stream.sample_rate
    return None


def _xing_frames(path: Path) -> int | None:
    """Return the number of frames in an mp3's Xing, Info or VBRI header; None without one."""
    with path.open("rb") as file:
        head = file.read(10)
        if head.startswith(b"ID3"):  # the tag's size: four bytes of seven bits
            a, b, c, d = head[6:10]
            file.seek((a << 21 | b << 14 | c << 7 | d) + 10)
        else:
            file.seek(0)
        first_frame = file.read(4096)
    for name in (b"Xing", b"Info"):
        at = first_frame.find(name)
        if at >= 0 and len(first_frame) >= at + 12:
            flags, frames = struct.unpack_from(">II", first_frame, at + 4)
            return frames if flags & 1 else None
    at = first_frame.find(b"VBRI")
    if at >= 0 and len(first_frame) >= at + 18:
        return int(struct.unpack_from(">I", first_frame, at + 14)[0])
    return None

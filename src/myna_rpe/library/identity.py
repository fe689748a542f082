"""Which sound a file holds, whatever its name and tags are.

The identity is the SHA-256 over the codec, the rate, the channels and the compressed packets of the
audio stream, as FFmpeg takes them out of the file. Nothing is decoded. Tags, cover art, padding and
their places in the file are not part of it; a new encoding of the same recording is another sound.

Where FFmpeg finds no packets (libsndfile reads formats that FFmpeg does not), it is the SHA-256 of
the file, and a retag makes it a new sound.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import av

from ..audio.readers import FFMPEG_ERRORS, first_bytes, open_container
from ..errors import AudioError
from ..storage import file_sha256


@dataclass(frozen=True)
class AudioIdentity:
    """Which sound a file holds.

    Attributes:
        digest: 32 bytes.
        codec: FFmpeg's name; empty where FFmpeg does not read the file.
        duration: in seconds, as the file says; 0 where it does not. Analysis knows better.
    """

    digest: bytes
    codec: str
    duration: float


def audio_identity(path: Path) -> AudioIdentity:
    """Return the identity of a file's sound; it reads the whole file.

    Raises:
        AudioError: the file is missing, empty, or may not be read.
    """
    first_bytes(path)
    try:
        return _of_packets(path) or AudioIdentity(bytes.fromhex(file_sha256(path)), "", 0.0)
    except OSError as error:
        raise AudioError(
            f"file={str(path)!r} cannot be read ({error.strerror or error}); check its disk."
        ) from error


def _of_packets(path: Path) -> AudioIdentity | None:
    """Return the identity by the packets; None where FFmpeg finds none."""
    try:
        file, container = open_container(path)
    except AudioError:
        return None
    with file, container:
        streams = container.streams.audio
        if not streams or streams[0].codec_context is None:
            return None
        stream = streams[0]
        codec = stream.codec_context.name.removesuffix("float")
        digest = hashlib.sha256(f"{codec} {stream.sample_rate} {stream.channels}\n".encode())
        packets = 0
        try:
            for packet in container.demux(stream):
                if packet.size:
                    digest.update(packet)
                    packets += 1
        except FFMPEG_ERRORS:
            pass  # damaged from here on: what came before is what will be decoded
        return (
            AudioIdentity(digest.digest(), codec, _seconds(container, stream)) if packets else None
        )


def _seconds(container: av.container.InputContainer, stream: av.AudioStream) -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration is not None else 0.0

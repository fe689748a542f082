import hashlib
from pathlib import Path

import av
import mutagen
import mutagen.apev2
import mutagen.id3
import pytest
import soundfile

from myna_rpe.errors import AudioError
from myna_rpe.library.identity import audio_identity

from ..audio.encoding import FFMPEG_FORMATS, FORMATS, music, write, write_ffmpeg

SOUND = music(0.3, 48_000)


def retag(path: Path) -> bool:
    """Write large tags into a file; tell whether mutagen can."""
    file = mutagen.File(path)
    if file is None:
        return False
    if file.tags is None:
        try:
            file.add_tags()
        except Exception:
            return False
    if isinstance(file.tags, mutagen.id3.ID3):
        file.tags.add(mutagen.id3.TIT2(text="x" * 5000))
        file.tags.add(mutagen.id3.APIC(mime="image/png", data=bytes(70_000)))
    else:
        name = {"MP4": "\xa9nam", "ASF": "Title"}.get(type(file).__name__, "title")
        file.tags[name] = ["x" * 5000]
    file.save()
    return True


@pytest.mark.parametrize("name", FORMATS)
def test_a_retag_and_a_rename_keep_the_identity_and_another_sound_has_another(tmp_path, name):
    rate = 44_100 if name == "wma" else 48_000
    path = write(tmp_path / "a", name, SOUND, rate)
    before = audio_identity(path)
    assert before == audio_identity(path)
    assert len(before.digest) == 32
    content = path.read_bytes()
    if retag(path):
        assert path.read_bytes() != content
    moved = path.rename(tmp_path / f"moved{path.suffix}")
    assert audio_identity(moved).digest == before.digest
    other = write(tmp_path / "b", name, SOUND[::-1], rate)
    assert audio_identity(other).digest != before.digest


def test_tags_at_the_end_of_an_mp3_do_not_matter(tmp_path):
    path = write_ffmpeg(tmp_path / "a.mp3", "libmp3lame", [SOUND], 48_000)
    before = audio_identity(path).digest
    content = path.read_bytes()
    path.write_bytes(content + b"TAG" + b"title".ljust(125, b"\0"))  # ID3v1
    assert audio_identity(path).digest == before
    path.write_bytes(content)
    tags = mutagen.apev2.APEv2()
    tags["Title"] = "x" * 300
    tags.save(path)
    assert audio_identity(path).digest == before


def test_the_identity_is_the_hash_of_codec_rate_channels_and_packets(tmp_path):
    path = write_ffmpeg(tmp_path / "a.m4a", "aac", [SOUND], 48_000)
    digest = hashlib.sha256(b"aac 48000 2\n")
    with av.open(str(path)) as container:
        for packet in container.demux(audio=0):
            digest.update(bytes(packet))
    found = audio_identity(path)
    assert found.digest == digest.digest()
    assert found.codec == "aac"
    assert found.duration == pytest.approx(0.3, abs=0.05)


def test_equal_samples_at_another_rate_are_another_sound(tmp_path):
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for path, rate in zip(paths, (44_100, 48_000), strict=True):
        soundfile.write(path, SOUND, rate)
    first, second = map(audio_identity, paths)
    assert first.digest != second.digest


def test_the_sound_of_a_film_is_its_own(tmp_path):
    plain = write_ffmpeg(tmp_path / "a.mp4", "aac", [SOUND], 48_000)
    film = write_ffmpeg(tmp_path / "b.mp4", "aac", [SOUND], 48_000, video=True)
    assert audio_identity(plain).digest == audio_identity(film).digest
    assert FFMPEG_FORMATS["mp4-aac"] == (".mp4", "aac")


def test_a_file_that_is_no_music_has_the_hash_of_its_bytes(tmp_path):
    path = tmp_path / "x.mp3"
    path.write_bytes(b"no music" * 100)
    found = audio_identity(path)
    assert found.digest == hashlib.sha256(path.read_bytes()).digest()
    assert found.codec == ""


@pytest.mark.parametrize("content", [None, b""])
def test_a_file_that_is_missing_or_empty_is_an_error(tmp_path, content):
    path = tmp_path / "x.mp3"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=r"x\.mp3"):
        audio_identity(path)

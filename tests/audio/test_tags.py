from pathlib import Path

import pytest
import soundfile

from myna_rpe.audio.tags import FileTags, read_tags

from .encoding import music, write_ffmpeg

SOUND = music(0.2, 48_000, channels=1)
EXPECTED = FileTags("Björk & 宇多田ヒカル", ("art pop", "electronic"))


@pytest.mark.parametrize(
    ("suffix", "codec", "muxer"),
    [
        (".mp3", "libmp3lame", {}),  # ID3
        (".aiff", "pcm_s16be", {"write_id3v2": "1"}),
        (".wav", "pcm_s16le", {}),  # RIFF INFO
        (".m4a", "aac", {}),  # MP4 atoms
        (".opus", "libopus", {}),  # Vorbis comments
        (".flac", "flac", {}),
        (".wma", "wmav2", {}),
        (".mka", "libopus", {}),
        (".wv", "wavpack", {}),  # APE
    ],
)
def test_artist_and_genres_are_read_in_any_script(tmp_path, suffix, codec, muxer):
    tags = {"artist": " Björk & 宇多田ヒカル", "genre": "Art  Pop; Electronic;art pop;"}
    rate = 44_100 if suffix == ".wma" else 48_000
    path = write_ffmpeg(tmp_path / f"x{suffix}", codec, [SOUND], rate, muxer=muxer, tags=tags)
    assert read_tags(path) == EXPECTED


def test_tags_of_a_vorbis_stream_are_read(tmp_path):
    path = tmp_path / "x.ogg"
    with soundfile.SoundFile(path, "w", 48_000, 1, "VORBIS") as file:
        file.artist, file.genre = "Björk & 宇多田ヒカル", "Art Pop/Electronic"
        file.write(SOUND)
    assert read_tags(path) == EXPECTED


def test_the_artist_of_the_album_stands_in_for_that_of_the_track(tmp_path):
    tags = {"album_artist": "Орган", "artist": "  "}
    path = write_ffmpeg(tmp_path / "x.mp3", "libmp3lame", [SOUND], 48_000, tags=tags)
    assert read_tags(path).artist == "Орган"


def test_tags_that_are_not_utf_8_are_read_with_marks(tmp_path):
    path = write_ffmpeg(tmp_path / "x.flac", "flac", [SOUND], 48_000, tags={"artist": "caf__"})
    path.write_bytes(path.read_bytes().replace(b"caf__", b"caf\xe9_"))
    assert read_tags(path).artist == "caf\ufffd_"


def test_a_file_without_tags_has_none(tmp_path):
    assert read_tags(write_ffmpeg(tmp_path / "x.mp3", "libmp3lame", [SOUND], 48_000)) == FileTags()


@pytest.mark.parametrize("content", [None, b"", b"no music" * 100])
def test_a_file_that_cannot_be_read_has_no_tags(tmp_path, content):
    path: Path = tmp_path / "x.mp3"
    if content is not None:
        path.write_bytes(content)
    assert read_tags(path) == FileTags()

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import soxr

from myna_rpe.audio import readers
from myna_rpe.audio.decode import decode, decode_blocks, probe
from myna_rpe.errors import AudioError

from .encoding import (
    FFMPEG_FORMATS,
    FORMATS,
    LOSSLESS,
    SOUNDFILE_FORMATS,
    cut,
    mono,
    music,
    write,
    write_ffmpeg,
)

SECONDS = 3.0


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file in each format, of the same music; Opus knows only 48 kHz."""
    folder = tmp_path_factory.mktemp("formats")
    return {
        name: write(folder / name, name, music(SECONDS, rate_of(name)), rate_of(name))
        for name in FORMATS
    }


def rate_of(name: str) -> int:
    return 48_000 if "opus" in name else 44_100


def lag(heard: np.ndarray, written: np.ndarray) -> int:
    """Return by how many samples `heard` is late, from the peak of the cross-correlation."""
    size = 1 << (len(heard) + len(written)).bit_length()
    product = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(written, size))
    peak = int(np.argmax(np.fft.irfft(product)))
    return peak if peak < size // 2 else peak - size


# --- formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_decodes_to_the_music_that_was_written(
    name: str, library: dict[str, Path]
) -> None:
    rate = rate_of(name)
    written = mono(music(SECONDS, rate))
    waveform = decode(library[name], sample_rate=rate)
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert abs(len(waveform) - len(written)) <= (0 if name in LOSSLESS else 4096)
    if name in LOSSLESS:
        tolerance = 2**-7 if name == "wav-u8" else 2**-15
        np.testing.assert_allclose(waveform, written, atol=tolerance)
        return
    # A raw AAC stream and WMA do not say how long the encoder's delay is.
    late = lag(waveform, written)
    assert abs(late) <= (3072 if name in ("adts-aac", "wma") else 1)
    heard = np.roll(waveform, -late)[4096 : len(written) - 4096]
    error = heard - written[4096 : len(written) - 4096]
    assert np.square(error).mean() < 0.02 * np.square(written).mean()


@pytest.mark.parametrize("name", FORMATS)
def test_an_excerpt_is_a_slice_of_the_whole(name: str, library: dict[str, Path]) -> None:
    rate = rate_of(name)
    whole = decode(library[name], sample_rate=rate)
    for start in (0.0, 0.25, 1.2345, 2.5):
        first, length = round(start * rate), round(0.4 * rate)
        excerpt = decode(library[name], sample_rate=rate, start=start, duration=0.4)
        if name in LOSSLESS:
            np.testing.assert_array_equal(excerpt, whole[first : first + length])
        else:
            np.testing.assert_allclose(excerpt, whole[first : first + length], atol=2e-5)


@pytest.mark.parametrize("name", ["flac", "mp3", "m4a-aac", "opus"])
@pytest.mark.parametrize("sample_rate", [16_000, 22_050, 96_000])
def test_a_resampled_excerpt_is_a_slice_of_the_resampled_whole(
    name: str, sample_rate: int, library: dict[str, Path]
) -> None:
    whole = decode(library[name], sample_rate=sample_rate)
    for start in (0.0, 0.7, 1.23456):
        first = round(start * sample_rate)
        excerpt = decode(library[name], sample_rate=sample_rate, start=start, duration=0.5)
        expected = whole[first : first + round(0.5 * sample_rate)]
        np.testing.assert_allclose(excerpt, expected, atol=2e-5)


def test_an_excerpt_ends_with_the_track(library: dict[str, Path]) -> None:
    assert len(decode(library["flac"], sample_rate=44_100, start=2.5, duration=60.0)) == 22_050


@pytest.mark.parametrize("name", [*SOUNDFILE_FORMATS, *FFMPEG_FORMATS])
def test_probe_tells_rate_channels_and_duration(name: str, library: dict[str, Path]) -> None:
    info = probe(library[name])
    assert (info.sample_rate, info.channels) == (rate_of(name), 2)
    # A raw AAC stream can only be estimated from its bit rate.
    assert info.duration == pytest.approx(SECONDS, abs=0.5 if name == "adts-aac" else 0.11)
    assert info.codec


@pytest.mark.parametrize("sample_rate", [8_000, 11_025, 22_050, 32_000, 96_000, 192_000])
def test_any_sample_rate_in_and_out(sample_rate: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a", "wav-24", music(1.0, sample_rate), sample_rate)
    for wanted in (8_000, 16_000, 44_100, 192_000):
        waveform = decode(path, sample_rate=wanted)
        assert abs(len(waveform) - wanted) <= 1
        # The music is below 2 kHz, so that it is the same at every rate, but for its ends.
        inside = slice(wanted // 10, -wanted // 10)
        expected = mono(music(1.0, wanted))[: len(waveform)]
        np.testing.assert_allclose(waveform[inside], expected[inside], atol=1e-4)


def test_the_sound_of_a_video_is_decoded(tmp_path: Path) -> None:
    samples = music(1.0, 44_100)
    path = write_ffmpeg(tmp_path / "clip.mp4", "aac", [samples], 44_100, video=True)
    assert probe(path).codec == "aac"
    assert abs(len(decode(path, sample_rate=44_100)) - len(samples)) <= 2048


# --- mixing and resampling -----------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_channels_are_averaged(channels: int, tmp_path: Path) -> None:
    samples = music(0.5, 16_000, channels)
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    waveform = decode(tmp_path / "a.wav", sample_rate=16_000)
    np.testing.assert_allclose(waveform, mono(samples), atol=1e-7)


def test_six_channels_of_a_lossy_codec_are_averaged(tmp_path: Path) -> None:
    samples = np.repeat(music(1.0, 48_000, 1), 6, axis=1)
    path = write_ffmpeg(tmp_path / "a.m4a", "aac", [samples], 48_000)
    waveform = decode(path, sample_rate=48_000)[: len(samples)]
    loudness = np.square(waveform).mean() / np.square(samples).mean()
    assert probe(path).channels == 6
    # The low-frequency channel keeps only the bass of its sixth; AAC is no exact codec.
    assert 0.6 < loudness < 1.2


def test_streamed_resampling_equals_one_shot(tmp_path: Path) -> None:
    samples = music(4.0, 44_100)
    soundfile.write(tmp_path / "a.wav", samples, 44_100, subtype="FLOAT")
    expected = soxr.resample((samples[:, 0] + samples[:, 1]) * np.float32(0.5), 44_100, 16_000)
    waveform = decode(tmp_path / "a.wav", sample_rate=16_000)
    assert abs(len(waveform) - len(expected)) <= 1
    both = min(len(waveform), len(expected))
    np.testing.assert_allclose(waveform[:both], expected[:both], atol=1e-6)


@pytest.mark.parametrize("name", ["flac", "mp3", "m4a-aac"])
@pytest.mark.parametrize("block_seconds", [0.01, 0.37, 1.0, 100.0])
def test_blocks_joined_are_the_waveform(
    name: str, block_seconds: float, library: dict[str, Path]
) -> None:
    options = {"sample_rate": 16_000, "start": 0.3}
    blocks = list(decode_blocks(library[name], block_seconds=block_seconds, **options))
    lengths = {len(block) for block in blocks[:-1]}
    assert lengths <= {round(block_seconds * 16_000)}
    np.testing.assert_array_equal(np.concatenate(blocks), decode(library[name], **options))


def test_blocks_stay_what_they_are_when_the_next_is_read(library: dict[str, Path]) -> None:
    blocks = decode_blocks(library["flac"], sample_rate=44_100, block_seconds=0.5)
    first = next(blocks)
    kept = first.copy()
    next(blocks)
    np.testing.assert_array_equal(first, kept)


def test_a_rate_that_changes_midway_is_followed(tmp_path: Path) -> None:
    plain = {"write_xing": "0", "id3v2_version": "0"}
    joined = b""
    for rate in (44_100, 22_050):
        tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * rate) / rate)
        path = tmp_path / f"{rate}.mp3"
        write_ffmpeg(path, "libmp3lame", [tone[:, None]], rate, muxer=plain)
        joined += path.read_bytes()
    (tmp_path / "joined.mp3").write_bytes(joined)
    waveform = decode(tmp_path / "joined.mp3", sample_rate=16_000)
    assert len(waveform) == pytest.approx(6 * 16_000, rel=0.03)
    for second in (1, 4):
        part = waveform[second * 16_000 :][:16_000]
        assert np.abs(np.fft.rfft(part)).argmax() == 440


def test_channels_that_change_midway_are_followed(tmp_path: Path) -> None:
    plain = {"write_xing": "0", "id3v2_version": "0"}
    joined = b""
    for channels in (1, 2):
        path = tmp_path / f"{channels}.mp3"
        samples = np.zeros((44_100 * 2, channels), np.float32)
        samples[:, :1] = music(2.0, 44_100, 1)  # the second of two channels is silent
        write_ffmpeg(path, "libmp3lame", [samples], 44_100, muxer=plain)
        joined += path.read_bytes()
    (tmp_path / "joined.mp3").write_bytes(joined)
    waveform = decode(tmp_path / "joined.mp3", sample_rate=44_100)
    assert len(waveform) == pytest.approx(4 * 44_100, rel=0.05)
    loudness = [np.abs(waveform[round(at * 44_100) :][:44_100]).mean() for at in (0.5, 2.5)]
    assert loudness[1] == pytest.approx(0.5 * loudness[0], rel=0.2)
    excerpt = decode(tmp_path / "joined.mp3", sample_rate=44_100, start=2.5, duration=1.0)
    np.testing.assert_allclose(excerpt, waveform[110_250 : 110_250 + 44_100], atol=1e-5)


# --- lengths -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wav-16", "flac", "vorbis", "mp3"])
def test_ten_samples_decode(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "short", name, music(1.0, 44_100)[:10], 44_100)
    assert len(decode(path, sample_rate=44_100)) == 10


def test_variable_bit_rate_without_a_header_is_decoded_to_its_end(tmp_path: Path) -> None:
    # Quiet music after loud: FFmpeg's and libsndfile's estimates of the length are far off.
    samples = music(20.0, 44_100)
    samples[44_100 * 3 :] *= 1e-4
    variable = {"flags": "+qscale", "global_quality": "236"}
    path = tmp_path / "vbr.mp3"
    write_ffmpeg(path, "libmp3lame", [samples], 44_100, muxer={"write_xing": "0"}, encoder=variable)
    assert decode(path, sample_rate=44_100).size == pytest.approx(len(samples), abs=4096)


@pytest.mark.parametrize("name", ["wav-16", "aiff", "flac", "mp3", "mka-flac", "wavpack"])
def test_a_truncated_file_is_refused_with_both_lengths(name: str, tmp_path: Path) -> None:
    path = cut(write(tmp_path / "cut", name, music(12.0, 44_100), 44_100), 0.5)
    with pytest.raises(AudioError, match=r"announces 12\.\d s but only \d\.\d s decode") as error:
        decode(path, sample_rate=16_000)
    assert "fetch it again" in str(error.value)


def test_a_truncated_m4a_is_refused_with_both_lengths(tmp_path: Path) -> None:
    path = tmp_path / "cut.m4a"
    write_ffmpeg(path, "aac", [music(12.0, 44_100)], 44_100, muxer={"movflags": "faststart"})
    with pytest.raises(AudioError, match=r"announces 12\.0 s but only \d\.\d s decode"):
        decode(cut(path, 0.5), sample_rate=16_000)


def test_an_m4a_whose_index_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = cut(write(tmp_path / "cut", "m4a-aac", music(5.0, 44_100), 44_100), 0.5)
    with pytest.raises(AudioError, match="is not audio that libsndfile or FFmpeg can read"):
        decode(path, sample_rate=16_000)


def test_an_excerpt_in_the_missing_part_is_refused_as_damage(tmp_path: Path) -> None:
    path = cut(write(tmp_path / "cut", "flac", music(12.0, 44_100), 44_100), 0.4)
    with pytest.raises(AudioError, match=r"announces 12\.0 s but .* truncated or damaged"):
        decode(path, sample_rate=44_100, start=9.0, duration=1.0)


def test_a_wav_written_to_a_pipe_is_not_called_truncated(tmp_path: Path) -> None:
    path = write(tmp_path / "pipe", "wav-16", music(1.0, 16_000), 16_000)
    content = bytearray(path.read_bytes())
    at = content.index(b"data")
    content[4:8] = content[at + 4 : at + 8] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert len(decode(path, sample_rate=16_000)) == 16_000


@pytest.mark.parametrize("name", ["wav-16", "vorbis"])
def test_no_samples_is_an_error(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "none", name, music(1.0, 16_000)[:0], 16_000)
    with pytest.raises(AudioError, match="holds no samples"):
        decode(path, sample_rate=16_000)


@pytest.mark.parametrize("name", ["wav-16", "mp3", "m4a-aac"])
def test_a_start_beyond_the_end_is_an_error(name: str, library: dict[str, Path]) -> None:
    for start in (SECONDS + 0.1, 100.0):
        with pytest.raises(AudioError, match=rf"start={start:g} s is beyond the end .*3\.\d+ s"):
            decode(library[name], sample_rate=16_000, start=start)


def test_a_start_at_the_very_end_is_beyond_it(library: dict[str, Path]) -> None:
    for start in (SECONDS, SECONDS - 1e-6):
        with pytest.raises(AudioError, match="is beyond the end"):
            decode(library["flac"], sample_rate=16_000, start=start)


def test_a_wav_cut_right_after_its_header_holds_no_samples(tmp_path: Path) -> None:
    path = write(tmp_path / "cut", "wav-16", music(1.0, 16_000), 16_000)
    path.write_bytes(path.read_bytes()[:44])
    with pytest.raises(AudioError, match="holds no samples"):
        decode(path, sample_rate=16_000)


# --- bad input -----------------------------------------------------------------------------------


def one_sentence(error: pytest.ExceptionInfo[AudioError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith(".")
    message.encode()  # printable anywhere, surrogates escaped
    return message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"no\.mp3' does not exist") as error:
        decode(tmp_path / "no.mp3", sample_rate=16_000)
    one_sentence(error)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="is a folder") as error:
        probe(tmp_path)
    one_sentence(error)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match="not a regular file"):
        probe(tmp_path / "pipe.wav")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("zero.mp3", b"", "is empty"),
        ("text.mp3", b"This is no music at all.\n" * 500, "not audio"),
        ("tiny.mp3", b"hi", "not audio"),
        ("text.wav", b"# Heading\n" * 500, "not audio"),
        ("list.mp3", b"#EXTM3U\n#EXTINF:1,x\n/etc/hostname\n", "not audio"),
        ("subtitle.mp3", b"1\n00:00:01,000 --> 00:00:02,000\nhello\n\n" * 40, "no audio stream"),
        ("noise.mp3", np.random.default_rng(1).bytes(300_000), "no music file|not audio"),
    ],
)
def test_what_is_not_audio_is_refused_quietly(
    name: str, content: bytes, reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError, match=reason) as error:
        decode(tmp_path / name, sample_rate=16_000)
    assert name in one_sentence(error)
    assert capfd.readouterr() == ("", "")


def test_damage_within_an_mp3_is_passed_over_quietly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a", "mp3", music(10.0, 44_100), 44_100)
    content = bytearray(path.read_bytes())
    content[20_000:20_300] = bytes(300)
    path.write_bytes(bytes(content) + b"TAG" + bytes(125) + b"junk" * 1000)
    assert decode(path, sample_rate=44_100).size == pytest.approx(441_000, abs=8000)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_located(bad: float, tmp_path: Path) -> None:
    samples = music(2.0, 16_000)
    samples[24_000, 1] = bad
    soundfile.write(tmp_path / "bad.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"NaN or infinity at 1\.500 s") as error:
        decode(tmp_path / "bad.wav", sample_rate=22_050)
    one_sentence(error)


def test_opposite_infinities_do_not_cancel(tmp_path: Path) -> None:
    samples = music(1.0, 16_000)
    samples[100] = np.inf, -np.inf
    samples[200] = -np.inf, np.inf
    soundfile.write(tmp_path / "bad.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN or infinity"):
        decode(tmp_path / "bad.wav", sample_rate=16_000)


def test_no_channels_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "wav-16", music(0.1, 16_000), 16_000)
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, 22, 0)
    path.write_bytes(content)
    with pytest.raises(AudioError, match="has 0 channels") as error:
        decode(path, sample_rate=16_000)
    one_sentence(error)


def test_an_unknown_codec_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "wav-16", music(0.1, 16_000), 16_000)
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, 20, 0x7A21)
    path.write_bytes(content)
    with pytest.raises(AudioError, match="codec FFmpeg does not know"):
        decode(path, sample_rate=16_000)


def test_an_unreadable_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a", "wav-16", music(0.1, 16_000), 16_000)
    path.chmod(stat.S_IWUSR)
    if os.access(path, os.R_OK):  # root reads everything

        def refuse(*args: object, **kwargs: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AudioError, match="may not be read"):
        decode(path, sample_rate=16_000)


@pytest.mark.parametrize("name", ["wav-16", "mp3", "m4a-aac"])
@pytest.mark.parametrize("stem", ["音楽 テスト", os.fsdecode(b"caf\xe9 \xff"), "a:b|c%03d 'x'"])
def test_any_name_the_file_system_holds_is_opened(name: str, stem: str, tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", name, music(0.5, 16_000), 16_000)
    strange = tmp_path / (stem + plain.suffix)
    try:
        plain.rename(strange)
    except OSError:
        pytest.skip("this file system refuses the name")
    assert decode(strange, sample_rate=16_000).size == pytest.approx(8000, abs=4096)


def test_a_name_that_is_not_utf8_can_be_printed(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="does not exist") as error:
        decode(tmp_path / os.fsdecode(b"caf\xe9.mp3"), sample_rate=16_000)
    assert "caf" in one_sentence(error)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"sample_rate": 0}, "sample_rate=0 Hz is not positive"),
        ({"start": -1.0}, "start=-1.0 s is not a time"),
        ({"start": float("nan")}, "start=nan s is not a time"),
        ({"duration": 0.0}, "duration=0.0 s is not a length"),
    ],
)
def test_impossible_windows_are_refused(
    options: dict[str, float], reason: str, library: dict[str, Path]
) -> None:
    with pytest.raises(AudioError, match=reason):
        decode(library["flac"], **{"sample_rate": 16_000, **options})


# --- seeking -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mp3", "m4a-aac", "opus", "webm-opus", "wma", "m4a-alac"])
def test_a_late_excerpt_does_not_decode_what_comes_before(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "long", name, music(20.0, rate_of(name)), rate_of(name))
    decoded = []
    frames = readers.FFmpegReader._decoded_frames

    def counted(reader: readers.FFmpegReader) -> Iterator[av.AudioFrame]:
        for frame in frames(reader):
            decoded.append(frame.samples / frame.sample_rate)
            yield frame

    monkeypatch.setattr(readers.FFmpegReader, "_decoded_frames", counted)
    decode(path, sample_rate=16_000, start=18.0, duration=1.0)
    # WebM is sought by clusters, of 5 s here.
    assert sum(decoded) < (8.0 if "webm" in name else 4.0)


def test_a_format_that_cannot_seek_is_decoded_from_its_start(tmp_path: Path) -> None:
    path = write_ffmpeg(tmp_path / "a.ac3", "ac3", [music(5.0, 44_100)], 44_100)
    whole = decode(path, sample_rate=44_100)
    excerpt = decode(path, sample_rate=44_100, start=3.3, duration=1.0)
    np.testing.assert_array_equal(excerpt, whole[145_530 : 145_530 + 44_100])


@pytest.mark.parametrize("samples", [1, 2, 11])
def test_less_than_one_sample_at_the_asked_rate_is_still_one(tmp_path: Path, samples: int) -> None:
    path = tmp_path / "click.wav"
    soundfile.write(path, np.full(samples, 0.5, np.float32), 192_000, subtype="FLOAT")
    waveform = decode(path, sample_rate=16_000)
    assert waveform.shape == (1,)
    assert waveform[0] > 0

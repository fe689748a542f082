import builtins

import mutagen
import mutagen.id3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutagen.mp4 import MP4, MP4FreeForm

from myna_rpe.errors import LibraryError
from myna_rpe.library import tags as module
from myna_rpe.library.tags import MAX_TEXT, Tags, read_tags

from ..audio.encoding import music, write, write_ffmpeg

SOUND = music(0.2, 48_000, channels=1)
MBIDS = [f"{n:08d}-1111-2222-3333-444444444444" for n in (1, 2, 3)]
EXPECTED = Tags(
    title="Jóga",
    artist="Björk & 宇多田ヒカル",
    album="Homogenic",
    album_artist="Björk",
    genres=("Art Pop", "Electronic"),
    year=1997,
    track_number=2,
    isrc="GBAAP9700066",
    recording_mbid=MBIDS[0],
    release_mbid=MBIDS[1],
    artist_mbid=MBIDS[2],
)
VORBIS = {
    "title": "Jóga",
    "artist": "Björk & 宇多田ヒカル",
    "album": "Homogenic",
    "albumartist": "Björk",
    "genre": ["Art Pop", "Electronic"],
    "date": "1997-09-22",
    "tracknumber": "2/10",
    "isrc": "GB-AAP-97-00066",
    "musicbrainz_trackid": MBIDS[0],
    "musicbrainz_albumid": MBIDS[1],
    "musicbrainz_artistid": [MBIDS[2], MBIDS[0]],
}


def written(tmp_path, suffix, codec):
    rate = 44_100 if suffix == ".wma" else 48_000
    return write_ffmpeg(tmp_path / f"x{suffix}", codec, [SOUND], rate)


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".flac", "flac"), (".opus", "libopus"), (".ogg", "vorbis")]
)
def test_vorbis_comments_are_read(tmp_path, suffix, codec):
    if suffix == ".ogg":
        path = write(tmp_path / "x", codec, SOUND, 48_000)
    else:
        path = written(tmp_path, suffix, codec)
    file = mutagen.File(path)
    for name, value in VORBIS.items():
        file[name.upper()] = value
    file.save()
    assert read_tags(path) == EXPECTED


@pytest.mark.parametrize(("suffix", "codec"), [(".mp3", "libmp3lame"), (".aiff", "pcm_s16be")])
@pytest.mark.parametrize("version", [3, 4])
def test_id3_is_read(tmp_path, suffix, codec, version):
    path = written(tmp_path, suffix, codec)
    file = mutagen.File(path)
    if file.tags is None:
        file.add_tags()
    for frame in (
        mutagen.id3.TIT2(text="Jóga"),
        mutagen.id3.TPE1(text="Björk & 宇多田ヒカル"),
        mutagen.id3.TALB(text="Homogenic"),
        mutagen.id3.TPE2(text="Björk"),
        mutagen.id3.TCON(text=["Art Pop", "(52)"]),  # 52 is Electronic
        mutagen.id3.TDRC(text="1997-09-22"),
        mutagen.id3.TRCK(text="2/10"),
        mutagen.id3.TSRC(text="GBAAP9700066"),
        mutagen.id3.UFID(owner="http://musicbrainz.org", data=MBIDS[0].encode()),
        mutagen.id3.UFID(owner="http://other.org", data=b"other"),
        mutagen.id3.TXXX(desc="MusicBrainz Album Id", text=MBIDS[1]),
        mutagen.id3.TXXX(desc="MusicBrainz Artist Id", text=[MBIDS[2], MBIDS[0]]),
    ):
        file.tags.add(frame)
    if version == 3:
        file.tags.update_to_v23()
    file.save(v2_version=version)
    assert read_tags(path) == EXPECTED


def test_mp4_atoms_are_read(tmp_path):
    path = written(tmp_path, ".m4a", "aac")
    file = MP4(path)
    file["\xa9nam"], file["\xa9ART"] = "Jóga", "Björk & 宇多田ヒカル"
    file["\xa9alb"], file["aART"] = "Homogenic", "Björk"
    file["\xa9gen"], file["\xa9day"] = ["Art Pop", "Electronic"], "1997-09-22T07:00:00Z"
    file["trkn"] = [(2, 10)]
    for name, value in (
        ("ISRC", "GBAAP9700066"),
        ("MusicBrainz Track Id", MBIDS[0]),
        ("MusicBrainz Album Id", MBIDS[1]),
        ("MusicBrainz Artist Id", MBIDS[2]),
    ):
        file[f"----:com.apple.iTunes:{name}"] = MP4FreeForm(value.encode())
    file.save()
    assert read_tags(path) == EXPECTED


def test_ape_tags_are_read(tmp_path):
    path = written(tmp_path, ".wv", "wavpack")
    file = mutagen.File(path)
    if file.tags is None:
        file.add_tags()
    names = {"tracknumber": "Track", "date": "Year", "albumartist": "Album Artist"}
    for name, value in VORBIS.items():
        file.tags[names.get(name, name.title())] = value
    file.save()
    assert read_tags(path) == EXPECTED


def test_asf_tags_are_read(tmp_path):
    path = written(tmp_path, ".wma", "wmav2")
    file = mutagen.File(path)
    names = {
        "title": "Title",
        "artist": "Author",
        "album": "WM/AlbumTitle",
        "albumartist": "WM/AlbumArtist",
        "genre": "WM/Genre",
        "date": "WM/Year",
        "tracknumber": "WM/TrackNumber",
        "isrc": "WM/ISRC",
        "musicbrainz_trackid": "MusicBrainz/Track Id",
        "musicbrainz_albumid": "MusicBrainz/Album Id",
        "musicbrainz_artistid": "MusicBrainz/Artist Id",
    }
    for name, value in VORBIS.items():
        file[names[name]] = value
    file.save()
    assert read_tags(path) == EXPECTED


@pytest.mark.parametrize(("suffix", "codec"), [(".mka", "libopus"), (".wav", "pcm_s16le")])
def test_what_mutagen_does_not_know_is_read_through_ffmpeg(tmp_path, suffix, codec):
    tags = {"title": "Jóga", "artist": "Björk", "album": "Homogenic", "date": "1997"}
    path = write_ffmpeg(tmp_path / f"x{suffix}", codec, [SOUND], 48_000, tags=tags)
    found = read_tags(path)
    assert (found.title, found.artist, found.album) == ("Jóga", "Björk", "Homogenic")
    assert found.year == 1997


def test_a_file_without_tags_has_none(tmp_path):
    assert read_tags(written(tmp_path, ".flac", "flac")) == Tags()
    assert read_tags(written(tmp_path, ".wav", "pcm_s16le")) == Tags()


@pytest.mark.parametrize("content", [None, b"", b"no music" * 100, b"ID3\x04\0\0\x7f\x7f\x7f\x7f"])
def test_a_file_that_cannot_be_read_has_no_tags(tmp_path, content):
    path = tmp_path / "x.mp3"
    if content is not None:
        path.write_bytes(content)
    assert read_tags(path) == Tags()


def test_tags_that_are_not_what_they_claim_are_left_out(tmp_path):
    path = written(tmp_path, ".flac", "flac")
    file = mutagen.File(path)
    file["title"] = "line\nbreak\x1b[31m\0 \u202eevil " + "x" * 10_000
    file["date"] = "the nineties"
    file["tracknumber"] = "A2"
    file["isrc"] = "unknown"
    file["musicbrainz_trackid"] = "../../etc/passwd"
    file["genre"] = [f"genre {n}" for n in range(1000)] + ["", ";;"]
    file.save()
    found = read_tags(path)
    assert found.title.startswith("line break [31m")
    assert found.title.isprintable()
    assert len(found.title) <= MAX_TEXT
    assert (found.year, found.track_number, found.isrc, found.recording_mbid) == (
        None,
        None,
        "",
        "",
    )
    assert len(found.genres) == 32


def test_wrong_types_in_mp4_do_not_matter(tmp_path):
    path = written(tmp_path, ".m4a", "aac")
    file = MP4(path)
    file["trkn"] = [(0, 0)]
    file["----:com.apple.iTunes:ISRC"] = MP4FreeForm(b"\xff\xfe\x00binary")
    file["cpil"] = True
    file.save()
    assert read_tags(path) == Tags(title="")


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_make_it_raise(content):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.mp3"
        path.write_bytes(b"ID3\x03\0\0\0\0\x02\x00" + content)
        assert isinstance(read_tags(path), Tags)


class Hostile(dict):
    def __getitem__(self, name):
        raise RecursionError(name)


def test_a_parser_that_fails_leaves_the_file_untagged(tmp_path, monkeypatch):
    path = written(tmp_path, ".flac", "flac")

    class File:
        tags = Hostile(title=["x"])

    monkeypatch.setattr(mutagen, "File", lambda path: File)
    assert read_tags(path) == Tags()
    assert module._genres(["Rock; rock/ROCK", "Jazz"]) == ("Rock", "Jazz")


def test_without_mutagen_the_remedy_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **more):
        if name == "mutagen":
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(LibraryError, match=r"pip install 'myna-rpe\[library\]'"):
        read_tags(tmp_path / "x.mp3")

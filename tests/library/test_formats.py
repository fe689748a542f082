import contextlib
import json
import os
import unicodedata
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myna_rpe.errors import ExportError, LibraryError
from myna_rpe.library.formats import (
    FORMATS,
    Absolute,
    Entries,
    Entry,
    Format,
    Mapped,
    NamedPlaylist,
    PathStyle,
    Relative,
    read_playlist,
    write_entries,
    write_playlist,
)
from myna_rpe.library.tracks import Track

MBID = "b1a9c0e9-d987-4042-ae91-78d6a3267d69"
SEEN = Track(
    1,
    Path("/music/Björk/01 Jóga.flac"),
    title="Jóga",
    artist="Björk",
    album="Homogenic",
    track_number=2,
    duration=305.2,
    isrc="GBAKW9700028",
    recording_mbid=MBID,
)

# Bytes that mean something to a shell, XML, a URI, a playlist, Windows or nobody.
HOSTILE = [
    b"100%.mp3",
    b"a%20b.mp3",
    b"#EXTINF:1,x - y.mp3",
    b"# c.mp3",
    b"-rf.mp3",
    b" lead.mp3",
    b"trail.mp3 ",
    b"new\nline.mp3",
    b"return\rline.mp3",
    b"tab\t.mp3\t",
    b"<a>&\"'b'.mp3",
    b"?q=1&r#frag.mp3",
    "\U0001f3b5.mp3".encode(),
    unicodedata.normalize("NFD", "Jóga ガ.mp3").encode(),
    unicodedata.normalize("NFC", "Jóga ガ.mp3").encode(),
    b"caf\xe9.mp3",
    b"\xff\xfe.mp3",
    b"\xef\xbb\xbfmark.mp3",
    b"back\\slash.mp3",
    b"C:\\x.mp3",
    b"C:/x.mp3",
    b"http:/x.mp3",
    b"spotify:track:x",
    b"file:/x.mp3",
    b"\x01\x1f\x7f.mp3",
    "\u2028\u0085.mp3".encode(),
    b"~/x.mp3",
    b"...",
]

segments = st.one_of(
    st.sampled_from([part for name in HOSTILE for part in name.split(b"/")]),
    st.binary(min_size=1, max_size=8).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"_")),
).filter(lambda segment: segment not in (b".", b".."))
paths = st.lists(segments, min_size=1, max_size=4).map(
    lambda found: Path(os.fsdecode(b"/" + b"/".join(found)))
)
EXACT = [".m3u8", ".xspf", ".jspf"]


def named(form: Format, style: PathStyle, path: Path, folder: Path) -> str:
    return form.location(style.place(path, folder), folder)


def back(form: Format, location: str, folder: Path) -> Entry:
    (entry,) = form.parse(form.render(Entries("p", (Entry(location),))), folder).entries
    return entry


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", EXACT)
@given(path=paths, folder=paths, style=st.sampled_from([Absolute(), Relative()]))
def test_any_name_comes_back_byte_for_byte(
    extension: str, path: Path, folder: Path, style: PathStyle
) -> None:
    form = FORMATS[extension]
    found = back(form, named(form, style, path, folder), folder).path
    assert os.fsencode(found) == os.fsencode(path)


@pytest.mark.parametrize("extension", EXACT)
@pytest.mark.parametrize("style", [Absolute(), Relative()], ids=repr)
def test_hostile_names_come_back_from_a_file(
    tmp_path: Path, extension: str, style: PathStyle
) -> None:
    tracks = [Track(i, Path(f"/m/{os.fsdecode(name)}")) for i, name in enumerate(HOSTILE)]
    playlist = NamedPlaylist("Hostile", [*tracks, *tracks[:2]])
    done = write_playlist(playlist, tmp_path / f"x{extension}", paths=style)
    assert (done.tracks, done.written, done.refused) == (len(tracks) + 2, len(tracks) + 2, ())
    read = read_playlist(tmp_path / f"x{extension}")
    assert read.name == "Hostile"
    assert [e.path for e in read.entries] == [track.path for track in playlist.tracks]


@given(path=paths)
def test_every_byte_of_a_uri_is_plain_or_escaped(path: Path) -> None:
    plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/"
    expected = "".join(chr(b) if b in plain else f"%{b:02X}" for b in os.fsencode(path))
    for extension in (".xspf", ".jspf"):
        assert named(FORMATS[extension], Absolute(), path, Path("/p")) == f"file://{expected}"


@given(path=paths, folder=paths, style=st.sampled_from([Absolute(), Relative()]))
def test_a_line_of_m3u_is_one_line_and_no_comment(
    path: Path, folder: Path, style: PathStyle
) -> None:
    line = os.fsencode(named(FORMATS[".m3u8"], style, path, folder))
    assert b"\n" not in line
    assert b"\r" not in line
    assert line == line.strip()
    assert not line.startswith(b"#")


def test_letters_stay_as_they_are_on_the_disk(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        path = Path("/m") / unicodedata.normalize(form, "Jóga.mp3")
        write_playlist(NamedPlaylist("p", [Track(1, path)]), tmp_path / "p.m3u8")
        assert os.fsencode(path) + b"\n" in (tmp_path / "p.m3u8").read_bytes()


def test_relative_paths_lead_from_the_real_folder_of_the_playlist(tmp_path: Path) -> None:
    (tmp_path / "data/lists").mkdir(parents=True)
    (tmp_path / "music").mkdir()
    (tmp_path / "music/a.mp3").touch()
    (tmp_path / "link").symlink_to(tmp_path / "data/lists")
    playlist = NamedPlaylist("p", [Track(1, tmp_path / "music/a.mp3")])
    write_playlist(playlist, tmp_path / "link/p.m3u8", paths=Relative())
    assert "\n../../music/a.mp3\n" in (tmp_path / "link/p.m3u8").read_text()
    (entry,) = read_playlist(tmp_path / "link/p.m3u8").entries
    assert entry.path == tmp_path / "music/a.mp3"


@pytest.mark.parametrize(
    ("new", "line", "uri"),
    [
        ("/volume1/music", "/volume1/music/A/b c.mp3", "file:///volume1/music/A/b%20c.mp3"),
        ("M:\\", "M:\\A\\b c.mp3", "file:///M:/A/b%20c.mp3"),
        ("M:/x", "M:/x/A/b c.mp3", "file:///M:/x/A/b%20c.mp3"),
        ("\\\\nas\\music", "\\\\nas\\music\\A\\b c.mp3", "file://nas/music/A/b%20c.mp3"),
    ],
)
def test_a_mapped_path_is_that_of_the_other_machine(new: str, line: str, uri: str) -> None:
    style, path, folder = Mapped("/srv/music", new), Path("/srv/music/A/b c.mp3"), Path("/p")
    assert named(FORMATS[".m3u8"], style, path, folder) == line
    assert named(FORMATS[".xspf"], style, path, folder) == uri
    there = Path(line.replace("\\", "/"))
    assert back(FORMATS[".m3u8"], line, folder).path == there
    assert back(FORMATS[".xspf"], uri, folder).path == there


def test_tracks_without_a_place_are_named_and_the_counts_add_up(tmp_path: Path) -> None:
    paths = [Path("/srv/a.mp3"), Path("/elsewhere/b.mp3"), Path("/srv/c\\d.mp3")]
    tracks = [Track(i, path) for i, path in enumerate(paths)]
    done = write_playlist(
        NamedPlaylist("p", tracks), tmp_path / "p.m3u8", paths=Mapped("/srv", "M:\\")
    )
    assert [refused.path for refused in done.refused] == paths[1:]
    assert "is not below '/srv'" in done.refused[0].reason
    assert "backslash" in done.refused[1].reason
    assert done.tracks == done.written + len(done.refused) == 3
    assert len(read_playlist(tmp_path / "p.m3u8").entries) == done.written == 1


# --- what is said of tracks ----------------------------------------------------------------------


def test_m3u8_is_written_as_players_know_it(tmp_path: Path) -> None:
    untold = Track(2, Path("/music/x - y.mp3"))
    tracks = [SEEN, untold, replace(SEEN, artist="", title="a\nb\udcff")]
    write_playlist(NamedPlaylist("Two\nlines", tracks), tmp_path / "p.m3u8")
    assert (tmp_path / "p.m3u8").read_bytes().decode("utf-8") == (
        "#EXTM3U\n#PLAYLIST:Two lines\n"
        "#EXTINF:305,Björk - Jóga\n/music/Björk/01 Jóga.flac\n"
        "#EXTINF:-1,x - y\n/music/x - y.mp3\n"
        "#EXTINF:305,a b\ufffd\n/music/Björk/01 Jóga.flac\n"
    )


@pytest.mark.parametrize("extension", [".xspf", ".jspf"])
def test_all_that_is_known_comes_back(tmp_path: Path, extension: str) -> None:
    write_playlist(NamedPlaylist("Ísland", [SEEN]), tmp_path / f"p{extension}")
    read = read_playlist(tmp_path / f"p{extension}")
    location = "file:///music/Bj%C3%B6rk/01%20J%C3%B3ga.flac"
    expected = Entry(
        location, SEEN.path, "Jóga", "Björk", "Homogenic", 2, 305.2, "GBAKW9700028", MBID
    )
    assert read == Entries("Ísland", (expected,))


def test_m3u_brings_back_title_artist_and_whole_seconds(tmp_path: Path) -> None:
    write_playlist(NamedPlaylist("Ísland", [SEEN]), tmp_path / "p.M3U8")
    read = read_playlist(tmp_path / "p.M3U8")
    expected = Entry(str(SEEN.path), SEEN.path, title="Jóga", artist="Björk", duration=305.0)
    assert read == Entries("Ísland", (expected,))


@pytest.mark.parametrize("extension", [".xspf", ".jspf"])
@given(text=st.text(st.characters(), max_size=20), name=st.text(st.characters(), max_size=9))
def test_any_text_makes_a_file_that_can_be_read(extension: str, text: str, name: str) -> None:
    form = FORMATS[extension]
    content = form.render(Entries(name, (Entry("file:///a", title=text, artist=text),)))
    content.decode("utf-8")
    (entry,) = form.parse(content, Path("/")).entries
    assert entry.title == entry.artist
    if text.isprintable():
        assert entry.title == text.strip()


def test_jspf_identifies_recordings_by_musicbrainz(tmp_path: Path) -> None:
    write_playlist(NamedPlaylist("p", [SEEN]), tmp_path / "p.jspf")
    (track,) = json.loads((tmp_path / "p.jspf").read_bytes())["playlist"]["track"]
    assert track["identifier"][0] == f"https://musicbrainz.org/recording/{MBID}"
    assert track["duration"] == 305_200


def test_xspf_is_in_its_namespace_and_ascii_apart_from_text(tmp_path: Path) -> None:
    write_playlist(NamedPlaylist("p", [SEEN]), tmp_path / "p.xspf")
    root = ElementTree.parse(tmp_path / "p.xspf").getroot()
    assert root.tag == "{http://xspf.org/ns/0/}playlist"
    assert root.attrib["version"] == "1"
    names = [child.tag.rpartition("}")[2] for child in root.iter()]
    assert names[:4] == ["playlist", "title", "trackList", "track"]


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("count", [0, 1, 1000])
def test_playlists_of_any_length_come_back(tmp_path: Path, extension: str, count: int) -> None:
    tracks = [Track(i, Path(f"/music/{i}.mp3"), title=str(i)) for i in range(count)]
    path = tmp_path / f"p{extension}"
    assert write_playlist(NamedPlaylist("many", tracks), path).written == count
    assert [entry.path for entry in read_playlist(path).entries] == [t.path for t in tracks]


# --- files of others -----------------------------------------------------------------------------


def test_a_foreign_m3u_is_understood(tmp_path: Path) -> None:
    (tmp_path / "a b.mp3").touch()
    (tmp_path / "100%25.mp3").touch()
    content = (
        '\ufeff#EXTM3U\r\n\r\n# a comment\r\n#EXTINF:123 group="x",Some One - A Title\r\n'
        "a%20b.mp3\r\n100%25.mp3\r\nfile:///m/a%20b.mp3\r\nfile://localhost/m/c.mp3\r\n"
        "..\\Music\\d.mp3\r\nC:\\Music\\e.mp3\r\nhttp://radio.example/stream\r\n"
        "#EXTINF:-1,Just a title\r\nsub/f.mp3  \r\n#EXTINF:broken\r\nlast.mp3"
    )
    (tmp_path / "p.m3u8").write_bytes(content.encode())
    read = read_playlist(tmp_path / "p.m3u8")
    assert read.name == "p"
    assert [entry.path for entry in read.entries] == [
        tmp_path / "a b.mp3",
        tmp_path / "100%25.mp3",
        Path("/m/a b.mp3"),
        Path("/m/c.mp3"),
        tmp_path.parent / "Music/d.mp3",
        Path("C:/Music/e.mp3"),
        None,
        tmp_path / "sub/f.mp3",
        tmp_path / "last.mp3",
    ]
    first, *_, titled, last = read.entries
    assert (first.title, first.artist, first.duration) == ("A Title", "Some One", 123.0)
    assert (titled.title, titled.artist, titled.duration) == ("Just a title", "", 0.0)
    assert (last.title, last.artist) == ("", "")
    assert read.entries[6].location == "http://radio.example/stream"


def test_an_old_m3u_is_latin_1_line_by_line_unless_its_bytes_name_a_file(tmp_path: Path) -> None:
    there = Path(os.fsdecode(os.fsencode(tmp_path) + b"/there \xe9.mp3"))
    there.touch()
    (tmp_path / "p.m3u").write_bytes(
        b"#EXTINF:1,Beyonc\xe9 - D\xe9j\xe0 Vu\nd\xe9j\xe0.mp3\n"
        b"there \xe9.mp3\nd\xc3\xa9j\xc3\xa0.mp3\n"
    )
    first, second, third = read_playlist(tmp_path / "p.m3u").entries
    assert (first.artist, first.title) == ("Beyoncé", "Déjà Vu")
    assert first.path == third.path == tmp_path / "déjà.mp3"
    assert second.path == there


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r", "\n\n"])
def test_lines_end_in_any_way(ends: str) -> None:
    content = ends.join(["#EXTM3U", "/a.mp3", "/b.mp3", ""]).encode()
    entries = FORMATS[".m3u8"].parse(content, Path("/")).entries
    assert [entry.location for entry in entries] == ["/a.mp3", "/b.mp3"]


def test_a_foreign_xspf_is_understood(tmp_path: Path) -> None:
    (tmp_path / "p.xspf").write_text(
        "<playlist><!-- no namespace --><trackList>"
        "<track><location> a%20b.mp3 </location><location>c.mp3</location></track>"
        "<track><location>/music/100% of it.mp3</location><duration>soon</duration></track>"
        "<track><identifier>urn:isrc:GB-AKW-97-00028</identifier><trackNum>x</trackNum></track>"
        "<track><location>https://radio.example/a%20b</location><title>a<b>c</b></title></track>"
        "</trackList></playlist>"
    )
    entries = read_playlist(tmp_path / "p.xspf").entries
    assert [entry.path for entry in entries] == [
        tmp_path / "a b.mp3",
        Path("/music/100% of it.mp3"),
        None,
        None,
    ]
    assert entries[2] == Entry("", isrc="GBAKW9700028")
    assert entries[3].title == "ac"


def test_a_jspf_of_listenbrainz_is_understood() -> None:
    track = {
        "identifier": f"https://musicbrainz.org/recording/{MBID}",
        "title": "Jóga",
        "creator": "Björk",
        "duration": 305_200.0,
        "trackNum": 2,
        "album": None,
        "location": [3, "\ud800"],
        "extension": {"https://musicbrainz.org/doc/jspf#track": {}},
    }
    content = json.dumps({"playlist": {"title": 5, "track": [track, "no track"]}}).encode()
    read = FORMATS[".jspf"].parse(content, Path("/"))
    expected = Entry("", None, "Jóga", "Björk", "", 2, 305.2, "", MBID)
    assert read == Entries("5", (expected,))


@given(content=st.binary(max_size=200), extension=st.sampled_from(list(FORMATS)))
def test_any_bytes_are_a_playlist_or_a_clear_error(content: bytes, extension: str) -> None:
    with contextlib.suppress(ValueError):
        found = FORMATS[extension].parse(content, Path("/"))
        assert all(entry.location for entry in found.entries)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.xspf", b"not xml"),
        ("p.xspf", b"<html/>"),
        ("p.xspf", b"<?xml version='1.0' encoding='nonsense'?><playlist/>"),
        ("p.jspf", b"{"),
        ("p.jspf", b"[]"),
        ("p.jspf", b"[" * 100_000),
    ],
)
def test_what_is_no_playlist_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LibraryError, match=rf"^playlist='.*{name}' is not (XSPF|JSPF) \(.*\); "):
        read_playlist(tmp_path / name)


def test_files_that_cannot_be_read_or_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match=r"none\.m3u8' cannot be read \(No such file"):
        read_playlist(tmp_path / "none.m3u8")
    with pytest.raises(LibraryError, match=r"extension='\.pls' is unknown; .*\.m3u8"):
        read_playlist(tmp_path / "p.pls")
    with pytest.raises(ExportError, match=r"extension='' is unknown"):
        write_playlist(NamedPlaylist("p", []), tmp_path / "p")
    with pytest.raises(ExportError, match=r"p\.m3u8' cannot be written \(No such file"):
        write_playlist(NamedPlaylist("p", []), tmp_path / "none/p.m3u8")


def test_a_failed_write_leaves_the_old_playlist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_playlist(NamedPlaylist("old", []), tmp_path / "p.m3u8")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ExportError, match="No space left"):
        write_playlist(NamedPlaylist("new", []), tmp_path / "p.m3u8")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["p.m3u8"]
    assert read_playlist(tmp_path / "p.m3u8").name == "old"


def test_entries_are_written_with_their_locations(tmp_path: Path) -> None:
    entries = Entries("p", (Entry("spotify:track:1", title="a"), Entry("", title="b")))
    write_entries(entries, tmp_path / "p.jspf")
    assert read_playlist(tmp_path / "p.jspf") == entries

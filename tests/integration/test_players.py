"""Playlists read by real players: mpd and VLC's library, of the system, or Debian's without root.

What each makes of a playlist must be the very names on the disk, apart from what it cannot read:

- mpd 0.23 cannot load names that begin with a space, whatever a playlist says (nor those that are
  not UTF-8 or hold a line end, which its protocol cannot spell). It takes URIs for plain paths
  (MusicPlayerDaemon/MPD#1831), so that of an XSPF it finds only the names without escapes.
- VLC 3 reads any XSPF. It takes the lines of an M3U for URIs: a plain path with ``#``, ``?`` or an
  escape in it is another file for it, and a line that is not UTF-8 none.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import numpy as np
import pytest
import soundfile

from myna_rpe.errors import TaskError
from myna_rpe.evaluation.corpus.debian import Debian
from myna_rpe.library.formats import Absolute, NamedPlaylist, PathStyle, Relative, write_playlist
from myna_rpe.library.tracks import Track

from ..library.test_formats import HOSTILE

pytestmark = pytest.mark.network

NAMES = [
    "plain.wav",
    "100% & <more> 'quoted' \"twice\".wav",
    "a%20b.wav",
    "#1.wav",
    "-rf.wav",
    " lead.wav",
    "Jo\u0301ga decomposed.wav",
    "J\u00f3ga composed.wav",
    "\U0001f3b5 夜に駆ける.wav",
    "back\\slash.wav",
    "sub folder/# in #.wav",
]


@dataclass(frozen=True)
class Player:
    program: str
    environment: dict[str, str]


def fetched(packages: list[str], folder: Path) -> Path:
    """Return the root of packages and all that they need and the system lacks."""
    try:
        debian = Debian(folder)
        for package in debian.needed_for(packages):
            debian.unpack(debian.download(package), folder / "root")
    except TaskError as error:
        pytest.skip(f"{packages[0]} is not to be had: {error}")
    return folder / "root"


def with_libraries(root: Path) -> dict[str, str]:
    folders = sorted({str(path.parent) for path in root.rglob("*.so*")})
    plain = [folder for folder in folders if "/vlc/plugins" not in folder]
    return os.environ | {"LD_LIBRARY_PATH": ":".join(plain)}


# --- mpd -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def player(tmp_path_factory: pytest.TempPathFactory) -> Player:
    """Return mpd; 38 MB are fetched where the system has none."""
    if system := shutil.which("mpd"):
        return Player(system, dict(os.environ))
    root = fetched(["mpd"], tmp_path_factory.mktemp("mpd"))
    return Player(str(root / "usr/bin/mpd"), with_libraries(root))


@dataclass
class Mpd:
    """A running mpd; its music lies in a folder."""

    music: Path
    address: Path

    def ask(self, command: str) -> list[str]:
        """Return the lines of the answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self.address))
            with connection.makefile("rw", encoding="utf-8", newline="\n") as file:
                assert file.readline().startswith("OK MPD")
                file.write(f"{command}\n")
                file.flush()
                lines = []
                while not (line := file.readline().rstrip("\n")).startswith(("OK", "ACK")):
                    lines.append(line)
                assert line == "OK", line
                return lines

    def read(self, playlist: str) -> list[str]:
        """Return the files of a playlist in the music folder, as the player sees them."""
        self.ask("clear")
        self.ask(f'load "{playlist}"')
        lines = self.ask("playlistinfo")
        return [line.removeprefix("file: ") for line in lines if line.startswith("file: ")]


@pytest.fixture
def mpd(player: Player, tmp_path: Path) -> Iterator[Mpd]:
    music = tmp_path / "music"
    for name in NAMES:
        (music / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(str(music / name), np.zeros(800, np.float32), 8000)
    (tmp_path / "mpd.conf").write_text(
        f'music_directory "{music}"\nplaylist_directory "{tmp_path}"\n'
        f'db_file "{tmp_path}/db"\nbind_to_address "{tmp_path}/socket"\n'
        f'log_file "{tmp_path}/log"\nfilesystem_charset "UTF-8"\n'
        'audio_output {\n type "null"\n name "none"\n}\n'
    )
    command = [player.program, "--no-daemon", str(tmp_path / "mpd.conf")]
    with subprocess.Popen(
        command, env=player.environment | {"LC_ALL": "C.UTF-8"}, stderr=subprocess.PIPE, text=True
    ) as process:
        running = Mpd(music, tmp_path / "socket")
        try:
            _wait_until(lambda: (tmp_path / "socket").exists() or process.poll() is not None)
            assert process.poll() is None, process.stderr and process.stderr.read()
            running.ask("update")
            _wait_until(lambda: not any("updating_db" in line for line in running.ask("status")))
            yield running
        finally:
            process.terminate()


def _wait_until(condition) -> None:
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("mpd did nothing for 30 s")


@pytest.mark.parametrize("style", [Absolute(), Relative()], ids=repr)
@pytest.mark.parametrize("extension", [".m3u8", ".m3u", ".xspf"])
def test_mpd_finds_the_files_of_a_playlist(mpd: Mpd, style: PathStyle, extension: str) -> None:
    known = [line.removeprefix("file: ") for line in mpd.ask("listall") if line[:4] == "file"]
    assert sorted(known) == sorted(NAMES)
    tracks = [Track(i, mpd.music / name, title=f"t{i}") for i, name in enumerate(NAMES)]
    path = mpd.music / f"list{extension}"
    assert write_playlist(NamedPlaylist("p", tracks), path, paths=style).refused == ()
    readable = [name for name in NAMES if name[0] != " "]
    if extension == ".xspf":
        readable = [name for name in readable if quote(name) == name]
    assert mpd.read(path.name) == readable


# --- VLC -----------------------------------------------------------------------------------------

# In a process of its own: where its libraries lie must be known when that starts.
LISTING = """
import ctypes, os, sys, time
vlc = ctypes.CDLL(sys.argv[1])
for name in ("new", "media_new_path", "media_subitems", "media_list_item_at_index"):
    getattr(vlc, f"libvlc_{name}").restype = ctypes.c_void_p
vlc.libvlc_media_get_mrl.restype = ctypes.c_char_p
options = (ctypes.c_char_p * 3)(b"--no-audio", b"--no-video", b"--quiet")
instance = ctypes.c_void_p(vlc.libvlc_new(3, options))
assert instance.value
media = ctypes.c_void_p(vlc.libvlc_media_new_path(instance, os.fsencode(sys.argv[2])))
vlc.libvlc_media_parse_with_options(media, 0, 20000)
while not vlc.libvlc_media_get_parsed_status(media):
    time.sleep(0.05)
items = ctypes.c_void_p(vlc.libvlc_media_subitems(media))
vlc.libvlc_media_list_lock(items)
for i in range(vlc.libvlc_media_list_count(items)):
    item = ctypes.c_void_p(vlc.libvlc_media_list_item_at_index(items, i))
    print(vlc.libvlc_media_get_mrl(item).decode())
"""


@pytest.fixture(scope="module")
def vlc(tmp_path_factory: pytest.TempPathFactory) -> Player:
    """Return VLC's library; 35 MB are fetched where the system has none."""
    if system := find_library("vlc"):
        return Player(system, dict(os.environ))
    root = fetched(["libvlc5", "vlc-plugin-base"], tmp_path_factory.mktemp("vlc"))
    plugins = next(root.rglob("vlc/plugins"))
    environment = with_libraries(root) | {"VLC_PLUGIN_PATH": str(plugins)}
    return Player("libvlc.so.5", environment)


def read_by_vlc(vlc: Player, playlist: Path) -> list[bytes]:
    answer = subprocess.run(
        [sys.executable, "-c", LISTING, vlc.program, str(playlist)],
        env=vlc.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    uris = answer.stdout.splitlines()
    return [os.path.normpath(unquote_to_bytes(uri.removeprefix("file://"))) for uri in uris]


@pytest.mark.parametrize("style", [Absolute(), Relative()], ids=repr)
@pytest.mark.parametrize("extension", [".m3u8", ".xspf"])
def test_vlc_finds_the_files_of_a_playlist(
    vlc: Player, tmp_path: Path, style: PathStyle, extension: str
) -> None:
    paths = [tmp_path / os.fsdecode(name) for name in HOSTILE]
    if extension == ".m3u8":
        paths = [path for path in paths if _is_plain(path.name)]
    tracks = [Track(i, path, title=f"t{i}") for i, path in enumerate(paths)]
    write_playlist(NamedPlaylist("p", tracks), tmp_path / f"p{extension}", paths=style)
    found = read_by_vlc(vlc, tmp_path / f"p{extension}")
    assert found == [os.path.normpath(os.fsencode(path)) for path in paths]


def _is_plain(name: str) -> bool:
    return (name.isprintable() and not re.search("[#?]|%[0-9A-Fa-f]{2}", name)) or "\n" in name

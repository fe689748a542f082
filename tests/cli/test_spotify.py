import json
import stat
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from myna_rpe.library.formats import Entries, Entry, read_playlist, write_entries
from myna_rpe.library.spotify import client, spotify_folder
from myna_rpe.storage import acquire_lock

from ..embedding_support import Ended, assert_one_sentence
from ..library.spotify.fake import FakeSpotify, Fault, Playlist, serving, song, uri

Myna = Callable[..., Ended]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, isolated_user_folders: Path) -> Iterator[FakeSpotify]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(isolated_user_folders / "config"))
    monkeypatch.delenv("MYNA_SPOTIFY_CLIENT_ID", raising=False)

    def agree(url: str) -> bool:
        threading.Thread(target=lambda: requests.get(url, timeout=10)).start()
        return True

    monkeypatch.setattr(webbrowser, "open", agree)
    with serving() as fake:
        fake.now = time.time()
        fake.catalogue = [song(i) for i in range(4)]
        monkeypatch.setattr(client, "API_URL", fake.api_url)
        monkeypatch.setattr(client, "ACCOUNTS_URL", fake.url)
        yield fake


@pytest.fixture
def playlist(tmp_path: Path) -> Path:
    """Return three that match, one that is unsure, and one that is missing."""
    entries = [
        Entry(f"/m/{i}.mp3", title=f"Title {i}", artist=f"Artist {i}", duration=200.0)
        for i in (2, 0, 1, 9)
    ]
    entries.insert(1, Entry("/m/x.mp3", title="Title 3", duration=200.0))
    write_entries(Entries("Mine", tuple(entries)), tmp_path / "mine.m3u8")
    return tmp_path / "mine.m3u8"


@pytest.fixture
def logged_in(myna: Myna, fake: FakeSpotify) -> FakeSpotify:
    ended = myna("spotify", "login", "--client-id", "client", "--port", "0")
    assert ended.code == 0, ended
    fake.requests.clear()
    return fake


def test_login_shows_the_page_and_keeps_the_tokens(myna: Myna, fake: FakeSpotify) -> None:
    ended = myna("spotify", "login", "--client-id", "client", "--port", "0")
    assert (ended.code, ended.out) == (0, "")
    assert f"open this page and agree: {fake.url}/authorize?client_id=client" in ended.err
    assert ended.err.endswith("logged in\n")
    tokens = spotify_folder() / "tokens.json"
    assert stat.S_IMODE(tokens.stat().st_mode) == 0o600
    secrets = json.loads(tokens.read_bytes())
    assert secrets["access_token"] not in ended.err
    assert secrets["refresh_token"] not in ended.err


def test_login_without_a_client_id_says_where_to_make_one(myna: Myna, fake: FakeSpotify) -> None:
    ended = myna("spotify", "login")
    assert_one_sentence(ended, "developer.spotify.com/dashboard", "MYNA_SPOTIFY_CLIENT_ID")


def test_commands_before_login_say_so(myna: Myna, fake: FakeSpotify, playlist: Path) -> None:
    for words in (["match", playlist], ["push", playlist], ["pull", uri(0)[14:], "-o", playlist]):
        assert_one_sentence(myna("spotify", *words), "run `myna spotify login`")


def test_match_counts_lists_and_asks_once(
    myna: Myna, logged_in: FakeSpotify, playlist: Path
) -> None:
    ended = myna("spotify", "match", playlist, "--json")
    assert ended.code == 0, ended
    assert "5 entries = 3 matched + 1 unsure + 1 missing; 5 asked now" in ended.err
    assert "unsure: Title 3\n" in ended.err
    assert "missing: Artist 9 - Title 9\n" in ended.err
    report = json.loads(ended.out)
    assert [match["uri"] for match in report["matches"]] == [uri(2), None, uri(0), uri(1), None]
    assert report["matched"] + report["unsure"] + report["missing"] == report["entries"] == 5
    logged_in.requests.clear()
    assert "; 0 asked now" in myna("spotify", "match", playlist).err
    assert logged_in.requests == []


def test_push_makes_updates_and_leaves(
    myna: Myna, logged_in: FakeSpotify, playlist: Path, tmp_path: Path
) -> None:
    review = tmp_path / "review.json"
    ended = myna("spotify", "push", playlist, "--review", review, "--json")
    assert ended.code == 0, ended
    assert "made 'Mine' with 3 tracks: https://open.spotify.com/playlist/" in ended.err
    report = json.loads(ended.out)
    assert (report["created"], report["matched"], report["entries"]) == (True, 3, 5)
    assert logged_in.playlists[0].uris == [uri(2), uri(0), uri(1)]
    data = json.loads(review.read_bytes())
    data["unsure"][0]["choice"] = data["unsure"][0]["candidates"][0]["uri"]
    review.write_text(json.dumps(data))
    ended = myna("spotify", "push", playlist, "--review", review)
    assert "changed 'Mine' with 4 tracks" in ended.err
    assert logged_in.playlists[0].uris == [uri(2), uri(3), uri(0), uri(1)]
    assert "up to date is 'Mine' with 4 tracks" in myna("spotify", "push", playlist).err
    assert len(logged_in.playlists) == 1
    assert myna("spotify", "push", playlist, "--name", "Other", "--public").code == 0
    assert [(p.name, p.public) for p in logged_in.playlists] == [("Other", True), ("Mine", False)]


def test_a_long_wait_is_one_sentence_now_and_later(
    myna: Myna, logged_in: FakeSpotify, playlist: Path
) -> None:
    logged_in.faults = [Fault("POST", "/items", 429, {"Retry-After": "20000"})]
    assert_one_sentence(myna("spotify", "push", playlist), "Spotify asks to wait until")
    logged_in.requests.clear()
    assert_one_sentence(myna("spotify", "push", playlist), "Spotify asks to wait until")
    assert logged_in.requests == []


def test_a_playlist_without_any_match_sends_nothing(
    myna: Myna, logged_in: FakeSpotify, tmp_path: Path
) -> None:
    write_entries(Entries("p", (Entry("/x", title="Unheard"),)), tmp_path / "p.jspf")
    ended = myna("spotify", "push", tmp_path / "p.jspf")
    assert ended.code == 1
    assert "1 entries = 0 matched + 0 unsure + 1 missing" in ended.err
    assert "has nothing that was found on Spotify; nothing was sent" in ended.err
    assert logged_in.playlists == []


def test_an_empty_playlist_is_pushed_empty(
    myna: Myna, logged_in: FakeSpotify, tmp_path: Path
) -> None:
    write_entries(Entries("None", ()), tmp_path / "p.xspf")
    assert "made 'None' with 0 tracks" in myna("spotify", "push", tmp_path / "p.xspf").err


def test_pull_writes_what_spotify_says(myna: Myna, logged_in: FakeSpotify, tmp_path: Path) -> None:
    logged_in.playlists = [Playlist("0" * 22, "Theirs", "", False, [uri(3), None, uri(1)])]
    ended = myna("spotify", "pull", "0" * 22, "-o", tmp_path / "t.jspf", "--json")
    assert "3 items = 2 written + 1 gone -> " in ended.err
    expected = {"output": str(tmp_path / "t.jspf"), "name": "Theirs", "written": 2, "gone": 1}
    assert json.loads(ended.out) == expected
    read = read_playlist(tmp_path / "t.jspf")
    assert (read.name, [entry.isrc for entry in read.entries]) == (
        "Theirs",
        ["XX0000000003", "XX0000000001"],
    )


def test_bad_files_are_refused_in_one_sentence(
    myna: Myna, logged_in: FakeSpotify, tmp_path: Path
) -> None:
    assert_one_sentence(myna("spotify", "push", tmp_path / "no.m3u8"), "cannot be read")
    assert_one_sentence(myna("spotify", "match", tmp_path / "no.pls"), "extension='.pls'")
    assert_one_sentence(myna("spotify", "pull", "nothing", "-o", "x.jspf"), "no playlist of Spot")
    assert logged_in.requests == []


def test_two_runs_at_once_are_not(myna: Myna, logged_in: FakeSpotify, playlist: Path) -> None:
    with acquire_lock(spotify_folder() / "work" / "lock"):
        assert_one_sentence(myna("spotify", "push", playlist), "by process", "wait for it")

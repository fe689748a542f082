from datetime import datetime
from pathlib import Path

import pytest

from myna_rpe.errors import ExportError
from myna_rpe.library.spotify import Client
from myna_rpe.library.spotify.client import SpotifyTrack, Visibility
from myna_rpe.library.spotify.http import UnsureError

from .conftest import new_client
from .fake import FakeSpotify, Fault, Playlist, song, uri


def test_a_short_wait_is_waited_out(client: Client, fake: FakeSpotify, waits: list[float]) -> None:
    fake.faults = [Fault("GET", "/search", 429, {"Retry-After": "7"})]
    assert client.search("x") == []
    assert waits == [7.0]


@pytest.mark.parametrize("asked", [None, "soon"])
def test_without_a_time_waits_grow(
    client: Client, fake: FakeSpotify, waits: list[float], asked: str | None
) -> None:
    headers = {"Retry-After": asked} if asked else {}
    fake.faults = [Fault("GET", "/search", 429, headers) for _ in range(3)]
    client.search("x")
    assert waits == [1.0, 2.0, 4.0]


def test_a_long_wait_is_kept_and_refuses_later_runs_politely(
    client: Client, fake: FakeSpotify, folder: Path, waits: list[float]
) -> None:
    fake.faults = [Fault("GET", "/search", 429, {"Retry-After": "20000"})]
    until = datetime.fromtimestamp(fake.now + 20_000).strftime("%Y-%m-%d %H:%M:%S")
    message = rf"Spotify asks to wait until {until}; .* run the same command again after that\."
    with pytest.raises(ExportError, match=message):
        client.search("x")
    count = len(fake.requests)
    fake.now += 19_999
    with pytest.raises(ExportError, match=message):
        new_client(fake, folder, waits).search("x")
    assert len(fake.requests) == count
    assert waits == []
    fake.now += 1
    assert new_client(fake, folder, waits).search("x") == []


def test_a_server_that_stays_busy_is_given_up(
    client: Client, fake: FakeSpotify, waits: list[float]
) -> None:
    fake.faults = [Fault("GET", "/search", 429, {"Retry-After": "3"}) for _ in range(9)]
    with pytest.raises(ExportError, match="busy, and was so 5 times in a row"):
        client.search("x")
    assert waits == [3.0] * 5


@pytest.mark.parametrize("status", [500, 502, 503, 0])
def test_reading_is_tried_again(
    client: Client, fake: FakeSpotify, waits: list[float], status: int
) -> None:
    fake.faults = [Fault("GET", "/search", status) for _ in range(2)]
    assert client.search("x") == []
    assert waits == [1.0, 2.0]
    fake.faults = [Fault("GET", "/search", status) for _ in range(9)]
    with pytest.raises(ExportError, match=r"failed 5 times in a row \(.*\); what was done is kept"):
        client.search("x")


@pytest.mark.parametrize("status", [500, 0])
def test_a_change_is_never_repeated_blindly(client: Client, fake: FakeSpotify, status: int) -> None:
    fake.faults = [Fault("POST", "/me/playlists", status, committed=True)]
    with pytest.raises(UnsureError):
        client.create("p", "", Visibility.private)
    assert len(fake.playlists) == 1


def test_the_old_paths_are_refused_and_never_asked(client: Client, fake: FakeSpotify) -> None:
    made = client.create("p", "", Visibility.private)
    for path in (f"/playlists/{made.id}/tracks", "/users/me/playlists"):
        with pytest.raises(ExportError, match=r"is refused by Spotify \(403 refused\); log in"):
            client._call(client.http.ask, "GET", path)
    fake.requests.clear()
    client.insert(made.id, [uri(1)], 0)
    client.replace(made.id, [uri(2)])
    client.items(made.id)
    client.remove(made.id, [uri(2)], "")
    assert {path.partition("?")[0] for _, path in fake.requests} == {
        f"/v1/playlists/{made.id}/items"
    }


@pytest.mark.parametrize("spelling", ["item", "track"])
@pytest.mark.parametrize("count", [0, 1, 50, 51, 250])
def test_items_are_read_in_both_spellings_and_all_pages(
    client: Client, fake: FakeSpotify, spelling: str, count: int
) -> None:
    fake.spelling = spelling
    fake.catalogue = [song(i) for i in range(count)]
    fake.playlists = [Playlist("p", "n", "", False, [uri(i) for i in range(count)])]
    found = client.items("p")
    assert [track.uri for track in found] == [uri(i) for i in range(count)]
    assert len(fake.asked("GET", "/items")) == max(-(-count // 50), 1)


def test_items_that_are_gone_keep_their_place(client: Client, fake: FakeSpotify) -> None:
    fake.catalogue = [song(1)]
    fake.playlists = [Playlist("p", "n", "", False, [None, uri(1), None])]
    assert [track and track.uri for track in client.items("p")] == [None, uri(1), None]


def test_a_track_without_most_of_its_fields_is_one(client: Client) -> None:
    bare = {"uri": "u", "name": None, "artists": None, "external_ids": None, "duration_ms": None}
    assert SpotifyTrack.from_payload(bare) == SpotifyTrack("u")
    assert SpotifyTrack.from_payload({"uri": "u"}) == SpotifyTrack("u")
    for payload in (None, [], {}, {"uri": 3}):
        assert SpotifyTrack.from_payload(payload) is None
    full = SpotifyTrack(
        "spotify:track:" + "0" * 21 + "1", "Title 1", ("Artist 1",), "Album", 200.001
    )
    assert SpotifyTrack.from_payload(song(1, external_ids={})) == full


def test_a_refusal_names_what_was_asked_and_no_token(client: Client, fake: FakeSpotify) -> None:
    with pytest.raises(ExportError, match=r"^request='GET /playlists/none' .*\(404 refused\)") as e:
        client.playlist("none")
    assert not any(token in str(e.value) for token in [*fake.tokens, *fake.refreshes])


def test_no_way_to_spotify_is_said(folder: Path, fake: FakeSpotify, waits: list[float]) -> None:
    client = new_client(fake, folder, waits)
    client._api_url = "http://127.0.0.1:9/v1"
    with pytest.raises(ExportError, match=r"failed 5 times in a row \(ConnectionError\)"):
        client.search("secret words")

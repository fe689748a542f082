import itertools
import json
from pathlib import Path

import pytest

from myna_rpe.errors import ExportError
from myna_rpe.library.spotify import Client, push_playlist
from myna_rpe.library.spotify.client import Visibility

from .conftest import new_client
from .fake import FakeSpotify, Fault, uri

SIZES = [0, 1, 100, 101, 250]


def uris(count: int, start: int = 0) -> list[str]:
    return [uri(i) for i in range(start, start + count)]


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("spelling", ["item", "track"])
def test_a_new_playlist_holds_the_tracks_in_order(
    client: Client, fake: FakeSpotify, count: int, spelling: str
) -> None:
    fake.spelling = spelling
    done = push_playlist(client, "Mine", uris(count))
    (playlist,) = fake.playlists
    assert playlist.uris == uris(count)
    assert (playlist.name, playlist.public) == ("Mine", False)
    assert (done.created, done.items) == (True, count)
    assert fake.changes == [("POST", n) for n in (100,) * (count // 100) + (count % 100,) if n]
    assert done.url == f"https://open.spotify.com/playlist/{playlist.id}"


def test_a_second_push_changes_nothing_and_reads_no_item(
    client: Client, fake: FakeSpotify, folder: Path, waits: list[float]
) -> None:
    push_playlist(client, "Mine", uris(101))
    fake.requests.clear()
    done = push_playlist(new_client(fake, folder, waits), "Mine", uris(101))
    assert (done.created, done.requests) == (False, 0)
    assert fake.asked("GET", "/items") == []
    assert len(fake.requests) == 1


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(SIZES, 2)))
def test_an_update_stays_in_place(
    client: Client, fake: FakeSpotify, before: int, after: int
) -> None:
    push_playlist(client, "Mine", uris(before))
    done = push_playlist(client, "Mine", uris(after))
    assert not done.created
    assert len(fake.playlists) == 1
    assert fake.playlists[0].uris == uris(after)


def test_duplicates_and_order_are_kept(client: Client, fake: FakeSpotify) -> None:
    for want in ([1, 2, 1, 1, 3], [3, 1, 1, 2, 1], [1], [1, 1, 1], [2, 1, 1]):
        push_playlist(client, "Mine", [uri(i) for i in want])
        assert fake.playlists[0].uris == [uri(i) for i in want]


def test_changes_by_hand_are_put_right(client: Client, fake: FakeSpotify) -> None:
    push_playlist(client, "Mine", uris(120))
    playlist = fake.playlists[0]
    playlist.uris[3:5] = [uri(999), None]
    playlist.snapshot += 1
    push_playlist(client, "Mine", uris(120))
    assert playlist.uris == uris(120)


def test_each_name_has_its_own_playlist(client: Client, fake: FakeSpotify) -> None:
    push_playlist(client, "A", uris(2))
    push_playlist(client, "B", uris(3), visibility=Visibility.public)
    assert {p.name: (len(p.uris), p.public) for p in fake.playlists} == {
        "A": (2, False),
        "B": (3, True),
    }


def test_a_playlist_that_was_removed_from_the_library_is_made_anew(
    client: Client, fake: FakeSpotify
) -> None:
    push_playlist(client, "Mine", uris(2))
    fake.playlists[0].in_library = False
    assert push_playlist(client, "Mine", uris(2)).created
    assert [len(p.uris) for p in fake.playlists] == [2, 2]


# --- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("status", [500, 503, 0])
@pytest.mark.parametrize("skip", [0, 1, 2])
def test_a_failed_change_adds_nothing_twice(
    client: Client, fake: FakeSpotify, skip: int, status: int, committed: bool
) -> None:
    fake.faults = [Fault("POST", "/items", status, committed=committed, skip=skip)]
    push_playlist(client, "Mine", uris(250))
    assert fake.playlists[0].uris == uris(250)
    assert fake.faults == []
    assert sum(count for _, count in fake.changes) == 250


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_failed_update_ends_right(
    client: Client, fake: FakeSpotify, method: str, committed: bool
) -> None:
    push_playlist(client, "Mine", uris(150))
    fake.faults = [Fault(method, "/items", 500, committed=committed)]
    want = uris(150, start=500) if method == "PUT" else uris(140)
    push_playlist(client, "Mine", want)
    assert fake.playlists[0].uris == want
    assert fake.faults == []


@pytest.mark.parametrize("status", [500, 0])
@pytest.mark.parametrize("committed", [True, False])
def test_a_failed_creation_makes_one_playlist(
    client: Client, fake: FakeSpotify, status: int, committed: bool
) -> None:
    fake.faults = [Fault("POST", "/me/playlists", status, committed=committed)]
    push_playlist(client, "Mine", uris(2))
    assert len(fake.playlists) == 1


def test_a_run_killed_while_creating_finds_its_playlist_again(
    client: Client, fake: FakeSpotify, folder: Path, waits: list[float]
) -> None:
    def killed(seconds: float) -> None:
        raise KeyboardInterrupt

    fake.faults = [Fault("POST", "/me/playlists", 500, committed=True)]
    client.http.sleep = killed
    with pytest.raises(KeyboardInterrupt):
        push_playlist(client, "Mine", uris(2))
    done = push_playlist(new_client(fake, folder, waits), "Mine", uris(2))
    assert not done.created
    assert [playlist.uris for playlist in fake.playlists] == [uris(2)]


@pytest.mark.parametrize("skip", [0, 1, 2])
def test_a_long_wait_in_the_middle_is_gone_on_from_later(
    client: Client, fake: FakeSpotify, folder: Path, waits: list[float], skip: int
) -> None:
    fake.faults = [Fault("POST", "/items", 429, {"Retry-After": "20000"}, skip=skip)]
    with pytest.raises(ExportError, match="asks to wait until"):
        push_playlist(client, "Mine", uris(250))
    assert fake.playlists[0].uris == uris(100 * skip)
    fake.now += 20_001
    push_playlist(new_client(fake, folder, waits), "Mine", uris(250))
    assert [playlist.uris for playlist in fake.playlists] == [uris(250)]
    assert fake.changes == [("POST", 100), ("POST", 100), ("POST", 50)]


def test_a_token_that_ends_in_the_middle_is_renewed(client: Client, fake: FakeSpotify) -> None:
    fake.faults = [Fault("POST", "/items", 401, skip=1)]
    push_playlist(client, "Mine", uris(250))
    assert fake.playlists[0].uris == uris(250)
    assert len(fake.asked("POST", "/api/token")) == 1


def test_failures_without_end_are_given_up_and_gone_on_from_later(
    client: Client, fake: FakeSpotify, folder: Path, waits: list[float]
) -> None:
    fake.faults = [Fault("POST", "/items", 500, skip=1) for _ in range(5)]
    with pytest.raises(ExportError, match=r"failed 5 times in a row \(500 "):
        push_playlist(client, "Mine", uris(250))
    assert fake.playlists[0].uris == uris(100)
    push_playlist(new_client(fake, folder, waits), "Mine", uris(250))
    assert [playlist.uris for playlist in fake.playlists] == [uris(250)]


def test_a_playlist_that_another_program_changes_all_the_time_is_given_up(
    client: Client, fake: FakeSpotify, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = client.items

    def meddled(playlist_id: str) -> list[object]:
        fake.playlists[0].uris.append(uri(999))
        fake.playlists[0].snapshot += 1
        return items(playlist_id)

    monkeypatch.setattr(client, "items", meddled)
    monkeypatch.setattr(client, "remove", lambda *arguments: "x")
    monkeypatch.setattr(client, "replace", lambda *arguments: "x")
    with pytest.raises(ExportError, match="is another program changing it"):
        push_playlist(client, "Mine", uris(3))


def test_too_many_tracks_are_refused_before_anything_is_asked(
    client: Client, fake: FakeSpotify
) -> None:
    with pytest.raises(ExportError, match=r"items=10001 are more than .*\(10000\); split it"):
        push_playlist(client, "Mine", ["spotify:track:x"] * 10_001)
    assert fake.requests == []


def test_hostile_names_are_sent_as_one_line(client: Client, fake: FakeSpotify) -> None:
    push_playlist(client, "a\nb\udcff" + "x" * 200, [])
    assert fake.playlists[0].name == ("a b\ufffd" + "x" * 200)[:100]


def test_damaged_state_is_named_and_left(client: Client, fake: FakeSpotify, folder: Path) -> None:
    (folder / "state.json").write_text("[]")
    with pytest.raises(ExportError, match=r"state\.json' is damaged"):
        new_client(fake, folder, [])
    assert json.loads((folder / "state.json").read_text()) == []

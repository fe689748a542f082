import json
import os
import socket
import stat
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from myna_rpe.errors import ExportError
from myna_rpe.library.spotify import Client, Login, find_client_id
from myna_rpe.library.spotify.auth import Tokens, challenge_of

from .conftest import new_client
from .fake import FakeSpotify


@pytest.fixture
def stranger(fake: FakeSpotify, tmp_path: Path, waits: list[float]) -> Client:
    return new_client(fake, tmp_path / "new" / "spotify", waits)


def in_browser(url: str) -> None:
    threading.Thread(target=lambda: requests.get(url, timeout=10)).start()


def login(**changes: object) -> Login:
    return Login(**{"client_id": "client", "open_url": in_browser, "port": 0, **changes})


def test_the_challenge_is_that_of_the_standard() -> None:
    # RFC 7636, appendix B.
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_logging_in_gives_tokens_that_work(stranger: Client, fake: FakeSpotify) -> None:
    stranger.log_in(login())
    assert list(stranger.playlists()) == []
    path = stranger.state.folder / "tokens.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_bytes())["client_id"] == "client"
    assert find_client_id(None, stranger.state.folder) == "client"


def test_the_tokens_are_never_readable_by_others(
    stranger: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    sync = os.fsync

    def spy(handle: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(handle).st_mode))
        sync(handle)

    monkeypatch.setattr(os, "fsync", spy)
    old = os.umask(0)
    try:
        stranger.log_in(login())
    finally:
        os.umask(old)
    assert modes[0] == 0o600


def test_the_question_has_pkce_and_a_loopback_address(stranger: Client) -> None:
    asked = []
    stranger.log_in(login(open_url=lambda url: (asked.append(url), in_browser(url))[-1]))
    query = {name: values[0] for name, values in parse_qs(urlsplit(asked[0]).query).items()}
    assert urlsplit(query["redirect_uri"]).hostname == "127.0.0.1"
    assert urlsplit(query["redirect_uri"]).path == "/callback"
    assert query["code_challenge_method"] == "S256"
    assert len(query["state"]) >= 32
    assert "client_secret" not in query


def test_an_answer_with_another_state_is_not_taken(stranger: Client, fake: FakeSpotify) -> None:
    statuses = []

    def attacked(url: str) -> None:
        redirect = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        forged = ("?code=evil&state=x", "?code=evil", "?state=%FF", "/../other?code=evil")
        statuses.extend(requests.get(redirect + end, timeout=10).status_code for end in forged)
        in_browser(url)

    stranger.log_in(login(open_url=attacked))
    assert statuses == [400, 400, 400, 404]
    assert len(fake.asked("POST", "/api/token")) == 1


def test_an_idle_connection_does_not_keep_the_answer_out(stranger: Client) -> None:
    with socket.socket() as idle:

        def open_url(url: str) -> None:
            address = urlsplit(parse_qs(urlsplit(url).query)["redirect_uri"][0])
            idle.connect((address.hostname, address.port))
            in_browser(url)

        stranger.log_in(login(open_url=open_url))


def test_a_refusal_by_the_user_is_said(stranger: Client, fake: FakeSpotify) -> None:
    fake.consent = False
    with pytest.raises(ExportError, match=r"login was refused \('access_denied'\); run"):
        stranger.log_in(login())


def test_no_answer_ends_the_waiting(stranger: Client) -> None:
    with pytest.raises(ExportError, match=r"not answered within 0 s; .*127\.0\.0\.1:\d+/callback"):
        stranger.log_in(login(open_url=lambda url: None, timeout=0.05))


def test_a_port_that_is_taken_is_named(stranger: Client) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ExportError, match=rf"port={port} cannot be listened on"):
            stranger.log_in(login(port=port))


def test_a_wrong_client_id_is_refused_in_words(stranger: Client, fake: FakeSpotify) -> None:
    def open_url(url: str) -> None:
        fake.client_id = "other"
        redirect = parse_qs(urlsplit(url).query)
        answer = f"{redirect['redirect_uri'][0]}?code=c&state={redirect['state'][0]}"
        in_browser(answer)

    with pytest.raises(ExportError, match=r"login is refused by Spotify \(invalid_client\)"):
        stranger.log_in(login(open_url=open_url))


@pytest.mark.parametrize("rotates", [True, False])
def test_a_token_is_renewed_before_its_end(
    client: Client, fake: FakeSpotify, folder: Path, rotates: bool, waits: list[float]
) -> None:
    fake.rotates = rotates
    fake.now += fake.lifetime - 30
    list(client.playlists())
    assert len(fake.asked("POST", "/api/token")) == 1
    for _ in range(2):
        fake.now += fake.lifetime
        list(new_client(fake, folder, waits).playlists())
    assert len(fake.asked("POST", "/api/token")) == 3
    assert stat.S_IMODE((folder / "tokens.json").stat().st_mode) == 0o600


def test_a_token_that_is_refused_is_renewed_once(client: Client, fake: FakeSpotify) -> None:
    fake.tokens.clear()
    list(client.playlists())
    assert len(fake.asked("POST", "/api/token")) == 1
    fake.tokens.clear()
    fake.lifetime = -1.0  # what is granted now is worth nothing
    with pytest.raises(ExportError, match=r"refused by Spotify \(401 .*myna spotify login"):
        list(client.playlists())


def test_a_withdrawn_login_is_said(client: Client, fake: FakeSpotify) -> None:
    fake.tokens.clear()
    fake.refreshes.clear()
    with pytest.raises(ExportError, match=r"login is refused .*invalid_grant.*myna spotify login"):
        list(client.playlists())


def test_without_a_login_nothing_is_asked(stranger: Client, fake: FakeSpotify) -> None:
    with pytest.raises(ExportError, match=r"login is missing: .*run `myna spotify login`"):
        list(stranger.playlists())
    assert fake.requests == []


def test_damaged_tokens_are_named(client: Client, folder: Path) -> None:
    (folder / "tokens.json").write_text("{")
    with pytest.raises(ExportError, match=r"tokens\.json' is damaged"):
        list(client.playlists())


def test_a_missing_client_id_says_where_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MYNA_SPOTIFY_CLIENT_ID", raising=False)
    with pytest.raises(ExportError, match=r"developer\.spotify\.com/dashboard.*127\.0\.0\.1:8898"):
        find_client_id(None, tmp_path)
    monkeypatch.setenv("MYNA_SPOTIFY_CLIENT_ID", "mine")
    assert find_client_id(None, tmp_path) == "mine"
    assert find_client_id("given", tmp_path) == "given"


def test_secrets_are_not_shown() -> None:
    assert "hush" not in repr(Tokens("id", "hush", "hush", 0.0))

"""A fake Spotify, and a client that is logged in there; time is the fake's, and waits pass it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from myna_rpe.library.spotify import Client, State
from myna_rpe.library.spotify.state import write_private

from .fake import FakeSpotify, serving


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSpotify]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as fake:
        yield fake


@pytest.fixture
def folder(tmp_path: Path, fake: FakeSpotify) -> Path:
    """Return a folder with good tokens in it."""
    granted = fake.grant()
    tokens = {
        "client_id": fake.client_id,
        "access_token": granted["access_token"],
        "refresh_token": granted["refresh_token"],
        "expires_at": fake.now + fake.lifetime,
    }
    write_private(tmp_path / "spotify" / "tokens.json", tokens)
    return tmp_path / "spotify"


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(fake: FakeSpotify, folder: Path, waits: list[float]) -> Client:
    return new_client(fake, folder, waits)


def new_client(fake: FakeSpotify, folder: Path, waits: list[float]) -> Client:
    """Return what a new run has."""

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        fake.now += seconds

    return Client(
        State(folder),
        sleep=sleep,
        clock=lambda: fake.now,
        api_url=fake.api_url,
        accounts_url=fake.url,
    )

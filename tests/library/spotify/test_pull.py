import pytest

from myna_rpe.errors import ExportError
from myna_rpe.library.formats import Entries, Entry, read_playlist, write_entries
from myna_rpe.library.spotify import Client, match_entries, pull_playlist

from .fake import FakeSpotify, Playlist, song, uri

ID = "37i9dQZF1DXcBWIGoYBM5M"


@pytest.mark.parametrize("spelling", ["item", "track"])
@pytest.mark.parametrize(
    "address",
    [
        ID,
        f" spotify:playlist:{ID} ",
        f"https://open.spotify.com/playlist/{ID}?si=abc",
        f"https://open.spotify.com/intl-de/playlist/{ID}",
    ],
)
def test_a_playlist_comes_with_all_it_says(
    client: Client, fake: FakeSpotify, address: str, spelling: str
) -> None:
    fake.spelling = spelling
    two = song(2, artists=[{"name": "A"}, {"name": "B"}], external_ids={})
    fake.catalogue = [song(1), two]
    fake.playlists = [Playlist(ID, "Theirs", "", False, [uri(2), None, uri(1)])]
    pulled = pull_playlist(client, address)
    assert pulled.gone == 1
    assert pulled.entries == Entries(
        "Theirs",
        (
            Entry(uri(2), None, "Title 2", "A, B", "Album", None, 200.002),
            Entry(uri(1), None, "Title 1", "Artist 1", "Album", None, 200.001, "XX0000000001"),
        ),
    )


def test_what_was_pulled_is_pushed_again_without_a_question(
    client: Client, fake: FakeSpotify, tmp_path
) -> None:
    fake.catalogue = [song(i) for i in range(3)]
    fake.playlists = [Playlist(ID, "Theirs", "", False, [uri(2), uri(0)])]
    write_entries(pull_playlist(client, ID).entries, tmp_path / "p.jspf")
    fake.requests.clear()
    assert match_entries(client, read_playlist(tmp_path / "p.jspf").entries).uris == [
        uri(2),
        uri(0),
    ]
    assert fake.requests == []


@pytest.mark.parametrize(
    "address",
    ["", "x", "../../me", f"https://evil.example/playlist/{ID}", f"spotify:track:{ID}", ID + "x"],
)
def test_what_is_no_playlist_is_refused_before_anything_is_asked(
    client: Client, fake: FakeSpotify, address: str
) -> None:
    with pytest.raises(ExportError, match="is no playlist of Spotify"):
        pull_playlist(client, address)
    assert fake.requests == []


def test_a_playlist_that_is_not_there_is_said(client: Client) -> None:
    with pytest.raises(ExportError, match=r"\(404 refused\); check the playlist's id"):
        pull_playlist(client, ID)

"""Playlists on Spotify, by its Web API as of 2026.

Everything is done as the user, with a client id of the user's own: Spotify gives one to everybody
who asks (https://developer.spotify.com/dashboard), and none may be shared.

`auth` logs in and keeps the tokens, `client` asks and waits, `matching` compares an entry with
what Spotify offers, `matches` finds and remembers, `changes` says how one list becomes another,
`push` carries that out, `pull` reads. `state` is what stays between runs.
"""

from .auth import Login, find_client_id, log_in
from .client import ACCOUNTS_URL, API_URL, Client
from .matches import Matched, match_entries, take_decisions, write_review
from .pull import Pulled, pull_playlist
from .push import Pushed, push_playlist
from .state import State, spotify_folder

__all__ = [
    "ACCOUNTS_URL",
    "API_URL",
    "Client",
    "Login",
    "Matched",
    "Pulled",
    "Pushed",
    "State",
    "find_client_id",
    "log_in",
    "match_entries",
    "pull_playlist",
    "push_playlist",
    "spotify_folder",
    "take_decisions",
    "write_review",
]

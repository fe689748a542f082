"""Logging in: authorization code with PKCE, answered on a port of this machine.

There is no client secret. The browser is sent back to ``http://127.0.0.1:PORT/callback`` (Spotify
refuses ``localhost``); the code in that address is worth nothing without the verifier, which stays
in this process. Tokens lie in a file that only the user may read, and are in no message.

Source: RFC 7636 (PKCE, S256), RFC 8252 (loopback redirect),
https://developer.spotify.com/documentation/web-api/tutorials/code-pkce-flow
"""

import base64
import hashlib
import os
import queue
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import requests

from ...errors import ExportError
from .http import Http
from .state import read_json, write_private

PORT = 8898
"""Of the redirect address that the app must name."""

CLIENT_ID_VARIABLE = "MYNA_SPOTIFY_CLIENT_ID"

_SCOPES = (
    "playlist-read-private playlist-read-collaborative playlist-modify-private "
    "playlist-modify-public"
)
_EARLY = 60.0  # seconds before its end that a token is renewed

_FILE = "tokens.json"


@dataclass(frozen=True)
class Tokens:
    """What Spotify gave us for a user; ``expires_at`` in seconds since 1970."""

    client_id: str
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: float


@dataclass(frozen=True)
class Login:
    """How to log in.

    Attributes:
        client_id: of the user's own app.
        open_url: shows the user the page where Spotify asks for consent.
        port: of the redirect address; 0: any that is free.
        timeout: seconds to wait for the user.
    """

    client_id: str
    open_url: Callable[[str], None]
    port: int = PORT
    timeout: float = 300.0


class Access:
    """The user's tokens, renewed in time.

    Args:
        folder: of the token file.
        http: asks for new ones.
        accounts_url: of Spotify's accounts service.
    """

    def __init__(self, folder: Path, http: Http, accounts_url: str) -> None:
        self._path = folder / _FILE
        self._http = http
        self._accounts_url = accounts_url
        self._tokens: Tokens | None = None

    def token(self) -> str:
        """Return an access token that is good for a minute or more.

        Raises:
            ExportError: nobody is logged in, or not any longer.
        """
        if self._read().expires_at - self._http.clock() < _EARLY:
            self.renew()
        return self._read().access_token

    def renew(self) -> None:
        """Get a new access token, whatever the old one is worth.

        Raises:
            ExportError: the login was withdrawn.
        """
        old = self._read()
        form = {
            "grant_type": "refresh_token",
            "refresh_token": old.refresh_token,
            "client_id": old.client_id,
        }
        response = self._http.ask("POST", f"{self._accounts_url}/api/token", data=form)
        self.keep(response, old.client_id, old.refresh_token)

    def keep(self, response: requests.Response, client_id: str, refresh_token: str = "") -> None:
        """Store the tokens of an answer.

        Args:
            response: of the token endpoint.
            client_id: they were given to.
            refresh_token: used where the answer has no new one.

        Raises:
            ExportError: the answer has none.
        """
        try:
            fields = response.json()
            if response.status_code != 200:
                raise ExportError(
                    f"login is refused by Spotify ({_why(fields)}); check the client id and run "
                    "`myna spotify login` again."
                )
            self._tokens = Tokens(
                client_id,
                str(fields["access_token"]),
                str(fields.get("refresh_token") or refresh_token),
                self._http.clock() + float(fields["expires_in"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ExportError(
                f"login got an answer that is none (status {response.status_code}); check the "
                "network, and run the same command again."
            ) from error
        write_private(self._path, asdict(self._tokens))

    def _read(self) -> Tokens:
        if self._tokens is None:
            try:
                self._tokens = Tokens(**read_json(self._path))
            except TypeError as error:
                raise ExportError(
                    "login is missing: Spotify does not know who asks; run `myna spotify login`."
                ) from error
        return self._tokens


def find_client_id(given: str | None, folder: Path) -> str:
    """Return the user's client id: given, of the environment, or of the last login.

    Raises:
        ExportError: there is none; the message says where to make one.
    """
    last = read_json(folder / _FILE).get("client_id")
    found = given or os.environ.get(CLIENT_ID_VARIABLE) or last
    if not found:
        raise ExportError(
            "client_id is missing, and Spotify gives every user their own; make an app at "
            "https://developer.spotify.com/dashboard with the Web API and the redirect URI "
            f"http://127.0.0.1:{PORT}/callback, and give its Client ID by --client-id or "
            f"{CLIENT_ID_VARIABLE}."
        )
    return str(found)


def log_in(login: Login, http: Http, folder: Path, *, accounts_url: str) -> None:
    """Ask the user for consent in a browser, and store the tokens.

    Raises:
        ExportError: the port is taken, the user refuses or does not answer, or Spotify refuses.
    """
    verifier, state = secrets.token_urlsafe(64), secrets.token_urlsafe(32)
    with _Loopback(login.port, state) as loopback:
        question = {
            "client_id": login.client_id,
            "response_type": "code",
            "redirect_uri": loopback.redirect_uri,
            "scope": _SCOPES,
            "state": state,
            "code_challenge_method": "S256",
            "code_challenge": challenge_of(verifier),
        }
        login.open_url(f"{accounts_url}/authorize?{urlencode(question)}")
        code = loopback.code(login.timeout)
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": loopback.redirect_uri,
        "client_id": login.client_id,
        "code_verifier": verifier,
    }
    # A code works once, but a second use after a lost answer costs nothing.
    response = http.ask("POST", f"{accounts_url}/api/token", data=form)
    Access(folder, http, accounts_url).keep(response, login.client_id)


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636, section 4.2)."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


class _Loopback:
    """A web server that waits for one answer; what others ask of it is not answered."""

    def __init__(self, port: int, state: str) -> None:
        answers: queue.Queue[Mapping[str, str]] = queue.Queue()
        self._answers = answers

        class Handler(BaseHTTPRequestHandler):
            timeout = 30

            def do_GET(self) -> None:
                address = urlsplit(self.path)
                fields = {name: values[0] for name, values in parse_qs(address.query).items()}
                # An answer to a question of somebody else, or an old one of ours.
                ours = secrets.compare_digest(fields.get("state", "").encode(), state.encode())
                if address.path != "/callback" or not ours:
                    self.send_error(404 if address.path != "/callback" else 400)
                    return
                page = b"myna has the answer; you may close this page.\n"
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)
                answers.put(fields)

            def log_message(self, *arguments: Any) -> None:
                """Say nothing: the address holds the code."""

        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except (OSError, OverflowError) as error:
            raise ExportError(
                f"port={port} cannot be listened on ({error}); end the program that has it, or "
                "give another --port, which the app's redirect URI must name too."
            ) from error
        self.redirect_uri = f"http://127.0.0.1:{self._server.server_port}/callback"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    def __enter__(self) -> "_Loopback":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def code(self, timeout: float) -> str:
        try:
            fields = self._answers.get(timeout=timeout)
        except queue.Empty as error:
            raise ExportError(
                f"login was not answered within {timeout:.0f} s; run `myna spotify login` again, "
                f"and check that the app's redirect URI is {self.redirect_uri}."
            ) from error
        if "code" not in fields:
            raise ExportError(
                f"login was refused ({fields.get('error', 'no code')[:80]!r}); run `myna spotify "
                "login` again and agree."
            )
        return fields["code"]


def _why(fields: Mapping[str, Any]) -> str:
    words = [fields.get("error"), fields.get("error_description")]
    return ": ".join(word for word in words if isinstance(word, str))[:200] or "no reason given"

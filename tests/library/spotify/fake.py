"""A local Spotify: its accounts service and Web API as of 2026, with the faults of real ones.

Strict where the real one is: old paths are refused with 403, tokens expire, a code is good once
and for its verifier only, a redirect to ``localhost`` is refused, a search gives 10 results at
most, a change takes 100 items, a page has 50.
"""

import base64
import hashlib
import json
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit


@dataclass
class Fault:
    """What the next matching request meets.

    ``committed``: the change is made before the failure is told. ``status`` 0 cuts the connection.
    ``skip``: so many matching requests pass first.
    """

    method: str
    path: str
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    committed: bool = False
    skip: int = 0


@dataclass
class Playlist:
    id: str
    name: str
    description: str
    public: bool
    uris: list[str | None] = field(default_factory=list)
    snapshot: int = 0
    in_library: bool = True


def song(number: int, **changes: Any) -> dict[str, Any]:
    """Return a track as the API describes it."""
    return {
        "uri": uri(number),
        "name": f"Title {number}",
        "artists": [{"name": f"Artist {number}"}],
        "album": {"name": "Album"},
        "duration_ms": 200_000 + number,
        "external_ids": {"isrc": f"XX0000{number:06d}"},
        **changes,
    }


def uri(number: int) -> str:
    return f"spotify:track:{number:022d}"


@dataclass
class FakeSpotify:
    """What there is, what fails, and what was asked.

    Attributes:
        spelling: of an item's track, ``item`` or ``track``.
        now: seconds since 1970; tokens expire by it.
        requests: method and path with query of all that was asked.
    """

    url: str = ""
    client_id: str = "client"
    catalogue: list[dict[str, Any]] = field(default_factory=list)
    playlists: list[Playlist] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    spelling: str = "item"
    now: float = 1_800_000_000.0
    lifetime: float = 3600.0
    consent: bool = True
    requests: list[tuple[str, str]] = field(default_factory=list)
    changes: list[tuple[str, int]] = field(default_factory=list)
    tokens: dict[str, float] = field(default_factory=dict)
    refreshes: set[str] = field(default_factory=set)
    codes: dict[str, tuple[str, str]] = field(default_factory=dict)
    rotates: bool = True

    @property
    def api_url(self) -> str:
        return f"{self.url}/v1"

    def asked(self, method: str, pattern: str) -> list[str]:
        return [path for m, path in self.requests if m == method and re.search(pattern, path)]

    def grant(self) -> dict[str, Any]:
        access = secrets.token_hex(8)
        self.tokens[access] = self.now + self.lifetime
        refresh = f"refresh-{secrets.token_hex(8)}"
        self.refreshes.add(refresh)
        return {"access_token": access, "refresh_token": refresh, "expires_in": self.lifetime}

    # --- accounts ---

    def authorize(self, query: dict[str, str]) -> tuple[int, dict[str, str], Any]:
        redirect = query["redirect_uri"]
        if query["client_id"] != self.client_id or query["response_type"] != "code":
            return 400, {}, "client"
        if urlsplit(redirect).hostname != "127.0.0.1" or query["code_challenge_method"] != "S256":
            return 400, {}, "redirect"
        answer = {"state": query["state"]}
        if self.consent:
            code = secrets.token_hex(8)
            self.codes[code] = (query["code_challenge"], redirect)
            answer["code"] = code
        else:
            answer["error"] = "access_denied"
        return 302, {"Location": f"{redirect}?{urlencode(answer)}"}, {}

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, str], Any]:
        refused = 400, {}, {"error": "invalid_grant", "error_description": "it is revoked"}
        if form.get("client_id") != self.client_id:
            return 400, {}, {"error": "invalid_client"}
        if form["grant_type"] == "authorization_code":
            challenge, redirect = self.codes.pop(form["code"], ("", ""))
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            given = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            if given != challenge or form["redirect_uri"] != redirect:
                return refused
            return 200, {}, self.grant()
        if form["refresh_token"] not in self.refreshes:
            return refused
        granted = self.grant()
        if self.rotates:
            self.refreshes.discard(form["refresh_token"])
        else:
            self.refreshes.discard(granted.pop("refresh_token"))
        return 200, {}, granted

    # --- Web API ---

    def api(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if re.fullmatch(r"/playlists/[^/]+/tracks|/users/[^/]+/playlists", path):
            return 403, None
        if (method, path) == ("GET", "/search"):
            return self.search(query)
        if (method, path) == ("GET", "/me/playlists"):
            mine = [self.summary(p) for p in self.playlists if p.in_library]
            return 200, self.page(mine, query)
        if (method, path) == ("POST", "/me/playlists"):
            playlist = Playlist(
                f"{len(self.playlists):022d}", body["name"], body["description"], body["public"]
            )
            self.playlists.insert(0, playlist)
            return 201, self.summary(playlist)
        found = re.fullmatch(r"/playlists/([^/]+)(/items)?", path)
        playlist = next((p for p in self.playlists if found and p.id == found[1]), None)
        if playlist is None:
            return 404, None
        if found and not found[2]:
            return 200, self.summary(playlist)
        return self.items(method, playlist, query, body)

    def search(self, query: dict[str, str]) -> tuple[int, Any]:
        if int(query["limit"]) > 10 or query["type"] != "track":
            return 400, None
        words = query["q"]
        if words.startswith("isrc:"):
            hits = [s for s in self.catalogue if _isrc(s) == words[5:]]
        else:
            wanted = re.sub(r'track:|artist:|"', "", words).casefold().split()
            hits = [s for s in self.catalogue if set(wanted) <= set(_words(s))]
        hidden = [{k: v for k, v in hit.items() if k != "hidden_isrc"} for hit in hits]
        return 200, {"tracks": {"items": hidden[: int(query["limit"])], "total": len(hits)}}

    def items(
        self, method: str, playlist: Playlist, query: dict[str, str], body: Any
    ) -> tuple[int, Any]:
        if method == "GET":
            known = {s["uri"]: s for s in self.catalogue}
            items = [
                {self.spelling: known.get(u, {"uri": u, "name": "?"}) if u else None}
                for u in playlist.uris
            ]
            return 200, self.page(items, query)
        uris = [item["uri"] for item in body["items"]] if method == "DELETE" else body["uris"]
        if len(uris) > 100:
            return 400, None
        if method == "DELETE":
            if body.get("snapshot_id", str(playlist.snapshot)) != str(playlist.snapshot):
                return 400, None
            playlist.uris = [u for u in playlist.uris if u not in uris]
        elif method == "PUT":
            playlist.uris = list(uris)
        else:
            place = body.get("position", len(playlist.uris))
            playlist.uris[place:place] = uris
        playlist.snapshot += 1
        self.changes.append((method, len(uris)))
        return 200 if method != "POST" else 201, {"snapshot_id": str(playlist.snapshot)}

    def summary(self, playlist: Playlist) -> dict[str, Any]:
        return {
            "id": playlist.id,
            "name": playlist.name,
            "description": playlist.description,
            "public": playlist.public,
            "snapshot_id": str(playlist.snapshot),
            f"{self.spelling}s": {"total": len(playlist.uris)},
        }

    def page(self, things: list[Any], query: dict[str, str]) -> Any:
        limit, offset = int(query.get("limit", 20)), int(query.get("offset", 0))
        assert limit <= 50
        return {"items": things[offset : offset + limit], "total": len(things), "offset": offset}

    def fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.method == method and re.search(fault.path, path):
                if fault.skip == 0:
                    self.faults.remove(fault)
                    return fault
                fault.skip -= 1
        return None


def _words(track: dict[str, Any]) -> list[str]:
    return (
        " ".join([track["name"], *(artist["name"] for artist in track["artists"])])
        .casefold()
        .split()
    )


def _isrc(track: dict[str, Any]) -> str:
    return track.get("external_ids", {}).get("isrc") or track.get("hidden_isrc", "")


def _handler(fake: FakeSpotify) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet

        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            address = urlsplit(self.path)
            fake.requests.append((self.command, self.path))
            query = {name: values[0] for name, values in parse_qs(address.query).items()}
            fault = fake.fault(self.command, self.path)
            if fault is not None and not fault.committed:
                return self._send(fault.status, fault.headers, {"error": {"message": "fault"}})
            status, headers, content = self._route(address.path, query, raw)
            if fault is not None:
                status, headers, content = fault.status, fault.headers, None
            if content is None:
                content = {"error": {"status": status, "message": "refused"}}
            return self._send(status, headers, content)

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

        def _route(
            self, path: str, query: dict[str, str], raw: bytes
        ) -> tuple[int, dict[str, str], Any]:
            if path == "/authorize":
                return fake.authorize(query)
            if path == "/api/token":
                return fake.token({k: v[0] for k, v in parse_qs(raw.decode()).items()})
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if fake.tokens.get(token, 0.0) <= fake.now:
                return 401, {}, None
            body = json.loads(raw) if raw else None
            status, content = fake.api(self.command, path.removeprefix("/v1"), query, body)
            return status, {}, content

        def _send(self, status: int, headers: dict[str, str], content: Any) -> None:
            if status == 0:
                self.close_connection = True
                return
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


@contextmanager
def serving() -> Iterator[FakeSpotify]:
    fake = FakeSpotify()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake)) as http:
        fake.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield fake
        finally:
            http.shutdown()
            thread.join()

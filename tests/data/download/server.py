"""A web server with the faults of real ones."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """What is served, how it fails, and what was asked of it.

    ``cuts``: the next answers break off after so many bytes of their body. ``busy``: the next
    requests are answered by these statuses, with these headers.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    busy: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    bytes_sent: int = 0

    @property
    def fetched(self) -> list[str]:
        return [path for method, path, _ in self.requests if method == "GET"]


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            wanted = self.headers.get("Range", "")
            server.requests.append((self.command, self.path, wanted))
            if self.command == "GET" and server.busy:
                status, headers = server.busy.pop(0)
                return self._head(status, 0, headers)
            content = server.files.get(self.path)
            if content is None:
                return self._head(404, 0)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            total = len(content)
            if start and server.ranges:
                if start >= total:
                    return self._head(416, 0, {"Content-Range": f"bytes */{total}"})
                span = {"Content-Range": f"bytes {start}-{total - 1}/{total}"}
                self._head(206, total - start, span)
            else:
                start = 0
                self._head(200, total)
            if self.command == "GET":
                self._body(content[start:])
            return None

        def _head(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(length), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()

        def _body(self, body: bytes) -> None:
            if server.cuts:
                body = body[: server.cuts.pop(0)]
                self.close_connection = True
            self.wfile.write(body)
            server.bytes_sent += len(body)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(server)) as http:
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()

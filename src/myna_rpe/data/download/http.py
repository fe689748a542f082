"""Files over HTTP: resumed where they were cut, tried again, and whole under their name or not.

A file on its way is called ``NAME.part``. Any failure that may pass (a cut connection, a busy
server) is waited out, as long as the server asks for (Retry-After) or longer each time, and given
up after several in a row without a single new byte. What has arrived stays for the next run.
"""

import os
import re
import time
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TypeVar

import requests

from ... import __version__
from ...errors import DatasetError
from ...storage import file_sha256

_T = TypeVar("_T")

# What a cut connection may cost: the block it was in.
_BLOCK_BYTES = 1 << 16

_TIMEOUT = (20.0, 60.0)  # to connect, and without a byte; seconds

_NO_URL = (
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
)

# What a server answers while it is busy, as opposed to what it will never give.
_BUSY = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_WAIT = 600.0

_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")

Advance = Callable[[int], None]
"""Called with the bytes that have arrived; negative where some were given up."""


class _AgainError(Exception):
    """A failure that may pass; ``wait`` is how long the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Http:
    """Fetches files.

    Args:
        attempts: failures in a row, without a new byte, after which a file is given up; >= 1.
        sleep: waits so many seconds.
    """

    def __init__(self, *, attempts: int = 8, sleep: Callable[[float], None] = time.sleep) -> None:
        self.attempts = attempts
        self.sleep = sleep
        self.session = requests.Session()
        # Lengths and ranges are then those of the file itself.
        self.session.headers.update(
            {"Accept-Encoding": "identity", "User-Agent": f"myna-rpe/{__version__}"}
        )

    def size(self, url: str) -> int | None:
        """Return how many bytes a file has; None where the server does not say.

        Raises:
            DatasetError: there is no such file, or no way to the server.
        """

        def ask() -> int | None:
            with self.session.head(url, timeout=_TIMEOUT, allow_redirects=True) as response:
                _check(response)
                length = response.headers.get("Content-Length")
                return int(length) if length else None

        return self._persist(url, ask, lambda: 0)

    def fetch(
        self, url: str, path: Path, *, sha256: str | None = None, advance: Advance | None = None
    ) -> None:
        """Fetch a file; it gets its name when it is whole, and what its checksum says.

        A file of another checksum is fetched once more from the start, then refused.

        Raises:
            DatasetError: it cannot be fetched, written or trusted.
        """
        part = path.with_name(f"{path.name}.part")
        advance = advance or (lambda count: None)
        found = ""
        try:
            for _ in range(2):
                self._persist(url, lambda: self._append(url, part, advance), lambda: _size(part))
                found = file_sha256(part) if sha256 else ""
                if found == (sha256 or ""):
                    _to_disk(part)
                    part.replace(path)
                    return
                advance(-_size(part))
                part.unlink()
        except OSError as error:
            raise DatasetError(
                f"file={str(path)!r} cannot be written: {error.strerror or error}; mend that (free "
                "some space?) and run the same command again to go on."
            ) from error
        raise DatasetError(
            f"url={url} has SHA-256 {found}, not the published {sha256}, and had so twice; "
            "use another mirror, or try again later."
        )

    def _append(self, url: str, part: Path, advance: Advance) -> None:
        """Fetch what is missing of a file; what was there of it is not fetched again."""
        have = _size(part)
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self.session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            start, total = _range_of(response, have)
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                if total == have:
                    return  # the last run was killed with all of it there
                advance(-have)
                part.unlink()
                raise _AgainError("the part is longer than the file")
            _check(response)
            if start != have:  # the server sends all of it
                advance(-have)
            with part.open("ab" if start == have else "wb") as file:
                for block in response.iter_content(_BLOCK_BYTES):
                    file.write(block)
                    advance(len(block))
        if total is not None and _size(part) != total:
            raise _AgainError(f"the connection was cut at {_size(part)} of {total} bytes")

    def _persist(self, url: str, attempt: Callable[[], _T], progress: Callable[[], int]) -> _T:
        """Return what an attempt returns, tried again while there is hope."""
        failures, before = 0, progress()
        while True:
            wait = None
            try:
                return attempt()
            except _AgainError as error:
                reason, wait = str(error), error.wait
            except _NO_URL as error:
                raise DatasetError(f"url={url} is none ({error}); check it.") from error
            except requests.RequestException as error:
                reason = str(error)
            failures = 1 if progress() > before else failures + 1
            before = progress()
            if failures >= self.attempts:
                raise DatasetError(
                    f"url={url} failed {failures} times in a row ({reason}); what has arrived is "
                    "kept, run the same command again to go on."
                )
            if wait is not None and wait > _LONGEST_WAIT:
                raise DatasetError(
                    f"url={url} is busy, and its server asks to wait {wait:.0f} s; what has "
                    "arrived is kept, run the same command again after that."
                )
            self.sleep(min(2.0 ** (failures - 1), 60.0) if wait is None else wait)


def _check(response: requests.Response) -> None:
    """Raise where an answer is not the file."""
    status = f"{response.status_code} {response.reason}"
    if response.status_code in _BUSY:
        raise _AgainError(status, _retry_after(response.headers.get("Retry-After")))
    if response.status_code >= 400:
        raise DatasetError(
            f"url={response.url} is refused ({status}); check your connection and the mirror."
        )


def _retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, a number or a date."""
    if value is None:
        return None
    try:
        if value.strip().isdigit():
            return float(value)
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError):
        return None


def _range_of(response: requests.Response, have: int) -> tuple[int, int | None]:
    """Return the byte an answer begins at, and how many the whole file has, where that is known."""
    if match := _RANGE.fullmatch(response.headers.get("Content-Range", "")):
        start, total = match.groups()
        return int(start or have), None if total == "*" else int(total)
    length = response.headers.get("Content-Length")
    return 0, int(length) if length else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())

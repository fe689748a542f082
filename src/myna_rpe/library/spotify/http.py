"""Requests that are answered, waited for, or given up: what every part of the Web API shares.

Spotify limits requests in a rolling window. A short wait (Retry-After up to a minute) is waited
out; a longer one, it can be hours, is kept in the state file, and until then nothing is asked.

Source: https://developer.spotify.com/documentation/web-api/concepts/rate-limits
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import requests

from ... import __version__
from ...errors import ExportError
from .state import State

LONGEST_WAIT = 60.0
"""Seconds of a Retry-After that are waited out."""

_TIMEOUT = (20.0, 60.0)  # to connect, and without a byte; seconds
_ATTEMPTS = 5


class UnsureError(ExportError):
    """A change was asked for, and no answer says whether it was made."""


class Http:
    """Sends requests, and waits as long as it is asked to.

    Args:
        state: keeps a long wait.
        sleep: waits so many seconds.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        state: State,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.state = state
        self.sleep = sleep
        self.clock = clock
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"myna-rpe/{__version__}"

    def ask(self, method: str, url: str, **fields: Any) -> requests.Response:
        """Return the answer to a request that may be sent again.

        Raises:
            ExportError: there is none after several attempts, or a long wait.
        """
        for failures in range(_ATTEMPTS):
            try:
                return self.tell(method, url, **fields)
            except UnsureError as error:  # noqa: PERF203 - the loop is the attempts
                reason = error
                self.sleep(2.0**failures)
        raise ExportError(
            f"Spotify failed {_ATTEMPTS} times in a row ({reason}); what was done is kept, run the "
            "same command again to go on."
        )

    def tell(self, method: str, url: str, **fields: Any) -> requests.Response:
        """Return the answer to a request that must not be carried out twice.

        Raises:
            UnsureError: the connection or the server failed.
            ExportError: a long wait.
        """
        for failures in range(_ATTEMPTS):
            self._check_wait()
            try:
                response = self._session.request(method, url, timeout=_TIMEOUT, **fields)
            except requests.RequestException as error:
                # Its own words can hold the address, and so what was asked for.
                raise UnsureError(type(error).__name__) from error
            if response.status_code == 429:  # not carried out
                self._wait(response.headers.get("Retry-After", ""), failures)
            elif response.status_code >= 500:
                raise UnsureError(f"{response.status_code} {response.reason}")
            else:
                return response
        raise ExportError(
            f"Spotify is busy, and was so {_ATTEMPTS} times in a row; what was done is kept, run "
            "the same command again later."
        )

    def _wait(self, asked: str, failures: int) -> None:
        seconds = float(asked) if asked.isascii() and asked.isdigit() else 2.0**failures
        if seconds > LONGEST_WAIT:
            self.state.resume_at = self.clock() + seconds
            self._check_wait()
        self.sleep(seconds)

    def _check_wait(self) -> None:
        if self.clock() < self.state.resume_at:
            until = datetime.fromtimestamp(self.state.resume_at).strftime("%Y-%m-%d %H:%M:%S")
            raise ExportError(
                f"Spotify asks to wait until {until}; what was done is kept, run the same command "
                "again after that."
            )

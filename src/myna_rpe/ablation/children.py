"""Processes that are started from several threads and ended together.

They are in sessions of their own, so that Ctrl-C in the terminal reaches the parent alone, which
then ends each of them once: a second signal would cost them the checkpoint. They hold the parent's
lock, so that what outlives a killed parent still keeps the next one out.
"""

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO


class StoppedError(Exception):
    """Processes are being ended; there is no point in starting, or in judging, another."""


class Children:
    """Starts processes and waits for them; `stop` and `kill` may be called from any thread.

    Args:
        lock: an open file they inherit; None: nothing.
    """

    def __init__(self, lock: IO[str] | None = None) -> None:
        self._inherited = () if lock is None or os.name != "posix" else (lock.fileno(),)
        self._guard = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopping = False

    def run(
        self,
        command: Sequence[str],
        *,
        log: Path,
        answer: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Run a command to its end and return its exit status, negative after a signal.

        Args:
            command: the program and its arguments.
            log: a file to which its output is appended.
            answer: a file for its stdout alone; None: that goes to the log as well.
            environment: replaces variables of this process's own.

        Raises:
            StoppedError: it was not started, or was ended, because all are to stop.
            OSError: it cannot be started, or the files cannot be written.
        """
        with log.open("ab") as errors:
            output = errors if answer is None else answer.open("wb")
            with self._guard:
                if self._stopping:
                    raise StoppedError
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    env=os.environ | dict(environment or {}),
                    start_new_session=True,
                    pass_fds=self._inherited,
                )
                self._running.add(process)
            if answer is not None:
                output.close()
        status = process.wait()
        with self._guard:
            self._running.discard(process)
            if self._stopping:
                raise StoppedError
        return status

    def stop(self) -> None:
        """Ask all of them to end, as SIGTERM does, and start no more."""
        with self._guard:
            self._stopping = True
            for process in self._running:
                process.terminate()

    def kill(self) -> None:
        """End all of them at once, and start no more."""
        with self._guard:
            self._stopping = True
            for process in self._running:
                process.kill()

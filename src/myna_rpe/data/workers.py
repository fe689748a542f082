"""One music file -> what is stored of it, in as many processes as wanted.

Results come in the order of the files. Only a few are held at a time, so memory stays bounded
however many files there are. A file that cannot be read, and even one that kills its process, costs
itself only.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import torch

from ..audio.decode import decode_blocks
from ..audio.melspectrogram import MelSpectrogram
from ..audio.tags import read_tags
from ..errors import MynaError
from .shards import Piece, Settings
from .tracks import Entry, Labels, Rejected

# Kinds of rejection.
UNREADABLE, CRASHED, SILENT, TOO_SHORT = "unreadable", "crashed", "silent", "too short"

Outcome = Piece | Rejected


@dataclass(frozen=True)
class MusicFile:
    """A music file as it lies on the disk."""

    entry: Entry
    size: int
    mtime_ns: int

    @property
    def path(self) -> str:
        """The name of the track."""
        return self.entry.path

    def rejected(self, kind: str, reason: str, seconds: float | None = None) -> Rejected:
        """Return the record of this file's rejection."""
        return Rejected(self.path, reason, self.size, self.mtime_ns, seconds, kind)


@dataclass(frozen=True)
class Job:
    """What is to be done with every file."""

    settings: Settings
    min_seconds: float


def run_job(
    job: Job, files: Sequence[MusicFile], *, workers: int
) -> Generator[Outcome, None, None]:
    """Yield what became of each file, in order.

    Args:
        job: the same for all.
        files: as they lie on the disk.
        workers: processes; with 1 the work is done in this one.
    """
    if min(workers, len(files)) <= 1:
        worker = _Worker(job)
        with _single_thread():
            for file in files:
                yield worker(file)
        return

    remaining = deque(files)
    waiting: deque[tuple[MusicFile, Future[Outcome]]] = deque()
    pool = _pool(job, workers)
    try:
        while remaining or waiting:
            while remaining and len(waiting) < 2 * workers:
                file = remaining.popleft()
                waiting.append((file, pool.submit(_work, file)))
            outcome = _result(waiting[0][1])
            if outcome is not None:
                waiting.popleft()
                yield outcome
            else:
                # A decoder crashed or was killed for memory, and took all files in flight along.
                # They are tried one at a time: only the culprit breaks its process again.
                pool.shutdown()
                yield from _one_at_a_time(job, [file for file, _ in waiting])
                waiting.clear()
                pool = _pool(job, workers)
    finally:
        pool.shutdown(cancel_futures=True)


def _one_at_a_time(job: Job, suspects: list[MusicFile]) -> Iterator[Outcome]:
    pool = _pool(job, 1)
    try:
        for file in suspects:
            outcome = _result(pool.submit(_work, file))
            if outcome is None:
                reason = "crashed the decoder, or needed more memory than is free"
                outcome = file.rejected(CRASHED, reason)
                pool.shutdown()
                pool = _pool(job, 1)
            yield outcome
    finally:
        pool.shutdown(cancel_futures=True)


def _result(future: "Future[Outcome]") -> Outcome | None:
    """Return the outcome, or None where the process died over it."""
    try:
        return future.result()
    except BrokenProcessPool:
        return None


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- inside a worker -----------------------------------------------------------------------------


class _Worker:
    """Turns one file into what is stored of it, or into the reason why not."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.front_end = MelSpectrogram(job.settings.front_end)

    def __call__(self, file: MusicFile) -> Outcome:
        try:
            with torch.inference_mode():
                return self._prepare(file)
        except MynaError as error:
            return file.rejected(UNREADABLE, str(error))
        except Exception as error:  # one bad file never stops the others
            return file.rejected(UNREADABLE, f"{type(error).__name__}: {error}")

    def _prepare(self, file: MusicFile) -> Outcome:
        front_end, min_seconds = self.job.settings.front_end, self.job.min_seconds
        # Fewer samples a second, taken for as many as ever: that is faster, and higher.
        rate = round(front_end.sample_rate / file.entry.speed)
        blocks = decode_blocks(file.entry.file, sample_rate=rate)
        spectrogram = self.front_end.stream(blocks)  # (mel_bands, frames)
        seconds = spectrogram.shape[1] / front_end.frame_rate
        if seconds < min_seconds:
            reason = f"is {seconds:.1f} s long, shorter than {min_seconds:g} s"
            return file.rejected(TOO_SHORT, reason, seconds)
        if bool(spectrogram.amax() <= front_end.floor):
            return file.rejected(SILENT, "is silent from beginning to end")
        stored = self.job.settings.encode(spectrogram)
        labels = file.entry.labels or _own_labels(file.entry.file)
        return Piece(file.path, file.size, file.mtime_ns, stored, labels)


def _own_labels(file: Path) -> Labels:
    """Return what a file's own tags say."""
    tags = read_tags(file)
    return Labels(tags.artist, tuple(f"genre---{genre}" for genre in tags.genres))


def _pool(job: Job, workers: int) -> ProcessPoolExecutor:
    # Spawned, because a fork of a process with torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, _start_worker, (job,))


_worker: _Worker  # of this process


def _start_worker(job: Job) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _worker = _Worker(job)


def _work(file: MusicFile) -> Outcome:
    return _worker(file)


def _die_with_parent() -> None:
    """End this worker when its parent was killed; otherwise it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _single_thread() -> Iterator[None]:
    """One torch thread, as in a worker: the same bits, whatever the number of workers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

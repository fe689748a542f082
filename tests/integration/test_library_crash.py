"""`myna library scan` and `reembed` killed with SIGKILL at random moments, until they are done."""

import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from myna_rpe.library.catalogue import Catalogue
from myna_rpe.library.verify import verify

from ..embedding_support import install, write_chord

# A process that has imported everything forks a command for each line it reads, and says its
# number: what is killed is a real command, without the seconds that imports take. Small batches, so
# that there is much to kill.
PROGRAM = """
import os, sys
import torch
from myna_rpe.cli import main
from myna_rpe.embedder import embedder
from myna_rpe.library import scan
torch.set_num_threads(1)
embedder._WAVE_TRACKS = 2
scan._BATCH_FILES = 3
for line in sys.stdin:
    sys.argv = ["myna", *line.rstrip().split("\\t")]
    if (number := os.fork()) == 0:
        os.dup2(2, 1)
        main()
        os._exit(0)
    print(number, flush=True)
    print(os.waitpid(number, 0)[1], flush=True)
"""


class Commands:
    """Starts commands, and kills them after some time on the processor."""

    def __enter__(self) -> "Commands":
        self._server = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stdin.close()
        self._server.wait(timeout=60)

    def scan(self, music: Path, library: Path, kill_after: float = math.inf) -> tuple[int, float]:
        """Return the status a scan ended with, and the seconds it was given."""
        arguments = ("library", "scan", music, "--library", library, "--model", "small")
        return self.run(arguments, kill_after)

    def run(self, arguments: Sequence[object], kill_after: float = math.inf) -> tuple[int, float]:
        """Return the status a command ended with, and the seconds it was given."""
        self._server.stdin.write("\t".join(map(str, arguments)) + "\n")
        self._server.stdin.flush()
        number = int(self._server.stdout.readline())
        used = 0.0
        while math.isfinite(kill_after) and used < kill_after:
            now = processor_seconds(number)
            if now is None:
                break
            used = now
            time.sleep(0.001)
        if math.isfinite(kill_after):
            with suppress(ProcessLookupError):  # it ended by itself just now
                os.kill(number, signal.SIGKILL)
        return int(self._server.stdout.readline()), used


def processor_seconds(number: int) -> float | None:
    """Return how long a process has been computing; None once it has ended."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def contents(library: Path) -> dict[Path, bytes]:
    """Return the vector of every track; none is there twice."""
    with Catalogue(library) as catalogue:
        numbers, rows = catalogue.vectors()
        paths = [catalogue.track(int(number)).path for number in numbers]
        assert len(paths) == len(set(paths))
        return {path: row.tobytes() for path, row in zip(paths, rows, strict=True)}


def assert_same(there: dict[Path, bytes], expected: dict[Path, bytes]) -> None:
    """The same tracks have the same vectors, up to rounding."""
    assert there.keys() == expected.keys()
    for path, row in expected.items():
        np.testing.assert_allclose(
            np.frombuffer(there[path], "<f4"), np.frombuffer(row, "<f4"), atol=1e-5
        )


def check_nothing_is_broken(library: Path) -> int:
    """Open the library as any reader would; return how many tracks it has."""
    if not (library / "catalogue.sqlite").exists():
        return 0
    with Catalogue(library) as catalogue:
        assert catalogue.database.quick_check() is None
        for row, identity in catalogue.database.query("SELECT vector, identity FROM tracks"):
            assert catalogue.vector_file.identity(row) == identity
            assert catalogue.vector_file.is_sound(row)
        return catalogue.counts().present


def kill_until_done(tmp_path: Path, *, kills: int, files: int, seconds: float) -> int:
    """Kill a scan `kills` times, let the last one finish; return how many of them kept tracks."""
    rng = random.Random(kills)
    music = tmp_path / "music"
    install()
    for number in range(files):
        write_chord(music / f"{number:03}.wav", 0.1, pitch=100 + 7 * number)
    for copy in range(files // 10):  # some sounds twice
        (music / f"copy{copy:03}.wav").write_bytes((music / f"{copy:03}.wav").read_bytes())
    (music / "bad.mp3").write_bytes(b"no music")
    library, hits, before, killed_scans = tmp_path / "killed", 0, 0, 0
    with Commands() as commands:
        assert commands.scan(music, tmp_path / "whole")[0] == 0
        for _ in range(kills):
            # From before the library exists to well into the work.
            status, used = commands.scan(music, library, rng.uniform(0.0, seconds))
            killed_scans += status == signal.SIGKILL
            tracks = check_nothing_is_broken(library)
            assert tracks >= before, "a track was lost"
            hits += tracks > before
            print(f"killed after {used:.2f} s with {tracks} tracks")
            before = tracks
        assert commands.scan(music, library)[0] == 0
    print(f"{killed_scans} of {kills} killed, {hits} of them after keeping tracks")

    whole, killed = contents(tmp_path / "whole"), contents(library)
    assert len(killed) == files + files // 10
    assert_same(killed, whole)
    health = verify(library)
    assert health.problems == ()
    assert health.rows == files  # no sound was ever analysed twice once its vector was kept
    with Catalogue(library) as catalogue:
        assert [failure.path.name for failure in catalogue.failures()] == ["bad.mp3"]
    return hits


def kill_reembedding_until_done(tmp_path: Path, *, kills: int, files: int, seconds: float) -> int:
    """Kill `reembed` `kills` times, let the last one finish; return how many of them kept tracks.

    At any time the library is all of the old space, or all of the new one.
    """
    rng = random.Random(kills)
    music, library, whole = (tmp_path / name for name in ("music", "library", "whole"))
    install()
    install("other", seed=1)
    for number in range(files):
        write_chord(music / f"{number:03}.wav", 0.1, pitch=100 + 7 * number)
    command = ("library", "reembed", "--library", library, "--model", "other")
    hits, before, killed_runs = 0, 0, 0
    with Commands() as commands:
        at_once = ("library", "scan", music, "--library", whole, "--model", "other")
        assert commands.run(at_once)[0] == 0
        assert commands.scan(music, library)[0] == 0
        old, new = contents(library), contents(whole)
        for _ in range(kills):
            status, _ = commands.run(command, rng.uniform(0.0, seconds))
            killed_runs += status == signal.SIGKILL
            assert check_nothing_is_broken(library) == files
            done = check_nothing_is_broken(library / "next")
            if contents(library) != old:
                break  # it was done before it could be killed
            assert done >= before, "a track was lost"
            hits += done > before
            before = done
        else:
            assert commands.run(command)[0] == 0
    print(f"{killed_runs} of {kills} killed, {hits} of them after keeping tracks")
    assert_same(contents(library), new)
    assert verify(library).problems == ()
    assert not (library / "next").exists()
    return hits


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
def test_five_kills_lose_nothing(tmp_path):
    kill_until_done(tmp_path, kills=5, files=60, seconds=0.3)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
def test_fifty_kills_lose_nothing(tmp_path):
    assert kill_until_done(tmp_path, kills=50, files=900, seconds=0.3) >= 10


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
def test_four_killed_reembeddings_lose_nothing(tmp_path):
    kill_reembedding_until_done(tmp_path, kills=4, files=60, seconds=0.5)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
def test_forty_killed_reembeddings_lose_nothing(tmp_path):
    assert kill_reembedding_until_done(tmp_path, kills=40, files=900, seconds=0.5) >= 8

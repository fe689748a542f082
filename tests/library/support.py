"""What the tests of the library share: small libraries, and an analyser without a model."""

import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from myna_rpe.embedder import Embedded, Failed
from myna_rpe.embedding_table import Header
from myna_rpe.library.catalogue import Catalogue
from myna_rpe.library.scan import ScanReport, scan

DIM = 8
HEADER = Header("space-a", DIM, "fake")


def vector_of(path: Path) -> np.ndarray:
    """Return the vector of a file's samples, whatever its name and tags are."""
    samples, _ = soundfile.read(os.fsencode(path), dtype="int16")
    seed = zlib.crc32(samples.tobytes())
    return np.random.default_rng(seed).normal(size=DIM).astype(np.float32)


class FakeAnalyser:
    """Embeds by a checksum of the samples; remembers what it was asked for."""

    space_id = HEADER.space_id
    source = HEADER.model

    def __init__(self) -> None:
        self.asked: list[Path] = []

    def embed_many(self, paths: Iterable[Path], *, workers: int | None = None) -> Iterator:
        for path in paths:
            self.asked.append(Path(path))
            try:
                yield Embedded(Path(path), vector_of(path), 1.5)
            except Exception:
                yield Failed(Path(path), f"file={str(path)!r} is no music; export it again.")


def write_tone(path: Path, number: int, *, suffix: str = ".wav") -> Path:
    """Write a short sound of its own per number."""
    path = path.with_suffix(suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(number).normal(0, 0.1, 800).astype(np.float32)
    soundfile.write(os.fsencode(path), samples, 8000, format=suffix[1:].upper())
    return path


def write_music(folder: Path, count: int = 4) -> list[Path]:
    return [write_tone(folder / f"album-{n % 2}" / f"{n:02d}", n) for n in range(count)]


@contextmanager
def library(tmp_path: Path) -> Iterator[Catalogue]:
    with Catalogue.create(tmp_path / "library", HEADER) as catalogue:
        yield catalogue


def scanned(
    catalogue: Catalogue, *folders: Path, analyser: FakeAnalyser | None = None, **more: object
) -> ScanReport:
    """Scan, and check that the counts add up and fit the catalogue."""
    analyser = analyser or FakeAnalyser()
    report = scan(catalogue, list(folders), lambda: analyser, workers=2, **more)
    parts = report.analysed + report.recognised + report.unchanged + report.failed
    assert report.found == parts
    assert report.changed <= report.analysed + report.recognised
    assert report.moved <= report.recognised
    assert len(report.failures) == report.failed
    return report


def no_analysis() -> FakeAnalyser:
    raise AssertionError("nothing was to be analysed")


def vectors_by_path(catalogue: Catalogue) -> dict[Path, np.ndarray]:
    numbers, rows = catalogue.vectors()
    return {
        catalogue.track(int(number)).path: np.array(row)
        for number, row in zip(numbers, rows, strict=True)
    }

"""A large library: search, filters, a scan that finds nothing new, tracks near a hull, memory.

    python -m benchmarks library

Libraries of 100,000 and 1,000,000 made-up tracks (dim 192, in 300 clusters, with tags), written in
a library's own files in a temporary folder: about 1.3 GB, removed afterwards. --quick: 20,000.

Searches are warm: the library is open, the question is a track of it, the answer is 100 tracks
with their tags and copies folded. "Plain" is all embeddings in memory and a full sort, without
tags. The scan looks at 100,000 real, empty files (20,000 with --quick) that the library knows; the
time for a million is ten times that, since each file costs one look and one row. Hulls lie in the
32 first principal components. Times are CPU seconds of one thread; memory includes torch (some
0.3 GB), which the harness loads, and the pages of the vectors that the system may take back.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .harness import Candidate, Measurement, Row, compare, measure, relative_error

if TYPE_CHECKING:
    from myna_rpe.library.playlists import Strategy

DIM = 192
TOP = 100
HULL_DIM = 32
HULL_TOP = 200
PLAYLIST = 20
GOAL_SECONDS = 0.05

_AT_ONCE = 20_000
_CLUSTERS = 300
_GENRES = 20


def rows(*, quick: bool = False) -> list[Row]:
    """Return the rows of the table; --quick has one library of 20,000 tracks."""
    sizes, files = ((20_000,), 20_000) if quick else ((100_000, 1_000_000), 100_000)
    table: list[Row] = []
    for tracks in sizes:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            make_library(folder, tracks, files if tracks == sizes[-1] else 0)
            table += _searches(str(folder), tracks, rounds=3 if tracks > 500_000 else 9)
            if tracks == sizes[0]:
                table += _playlists(str(folder), tracks)
            if tracks == sizes[-1]:
                table += [_scan(str(folder), files, tracks), *_hulls(str(folder), tracks)]
    return table


def _searches(folder: str, tracks: int, rounds: int) -> list[Row]:
    names = ("search", "by_genre", "by_artist", "scaled", "plain")
    if tracks > 500_000:  # scales of so many take minutes
        names = tuple(name for name in names if name != "scaled")
    times = measure(
        {name: Candidate(f"{__name__}:{name}", {"folder": folder}) for name in names},
        rounds=rounds,
    )
    what = {
        "search": f"top {TOP} of {tracks:,}",
        "by_genre": f"top {TOP} of {tracks:,}, of one genre in {_GENRES} and some years",
        "by_artist": f"top {TOP} of {tracks:,}, of one artist",
        "scaled": f"top {TOP} of {tracks:,}, by CSLS",
    }
    table = []
    for name in names[:-1]:
        row = compare(
            f"{what[name]} / plain",
            times.get(name),
            times.get("plain"),
            note=f"opening: {times[name].setup:.2f} s",
        )
        if name == "search":
            error = relative_error(times["search"], times["plain"])
            row["note"] += f"; cosines differ by {error:.0e}"
            if tracks <= 100_000:
                row["goal"] = f"< {GOAL_SECONDS * 1000:g} ms"
                row["met"] = times["search"].seconds < GOAL_SECONDS
        table.append(row)
    return table


def _scan(folder: str, files: int, tracks: int) -> Row:
    times = measure({"scan": Candidate(f"{__name__}:scan_again", {"folder": folder})}, rounds=2)
    seconds = times["scan"].seconds
    return _alone(
        f"scan of {files:,} unchanged files, library of {tracks:,}",
        times["scan"],
        note=f"scaled to 1,000,000 files: {seconds * 1e6 / files:.0f} s",
    )


def _hulls(folder: str, tracks: int) -> list[Row]:
    table = []
    for members in (10, 30, 100):
        arguments = {"folder": folder, "members": members}
        times = measure({"hull": Candidate(f"{__name__}:hull", arguments)}, rounds=1)
        table.append(
            _alone(f"hull of {members}, top {HULL_TOP} of {tracks:,}", times["hull"], note="")
        )
    return table


def _playlists(folder: str, tracks: int) -> list[Row]:
    arguments = {"folder": folder, "members": 30}
    names = ("fill", "between")
    times = measure({name: Candidate(f"{__name__}:{name}", arguments) for name in names}, rounds=1)
    return [
        _alone(
            f"{name}, {PLAYLIST} of {tracks:,}, playlists of 30",
            times[name],
            note=f"opening: {times[name].setup:.2f} s",
        )
        for name in names
    ]


def _alone(name: str, ours: Measurement, *, note: str) -> Row:
    return compare(name, ours, None, note=note)


# --- a made-up library ---------------------------------------------------------------------------


def make_library(folder: Path, tracks: int, files: int) -> None:
    """Write a library of made-up tracks; the first `files` of them are real, empty files."""
    from myna_rpe.embedding_table import Header
    from myna_rpe.library.catalogue import Catalogue

    with Catalogue.create(folder / "library", Header("space-made", DIM, "made")) as catalogue:
        for first in range(0, tracks, _AT_ONCE):
            count = min(_AT_ONCE, tracks - first)
            rng = np.random.default_rng([7, first])
            names = [rng.bytes(32) for _ in range(count)]
            placed = catalogue.vector_file.append(names, made_vectors(rng, count))
            with catalogue.database.transaction() as connection:
                connection.executemany(
                    "INSERT INTO tracks (path, size, mtime_ns, identity, codec, vector, state, "
                    "title, artist, album, album_artist, genres, year, track_number, duration, "
                    "isrc, recording_mbid, release_mbid, artist_mbid, added, updated) VALUES "
                    "(?, ?, ?, ?, 'flac', ?, 'present', ?, ?, ?, ?, ?, ?, ?, ?, "
                    "'', '', '', '', 0, 0)",
                    _made_rows(folder, rng, first, names, placed, files),
                )


def made_vectors(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return (count, 192) float32, about 300 centres that are the same in every call."""
    centres = np.random.default_rng(11).standard_normal((_CLUSTERS, DIM), np.float32)
    x = rng.standard_normal((count, DIM), np.float32)
    return centres[rng.integers(0, _CLUSTERS, count)] + 0.7 * x


def _made_rows(
    folder: Path,
    rng: np.random.Generator,
    first: int,
    names: list[bytes],
    placed: list[int],
    files: int,
) -> Iterator[tuple[object, ...]]:
    genres = [json.dumps([f"genre {number}"]) for number in range(_GENRES)]
    of_genre = rng.integers(0, _GENRES, len(names)).tolist()
    years = rng.integers(1960, 2026, len(names)).tolist()
    lengths = rng.uniform(60.0, 600.0, len(names)).tolist()
    for place, (name, row) in enumerate(zip(names, placed, strict=True)):
        number = first + place
        path = folder / "music" / f"{number // 500:05d}" / f"{number:07d}.flac"
        size, mtime_ns = 1000, 0
        if number < files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            size, mtime_ns = 0, path.stat().st_mtime_ns
        else:
            path = Path("/nowhere") / path.relative_to(folder)
        artist = f"artist {number // 50}"
        yield (
            *(os.fsencode(path), size, mtime_ns, name, row),
            *(f"title {number}", artist, f"album {number // 12}", artist),
            *(genres[of_genre[place]], years[place], number % 12 + 1, lengths[place]),
        )


# --- candidates: each sets up and returns what is timed ------------------------------------------


def search(folder: str) -> Callable[[], Tensor]:
    return _asking(folder, {})


def by_genre(folder: str) -> Callable[[], Tensor]:
    from myna_rpe.library.ranges import Range

    return _asking(folder, {"genres": ("genre 3",), "years": Range(1980, 1999)})


def by_artist(folder: str) -> Callable[[], Tensor]:
    return _asking(folder, {"artists": ("artist 17",)})


def scaled(folder: str) -> Callable[[], Tensor]:
    return _asking(folder, {}, scale="csls")


def _asking(
    folder: str, conditions: dict[str, object], scale: str | None = None
) -> Callable[[], Tensor]:
    from myna_rpe.library.catalogue import Catalogue
    from myna_rpe.library.filters import Filters, matching
    from myna_rpe.library.index import Index
    from myna_rpe.library.scales import SCALINGS, LocalScaling
    from myna_rpe.library.search import find_similar, mean_direction

    catalogue = Catalogue(Path(folder) / "library")
    index = Index(catalogue)
    filters = Filters(**conditions)  # type: ignore[arg-type]
    scaling = None if scale is None else LocalScaling(index, SCALINGS[scale])

    def run() -> Tensor:
        number = int(index.numbers[len(index) // 2])
        vector = catalogue.vector(number)
        assert vector is not None
        among = matching(catalogue, filters) if filters else None
        hits = find_similar(
            index, mean_direction(vector[None]), TOP, known=[number], among=among, scaling=scaling
        )
        return torch.tensor([hit.similarity for hit in hits])

    return run


def plain(folder: str) -> Callable[[], Tensor]:
    from myna_rpe.library.catalogue import Catalogue

    with Catalogue(Path(folder) / "library") as catalogue:
        rows = np.array(catalogue.vectors()[1])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)

    def run() -> Tensor:
        asked = len(rows) // 2
        cosines = rows @ rows[asked]
        order = np.argsort(-cosines, kind="stable")[: TOP + 1]
        return torch.from_numpy(cosines[order[order != asked]])

    return run


def scan_again(folder: str) -> Callable[[], Tensor]:
    from myna_rpe.library.catalogue import Catalogue
    from myna_rpe.library.scan import scan

    catalogue = Catalogue(Path(folder) / "library")

    def never() -> object:
        raise AssertionError("nothing is new")

    def run() -> Tensor:
        report = scan(catalogue, [Path(folder) / "music"], never)  # type: ignore[arg-type]
        assert report.found == report.unchanged
        return torch.tensor([float(report.found)])

    return run


def hull(folder: str, members: int) -> Callable[[], Tensor]:
    from myna_rpe.geometry import Hull, nearest
    from myna_rpe.library.catalogue import Catalogue

    with Catalogue(Path(folder) / "library") as catalogue:
        rows = catalogue.vectors()[1]
    sample = rows[:: max(1, len(rows) // 20_000)].astype(np.float64)
    centre = sample.mean(axis=0)
    _, axes = np.linalg.eigh((sample - centre).T @ (sample - centre))
    main = axes[:, -HULL_DIM:].astype(np.float32)
    x = np.concatenate(
        [
            (rows[start : start + _AT_ONCE] - centre.astype(np.float32)) @ main
            for start in range(0, len(rows), _AT_ONCE)
        ]
    )
    rng = np.random.default_rng(0)
    # A playlist around a track: drawn from those nearest to it.
    near = np.argsort(((x - x[0]) ** 2).sum(axis=1))[: 20 * members]
    playlist = x[rng.choice(near, members, replace=False)]
    return lambda: torch.from_numpy(nearest(Hull(playlist), x, HULL_TOP).distances.values)


def fill(folder: str, members: int) -> Callable[[], Tensor]:
    from myna_rpe.library.playlists.fill import Fill

    return _making(folder, members, Fill(playlist="one", count=PLAYLIST))


def between(folder: str, members: int) -> Callable[[], Tensor]:
    from myna_rpe.library.playlists.between import Between

    return _making(folder, members, Between(start="one", end="other", count=PLAYLIST))


def _making(folder: str, members: int, strategy: "Strategy") -> Callable[[], Tensor]:
    from myna_rpe.library.catalogue import Catalogue
    from myna_rpe.library.playlists import Constraints, Workshop

    catalogue = Catalogue(Path(folder) / "library")
    workshop = Workshop(catalogue)
    points, rng = workshop.pool.points, np.random.default_rng(0)
    for name, row in (("one", len(points) // 3), ("other", len(points) // 2)):
        near = np.argsort(((points - points[row]) ** 2).sum(axis=1))[: 20 * members]
        chosen = workshop.pool.numbers[rng.choice(near, members, replace=False)]
        catalogue.playlists.save(name, chosen.tolist(), {})
    constraints = Constraints(artist_window=2)

    def run() -> Tensor:
        made = workshop.generate(strategy, constraints)
        return torch.tensor([float(track.id) for track in made.tracks])

    return run

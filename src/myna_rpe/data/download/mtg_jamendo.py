"""Where MTG-Jamendo lies on the net, and how to get it: 100 archives, one for each of its folders.

The archives and checksums are those of the data set's own downloader (scripts/download/download.py
in its repository); the tables are taken from one fixed commit, so that they never change.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from ...errors import ConfigError, DatasetError, unknown_name
from ...storage import only_run
from ..sources.mtg_jamendo import SUBSETS
from ..tracks import SPLITS
from .archives import Archive, DownloadReport, FetchPlan, Progress, fetch_archives
from .http import Http

TABLES_URL = (
    "https://raw.githubusercontent.com/MTG/mtg-jamendo-dataset/"
    "cafd8e20c265ed84f1e61f1c875327971f43a62f"
)
AUDIO_URL = "https://cdn.freesound.org/mtg-jamendo"

# Quality -> the data set's word for it. Full: 320 kbit/s, about 508 GB. Low: about 156 GB.
QUALITIES = {"full": "audio", "low": "audio-low"}

# A line of a list of checksums: of an archive, or of a track, whose path says where it goes.
_LINE = re.compile(r"[0-9a-f]{64} +(raw_30s_audio(-low)?-\d\d\.tar|\d\d/\d+(\.low)?\.mp3)")


def download_mtg_jamendo(
    folder: Path,
    *,
    quality: str = "low",
    only: Sequence[str] = (),
    mirror: str = AUDIO_URL,
    announce: Callable[[FetchPlan], bool] = lambda plan: True,
    progress: Progress = lambda stage, done, total, name: None,
    http: Http | None = None,
) -> DownloadReport:
    """Fetch tables and sound of MTG-Jamendo into a folder that `MtgJamendo` reads.

    The tables of all subsets go to ``data``, the tracks to ``audio`` or ``audio-low``. Interrupted
    at any point, run it again; once all is there, it fetches nothing.

    Args:
        folder: made if need be.
        quality: ``low`` or ``full``.
        only: folders to fetch, ``00`` to ``99`` (how the tracks' numbers end); none: all.
        mirror: where ``raw_30s/audio-low/...`` lies.
        announce: told what is to be fetched before it is; False: only the tables are.
        progress: told as work goes on.
        http: fetches; None: as usual.

    Raises:
        ConfigError: no such quality or folder.
        DatasetError: something cannot be fetched, written or trusted.
    """
    if quality not in QUALITIES:
        raise ConfigError(unknown_name("quality", quality, QUALITIES))
    for name in only:
        if not re.fullmatch(r"\d\d", name):
            raise ConfigError(f"only={name!r} is no folder of the data set; use 00 to 99.")
    http = http or Http()
    kind = QUALITIES[quality]
    with only_run(folder, ".download", doing="downloaded", error=DatasetError) as workspace:
        for table in _tables():
            _fetch_text(http, f"data/{table}", folder, lambda text: text.startswith("TRACK_ID\t"))
        tars = _fetch_checksums(http, f"raw_30s_{kind}_sha256_tars.txt", folder)
        tracks = _fetch_checksums(http, f"raw_30s_{kind}_sha256_tracks.txt", folder)
        files: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for path, sha256 in tracks.items():
            files[path[:2]][path] = sha256
        archives = [
            Archive(name, f"{mirror}/raw_30s/{kind}/{name}", sha256, files[number])
            for name, sha256 in tars.items()
            for number in [name.removesuffix(".tar")[-2:]]
            if not only or number in only
        ]
        return fetch_archives(
            archives, folder / kind, workspace, http, announce=announce, progress=progress
        )


def _tables() -> list[str]:
    """Return the tables of all subsets and of their splits, below ``data``."""
    splits = [
        f"splits/split-0/{stem}-{split}.tsv"
        for stem in dict.fromkeys(stem for _, stem in SUBSETS.values())
        for split in SPLITS
    ]
    return [*(f"{table}.tsv" for table, _ in SUBSETS.values()), *splits]


def _fetch_checksums(http: Http, name: str, folder: Path) -> dict[str, str]:
    """Return a published list of checksums by file, each line ``SHA-256 name``."""

    def is_good(text: str) -> bool:
        return all(map(_LINE.fullmatch, text.splitlines()))

    text = _fetch_text(http, f"data/download/{name}", folder, is_good)
    return {file: sha256 for sha256, file in map(str.split, text.splitlines())}


def _fetch_text(http: Http, name: str, folder: Path, is_good: Callable[[str], object]) -> str:
    """Return a file of the data set's repository, fetched if it is not there yet."""
    path = folder / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        http.fetch(f"{TABLES_URL}/{name}", path)
    text = path.read_text(encoding="utf-8", errors="replace")
    if not is_good(text):
        path.unlink()
        raise DatasetError(
            f"file={name!r} is not what the data set's repository holds (a login page?); "
            "check your connection and run the same command again."
        )
    return text

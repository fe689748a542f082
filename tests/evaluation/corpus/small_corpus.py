from pathlib import Path

from myna_rpe.evaluation.corpus.manifest import MANIFEST, CorpusTrack, write_tracks
from myna_rpe.evaluation.corpus.packages import packages_of

from ...synthetic_music import write_album


def write_corpus(folder: Path, *, seconds: float = 12.0) -> Path:
    """Write six tracks of three composers, as `myna corpus fetch` leaves them."""
    package = packages_of("dev")[0].name
    paths = write_album(folder / package, tracks=6, seconds=seconds)
    tracks = [
        CorpusTrack(
            path=path.relative_to(folder).as_posix(),
            package=package,
            role="dev",
            album="",
            composer=f"Composer {number // 2}",
            licence="CC0",
            duration=seconds,
            sample_rate=16_000,
            bytes=path.stat().st_size,
            sha256="",
        )
        for number, path in enumerate(paths)
    ]
    write_tracks(folder / MANIFEST, tracks)
    return folder

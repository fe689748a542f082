"""`myna prepare`: music -> spectrogram shards."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, unknown_name
from .output import print_json, printable, progress_bar, say

if TYPE_CHECKING:
    from ..data import PrepareReport
    from ..data.tracks import Source

_DATASETS = ("folder", "mtg-jamendo")

# Of each kind of rejected file, so many are shown; the manifest lists all.
_SHOWN = 5


def prepare(
    source: Annotated[
        list[Path], typer.Argument(help="Files and folders with music; the folder of a data set.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the shards.")],
    dataset: Annotated[
        str, typer.Option(help="What the source is: folder (of anyone's music) or mtg-jamendo.")
    ] = "folder",
    subset: Annotated[
        str | None,
        typer.Option(
            help="mtg-jamendo: top50 (default), all, raw_30s, genre, instrument or moodtheme."
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="mtg-jamendo: train, validation or test; repeatable; all by default."),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(help="mtg-jamendo: folder that holds its data/, if it is another one."),
    ] = None,
    front_end: Annotated[
        str, typer.Option(help="Front-end preset; must be that of the model to train.")
    ] = "rpe-16k",
    speeds: Annotated[
        str,
        typer.Option(
            metavar="SPEEDS",
            help="Each file at each of these, as tapes are played: 1,0.84,1.19 is the recording, "
            "three semitones lower, and three higher.",
        ),
    ] = "1",
    storage: Annotated[
        str, typer.Option(help="float16, uint8 (half the size, 0.3 dB steps) or float32.")
    ] = "float16",
    min_seconds: Annotated[
        float, typer.Option(help="Leave out shorter files (sound effects, as a rule).")
    ] = 10.0,
    workers: Annotated[int | None, typer.Option(help="Processes; one per core by default.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Turn music into shards for `myna pretrain`; run it again to go on, or to add new files."""
    from ..config import lookup_front_end
    from ..data import AtSpeeds, prepare_shards

    config = lookup_front_end(front_end)
    music = AtSpeeds(
        _source(dataset, source, subset=subset, split=split, metadata=metadata), _speeds(speeds)
    )
    with progress_bar() as bar:
        task = bar.add_task("prepare", total=None, note="")

        def progress(done: int, total: int, path: str) -> None:
            bar.update(task, completed=done, total=total, note=printable(path)[-40:])

        report = prepare_shards(
            music,
            out,
            config,
            storage=storage,
            min_seconds=min_seconds,
            workers=workers,
            progress=progress,
        )
    _say(report)
    if json:
        print_json(_as_json(report))


def _speeds(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"speeds={text!r} are no numbers; write e.g. 1,0.84,1.19.") from error


def _source(
    dataset: str,
    paths: list[Path],
    *,
    subset: str | None,
    split: list[str] | None,
    metadata: Path | None,
) -> "Source":
    """Return the source that the arguments describe."""
    from ..data import Folder, MtgJamendo

    if dataset not in _DATASETS:
        raise ConfigError(unknown_name("dataset", dataset, _DATASETS))
    if dataset == "folder":
        for option, value in (("subset", subset), ("split", split), ("metadata", metadata)):
            if value:
                raise ConfigError(f"{option}={value} belongs to a data set; add --dataset.")
        return Folder(*paths)
    if len(paths) > 1:
        raise ConfigError(f"sources={len(paths)} of a data set are too many; give its one folder.")
    chosen: dict[str, Any] = {"subset": subset, "splits": split, "metadata": metadata}
    return MtgJamendo(paths[0], **{name: value for name, value in chosen.items() if value})


def _say(report: "PrepareReport") -> None:
    for kind, files in report.kinds.items():
        for file in files[:_SHOWN]:
            say(f"{kind}: {file.path}: {file.reason}")
        if len(files) > _SHOWN:
            say(f"{kind}: and {len(files) - _SHOWN} more, see {report.folder / 'manifest.json'}")
    parts = [f"{report.tracks} tracks ({report.reused} from an earlier run)"]
    parts += [f"{len(files)} {kind}" for kind, files in report.kinds.items()]
    say(f"{' + '.join(parts)} = {report.found} files -> {report.folder}")
    facts = [
        f"{report.seconds / 3600:.2f} h",
        f"artists known: {report.artists}",
        *(f"{count} {split or 'in no split'}" for split, count in _splits(report).items()),
        f"{report.bytes / 1e6:.1f} MB on disk",
    ]
    if report.duplicates:
        facts.append(f"{report.duplicates} duplicates of another track")
    if report.read_files:
        facts.append(f"read {report.read_files / report.elapsed:.1f} files/s")
        facts.append(f"{report.read_seconds / report.elapsed:.0f} x real time")
    say(", ".join(facts))


def _splits(report: "PrepareReport") -> dict[str, int]:
    """Return the sizes of the official splits; nothing where there are none."""
    return report.splits if set(report.splits) - {""} else {}


def _as_json(report: "PrepareReport") -> dict[str, Any]:
    return {
        "shards": printable(str(report.folder)),
        "found": report.found,
        "tracks": report.tracks,
        "reused": report.reused,
        "dropped": {kind: len(files) for kind, files in report.kinds.items()},
        "hours": round(report.seconds / 3600, 4),
        "artists": report.artists,
        "splits": _splits(report),
        "duplicates": report.duplicates,
        "bytes": report.bytes,
        "seconds": round(report.elapsed, 3),
        "files_per_second": round(report.read_files / report.elapsed, 3),
        "times_real_time": round(report.read_seconds / report.elapsed, 1),
        "files": [
            {"path": printable(file.path), "kind": file.kind, "reason": printable(file.reason)}
            for file in report.rejected
        ],
    }

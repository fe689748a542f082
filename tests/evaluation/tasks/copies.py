"""Small copies of published data sets, each in its real folder layout."""

import hashlib
import struct
from collections.abc import Iterable
from pathlib import Path

from myna_rpe.evaluation.tasks.magnatagatune import EMPTY, TAGS


def wav(number: int, *, seconds: float = 0.02, rate: int = 8_000) -> bytes:
    """Return a tiny WAV file that differs by number."""
    samples = struct.pack("<h", number) * round(seconds * rate)
    head = struct.pack(
        "<4sI4s4sIHHIIHH",
        b"RIFF",
        36 + len(samples),
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        rate,
        2 * rate,
        2,
        16,
    )
    return head + struct.pack("<4sI", b"data", len(samples)) + samples


def write_wav(path: Path, number: int, *, seconds: float = 0.02) -> Path:
    """Write one; what a file is, is told by its content, not by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav(number, seconds=seconds))
    return path


def write_gtzan(root: Path, clips: Iterable[str], *, below: str = "genres") -> Path:
    for number, clip in enumerate(clips):
        write_wav(root / below / clip.partition(".")[0] / f"{clip}.wav", number)
    return root


def write_giantsteps(
    root: Path,
    *,
    test: dict[str, str],
    annotations: list[str],
    metadata: dict[int, str],
    sound: Iterable[str] = (),
    suffix: str = "-master",
) -> Path:
    """Write both repositories.

    `test`: name of a key file (`10089.LOFI`) -> its text. `annotations`: lines of the table.
    `metadata`: track -> artists. `sound`: those of all of them to have sound; none: all.
    """
    key = root / f"giantsteps-key-dataset{suffix}"
    mtg = root / f"giantsteps-mtg-key-dataset{suffix}"
    (key / "annotations/key").mkdir(parents=True)
    (mtg / "annotations").mkdir(parents=True)
    for name, text in test.items():
        (key / f"annotations/key/{name}.key").write_text(text)
    (mtg / "annotations/annotations.txt").write_text(
        "".join(f"{line}\n" for line in ["ID\tMANUAL KEY\tC", *annotations])
    )
    rows = [f"{track}\t{artists}\tTitle\tMix" for track, artists in metadata.items()]
    (mtg / "annotations/beatport_metadata.txt").write_text(
        "\n".join(["ID\tARTIST\tSONG TITLE\tMIX", *rows]) + "\n"
    )
    wanted = set(sound)
    names = [(key, name) for name in test] + [(mtg, f"{track}.LOFI") for track in metadata]
    for number, (folder, name) in enumerate(names):
        if not wanted or name in wanted:
            path = write_wav(folder / f"audio/{name}.mp3", number)
            (folder / "md5").mkdir(exist_ok=True)
            digest = hashlib.md5(path.read_bytes()).hexdigest()
            (folder / f"md5/{name}.md5").write_text(f"{digest}\n")
    return root


def write_emomusic(
    root: Path, songs: list[tuple[int, str, str, float, float]], *, tables: str = ""
) -> Path:
    """Write songs: number, artist, set, arousal, valence; cells are padded with tabs."""
    folder = root / tables
    folder.mkdir(parents=True, exist_ok=True)
    head = (
        "song_id,file_name,Artist,Song title,start of the segment (min.sec),"
        "end of the segment (min.sec),Genre,Mediaeval 2013 set\n"
    )
    (folder / "songs_info.csv").write_text(
        head
        + "".join(
            f'{n},{n}.mp3,"\t{artist}\t","\tSong {n}\t",0.15,1.0,"\tBlues\t",{part}\n'
            for n, artist, part, _, _ in songs
        )
    )
    (folder / "static_annotations.csv").write_text(
        "song_id,mean_arousal,std_arousal,mean_valence,std_valence\n"
        + "".join(f"{n},{arousal},1.0,{valence},1.0\n" for n, _, _, arousal, valence in songs)
    )
    for n, *_ in songs:
        write_wav(root / f"clips_45seconds/{n}.mp3", n)
    return root


def write_magnatagatune(
    root: Path, clips: dict[str, tuple[str, ...]], *, below: str = "", empty: bool = True
) -> Path:
    """Write clips by their paths, with their tags, and the three that are empty."""
    columns = [*TAGS[:25], "trumpet", *TAGS[25:]]
    lines = ["\t".join(f'"{name}"' for name in ["clip_id", *columns, "mp3_path"])]
    paths = {**clips, **(dict.fromkeys(EMPTY, ("guitar",)) if empty else {})}
    for number, (path, tags) in enumerate(paths.items(), start=1):
        cells = [str(number), *("1" if name in tags else "0" for name in columns), path]
        lines.append("\t".join(f'"{cell}"' for cell in cells))
        file = write_wav(root / below / path, number)
        if path in EMPTY:
            file.write_bytes(b"")
    (root / "annotations_final.csv").write_text("\n".join(lines) + "\n")
    return root

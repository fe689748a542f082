"""A small copy of MTG-Jamendo, in its real layout: tables, splits, and folders of sound."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import soundfile

from ..synthetic_music import SAMPLE_RATE, chord

HEADER = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"


@dataclass(frozen=True)
class Song:
    number: int
    artist: int
    split: str
    tags: tuple[str, ...] = ("genre---rock",)

    @property
    def path(self) -> str:
        return f"{self.number % 100:02d}/{self.number}.mp3"

    @property
    def line(self) -> str:
        names = f"track_{self.number:07d}\tartist_{self.artist:06d}\talbum_{self.artist:06d}"
        return "\t".join([names, self.path, "3.0", *self.tags]) + "\n"


# Two folders, four artists, every split, and one track in none.
SONGS = [
    Song(948, 1, "train", ("genre---rock", "mood/theme---happy")),
    Song(1048, 1, "train"),
    Song(1348, 2, "train", ("instrument---piano",)),
    Song(4700, 3, "validation", ("genre---jazz",)),
    Song(1400, 3, "validation"),
    Song(1300, 4, "test"),
    Song(1500, 4, "test"),
    Song(1600, 5, ""),
]


def write_table(path: Path, songs: Iterable[Song]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + "".join(song.line for song in songs))


def write_tables(
    folder: Path, songs: Iterable[Song] = SONGS, *, table: str = "", stem: str = ""
) -> None:
    songs = list(songs)
    table, stem = table or "autotagging_top50tags", stem or table or "autotagging_top50tags"
    write_table(folder / f"data/{table}.tsv", songs)
    for split in ("train", "validation", "test"):
        chosen = [song for song in songs if song.split == split]
        write_table(folder / f"data/splits/split-0/{stem}-{split}.tsv", chosen)


def write_sound(folder: Path, songs: Iterable[Song] = SONGS, *, low: bool = True) -> None:
    for song in songs:
        path = folder / (song.path.replace(".mp3", ".low.mp3") if low else song.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # What a file is, is told by its content, not by its name.
        soundfile.write(path, chord(song.number % 19, 1.0), SAMPLE_RATE, format="WAV")

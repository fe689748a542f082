"""MIDI -> sound with FluidSynth: the system's own, or Debian's, unpacked without root."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import numpy as np
import soundfile
from jaxtyping import Float32

from ...errors import TaskError
from ...storage import atomic_write, write_json
from .debian import Debian

SAMPLE_RATE = 22_050
"""Of renderings, in Hz."""

BYTES_PER_SECOND = SAMPLE_RATE
"""On disk, about: 16-bit mono FLAC takes half of what it holds."""

Progress = Callable[[int, int, str], None]
"""Called with renderings done, in all, and the latest one."""

Announce = Callable[[int, int, float], bool]
"""Told files to do, in all, and bytes of disk they take; False: nothing is done."""

_SETTINGS = "settings.json"

SOUNDFONTS = {
    "timgm6mb": ("timgm6mb-soundfont", "usr/share/sounds/sf2/TimGM6mb.sf2"),
    "fluidr3mono": ("fluidr3mono-gm-soundfont", "usr/share/sounds/sf3/FluidR3Mono_GM.sf3"),
}
"""Name -> Debian package and its file. 6 MB, GPL-2; 24 MB, MIT."""


@runtime_checkable
class Planned(Protocol):
    """A file that is to be rendered: a dataclass with a path in the folder, and a duration."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def path(self) -> str: ...  # noqa: D102

    @property
    def duration(self) -> float: ...  # noqa: D102


Item = TypeVar("Item", bound=Planned)


@dataclass(frozen=True)
class Synthesiser:
    """FluidSynth and its soundfonts by name; ``libraries`` are folders of what it links to."""

    program: Path
    soundfonts: dict[str, Path]
    libraries: tuple[Path, ...] = ()

    def perform(self, midi: bytes, *, soundfont: str) -> Float32[np.ndarray, " samples"]:
        """Return the sound of a MIDI file: mono, `SAMPLE_RATE`, its greatest sample 0.9.

        Loudness says nothing of the instrument.

        Raises:
            TaskError: FluidSynth fails, or the sound is silent.
        """
        with tempfile.TemporaryDirectory() as temporary:
            notes, sound = Path(temporary) / "notes.mid", Path(temporary) / "sound.wav"
            notes.write_bytes(midi)
            self.render(notes, sound, soundfont=soundfont)
            samples, _ = soundfile.read(sound, dtype="float32", always_2d=True)
        mono: Float32[np.ndarray, " samples"] = samples.mean(axis=1)
        peak = float(np.abs(mono).max(initial=0.0))
        if peak == 0:
            raise TaskError(f"soundfont={soundfont!r} is silent on some notes; check its file.")
        mono *= np.float32(0.9 / peak)
        return mono

    def render(self, midi: Path, sound: Path, *, soundfont: str) -> None:
        """Write the sound of a MIDI file as WAV (stereo, 16 bit, `SAMPLE_RATE`).

        Raises:
            TaskError: FluidSynth fails, or writes nothing.
        """
        environment = dict(os.environ)
        if self.libraries:
            before = [environment[name] for name in ("LD_LIBRARY_PATH",) if name in environment]
            environment["LD_LIBRARY_PATH"] = ":".join([*map(str, self.libraries), *before])
        # Only the samples that are played are unpacked: the same sound, several times faster.
        options = ["-ni", "-q", "-r", str(SAMPLE_RATE), "-o", "synth.dynamic-sample-loading=1"]
        options += ["-F", str(sound)]
        answer = subprocess.run(
            [str(self.program), *options, str(self.soundfonts[soundfont]), str(midi)],
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            check=False,
        )
        if answer.returncode != 0 or not sound.exists():
            last = (answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"])[-1]
            raise TaskError(
                f"program={str(self.program)!r} could not render {midi.name}: {last.rstrip('.')}; "
                "run it by hand to see why."
            )


def find_synthesiser(folder: Path) -> Synthesiser:
    """Return FluidSynth with all soundfonts; what the system lacks is fetched to a folder.

    Args:
        folder: of what is fetched, 30 MB; made if need be.

    Raises:
        TaskError: it is not here and cannot be fetched.
    """
    root = folder / "root"
    debian = Debian(folder)
    places = [Path("/"), root]
    fonts = {name: _first(places, file) for name, (_, file) in SOUNDFONTS.items()}
    system = shutil.which("fluidsynth")
    program = Path(system) if system else _first([root], "usr/bin/fluidsynth")
    wanted = [package for name, (package, _) in SOUNDFONTS.items() if fonts[name] is None]
    lacking = wanted if program else debian.needed_for(["fluidsynth", *wanted])
    if lacking:
        debian.sizes(lacking)
    # FluidSynth comes last: once it is there, so is all that it links to.
    for package in sorted(lacking, key=lambda name: name == "fluidsynth"):
        debian.unpack(debian.download(package), root)
        debian.forget(package)
    fonts = {name: _first(places, file) for name, (_, file) in SOUNDFONTS.items()}
    program = program or _first([root], "usr/bin/fluidsynth")
    found = {name: font for name, font in fonts.items() if font is not None}
    if program is None or len(found) < len(SOUNDFONTS):
        raise TaskError(
            "program='fluidsynth' or its soundfonts could not be had from the system's packages; "
            f"install {', '.join(['fluidsynth', *(p for p, _ in SOUNDFONTS.values())])}."
        )
    libraries = () if system else tuple(sorted({path.parent for path in root.rglob("*.so*")}))
    return Synthesiser(program, found, libraries)


def write_sound(path: Path, samples: Float32[np.ndarray, " samples"]) -> None:
    """Write mono FLAC of 16 bits, at `SAMPLE_RATE`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        soundfile.write(file, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")


def duration_of(path: Path) -> float:
    """Return the length of a rendering, in s, to the millisecond."""
    return round(float(soundfile.info(path).duration), 3)


def render_missing(
    folder: Path,
    plan: Sequence[tuple[Item, Callable[[Synthesiser], None]]],
    *,
    seconds: float,
    announce: Announce,
    progress: Progress,
    synthesiser: Synthesiser | None,
    workers: int | None,
) -> list[Item]:
    """Render what of a plan is not there yet; return what is there then, in the plan's order.

    Args:
        folder: of everything.
        plan: files, and what writes each.
        seconds: of each file, about.
        announce: see `Announce`.
        progress: told as work goes on.
        synthesiser: None: the system's, or one fetched below `folder`.
        workers: at once; None: one per core.

    Raises:
        TaskError: FluidSynth is not to be had, or fails.
    """
    pending = {item.path: write for item, write in plan if not (folder / item.path).exists()}
    if announce(len(pending), len(plan), len(pending) * seconds * BYTES_PER_SECOND) and pending:
        voice = synthesiser or find_synthesiser(folder / ".tools")
        jobs = {path: partial(write, voice) for path, write in pending.items()}
        run_all(jobs, workers, progress)
    return [
        replace(item, duration=duration_of(folder / item.path))
        for item, _ in plan
        if (folder / item.path).exists()
    ]


def run_all(
    jobs: Mapping[str, Callable[[], None]], workers: int | None, progress: Progress
) -> None:
    """Render several at once; after an error or Ctrl-C, those that had not begun are left.

    Args:
        jobs: by what they write.
        workers: at once; None: one per core.
        progress: told after each.
    """
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        running = {pool.submit(job): name for name, job in jobs.items()}
        try:
            for number, (future, name) in enumerate(running.items(), start=1):
                future.result()
                progress(number, len(running), name)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def same_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a folder of other settings; write down those of a new one.

    Raises:
        TaskError: what is in the folder was rendered with others.
    """
    path = folder / _SETTINGS
    if path.exists():
        try:
            before = json.loads(path.read_bytes())
        except ValueError:
            before = None
        if before != settings:
            raise TaskError(
                f"folder={str(folder)!r} holds renderings of other settings ({before}); "
                "give these settings, or another folder."
            )
    write_json(path, dict(settings))


def _first(roots: list[Path], file: str) -> Path | None:
    """Return a file below the first root that has it."""
    return next((root / file for root in roots if (root / file).exists()), None)

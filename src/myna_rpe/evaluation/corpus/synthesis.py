"""MIDI -> sound with FluidSynth: the system's own, or Debian's, unpacked without root."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ...errors import TaskError
from .debian import Debian

SAMPLE_RATE = 22_050
"""Of renderings, in Hz."""

SOUNDFONTS = {
    "timgm6mb": ("timgm6mb-soundfont", "usr/share/sounds/sf2/TimGM6mb.sf2"),
    "fluidr3mono": ("fluidr3mono-gm-soundfont", "usr/share/sounds/sf3/FluidR3Mono_GM.sf3"),
}
"""Name -> Debian package and its file. 6 MB, GPL-2; 24 MB, MIT."""


@dataclass(frozen=True)
class Synthesiser:
    """FluidSynth and its soundfonts by name; ``libraries`` are folders of what it links to."""

    program: Path
    soundfonts: dict[str, Path]
    libraries: tuple[Path, ...] = ()

    def render(self, midi: Path, sound: Path, *, soundfont: str) -> None:
        """Write the sound of a MIDI file as WAV (stereo, 16 bit, `SAMPLE_RATE`).

        Raises:
            TaskError: FluidSynth fails, or writes nothing.
        """
        environment = dict(os.environ)
        if self.libraries:
            before = [environment[name] for name in ("LD_LIBRARY_PATH",) if name in environment]
            environment["LD_LIBRARY_PATH"] = ":".join([*map(str, self.libraries), *before])
        options = ["-ni", "-q", "-r", str(SAMPLE_RATE), "-F", str(sound)]
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


def _first(roots: list[Path], file: str) -> Path | None:
    """Return a file below the first root that has it."""
    return next((root / file for root in roots if (root / file).exists()), None)

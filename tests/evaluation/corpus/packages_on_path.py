"""A system with package tools of our own: `apt-get` and `dpkg` as small scripts on PATH.

A package is a folder, its archive a tar file of it; every call is written down.
"""

import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from myna_rpe.evaluation.corpus.packages import Package

_APT_GET = """#!/bin/sh
echo "apt-get $*" >> "{calls}"
question=
for word in "$@"; do
  case "$word" in
    update) exit {update};;
    --print-uris) question=1;;
    install) simulate=1;;
    -*|download) ;;
    *) names="$names $word";;
  esac
done
for name in $names; do
  archive="{archives}/$name.deb"
  if [ ! -f "$archive" ]; then echo "E: Unable to locate package $name" >&2; exit 100; fi
  if [ $simulate ]; then
    echo "Inst $name (2.0 Debian [all])"
  elif [ $question ]; then
    echo "'http://mirror/$name.deb' ${{name}}_1%3a2.0_all.deb $(wc -c < "$archive") SHA256:00"
  else
    cp "$archive" "${{name}}_1%3a2.0_all.deb"
  fi
done
"""

_DPKG = """#!/bin/sh
echo "dpkg $*" >> "{calls}"
tar xf "$2" -C "$3" 2>/dev/null || {{ echo "dpkg-deb: error: corrupted archive" >&2; exit 2; }}
"""


@dataclass
class Mirror:
    """What the tools know of; ``calls`` are those since the last look."""

    folder: Path

    @property
    def archives(self) -> Path:
        return self.folder / "archives"

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def publish(self, name: str, files: dict[str, Path | bytes]) -> None:
        """Make a package of files by their paths in it."""
        content = self.folder / "content" / name
        for place, source in {f"usr/share/doc/{name}/copyright": b"free", **files}.items():
            path = content / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source if isinstance(source, bytes) else source.read_bytes())
        self.archives.mkdir(exist_ok=True)
        with tarfile.open(self.archives / f"{name}.deb", "w") as archive:
            archive.add(content, arcname=".")


def install_tools(folder: Path, patch: pytest.MonkeyPatch) -> Mirror:
    """Put the tools before those of the system."""
    folder.mkdir()
    tools = folder / "bin"
    tools.mkdir()
    mirror = Mirror(folder)
    values = {"calls": folder / "calls", "archives": mirror.archives, "update": 0}
    for name, script in (("apt-get", _APT_GET), ("dpkg", _DPKG)):
        (tools / name).write_text(script.format(**values))
        (tools / name).chmod(0o755)
    patch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    return mirror


def write_sound(
    path: Path, seconds: float, *, pitch: float = 220.0, rate: int = 8000, **tags: str
) -> Path:
    """Write a quiet tone; the format is that of the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(round(seconds * rate)) / rate
    wave = 0.3 * np.sin(2 * np.pi * pitch * time)
    kind = {".ogg": "OGG", ".flac": "FLAC", ".wav": "WAV"}[path.suffix]
    with soundfile.SoundFile(path, "w", rate, 1, format=kind) as file:
        for name, value in tags.items():
            setattr(file, name, value)
        file.write(wave)
    return path


def game(name: str = "game", **fields: object) -> Package:
    """A package with its music in one folder."""
    values: dict[str, object] = {
        "role": "dev",
        "licence": "CC0-1.0",
        "root": "usr/share/game/music",
        **fields,
    }
    return Package(name, **values)  # type: ignore[arg-type]

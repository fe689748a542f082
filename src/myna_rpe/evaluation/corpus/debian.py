"""Packages of a Debian system without root: `apt-get download`, `dpkg -x`; nothing is installed.

Package lists that the system lacks are fetched into the workspace, which needs no root either.
"""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import TaskError

# A line of --print-uris: 'address' file bytes checksum.
_URI = re.compile(r"^'[^']*' (?P<name>[^_\s]+)_\S+ (?P<bytes>\d+)", re.MULTILINE)


@dataclass
class Debian:
    """The system's package tools, working in a folder of ours.

    Attributes:
        workspace: of downloads and, where need be, of package lists; made if need be.
    """

    workspace: Path
    _options: list[str] = field(default_factory=list)

    def sizes(self, names: Sequence[str]) -> dict[str, int]:
        """Return the bytes that each package takes to download.

        Raises:
            TaskError: no such tools here, or a package is unknown to them.
        """
        self._require_tools()
        # Where the archives already lie, apt-get would not speak of them.
        empty = self.workspace / "empty"
        empty.mkdir(parents=True, exist_ok=True)
        question = ["download", "--print-uris", *names]
        answer = self._apt_get(question, empty)
        if answer.returncode != 0 and not self._options:
            lists = self.workspace / "lists"
            (lists / "partial").mkdir(parents=True, exist_ok=True)
            cache = self.workspace / "cache"
            self._options = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={cache}"]
            self._apt_get(["update"], self.workspace)
            answer = self._apt_get(question, empty)
        found = {line["name"]: int(line["bytes"]) for line in _URI.finditer(answer.stdout)}
        missing = [name for name in names if name not in found]
        if missing:
            raise TaskError(
                f"package={missing[0]!r} is not known to apt-get here (of {len(names)} asked for, "
                f"{len(missing)} are not): {_last_line(answer)}; run `apt-get update`, check the "
                "network, or use Debian 12 or a system based on it."
            )
        return found

    def download(self, name: str) -> Path:
        """Return the archive of a package, fetched and verified by apt-get.

        Raises:
            TaskError: it cannot be fetched.
        """
        self._require_tools()
        folder = self.workspace / "archives" / name
        folder.mkdir(parents=True, exist_ok=True)
        answer = self._apt_get(["download", name], folder)
        archives = sorted(folder.glob(f"{name}_*.deb"), key=lambda path: path.stat().st_mtime)
        if answer.returncode != 0 or not archives:
            raise TaskError(
                f"package={name!r} could not be fetched: {_last_line(answer)}; check the network "
                "and run the same command again to go on."
            )
        return archives[-1]

    def unpack(self, archive: Path, folder: Path) -> None:
        """Unpack an archive into a folder, made if need be.

        Raises:
            TaskError: the archive is damaged, or there is no room.
        """
        folder.mkdir(parents=True, exist_ok=True)
        command = ["dpkg", "-x", str(archive), str(folder)]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            raise TaskError(
                f"archive={archive.name!r} could not be unpacked: {_last_line(answer)}; "
                f"remove {archive} and run the same command again."
            )

    def forget(self, name: str) -> None:
        """Remove the archive of a package."""
        shutil.rmtree(self.workspace / "archives" / name, ignore_errors=True)

    def needed_for(self, names: Sequence[str]) -> list[str]:
        """Return the packages that this system lacks to run some of them, those included.

        Raises:
            TaskError: no such tools here, or a package is unknown to them.
        """
        self.sizes(names)
        simulated = ["-s", "-y", "--no-install-recommends", "install", *names]
        answer = self._apt_get(simulated, self.workspace)
        return re.findall(r"^Inst (\S+)", answer.stdout, re.MULTILINE)

    def _require_tools(self) -> None:
        for tool in ("apt-get", "dpkg"):
            if shutil.which(tool) is None:
                raise TaskError(
                    f"tool={tool!r} is not on this system, which the free music is fetched with; "
                    "run this on Debian, Ubuntu or in a container of one."
                )

    def _apt_get(self, words: Sequence[str], folder: Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["apt-get", "-qq", *self._options, *words],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )


def _last_line(answer: "subprocess.CompletedProcess[str]") -> str:
    """Return the last thing a command complained of."""
    lines = [line for line in answer.stderr.splitlines() if line.strip() and line[:2] != "W:"]
    return lines[-1].strip().rstrip(".") if lines else f"exit code {answer.returncode}"

"""What the README tells a newcomer to type works, in the order it stands there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .evaluation.corpus.small_corpus import write_corpus
from .synthetic_music import write_album

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
# Installation and the make targets are what CI itself runs; the corpus is there already.
NOT_HERE = ("make ", "pip ", "myna corpus fetch ")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with music and a corpus, as the README assumes."""
    monkeypatch.chdir(tmp_path)
    paths = write_album(tmp_path / "Music", tracks=5, seconds=12.0)
    paths[0].rename(tmp_path / "Music/song.wav")
    write_corpus(tmp_path / "corpus")
    return tmp_path


def test_every_block_of_the_readme_runs(home: Path) -> None:
    ran = 0
    for language, block in BLOCKS:
        if language == "python":
            commands = [[sys.executable, "-c", block]]
        else:
            lines = block.replace("\\\n", " ").splitlines()
            lines = [line for line in lines if not line.startswith(NOT_HERE)]
            commands = [shlex.split(line, comments=True) for line in lines]
        for words in commands:
            if words and words[0] == "myna":
                words = [sys.executable, "-c", "from myna_rpe.cli import main; main()", *words[1:]]
            result = subprocess.run(words, cwd=home, capture_output=True, text=True, check=False)
            assert result.returncode == 0, f"{words}\n{result.stderr}"
            ran += 1
    assert ran >= 9

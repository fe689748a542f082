"""The cache of features: nothing is extracted twice, nothing of another file or space is reused."""

import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from myna_rpe.errors import AudioError, EmbeddingError
from myna_rpe.evaluation import features as module
from myna_rpe.evaluation.examples import Example
from myna_rpe.evaluation.features import Features, extract_features
from myna_rpe.evaluation.peers import MelExtractor, UntrainedExtractor
from myna_rpe.evaluation.peers.base import FeatureExtractor
from myna_rpe.storage import acquire_lock

from ..embedding_support import SMALL, write_chord


class Bytes(FeatureExtractor):
    """The first bytes of a file as numbers, with start and duration; it notes what it was asked."""

    name = "bytes"
    dim = 4
    space_id = "bytes/v1"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def extract(
        self, path: Path, *, start: float = 0.0, duration: float | None = None
    ) -> np.ndarray:
        self.asked.append(path.name)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise AudioError(f"file={path.name} cannot be read; look for it.") from error
        if content.startswith(b"bad"):
            raise AudioError(f"file={path.name} is bad; mend it.")
        if content.startswith(b"nan"):
            return np.full(4, np.nan, np.float32)
        if content.startswith(b"short"):
            return np.zeros(3, np.float32)
        return np.array([content[0], content[1], start, duration or -1.0], dtype=np.float32)

    def take(self) -> list[str]:
        asked, self.asked = self.asked, []
        return asked


@pytest.fixture
def extractor() -> Bytes:
    return Bytes()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    return write(tmp_path, ["aa", "bb", "cc", "dd", "ee"])


def write(folder: Path, contents: list[str]) -> list[Example]:
    paths = [folder / f"{index}.raw" for index in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_text(content)
    return [Example(path.stem, path, "label") for path in paths]


def expected(examples: list[Example]) -> np.ndarray:
    probe = Bytes()
    return np.stack(
        [probe.extract(it.path, start=it.start, duration=it.duration) for it in examples]
    )


def counts(features: Features) -> tuple[int, int, int]:
    return features.extracted, features.reused, len(features.failures)


# --- what a run gives ----------------------------------------------------------------------------


def test_features_are_aligned_with_their_examples(
    extractor: Bytes, examples: list[Example], cache: Path
) -> None:
    features = extract_features(extractor, examples, cache)
    assert features.examples == examples
    np.testing.assert_array_equal(features.values, expected(examples))
    assert features.values.dtype == np.float32
    assert counts(features) == (5, 0, 0)
    assert features.space_id == "bytes/v1"


def test_a_second_run_extracts_nothing(
    extractor: Bytes, examples: list[Example], cache: Path
) -> None:
    first = extract_features(extractor, examples, cache)
    extractor.take()
    second = extract_features(extractor, examples[::-1], cache)
    assert extractor.take() == []
    assert counts(second) == (0, 5, 0)
    np.testing.assert_array_equal(second.values, first.values[::-1])
    assert second.seconds_per_track == pytest.approx(first.seconds_per_track)


def test_a_changed_file_is_extracted_again(
    extractor: Bytes, examples: list[Example], cache: Path
) -> None:
    extract_features(extractor, examples, cache)
    extractor.take()
    examples[1].path.write_text("zz")
    os.utime(examples[1].path, ns=(0, 1))
    features = extract_features(extractor, examples, cache)
    assert extractor.take() == ["1.raw"]
    assert counts(features) == (1, 4, 0)
    np.testing.assert_array_equal(features.values, expected(examples))
    assert counts(extract_features(extractor, examples, cache)) == (0, 5, 0)


def test_start_and_duration_are_part_of_what_is_cached(
    extractor: Bytes, examples: list[Example], cache: Path
) -> None:
    one = examples[0]
    excerpts = [one, replace(one, id="b", start=1.5), replace(one, id="c", duration=2.5)]
    features = extract_features(extractor, excerpts, cache)
    np.testing.assert_array_equal(features.values[:, 2:], [[0, -1], [1.5, -1], [0, 2.5]])
    extractor.take()
    assert counts(extract_features(extractor, excerpts, cache)) == (0, 3, 0)
    assert extractor.take() == []


def test_examples_that_share_an_excerpt_share_its_features(
    extractor: Bytes, examples: list[Example], cache: Path
) -> None:
    twice = [examples[0], replace(examples[0], id="again"), examples[1]]
    features = extract_features(extractor, twice, cache)
    assert extractor.take() == ["0.raw", "1.raw"]
    assert counts(features) == (2, 0, 0)
    np.testing.assert_array_equal(features.values, expected(twice))


def test_a_relative_path_is_the_same_file(
    extractor: Bytes, examples: list[Example], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract_features(extractor, examples, cache)
    monkeypatch.chdir(examples[0].path.parent)
    relative = [replace(example, path=Path(example.path.name)) for example in examples]
    features = extract_features(extractor, relative, cache)
    assert counts(features) == (0, 5, 0)
    assert features.examples == relative


def test_broken_files_are_recorded_and_the_rest_goes_on(
    extractor: Bytes, tmp_path: Path, cache: Path
) -> None:
    examples = write(tmp_path, ["aa", "bad", "bb", "nan", "short", "cc"])
    examples.append(Example("gone", tmp_path / "gone.raw", "label"))
    features = extract_features(extractor, examples, cache)
    assert counts(features) == (3, 0, 4)
    assert [example.id for example in features.examples] == ["0", "2", "5"]
    np.testing.assert_array_equal(features.values, expected(list(features.examples)))
    reasons = {failure.example.id: failure.error for failure in features.failures}
    assert reasons["1"] == "file=1.raw is bad; mend it."
    assert "hold NaN or infinity" in reasons["3"]
    assert "features.shape=(3,)" in reasons["4"]
    assert "cannot be read" in reasons["gone"]


def test_failures_are_tried_again(extractor: Bytes, tmp_path: Path, cache: Path) -> None:
    examples = write(tmp_path, ["aa", "bad"])
    extract_features(extractor, examples, cache)
    extractor.take()
    assert counts(extract_features(extractor, examples, cache)) == (0, 1, 1)
    assert extractor.take() == ["1.raw"]


def test_a_file_that_became_bad_has_no_features_left(
    extractor: Bytes, examples: list[Example], cache: Path
) -> None:
    extract_features(extractor, examples, cache)
    examples[2].path.write_text("bad now")
    features = extract_features(extractor, examples, cache)
    assert counts(features) == (0, 4, 1)
    assert examples[2] not in features.examples


@pytest.mark.parametrize("contents", [[], ["bad"]])
def test_nothing_extracted_is_an_empty_matrix(
    extractor: Bytes, tmp_path: Path, cache: Path, contents: list[str]
) -> None:
    features = extract_features(extractor, write(tmp_path, contents), cache)
    assert features.values.shape == (0, 4)
    assert np.isnan(features.seconds_per_track)
    assert len(features.failures) == len(contents)


def test_progress_counts_to_the_number_of_excerpts(
    extractor: Bytes, examples: list[Example], cache: Path
) -> None:
    extract_features(extractor, examples[:2], cache)
    calls: list[tuple[int, int]] = []
    extract_features(
        extractor, examples, cache, progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(3, 5), (4, 5), (5, 5)]


def test_seconds_per_track_are_those_the_extractor_took(
    examples: list[Example], cache: Path
) -> None:
    class Slow(Bytes):
        def extract(
            self, path: Path, *, start: float = 0.0, duration: float | None = None
        ) -> np.ndarray:
            time.sleep(0.05)
            return super().extract(path, start=start, duration=duration)

    assert extract_features(Slow(), examples, cache).seconds_per_track >= 0.05


# --- spaces --------------------------------------------------------------------------------------


def test_spaces_have_caches_of_their_own(examples: list[Example], cache: Path) -> None:
    one, other = Bytes(), Bytes()
    other.space_id = "bytes%2Fv1"
    extract_features(one, examples, cache)
    assert counts(extract_features(other, examples, cache)) == (5, 0, 0)
    assert len(list(cache.iterdir())) == 2


def test_a_part_of_another_space_is_refused(
    extractor: Bytes, examples: list[Example], cache: Path
) -> None:
    extract_features(extractor, examples, cache)
    (folder,) = cache.iterdir()
    shutil.copytree(folder, cache / "other")
    extractor.space_id = "other"
    with pytest.raises(EmbeddingError, match=r"holds features of bytes/v1, not of other"):
        extract_features(extractor, examples, cache)


# --- what a kill, a fault or a second run may do --------------------------------------------------


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PART_ROWS", 2)


@pytest.mark.usefixtures("small_parts")
def test_a_run_that_is_interrupted_goes_on_from_there(
    extractor: Bytes, examples: list[Example], cache: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_features(extractor, examples, cache, progress=stop)
    extractor.take()
    features = extract_features(extractor, examples, cache)
    assert extractor.take() == ["3.raw", "4.raw"]
    assert counts(features) == (2, 3, 0)
    np.testing.assert_array_equal(features.values, expected(examples))


@pytest.mark.usefixtures("small_parts")
def test_parts_are_joined_at_the_end(
    extractor: Bytes, examples: list[Example], cache: Path
) -> None:
    extract_features(extractor, examples, cache)
    examples[0].path.write_text("changed")
    extract_features(extractor, examples, cache)
    (part,) = cache.glob("*/*.parquet")
    assert pq.read_metadata(part).num_rows == 5
    assert counts(extract_features(extractor, examples, cache)) == (0, 5, 0)


def test_a_killed_run_keeps_its_parts(
    extractor: Bytes, examples: list[Example], cache: Path
) -> None:
    """SIGKILL in the middle of the fourth file: two parts of one row, and one row lost."""
    program = f"""
        import os, signal
        from myna_rpe.evaluation import features
        from tests.evaluation.test_features import Bytes, Example, Path
        features._PART_ROWS = 1

        class Killed(Bytes):
            def extract(self, path, **options):
                if len(self.asked) == 3:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().extract(path, **options)

        examples = [Example(p.stem, p, "") for p in sorted(Path({str(examples[0].path.parent)!r}).glob("*.raw"))]
        features.extract_features(Killed(), examples, Path({str(cache)!r}))
    """  # noqa: E501
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=root, check=False)
    assert ended.returncode == -9
    features = extract_features(extractor, examples, cache)
    assert extractor.take() == ["3.raw", "4.raw"]
    np.testing.assert_array_equal(features.values, expected(examples))


def test_two_runs_at_once_are_refused(
    extractor: Bytes, examples: list[Example], cache: Path
) -> None:
    extract_features(extractor, examples, cache)
    (folder,) = cache.iterdir()
    with (
        acquire_lock(folder / "lock"),
        pytest.raises(EmbeddingError, match=rf"is being written by process {os.getpid()}"),
    ):
        extract_features(extractor, examples, cache)


def _damages() -> Iterator[Callable[[bytes], bytes]]:
    yield lambda file: b""
    yield lambda file: file[: len(file) // 2]
    yield lambda file: file[:60] + bytes(20) + file[80:]


@pytest.mark.parametrize("damage", list(_damages()))
def test_a_damaged_cache_says_what_to_delete(
    extractor: Bytes, examples: list[Example], cache: Path, damage: Callable[[bytes], bytes]
) -> None:
    extract_features(extractor, examples, cache)
    (part,) = cache.glob("*/*.parquet")
    part.write_bytes(damage(part.read_bytes()))
    with pytest.raises(EmbeddingError, match=r"damaged; delete it"):
        extract_features(extractor, examples, cache)


def test_a_cache_that_cannot_be_written_is_one_sentence(
    extractor: Bytes, examples: list[Example], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddingError, match=r"cannot be written"):
        extract_features(extractor, examples, tmp_path / "file")


def test_a_full_disk_is_one_sentence_and_leaves_no_half_part(
    extractor: Bytes, examples: list[Example], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, table: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_parquet", full)
    with pytest.raises(EmbeddingError, match=r"free some space"):
        extract_features(extractor, examples, cache)
    assert list(cache.glob("*/*.parquet")) == []


# --- with real extractors ------------------------------------------------------------------------


def test_whole_tracks_of_a_model_are_embedded_together(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write_chord(tmp_path / f"{index}.wav", 0.5, pitch=200 + index) for index in range(4)]
    (tmp_path / "bad.wav").write_text("no music")
    paths.insert(2, tmp_path / "bad.wav")
    examples = [Example(path.stem, path, "") for path in paths]
    examples.append(Example("excerpt", paths[0], "", start=0.1, duration=0.2))
    extractor = UntrainedExtractor(SMALL)
    calls: list[int] = []
    embed_many = extractor.embedder.embed_many

    def counted(paths: Iterator[Path]) -> object:
        paths = list(paths)
        calls.append(len(paths))
        return embed_many(paths)

    monkeypatch.setattr(extractor.embedder, "embed_many", counted)
    features = extract_features(extractor, examples, cache)
    assert calls == [5]
    assert [failure.example.id for failure in features.failures] == ["bad"]
    for example, values in zip(features.examples, features.values, strict=True):
        alone = extractor.extract(example.path, start=example.start, duration=example.duration)
        np.testing.assert_allclose(values, alone, atol=1e-5)


def test_features_survive_the_way_to_disk_and_back(tmp_path: Path, cache: Path) -> None:
    path = write_chord(tmp_path / "夜に駆ける.wav", 0.5)
    extractor = MelExtractor()
    examples = [Example("one", path, "")]
    extract_features(extractor, examples, cache)
    again = extract_features(extractor, examples, cache)
    assert again.reused == 1
    np.testing.assert_array_equal(again.values[0], extractor.extract(path))

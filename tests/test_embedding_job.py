import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from myna_rpe import embedding_job
from myna_rpe.embedder import Embedded, Embedder, Failed, Windows
from myna_rpe.embedding_job import Report, embed_to_table
from myna_rpe.embedding_table import EmbeddingTable
from myna_rpe.errors import EmbeddingError
from myna_rpe.storage import file_sha256

from .embedding_support import RATE, chord, small_model, write_chord


class Counted(Embedder):
    """An embedder that notes which files it was asked for."""

    asked: list[str]

    def embed_many(self, paths: Iterator[Path], **options: object) -> Iterator[Embedded | Failed]:
        paths = list(paths)
        self.asked = [*getattr(self, "asked", []), *(path.name for path in paths)]
        return super().embed_many(paths, **options)

    def take(self) -> list[str]:
        asked, self.asked = getattr(self, "asked", []), []
        return asked


@pytest.fixture
def embedder() -> Counted:
    return Counted(small_model(), source="small")


@pytest.fixture
def music(tmp_path: Path) -> Path:
    for index in range(6):
        write_chord(tmp_path / "music" / f"{index}.wav", 0.3, pitch=200 + 30 * index)
    return tmp_path / "music"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "table.parquet"


@pytest.fixture
def run(embedder: Counted, music: Path, output: Path) -> Callable[..., Report]:
    def run(paths: list[Path] | None = None, **options: object) -> Report:
        files = sorted(music.iterdir()) if paths is None else paths
        report = embed_to_table(embedder, files, output, **options)
        assert report.found == report.embedded + report.reused + report.failed
        assert report.failed == len(report.failures)
        assert not output.with_name("table.parquet.parts").exists()
        table = EmbeddingTable.read(output)
        assert len(table.rows) == report.found
        return report

    return run


def counts(report: Report) -> tuple[int, int, int]:
    return report.embedded, report.reused, report.failed


# --- what a run makes ----------------------------------------------------------------------------


def test_the_table_holds_the_embedders_vectors(
    run: Callable[..., Report], embedder: Counted, music: Path, output: Path
) -> None:
    report = run()
    assert counts(report) == (6, 0, 0)
    table = EmbeddingTable.read(output)
    assert table.header.space_id == report.space_id == embedder.space_id
    assert table.header.model == "small"
    assert [row.path for row in table.rows] == sorted(music.iterdir())
    for row in table.rows:
        np.testing.assert_allclose(row.embedding, embedder.embed(row.path), atol=1e-5)
        assert row.duration == pytest.approx(0.3)
        assert row.content_hash == file_sha256(row.path)
        assert row.size == row.path.stat().st_size
        assert row.mtime_ns == row.path.stat().st_mtime_ns
        assert row.error is None


def test_failures_and_silence_are_rows(
    run: Callable[..., Report], music: Path, output: Path
) -> None:
    (music / "bad.wav").write_text("no music")
    soundfile.write(music / "silent.wav", np.zeros(RATE), RATE)
    with pytest.warns(UserWarning, match="silent"):
        report = run()
    assert counts(report) == (7, 0, 1)
    assert report.warned == 1
    rows = {row.path.name: row for row in EmbeddingTable.read(output).rows}
    assert rows["bad.wav"].embedding is None
    assert "bad.wav" in rows["bad.wav"].error
    assert "silent" in rows["silent.wav"].warning
    assert rows["silent.wav"].embedding is not None


def test_windows_and_layer_are_recorded(music: Path, output: Path) -> None:
    embedder = Embedder(small_model(), context=Windows(0.1), layer=1, source="small")
    embed_to_table(embedder, [music / "0.wav"], output)
    header = EmbeddingTable.read(output).header
    assert (header.layer, header.windows) == (1, (0.1, 0.1))
    assert header.space_id.endswith("/layer1/windows0.1s")


def test_a_path_given_twice_is_one_row(run: Callable[..., Report], music: Path) -> None:
    assert run([music / "0.wav", music / "0.wav"]).found == 1


# --- incremental ---------------------------------------------------------------------------------


def test_a_second_run_does_nothing(
    run: Callable[..., Report], embedder: Counted, output: Path
) -> None:
    assert run().written
    status = output.stat()
    embedder.take()
    report = run()
    assert counts(report) == (0, 6, 0)
    assert not report.written
    assert embedder.take() == []
    assert (output.stat().st_ino, output.stat().st_mtime_ns) == (
        status.st_ino,
        status.st_mtime_ns,
    )


def test_an_unchanged_file_is_not_even_read(
    run: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    run()

    def hashed(path: Path) -> str:
        raise AssertionError(path)

    monkeypatch.setattr(embedding_job, "file_sha256", hashed)
    assert counts(run()) == (0, 6, 0)


def test_new_and_changed_files_are_embedded(
    run: Callable[..., Report], embedder: Counted, music: Path
) -> None:
    run()
    embedder.take()
    write_chord(music / "6.wav", 0.4)
    write_chord(music / "2.wav", 0.5)
    assert counts(run()) == (2, 5, 0)
    assert embedder.take() == ["2.wav", "6.wav"]


def test_moved_copied_and_touched_files_are_recognised(
    run: Callable[..., Report], embedder: Counted, music: Path, output: Path
) -> None:
    run()
    before = {row.path.name: row for row in EmbeddingTable.read(output).rows}
    embedder.take()
    (music / "0.wav").rename(music / "moved.wav")
    shutil.copyfile(music / "1.wav", music / "copied.wav")
    os.utime(music / "2.wav", ns=(1, 1))
    report = run()
    assert counts(report) == (0, 7, 0)
    assert report.written
    assert report.dropped == 1
    assert embedder.take() == []
    after = {row.path.name: row for row in EmbeddingTable.read(output).rows}
    assert np.array_equal(after["moved.wav"].embedding, before["0.wav"].embedding)
    assert np.array_equal(after["copied.wav"].embedding, before["1.wav"].embedding)
    assert after["2.wav"].mtime_ns == 1


def test_copies_are_embedded_once(
    run: Callable[..., Report], embedder: Counted, music: Path
) -> None:
    for name in ("copy.wav", "another.wav"):
        shutil.copyfile(music / "1.wav", music / name)
    assert counts(run()) == (6, 2, 0)
    assert len(embedder.take()) == 6


def test_copies_of_a_bad_file_each_have_their_own_reason(
    run: Callable[..., Report], music: Path
) -> None:
    for name in ("bad.wav", "worse.wav"):
        (music / name).write_text("no music")
    report = run()
    assert counts(report) == (6, 0, 2)
    for row in report.failures:
        assert row.path.name in row.error


def test_the_table_reflects_the_files_asked_for(
    run: Callable[..., Report], music: Path, output: Path
) -> None:
    run()
    report = run([music / "1.wav", music / "5.wav"])
    assert counts(report) == (0, 2, 0)
    assert report.dropped == 4
    assert [row.path.name for row in EmbeddingTable.read(output).rows] == ["1.wav", "5.wav"]


def test_failures_are_tried_again_only_when_changed_or_asked(
    run: Callable[..., Report], embedder: Counted, music: Path
) -> None:
    bad = music / "bad.wav"
    bad.write_text("no music")
    run()
    embedder.take()
    os.utime(bad, ns=(1, 1))  # touched, with the same content
    assert counts(run()) == (0, 6, 1)
    assert embedder.take() == []
    assert counts(run(retry_failed=True)) == (0, 6, 1)
    assert embedder.take() == ["bad.wav"]
    write_chord(bad, 0.2)
    assert counts(run()) == (1, 6, 0)


def test_a_file_that_could_not_be_read_at_all_is_always_tried_again(
    run: Callable[..., Report], embedder: Counted, music: Path
) -> None:
    files = [*sorted(music.iterdir()), music / "later.wav"]
    assert counts(run(files)) == (6, 0, 1)
    assert counts(run(files)) == (0, 6, 1)
    write_chord(music / "later.wav", 0.2)
    assert counts(run(files)) == (1, 6, 0)


def test_names_that_are_not_utf8_are_recognised_again(
    run: Callable[..., Report], music: Path
) -> None:
    odd = music / os.fsdecode(b"caf\xe9.wav")
    shutil.copyfile(write_chord(music / "café.wav", 0.2), odd)
    write_chord(music / "夜.wav", 0.25)
    assert counts(run()) == (8, 1, 0)
    assert not run().written


# --- interrupted, full, locked -------------------------------------------------------------------


class PowerCutError(BaseException):
    """What no handler may catch."""


@pytest.mark.parametrize("error", [PowerCutError, KeyboardInterrupt])
def test_an_interrupted_run_goes_on_where_it_was(
    run: Callable[..., Report],
    embedder: Counted,
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    monkeypatch.setattr(embedding_job, "_PART_ROWS", 2)
    genuine = embedding_job._finished
    finished = 0

    def failing(*arguments: object) -> object:
        nonlocal finished
        finished += 1
        if finished == 6:
            raise error
        return genuine(*arguments)

    monkeypatch.setattr(embedding_job, "_finished", failing)
    with pytest.raises(error):
        run()
    assert not output.exists()
    parts = sorted(output.with_name("table.parquet.parts").glob("*.parquet"))
    saved = sum(len(EmbeddingTable.read(part).rows) for part in parts)
    assert saved == (5 if error is KeyboardInterrupt else 4)
    monkeypatch.setattr(embedding_job, "_finished", genuine)
    assert counts(run()) == (6 - saved, saved, 0)


def test_a_slow_run_flushes_by_time(
    run: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    genuine = embedding_job._Parts.flush

    def flush(parts: embedding_job._Parts) -> None:
        flushed.append(len(parts._pending))
        genuine(parts)

    monkeypatch.setattr(embedding_job._Parts, "flush", flush)
    monkeypatch.setattr(embedding_job, "_PART_SECONDS", 0.0)
    run()
    assert flushed == [1] * 6


def test_an_interrupted_run_of_another_model_is_not_mixed_in(
    embedder: Counted, music: Path, output: Path
) -> None:
    other = Embedder(small_model(seed=1))
    with embedding_job._Parts.open(output, embedding_job.header_of(other)) as parts:
        embed = list(other.embed_many([music / "0.wav"]))
        parts.add(embedding_job._finished(embedding_job._stamp(music / "0.wav"), embed[0]))
        parts.flush()
    with pytest.raises(EmbeddingError, match="finish that run with its model, or delete"):
        embed_to_table(embedder, [music / "0.wav"], output)
    assert output.with_name("table.parquet.parts").exists()


def test_a_table_of_another_space_is_not_touched(
    run: Callable[..., Report], music: Path, output: Path
) -> None:
    run()
    before = output.read_bytes()
    for other in (
        Embedder(small_model(seed=1)),
        Embedder(small_model(), layer=1),
        Embedder(small_model(), context=Windows(1.0)),
    ):
        with pytest.raises(EmbeddingError, match="of different spaces do not mix"):
            embed_to_table(other, [music / "0.wav"], output)
    assert output.read_bytes() == before
    assert not output.with_name("table.parquet.parts").exists()


def test_a_damaged_table_is_not_overwritten(run: Callable[..., Report], output: Path) -> None:
    output.write_text("something else")
    with pytest.raises(EmbeddingError, match="move it away"):
        run()
    assert output.read_text() == "something else"


@pytest.mark.parametrize("writes_before", [0, 1, 2, 3])
def test_a_full_disk_leaves_nothing_half_written(
    run: Callable[..., Report],
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    writes_before: int,
) -> None:
    monkeypatch.setattr(embedding_job, "_PART_ROWS", 2)
    genuine = os.fsync
    left = writes_before

    def fsync(handle: int) -> None:
        nonlocal left
        # Folders are synchronised too; only files fill the disk.
        if stat.S_ISREG(os.fstat(handle).st_mode):
            if left == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            left -= 1
        genuine(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(EmbeddingError, match="No space left on device; free some space and run"):
        run()
    assert not output.exists()
    assert not [path for path in output.parent.rglob("*") if path.suffix == ".tmp"]
    parts = output.with_name("table.parquet.parts")
    assert parts.exists() == (writes_before > 0)
    monkeypatch.setattr(os, "fsync", genuine)
    assert counts(run()) == (6 - 2 * writes_before, 2 * writes_before, 0)


def test_a_second_run_at_the_same_time_is_refused(
    embedder: Counted, music: Path, output: Path
) -> None:
    with (
        embedding_job._Parts.open(output, embedding_job.header_of(embedder)),
        pytest.raises(EmbeddingError, match=f"is being written by process {os.getpid()}; wait"),
    ):
        embed_to_table(embedder, [music / "0.wav"], output)
    embed_to_table(embedder, [music / "0.wav"], output)


def test_an_output_in_a_missing_folder_is_refused(
    embedder: Counted, music: Path, tmp_path: Path
) -> None:
    with pytest.raises(EmbeddingError, match="cannot be written: No such file or directory"):
        embed_to_table(embedder, [music / "0.wav"], tmp_path / "nowhere" / "table.parquet")


def test_progress_tells_both_stages(run: Callable[..., Report]) -> None:
    told: list[tuple[str, int, int]] = []
    run(progress=lambda *step: told.append(step))
    assert told[:6] == [("hash", done, 6) for done in range(1, 7)]
    assert told[-1] == ("embed", 6, 6)


def test_the_report_is_plain_data(run: Callable[..., Report]) -> None:
    report = asdict(run())
    assert report["found"] == 6
    assert report["seconds"] > 0


def test_the_hash_is_what_sha256sum_says(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_one_sample_is_enough(embedder: Counted, tmp_path: Path, output: Path) -> None:
    soundfile.write(tmp_path / "short.wav", chord(1)[:1], RATE)
    assert counts(embed_to_table(embedder, [tmp_path / "short.wav"], output)) == (1, 0, 0)

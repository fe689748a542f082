import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from myna_rpe.audio.decode import decode
from myna_rpe.audio.melspectrogram import MelSpectrogram
from myna_rpe.config import FRONT_ENDS
from myna_rpe.data import Folder, PrepareReport, ShardSet, prepare, prepare_shards, workers
from myna_rpe.data.shards import MANIFEST, Settings
from myna_rpe.errors import AudioError, ConfigError, ShardError

from ..synthetic_music import SAMPLE_RATE, chord, write_album

FRONT_END = FRONT_ENDS["rpe-16k"]


@pytest.fixture
def album(tmp_path) -> Path:
    write_album(tmp_path / "album")
    return tmp_path / "album"


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "shards"


def run(source: Path, out: Path, **options) -> PrepareReport:
    defaults = {"min_seconds": 0.5, "workers": 1, "storage": "float32", "shard_bytes": 90_000}
    return prepare_shards(Folder(source), out, FRONT_END, **(defaults | options))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def decoded_by(monkeypatch) -> list[str]:
    """Return a list that will hold the names of all files that are decoded from now on."""
    seen: list[str] = []
    original = workers.decode_blocks

    def spy(path, **options):
        seen.append(Path(path).name)
        return original(path, **options)

    monkeypatch.setattr(workers, "decode_blocks", spy)
    return seen


def test_tracks_hold_the_front_ends_spectrogram_of_their_file(album, out):
    run(album, out)
    shards = ShardSet.open(out)
    assert [track.path for track in shards.tracks] == [
        *(f"side-a/{n:02d}.wav" for n in (0, 2, 4)),
        *(f"side-b/{n:02d}.wav" for n in (1, 3, 5)),
    ]
    assert [track.group for track in shards.tracks] == ["side-a"] * 3 + ["side-b"] * 3
    for index, track in enumerate(shards.tracks):
        waveform = torch.from_numpy(decode(album / track.path, sample_rate=16_000))
        expected = MelSpectrogram(FRONT_END)(waveform).T
        np.testing.assert_allclose(
            shards.excerpt(index, 0, track.frames), expected.numpy(), atol=2e-3
        )


def test_counts_add_up_and_every_failure_has_a_reason(album, out):
    (album / "empty.mp3").touch()
    (album / "text.mp3").write_text("not music, although it says so\n" * 100)
    soundfile.write(album / "click.wav", chord(0, 0.1), SAMPLE_RATE)
    soundfile.write(album / "silence.wav", np.zeros(3 * SAMPLE_RATE), SAMPLE_RATE)
    report = run(album, out)
    assert (report.found, report.tracks, report.reused) == (10, 6, 0)
    assert {kind: [file.path for file in files] for kind, files in report.kinds.items()} == {
        "unreadable": ["empty.mp3", "text.mp3"],
        "too short": ["click.wav"],
        "silent": ["silence.wav"],
    }
    assert all(file.reason for file in report.rejected)
    assert report.found == report.tracks + len(report.rejected)
    assert report.seconds == pytest.approx(6 * 3, abs=1)
    rejected = json.loads((out / MANIFEST).read_text())["rejected"]
    assert [file["path"] for file in rejected] == [
        "click.wav",
        "empty.mp3",
        "silence.wav",
        "text.mp3",
    ]


def test_a_second_run_over_the_same_files_does_nothing(album, out, monkeypatch):
    soundfile.write(album / "click.wav", chord(0, 0.1), SAMPLE_RATE)
    run(album, out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    decoded = decoded_by(monkeypatch)
    report = run(album, out)
    assert decoded == []
    assert (report.tracks, report.reused, len(report.kinds["too short"])) == (6, 6, 1)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_failed_files_are_tried_again(album, out, monkeypatch):
    broken = album / "side-a" / "00.wav"
    good = broken.read_bytes()
    stat = broken.stat()
    broken.write_bytes(b"x" * len(good))
    os.utime(broken, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert len(run(album, out).rejected) == 1
    broken.write_bytes(good)
    os.utime(broken, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    decoded = decoded_by(monkeypatch)
    report = run(album, out)
    assert decoded == ["00.wav"]
    assert (report.tracks, report.reused) == (6, 5)


def test_new_changed_and_removed_files_are_noticed(album, out, monkeypatch):
    run(album, out)
    soundfile.write(album / "side-a" / "00.wav", chord(9, 2.0), SAMPLE_RATE)
    soundfile.write(album / "side-a" / "06.wav", chord(6, 3.0), SAMPLE_RATE)
    (album / "side-b" / "05.wav").unlink()
    decoded = decoded_by(monkeypatch)
    report = run(album, out)
    assert decoded == ["00.wav", "06.wav"]
    assert (report.found, report.tracks, report.reused) == (6, 6, 4)
    shards = ShardSet.open(out)
    fresh = out.with_name("fresh")
    run(album, fresh)
    assert shards.fingerprint == ShardSet.open(fresh).fingerprint


def test_shards_without_a_living_track_are_removed(album, out):
    run(album, out, shard_bytes=1)
    assert len(list(out.glob("*.safetensors"))) == 6
    (album / "side-b" / "05.wav").unlink()
    run(album, out, shard_bytes=1)
    assert len(list(out.glob("*.safetensors"))) == 5
    assert len(ShardSet.open(out)) == 5


def test_shards_that_are_mostly_dead_frames_are_repacked_without_decoding(album, out, monkeypatch):
    run(album, out, shard_bytes=1 << 30)
    before = {track.id: track.sha256 for track in ShardSet.open(out).tracks}
    for n in range(1, 5):
        soundfile.write(album / f"side-{'ab'[n % 2]}" / f"{n:02d}.wav", chord(9, 2.0), SAMPLE_RATE)
    decoded = decoded_by(monkeypatch)
    report = run(album, out, shard_bytes=1 << 30)
    assert len(decoded) == 4
    assert (report.tracks, report.reused) == (6, 2)
    shards = ShardSet.open(out)
    stored = sum(
        json.loads(path.read_text())["shard"]["frames"] for path in out.glob("shard-*.json")
    )
    assert stored == sum(track.frames for track in shards.tracks)
    kept = [track for track in shards.tracks if before[track.id] == track.sha256]
    assert [track.path for track in kept] == ["side-a/00.wav", "side-b/05.wav"]
    run(album, out.with_name("fresh"))
    assert shards.fingerprint == ShardSet.open(out.with_name("fresh")).fingerprint


def test_damage_is_not_repacked_under_a_new_checksum(album, out):
    run(album, out, shard_bytes=1 << 30)
    path = out / "shard-00000.safetensors"
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    for n in range(1, 5):
        soundfile.write(album / f"side-{'ab'[n % 2]}" / f"{n:02d}.wav", chord(9, 2.0), SAMPLE_RATE)
    run(album, out, shard_bytes=1 << 30)
    with pytest.raises(ShardError, match="does not match its checksum"):
        ShardSet.open(out)


def test_another_minimum_length_needs_no_decoding(album, out, monkeypatch):
    soundfile.write(album / "long.wav", chord(0, 5), SAMPLE_RATE)
    run(album, out)
    decoded = decoded_by(monkeypatch)
    report = run(album, out, min_seconds=4.0)
    assert (report.tracks, len(report.kinds["too short"])) == (1, 6)
    assert set(decoded) == {f"{n:02d}.wav" for n in range(6)}
    report = run(album, out, min_seconds=0.5)
    assert report.tracks == 7


def test_the_number_of_workers_does_not_change_the_shards(album, out, tmp_path):
    run(album, out)
    other = tmp_path / "parallel"
    run(album, other, workers=2)
    assert contents(other) == contents(out)


def test_a_decoder_that_crashes_costs_only_its_own_file(out, tmp_path):
    # A worker that dies is a segmentation fault in a codec, or the kernel's out-of-memory killer.
    album = tmp_path / "album"
    write_album(album, tracks=3)
    script = tmp_path / "crash.py"
    script.write_text(
        "import os, sys\n"
        "from pathlib import Path\n"
        "from myna_rpe.data import Folder, prepare_shards, workers\n"
        "from myna_rpe.config import FRONT_ENDS\n"
        "original = workers.decode_blocks\n"
        "def crashing(path, **options):\n"
        "    if Path(path).name == '01.wav': os.abort()\n"
        "    return original(path, **options)\n"
        "workers.decode_blocks = crashing\n"
        "if __name__ == '__main__':\n"
        "    report = prepare_shards(Folder(Path(sys.argv[1])), Path(sys.argv[2]),\n"
        "        FRONT_ENDS['rpe-16k'], min_seconds=0.5, workers=2)\n"
        "    print(report.tracks, [(f.path, f.kind, f.reason) for f in report.rejected])\n"
    )
    done = subprocess.run(
        [sys.executable, script, album, out], capture_output=True, text=True, check=True
    )
    reason = "crashed the decoder, or needed more memory than is free"
    assert done.stdout == f"2 {[('side-b/01.wav', 'crashed', reason)]}\n"


def test_killed_at_any_moment_it_resumes_and_ends_the_same(album, out, tmp_path):
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "from myna_rpe.data import Folder, prepare_shards, workers\n"
        "from myna_rpe.config import FRONT_ENDS\n"
        "original = workers.decode_blocks\n"
        "def slowly(path, **options):\n"
        "    time.sleep(0.3)\n"
        "    return original(path, **options)\n"
        "workers.decode_blocks = slowly\n"
        "if __name__ == '__main__':\n"
        "    prepare_shards(Folder(Path(sys.argv[1])), Path(sys.argv[2]), FRONT_ENDS['rpe-16k'],\n"
        "        min_seconds=0.5, workers=2, storage='float32', shard_bytes=90_000)\n"
    )
    process = subprocess.Popen([sys.executable, slow, album, out])
    deadline = time.monotonic() + 60
    while not list(out.glob("shard-*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = len(list(out.glob("shard-*.json")))
    assert 1 <= finished < 3
    with pytest.raises(ShardError, match="never finished"):
        ShardSet.open(out)

    report = run(album, out)
    assert report.tracks == 6
    assert report.reused >= 2
    assert not list(out.glob("*.tmp"))
    whole = tmp_path / "whole"
    run(album, whole)
    assert contents(out) == contents(whole)


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")
def test_workers_end_when_their_parent_is_killed(album, out, tmp_path):
    script = tmp_path / "wait.py"
    script.write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from myna_rpe.data import Folder, prepare_shards, workers\n"
        "from myna_rpe.config import FRONT_ENDS\n"
        "def waiting(path, **options):\n"
        "    Path(sys.argv[2] + f'.{os.getpid()}').touch()\n"
        "    time.sleep(600)\n"
        "workers.decode_blocks = waiting\n"
        "if __name__ == '__main__':\n"
        "    prepare_shards(Folder(Path(sys.argv[1])), Path(sys.argv[2]), FRONT_ENDS['rpe-16k'],\n"
        "        workers=2)\n"
    )
    process = subprocess.Popen([sys.executable, script, album, out])
    deadline = time.monotonic() + 60
    while len(workers := list(tmp_path.glob("shards.*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    ids = [int(path.suffix[1:]) for path in workers]
    assert len(ids) == 2
    while any(_runs(i) for i in ids) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(_runs(i) for i in ids)


def _runs(process_id: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process_id}/status").read_text()
    except OSError:
        return False


def test_a_full_disk_leaves_nothing_half_written_and_resumes(album, out):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(ShardError, match=r"shard=.*could not be written.*run the same command"):
            run(album, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(out.iterdir()) == []
    assert run(album, out).tracks == 6


def test_an_interrupt_keeps_finished_shards(album, out):
    def interrupt(done: int, total: int, path: str) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(album, out, progress=interrupt)
    assert not list(out.glob("*.tmp"))
    assert run(album, out).reused == 2


def test_progress_counts_every_file_once(album, out):
    (album / "empty.mp3").touch()
    seen = []
    run(album, out, progress=lambda done, total, path: seen.append((done, total)))
    assert seen == [(n, 7) for n in range(8)]


def test_names_that_are_not_utf_8_survive(album, out):
    name = os.fsdecode(b"caf\xe9 \xe6\x97\xa5\xe6\x9c\xac.wav")
    shutil.copy(album / "side-a" / "00.wav", album / name)
    run(album, out)
    assert name in {track.path for track in ShardSet.open(out).tracks}
    assert run(album, out).reused == 7


def test_identity_of_a_track_is_its_path_in_the_source_folder(album, out, tmp_path):
    run(album, out)
    moved = tmp_path / "moved"
    shutil.copytree(album, moved)
    run(moved, tmp_path / "other")
    here, there = ShardSet.open(out), ShardSet.open(tmp_path / "other")
    assert [track.id for track in here.tracks] == [track.id for track in there.tracks]
    assert here.fingerprint == there.fingerprint


def test_several_sources_are_named_from_their_common_parent(album, out):
    source = Folder(album / "side-a", album / "side-b" / "01.wav", album / "side-a" / "00.wav")
    prepare_shards(source, out, FRONT_END, min_seconds=0.0, workers=1)
    assert [track.path for track in ShardSet.open(out).tracks] == [
        "side-a/00.wav",
        "side-a/02.wav",
        "side-a/04.wav",
        "side-b/01.wav",
    ]


def tag(path: Path, artist: str, genre: str) -> None:
    samples, rate = soundfile.read(path, dtype="float32")
    with soundfile.SoundFile(path, "w", rate, 1) as file:
        file.artist, file.genre = artist, genre
        file.write(samples)


def test_artist_and_genres_come_from_the_files_own_tags(album, out, monkeypatch):
    tag(album / "side-a" / "00.wav", "宇多田ヒカル", "J-Pop; Rock")
    report = run(album, out)
    tracks = ShardSet.open(out).tracks
    assert (tracks[0].artist, tracks[0].tags) == ("宇多田ヒカル", ("genre---j-pop", "genre---rock"))
    assert {(t.artist, t.tags, t.split) for t in tracks[1:]} == {("", (), "")}
    assert (report.artists, report.splits) == (1, {"": 6})

    tag(album / "side-a" / "00.wav", "Utada Hikaru", "Pop")
    decoded = decoded_by(monkeypatch)
    run(album, out)
    assert decoded == ["00.wav"]
    track = ShardSet.open(out).tracks[0]
    assert (track.artist, track.tags) == ("Utada Hikaru", ("genre---pop",))


def test_the_report_says_what_it_took(album, out):
    shutil.copy(album / "side-a" / "00.wav", album / "copy.wav")
    (album / "empty.mp3").touch()
    report = run(album, out)
    assert report.duplicates == 1
    assert report.bytes == sum(path.stat().st_size for path in out.iterdir())
    assert report.read_files == 8
    assert report.read_seconds == report.seconds
    assert report.elapsed > 0
    again = run(album, out)
    assert (again.read_files, again.read_seconds) == (1, 0)  # the empty file
    assert again.bytes == report.bytes


def test_a_second_run_in_one_folder_is_refused_while_the_first_works(album, out):
    (album / "empty.mp3").touch()

    def second(done: int, total: int, path: str) -> None:
        if done == 4:
            with pytest.raises(ShardError, match=rf"out=.* by process {os.getpid()}; wait for it"):
                run(album, out)

    assert run(album, out, progress=second).tracks == 6
    assert not (out / ".lock").exists()


def test_many_files_get_larger_shards(album):
    settings = Settings(FRONT_END)
    assert prepare._shard_bytes(settings, 6) == 64 << 20
    hours = 50_000 * 240 / 3600
    bytes_per_hour = 3600 * FRONT_END.frame_rate * FRONT_END.n_mels * 2
    assert hours * bytes_per_hour / prepare._shard_bytes(settings, 50_000) == pytest.approx(500)


@pytest.mark.parametrize("change", [{"storage": "uint8"}, {"front_end": FRONT_ENDS["myna-16k"]}])
def test_a_folder_of_other_settings_is_refused_and_the_difference_shown(album, out, change):
    run(album, out)
    front_end = change.pop("front_end", FRONT_END)
    options = {"storage": "float32", "workers": 1, "min_seconds": 0.0} | change
    with pytest.raises(ConfigError, match=r"was prepared with (storage=float32|pad_mode=constant)"):
        prepare_shards(Folder(album), out, front_end, **options)


def test_a_folder_of_other_music_is_refused(album, out, tmp_path):
    run(album, out)
    soundfile.write(tmp_path / "other.wav", chord(0, 2), SAMPLE_RATE)
    with pytest.raises(ShardError, match="holds 6 tracks, none of which is among the 1 files"):
        run(tmp_path / "other.wav", out)


def test_nothing_but_failures_is_an_error_that_names_the_first(tmp_path, out):
    (tmp_path / "text.wav").write_text("no")
    with pytest.raises(
        ShardError, match=r"files=1 gave no track, there are 1 unreadable.*text\.wav"
    ):
        run(tmp_path / "text.wav", out)


def test_a_missing_source_is_refused_before_anything_is_made(tmp_path, out):
    with pytest.raises(AudioError, match="nowhere"):
        run(tmp_path / "nowhere", out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "use workers >= 1"),
        ({"min_seconds": -1.0}, "use min_seconds >= 0"),
        ({"min_seconds": float("nan")}, "use min_seconds >= 0"),
    ],
)
def test_impossible_options_are_refused(album, out, options, message):
    with pytest.raises(ConfigError, match=message):
        run(album, out, **options)


def test_a_folder_that_cannot_be_made_is_refused(album, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ShardError, match="cannot be a folder of shards"):
        run(album, tmp_path / "file")

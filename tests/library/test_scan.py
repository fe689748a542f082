import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from myna_rpe.audio.files import find_audio_files
from myna_rpe.errors import ConfigError, LibraryError
from myna_rpe.library import listing as listing_module
from myna_rpe.library import scan as scan_module
from myna_rpe.library.catalogue import Catalogue
from myna_rpe.library.comparison import Again
from myna_rpe.library.listing import Listing
from myna_rpe.library.scan import remove, scan

from .support import (
    HEADER,
    FakeAnalyser,
    library,
    no_analysis,
    scanned,
    vector_of,
    vectors_by_path,
    write_music,
    write_tone,
)


@pytest.fixture
def catalogue(tmp_path):
    with library(tmp_path) as catalogue:
        yield catalogue


@pytest.fixture
def music(tmp_path):
    return write_music(tmp_path / "music", 5)


@pytest.fixture
def folder(tmp_path, music):
    return tmp_path / "music"


def counted(report):
    names = ("analysed", "recognised", "unchanged", "failed", "changed", "moved", "deleted")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


# --- what a scan does ----------------------------------------------------------------------------


def test_a_first_scan_analyses_everything_and_a_second_one_nothing(catalogue, folder, music):
    assert counted(scanned(catalogue, folder)) == {"analysed": 5}
    vectors = vectors_by_path(catalogue)
    assert sorted(vectors) == sorted(music)
    for path, vector in vectors.items():
        np.testing.assert_array_equal(vector, vector_of(path))
    assert counted(scan(catalogue, [folder], no_analysis)) == {"unchanged": 5}


def test_new_files_are_analysed_and_the_others_left_alone(catalogue, folder):
    scanned(catalogue, folder)
    new = write_tone(folder / "new", 77)
    analyser = FakeAnalyser()
    assert counted(scanned(catalogue, folder, analyser=analyser)) == {
        "analysed": 1,
        "unchanged": 5,
    }
    assert analyser.asked == [new]


def test_a_retagged_file_is_recognised_and_its_tags_are_read(catalogue, tmp_path):
    path = write_tone(tmp_path / "music" / "a", 1, suffix=".flac")
    scanned(catalogue, path.parent)
    before = next(catalogue.tracks())
    import mutagen

    file = mutagen.File(path)
    file["title"], file["artist"] = "Jóga", "Björk"
    file.save()
    os.utime(path, ns=(1, 1))
    report = scan(catalogue, [path.parent], no_analysis)
    assert counted(report) == {"recognised": 1, "changed": 1}
    after = next(catalogue.tracks())
    assert (after.id, after.title, after.artist) == (before.id, "Jóga", "Björk")
    assert after.duration == before.duration


def test_a_moved_file_keeps_its_number_and_is_not_analysed(catalogue, folder, music):
    scanned(catalogue, folder)
    number = catalogue.by_path(music[0]).id
    moved = folder / "deep" / "er" / "moved.wav"
    moved.parent.mkdir(parents=True)
    music[0].rename(moved)
    report = scan(catalogue, [folder], no_analysis)
    assert counted(report) == {"recognised": 1, "unchanged": 4, "moved": 1}
    assert catalogue.by_path(moved).id == number
    assert catalogue.by_path(music[0]) is None
    assert len(catalogue.vector_file) == 5


def test_a_file_moved_to_a_folder_scanned_later_is_found_again(catalogue, folder, music, tmp_path):
    scanned(catalogue, folder)
    number = catalogue.by_path(music[0]).id
    (tmp_path / "other").mkdir()
    moved = music[0].rename(tmp_path / "other" / "x.wav")
    assert counted(scanned(catalogue, folder)) == {"unchanged": 4, "deleted": 1}
    assert counted(scan(catalogue, [tmp_path / "other"], no_analysis)) == {
        "recognised": 1,
        "moved": 1,
    }
    assert catalogue.by_path(moved).id == number


def test_a_copy_is_another_track_with_the_same_row(catalogue, folder, music):
    scanned(catalogue, folder)
    shutil.copy(music[0], folder / "copy.wav")
    assert counted(scan(catalogue, [folder], no_analysis)) == {"recognised": 1, "unchanged": 5}
    assert catalogue.by_path(folder / "copy.wav").id != catalogue.by_path(music[0]).id
    assert len(catalogue.vector_file) == 5
    assert len(catalogue.vectors()[1]) == 6


def test_equal_files_found_together_are_analysed_once(catalogue, folder, music):
    for n in range(40):
        shutil.copy(music[0], folder / f"copy{n:02}.wav")
    analyser = FakeAnalyser()
    report = scanned(catalogue, folder, analyser=analyser)
    assert counted(report) == {"analysed": 5, "recognised": 40}
    assert len(analyser.asked) == 5
    assert len(catalogue.vector_file) == 5


def test_a_changed_file_is_analysed_under_its_number(catalogue, folder, music):
    scanned(catalogue, folder)
    number = catalogue.by_path(music[0]).id
    write_tone(music[0], 99)
    os.utime(music[0], ns=(5, 5))
    assert counted(scanned(catalogue, folder)) == {"analysed": 1, "unchanged": 4, "changed": 1}
    assert catalogue.by_path(music[0]).id == number
    np.testing.assert_array_equal(vectors_by_path(catalogue)[music[0]], vector_of(music[0]))


def test_a_deleted_file_is_missing_until_it_is_back(catalogue, folder, music, tmp_path):
    scanned(catalogue, folder)
    number = catalogue.by_path(music[0]).id
    shutil.copy2(music[0], tmp_path / "aside.wav")
    music[0].unlink()
    assert counted(scanned(catalogue, folder)) == {"unchanged": 4, "deleted": 1}
    assert counted(scanned(catalogue, folder)) == {"unchanged": 4}
    assert music[0] not in vectors_by_path(catalogue)
    assert catalogue.counts().missing == 1
    assert catalogue.track(number).path == music[0]
    shutil.copy2(tmp_path / "aside.wav", music[0])
    assert counted(scan(catalogue, [folder], no_analysis)) == {"unchanged": 5}
    assert catalogue.by_path(music[0]).id == number
    assert music[0] in vectors_by_path(catalogue)


def test_two_files_that_change_places_are_two_recognised_files(catalogue, folder, music):
    scanned(catalogue, folder)
    first, second = vector_of(music[0]), vector_of(music[1])
    aside = music[0].rename(folder / "aside")
    music[1].rename(music[0])
    aside.rename(music[1])
    for n, path in enumerate(music[:2]):
        os.utime(path, ns=(n + 1, n + 1))
    report = scan(catalogue, [folder], no_analysis)
    assert counted(report) == {"recognised": 2, "unchanged": 3, "changed": 2}
    np.testing.assert_array_equal(vectors_by_path(catalogue)[music[0]], second)
    np.testing.assert_array_equal(vectors_by_path(catalogue)[music[1]], first)


def test_a_scan_of_one_folder_leaves_the_others_alone(catalogue, folder, music, tmp_path):
    other = write_music(tmp_path / "music-2", 2)  # begins like the other
    scanned(catalogue, folder, tmp_path / "music-2")
    for path in other:
        path.unlink()
    assert counted(scanned(catalogue, folder)) == {"unchanged": 5}
    assert catalogue.counts().missing == 0
    assert catalogue.setting("folders") == [str(folder), str(tmp_path / "music-2")]
    scanned(catalogue, folder / "album-0")
    assert catalogue.setting("folders") == [str(folder), str(tmp_path / "music-2")]


def test_a_single_file_is_scanned_and_found_to_be_deleted(catalogue, folder, music):
    assert counted(scanned(catalogue, music[0])) == {"analysed": 1}
    music[0].unlink()
    assert counted(scanned(catalogue, music[0])) == {"deleted": 1}


# --- failures ------------------------------------------------------------------------------------


def test_failures_have_reasons_and_are_left_alone_until_they_change(catalogue, folder):
    bad = folder / "bad.wav"
    bad.write_bytes(b"no music" * 100)
    (folder / "empty.mp3").touch()
    report = scanned(catalogue, folder)
    assert counted(report) == {"analysed": 5, "failed": 2}
    assert [failure.path.name for failure in report.failures] == ["bad.wav", "empty.mp3"]
    assert "0 bytes" in report.failures[1].reason
    assert catalogue.failures() == report.failures
    again = scan(catalogue, [folder], no_analysis)
    assert counted(again) == {"unchanged": 5, "failed": 2}
    assert again.failures == report.failures
    analyser = FakeAnalyser()
    scanned(catalogue, folder, analyser=analyser, again=Again.FAILED)
    assert analyser.asked == [bad]
    write_tone(bad, 50)
    assert counted(scanned(catalogue, folder)) == {"analysed": 1, "unchanged": 5, "failed": 1}
    (folder / "empty.mp3").unlink()
    assert counted(scanned(catalogue, folder)) == {"unchanged": 6}
    assert catalogue.failures() == []


def test_equal_failures_each_say_so_for_themselves(catalogue, folder):
    for n in range(3):
        (folder / f"bad{n}.wav").write_bytes(b"no music" * 100)
    report = scanned(catalogue, folder)
    assert report.failed == 3
    assert all(failure.path.name in failure.reason for failure in report.failures)


def test_a_track_that_becomes_unreadable_is_hidden_until_it_is_mended(catalogue, folder, music):
    scanned(catalogue, folder)
    number, content = catalogue.by_path(music[0]).id, music[0].read_bytes()
    music[0].write_bytes(b"garbage")
    assert counted(scanned(catalogue, folder)) == {"unchanged": 4, "failed": 1}
    assert music[0] not in vectors_by_path(catalogue)
    music[0].write_bytes(content)
    os.utime(music[0], ns=(9, 9))
    report = scan(catalogue, [folder], no_analysis)
    assert counted(report) == {"recognised": 1, "unchanged": 4, "changed": 1}
    assert catalogue.by_path(music[0]).id == number
    assert catalogue.failures() == []


def test_a_link_to_nothing_is_a_failure(catalogue, folder):
    (folder / "gone.wav").symlink_to(folder / "nothing.wav")
    for _ in range(2):
        report = scanned(catalogue, folder)
        assert report.failed == 1
        assert "does not exist" in report.failures[0].reason


def test_rescan_opens_everything_again(catalogue, folder, music, monkeypatch):
    scanned(catalogue, folder)
    opened = []
    identity = scan_module.audio_identity
    monkeypatch.setattr(
        scan_module, "audio_identity", lambda path: (opened.append(path), identity(path))[1]
    )
    report = scan(catalogue, [folder], no_analysis, again=Again.ALL)
    assert counted(report) == {"recognised": 5, "changed": 5}
    assert sorted(opened) == sorted(music)


@pytest.mark.parametrize("name", ["a\nb", "100%#?&", "-rf", "'; DROP TABLE tracks;--", "é 夜"])
def test_hostile_names_are_kept_to_the_byte(catalogue, tmp_path, name):
    path = write_tone(tmp_path / "music" / name / name, 1)
    scanned(catalogue, tmp_path / "music")
    (track,) = catalogue.tracks()
    assert track.path == path
    assert counted(scan(catalogue, [path.parent], no_analysis)) == {"unchanged": 1}


def test_names_that_are_not_utf_8_are_kept_to_the_byte(catalogue, tmp_path):
    source = write_tone(tmp_path / "x", 1)
    folder = os.fsencode(tmp_path) + b"/music/caf\xe9"
    Path(os.fsdecode(folder)).mkdir(parents=True)
    name, bad = folder + b"/\xff.wav", folder + b"/\xfe.wav"
    Path(os.fsdecode(name)).write_bytes(source.read_bytes())
    Path(os.fsdecode(bad)).write_bytes(b"bad")
    report = scanned(catalogue, tmp_path / "music")
    assert counted(report) == {"analysed": 1, "failed": 1}
    (track,) = catalogue.tracks()
    assert os.fsencode(track.path) == name
    assert os.fsencode(report.failures[0].path) == bad
    scanned(catalogue, Path(os.fsdecode(folder)))


# --- folders that cannot be seen into ------------------------------------------------------------


def test_a_folder_that_is_gone_is_left_alone_and_told(catalogue, folder, music, tmp_path):
    scanned(catalogue, folder)
    folder.rename(tmp_path / "unplugged")
    report = scanned(catalogue, folder)
    (left,) = report.untouched
    assert (left.folder, left.tracks) == (folder, 5)
    assert "is its disk mounted?" in left.reason
    assert report.deleted == 0
    assert catalogue.counts().present == 5
    folder.mkdir()  # an empty mount point
    (left,) = scanned(catalogue, folder).untouched
    assert (left.tracks, "empty" in left.reason) == (5, True)
    assert catalogue.counts().present == 5


def test_a_folder_that_never_was_is_an_error(catalogue, tmp_path):
    with pytest.raises(LibraryError, match=r"nowhere' does not exist; check its spelling"):
        scanned(catalogue, tmp_path / "nowhere")


def test_a_folder_that_cannot_be_listed_is_left_alone(catalogue, folder, music, monkeypatch):
    scanned(catalogue, folder)
    closed = os.fsencode(folder / "album-1")
    scandir = os.scandir

    def refusing(path):
        if path == closed:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    music[0].unlink()
    monkeypatch.setattr(listing_module.os, "scandir", refusing)
    report = scanned(catalogue, folder)
    assert counted(report) == {"unchanged": 2, "deleted": 1}
    (left,) = report.untouched
    assert (left.folder, left.tracks) == (folder / "album-1", 2)
    assert "Permission denied" in left.reason


def test_a_disk_below_a_folder_that_is_not_mounted_is_left_alone(
    catalogue, folder, music, tmp_path, monkeypatch
):
    disk = os.fsencode(folder / "album-1")
    files = Listing.files

    def mounted(self):
        yield from files(self)
        self.mounts.add(disk)

    with monkeypatch.context() as patch:
        patch.setattr(Listing, "files", mounted)
        scanned(catalogue, folder)
    (folder / "album-1").rename(tmp_path / "unplugged")
    (folder / "album-1").mkdir()
    for _ in range(2):
        report = scanned(catalogue, folder)
        assert counted(report) == {"unchanged": 3}
        (left,) = report.untouched
        assert (left.folder, left.reason) == (folder / "album-1", "its disk is not mounted")
    # The music was moved off that disk for good.
    shutil.copytree(tmp_path / "unplugged", folder / "album-1", dirs_exist_ok=True)
    music[1].unlink()
    report = scanned(catalogue, folder)
    assert (report.deleted, report.untouched) == (1, [])


def test_the_listing_finds_what_the_embedding_job_finds(tmp_path):
    for name in ("b/x.mp3", "a/y.FLAC", "a/.hidden.mp3", ".h/z.mp3", "a/notes.txt", "top.ogg"):
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / name).write_bytes(b"x")
    (tmp_path / "m" / "a" / "loop").symlink_to(tmp_path / "m")
    (tmp_path / "m" / "link").symlink_to(tmp_path / "m" / "b")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "q.mp3").touch()
    (tmp_path / "m" / "more").symlink_to(tmp_path / "out")
    found = {entry.path for entry in Listing([os.fsencode(tmp_path / "m")]).files()}
    assert found == set(map(os.fsencode, find_audio_files([tmp_path / "m"])))


# --- one scan at a time, and its end -------------------------------------------------------------


def test_a_second_scan_says_who_is_at_it(catalogue, folder, tmp_path):
    with (
        Catalogue(tmp_path / "library") as other,
        other.locked(),
        pytest.raises(LibraryError, match=f"is being changed by process {os.getpid()}; wait"),
    ):
        scanned(catalogue, folder)


def test_vectors_of_another_space_are_refused(catalogue, folder):
    class Other(FakeAnalyser):
        space_id = "space-b"
        source = "other"

    with pytest.raises(LibraryError, match=f"holds vectors of {HEADER.space_id}.*space-b"):
        scanned(catalogue, folder, analyser=Other())
    assert catalogue.counts().vectors == 0


def test_the_remedy_names_the_librarys_model_unless_that_is_the_one_that_changed(catalogue):
    anew = "analyse it anew with `myna library reembed --model {}`.*or use another --library"
    with pytest.raises(
        LibraryError, match=f"use model '{HEADER.model}', or {anew}".format("other")
    ):
        catalogue.check_space("space-b", "other")
    with pytest.raises(LibraryError, match=f"compared; {anew}".format(HEADER.model)):
        catalogue.check_space("space-b", HEADER.model)


def test_no_workers_are_an_error(catalogue, folder):
    with pytest.raises(ConfigError, match="workers=0"):
        scan(catalogue, [folder], no_analysis, workers=0)


class Interrupting(FakeAnalyser):
    """Stops after three files."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def embed_many(self, paths, *, workers=None):
        for number, record in enumerate(super().embed_many(paths)):
            if number == 3:
                raise self.error
            yield record


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(KeyboardInterrupt(), "interrupted"), (LibraryError("disk full."), "disk full.")],
)
def test_what_was_done_before_an_interruption_is_kept(catalogue, folder, error, outcome):
    with pytest.raises(type(error)):
        scanned(catalogue, folder, analyser=Interrupting(error))
    assert len(catalogue.vectors()[1]) == 3
    (job,) = catalogue.jobs()
    assert job.outcome == outcome
    assert job.counts["analysed"] == 3
    assert job.folders == (folder,)
    assert counted(scanned(catalogue, folder)) == {"analysed": 2, "unchanged": 3}
    assert catalogue.jobs()[0].outcome == "done"


def test_vectors_that_a_kill_left_without_tracks_are_recognised(catalogue, folder, music):
    scanned(catalogue, folder)
    with catalogue.database.transaction() as connection:
        connection.execute("DELETE FROM tracks WHERE id > 2")
    assert counted(scan(catalogue, [folder], no_analysis)) == {"recognised": 3, "unchanged": 2}
    for path, vector in vectors_by_path(catalogue).items():
        np.testing.assert_array_equal(vector, vector_of(path))
    assert len(catalogue.vector_file) == 5


def test_partial_results_are_there_while_the_scan_goes_on(catalogue, folder, monkeypatch, tmp_path):
    monkeypatch.setattr(scan_module, "_BATCH_FILES", 1)
    seen = []

    def progress(stage, done, total):
        if stage == "scan":

            def look():
                with Catalogue(tmp_path / "library") as other:
                    seen.append((done, total, len(other.vectors()[0])))

            thread = threading.Thread(target=look)
            thread.start()
            thread.join()

    scanned(catalogue, folder, progress=progress)
    assert seen == [(n, 5, n) for n in range(1, 6)]


def test_a_folder_that_is_removed_whole_is_no_longer_one_of_the_library(
    catalogue, folder, tmp_path
):
    other = write_tone(tmp_path / "other" / "single", 99).parent
    scanned(catalogue, folder, other)
    remove(catalogue, [folder / "album-0"])
    assert catalogue.setting("folders") == [str(folder), str(other)]
    remove(catalogue, [folder])
    assert catalogue.setting("folders") == [str(other)]
    remove(catalogue, [tmp_path])
    assert catalogue.setting("folders") == []


def test_removed_tracks_keep_their_vectors_for_the_day_they_are_back(catalogue, folder, music):
    scanned(catalogue, folder)
    (folder / "album-0" / "bad.wav").write_bytes(b"bad")
    scanned(catalogue, folder)
    assert remove(catalogue, [folder / "album-0", music[1]]) == 5
    assert sorted(vectors_by_path(catalogue)) == [music[3]]
    report = scanned(catalogue, folder)
    assert counted(report) == {"recognised": 4, "unchanged": 1, "failed": 1}


# --- any history at all --------------------------------------------------------------------------


class AnyHistory(RuleBasedStateMachine):
    """Files come, go, move, change and break in any order; a dictionary says what is right."""

    @initialize()
    def start(self):
        import tempfile

        self.temporary = tempfile.TemporaryDirectory()
        self.root = Path(self.temporary.name)
        (self.root / "music").mkdir()
        (self.root / "music" / "keep.txt").touch()
        self.catalogue = Catalogue.create(self.root / "library", HEADER)
        self.sounds: dict[str, int | None] = {}
        self.heard: set[int] = set()
        self.clock = 0

    def write(self, name, sound):
        path = self.root / "music" / f"{name}.wav"
        if sound is None:
            path.write_bytes(f"bad {name}".encode())
        else:
            samples = np.random.default_rng(sound).normal(0, 0.1, 50).astype(np.float32)
            soundfile.write(path, samples, 8000)
        self.clock += 1
        os.utime(path, ns=(self.clock, self.clock))
        self.sounds[name] = sound

    @rule(name=st.sampled_from("abcd"), sound=st.none() | st.integers(0, 3))
    def write_file(self, name, sound):
        self.write(name, sound)

    @rule(name=st.sampled_from("abcd"))
    def delete(self, name):
        if name in self.sounds:
            (self.root / "music" / f"{name}.wav").unlink()
            del self.sounds[name]

    @rule(old=st.sampled_from("abcd"), new=st.sampled_from("abcd"))
    def move(self, old, new):
        if old in self.sounds and old != new:
            folder = self.root / "music"
            (folder / f"{old}.wav").rename(folder / f"{new}.wav")
            self.sounds[new] = self.sounds.pop(old)

    @rule(again=st.sampled_from(Again))
    def scan(self, again):
        analyser = FakeAnalyser()
        report = scanned(self.catalogue, self.root / "music", analyser=analyser, again=again)
        good = {name: sound for name, sound in self.sounds.items() if sound is not None}
        assert report.found == len(self.sounds)
        assert report.failed == len(self.sounds) - len(good)
        assert report.analysed == len(set(good.values()) - self.heard)  # no sound twice, ever
        self.heard |= set(good.values())
        assert len(self.catalogue.vector_file) == len(self.heard)
        vectors = vectors_by_path(self.catalogue)
        assert {path.stem for path in vectors} == set(good)
        for path, vector in vectors.items():
            np.testing.assert_array_equal(vector, vector_of(path))
        quiet = scan(self.catalogue, [self.root / "music"], no_analysis)
        assert (quiet.unchanged, quiet.failed) == (len(good), report.failed)

    @invariant()
    def nothing_points_astray(self):
        if hasattr(self, "catalogue"):
            rows = self.catalogue.database.query("SELECT vector, identity FROM tracks")
            for row, identity in rows:
                assert row is None or self.catalogue.vector_file.identity(row) == identity

    def teardown(self):
        if hasattr(self, "catalogue"):
            self.catalogue.close()
            self.temporary.cleanup()


AnyHistory.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestAnyHistory = AnyHistory.TestCase

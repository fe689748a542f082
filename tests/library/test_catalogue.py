import os
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from myna_rpe.errors import LibraryError
from myna_rpe.library import migrations
from myna_rpe.library.catalogue import Catalogue, library_folder
from myna_rpe.library.database import CATALOGUE_FILE, Database
from myna_rpe.library.migrations import MIGRATIONS, Migration, migrate
from myna_rpe.library.statistics import statistics
from myna_rpe.library.tracks import Track
from myna_rpe.library.vectors import IDENTITIES_FILE, VECTORS_FILE
from myna_rpe.library.verify import rebuild, verify

from ..cli.test_bad_input import as_nobody
from .support import (
    DIM,
    HEADER,
    library,
    no_analysis,
    scanned,
    vector_of,
    vectors_by_path,
    write_music,
    write_tone,
)


@pytest.fixture
def music(tmp_path):
    return write_music(tmp_path / "music", 5)


@pytest.fixture
def filled(tmp_path, music):
    """Return the folder of a library with five tracks and a playlist."""
    with library(tmp_path) as catalogue:
        scanned(catalogue, tmp_path / "music")
        catalogue.playlists.save("mine", [3, 1, 2], {"command": "grow", "seed": 1})
    return tmp_path / "library"


# --- where it lies, and how it is made -----------------------------------------------------------


def test_the_library_lies_where_the_user_says(monkeypatch, tmp_path):
    assert library_folder() == Path(os.environ["MYNA_HOME"]) / "library"
    monkeypatch.setenv("MYNA_LIBRARY", str(tmp_path))
    assert library_folder() == tmp_path
    monkeypatch.delenv("MYNA_LIBRARY")
    monkeypatch.delenv("MYNA_HOME")
    assert library_folder().name == "library"
    assert "myna-rpe" in library_folder().parts


def test_there_is_no_library_before_the_first_scan(tmp_path):
    with pytest.raises(LibraryError, match="does not exist; make it with `myna library scan"):
        Catalogue(tmp_path)


def test_a_library_knows_its_space_and_refuses_another(tmp_path):
    with library(tmp_path) as catalogue:
        assert catalogue.header == HEADER
    other = replace(HEADER, space_id="space-b", model="other")
    with pytest.raises(LibraryError, match=r"space-a.*'other' makes those of space-b"):
        Catalogue.create(tmp_path / "library", other)


def test_a_catalogue_beside_vectors_of_another_space_is_refused(tmp_path, filled):
    with Catalogue.create(tmp_path / "b", replace(HEADER, space_id="space-b")):
        pass
    shutil.copy(tmp_path / "b" / "vectors.json", filled)
    with pytest.raises(LibraryError, match=r"space-a beside vectors of space-b"):
        Catalogue(filled)


# --- migrations ----------------------------------------------------------------------------------


def columns(connection, table):
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


NEXT = Migration("moods", ("ALTER TABLE tracks ADD COLUMN mood TEXT", "CREATE TABLE moods (m)"))
BROKEN = Migration("broken", ("CREATE TABLE half (a)", "CREATE TABLE nonsense ("))


def test_migrations_are_taken_once_in_order_and_named(tmp_path):
    with closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as connection:
        assert migrate(connection) == [step.name for step in MIGRATIONS]
        assert migrate(connection) == []
        assert migrate(connection, (*MIGRATIONS, NEXT)) == ["moods"]
        assert "mood" in columns(connection, "tracks")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        names = [row[0] for row in connection.execute("SELECT name FROM migrations ORDER BY taken")]
        assert version == len(names) == len(MIGRATIONS) + 1
        assert names[-1] == "moods"


def test_a_failed_migration_leaves_the_database_as_it_was(tmp_path):
    with closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as connection:
        migrate(connection)
        with pytest.raises(sqlite3.OperationalError):
            migrate(connection, (*MIGRATIONS, NEXT, BROKEN))
        assert "mood" in columns(connection, "tracks")
        assert columns(connection, "half") == []
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)


def test_an_older_library_is_brought_up_to_date_when_it_is_opened(filled, monkeypatch):
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, NEXT))
    with closing(Database(filled)) as database:
        assert database.one("SELECT count(mood) FROM tracks") == (0,)


def test_a_library_of_a_newer_version_is_refused_and_left_alone(filled):
    with closing(sqlite3.connect(filled / CATALOGUE_FILE)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = (filled / CATALOGUE_FILE).read_bytes()
    for act in (Catalogue, verify, rebuild):
        with pytest.raises(LibraryError, match="version=99 is newer than this package reads"):
            act(filled)
    assert (filled / CATALOGUE_FILE).read_bytes() == before


# --- reading -------------------------------------------------------------------------------------


def test_tracks_are_found_by_number_path_and_sound(tmp_path, filled, music, monkeypatch):
    with Catalogue(filled) as catalogue:
        tracks = list(catalogue.tracks())
        assert sorted(track.path for track in tracks) == sorted(music)
        assert [track.id for track in tracks] == [1, 2, 3, 4, 5]
        assert all(isinstance(track, Track) and track.duration == 1.5 for track in tracks)
        assert catalogue.track(3) == tracks[2]
        monkeypatch.chdir(tmp_path)
        assert catalogue.by_path(Path("music/../music") / music[0].relative_to(tmp_path / "music"))
        assert catalogue.by_path(Path("music/nothing.wav")) is None
        (identity,) = catalogue.database.one("SELECT identity FROM tracks WHERE id = 2")
        assert catalogue.by_identity(identity) == [tracks[1]]
        with pytest.raises(LibraryError, match="track=99"):
            catalogue.track(99)


def test_the_label_is_the_title_or_else_the_name_of_the_file():
    track = Track(1, Path("/m/a song.flac"))
    assert track.label == "a song"
    assert replace(track, artist="x").label == "a song"
    assert replace(track, title="t").label == "t"
    assert replace(track, title="t", artist="x").label == "x - t"


def test_vectors_are_a_view_while_rows_and_tracks_agree(filled, music):
    with Catalogue(filled) as catalogue:
        numbers, rows = catalogue.vectors()
        assert isinstance(rows, np.memmap)
        assert rows.shape == (5, DIM)
        for path, vector in vectors_by_path(catalogue).items():
            np.testing.assert_array_equal(vector, vector_of(path))
        np.testing.assert_array_equal(catalogue.vector(int(numbers[4])), rows[4])
        assert catalogue.vector(99) is None


def test_vectors_are_gathered_where_tracks_share_or_lack_rows(filled, music, tmp_path):
    shutil.copy(music[0], music[0].with_name("copy.wav"))
    music[3].unlink()
    with Catalogue(filled) as catalogue:
        scanned(catalogue, tmp_path / "music")
        found = vectors_by_path(catalogue)
        assert len(catalogue.vector_file) == 5
        assert set(found) == {*music, music[0].with_name("copy.wav")} - {music[3]}
        for path, vector in found.items():
            np.testing.assert_array_equal(vector, vector_of(path))


def test_an_empty_library_has_no_vectors(tmp_path):
    with library(tmp_path) as catalogue:
        numbers, rows = catalogue.vectors()
        assert numbers.shape == (0,)
        assert rows.shape == (0, DIM)
        assert catalogue.counts().present == 0
        assert statistics(catalogue).hours == 0


def test_settings_are_kept(filled):
    with Catalogue(filled) as catalogue:
        assert catalogue.setting("nothing", 7) == 7
        catalogue.set_setting("map", {"seed": [1, 2]})
        catalogue.set_setting("map", {"seed": [3]})
    with Catalogue(filled) as catalogue:
        assert catalogue.setting("map") == {"seed": [3]}


def test_statistics_count_what_is_present(filled):
    with Catalogue(filled) as catalogue:
        found = statistics(catalogue)
    assert (found.tracks, found.sounds, found.artists) == (5, 5, 0)
    assert found.hours == pytest.approx(5 * 1.5 / 3600)
    assert found.codecs == {"pcm_s16le": 5}


# --- playlists -----------------------------------------------------------------------------------


def labels(catalogue, name):
    return [member.path.name for member in catalogue.playlists.get(name).members]


def test_playlists_are_stored_replaced_renamed_and_deleted(filled):
    with Catalogue(filled) as catalogue:
        first = catalogue.playlists.get("mine")
        assert [member.track.id for member in first.members] == [3, 1, 2]
        assert first.made == {"command": "grow", "seed": 1}
        catalogue.playlists.save("mine", [5, 5], {"command": "fill"})
        again = catalogue.playlists.get("mine")
        assert [member.track.id for member in again.members] == [5, 5]
        assert again.created == first.created
        assert again.updated >= first.updated
        catalogue.playlists.save("empty", [], {})
        assert catalogue.playlists.get("empty").members == ()
        catalogue.playlists.rename("mine", "ours")
        assert catalogue.playlists.names() == ["empty", "ours"]
        with pytest.raises(LibraryError, match="'empty' exists already"):
            catalogue.playlists.rename("ours", "empty")
        catalogue.playlists.delete("ours")
        assert catalogue.playlists.names() == ["empty"]
        assert catalogue.database.one("SELECT count(*) FROM playlist_tracks") == (0,)
        with pytest.raises(LibraryError, match=r"playlist='ours' is not in .*there are: empty"):
            catalogue.playlists.get("ours")
        with pytest.raises(LibraryError, match="is empty"):
            catalogue.playlists.save(" ", [], {})


def test_a_moved_file_stays_in_a_playlist(filled, tmp_path):
    with Catalogue(filled) as catalogue:
        before = [member.track.id for member in catalogue.playlists.get("mine").members]
        (tmp_path / "music" / "album-0").rename(tmp_path / "music" / "renamed")
        scanned(catalogue, tmp_path / "music")
        members = catalogue.playlists.get("mine").members
        assert [member.track.id for member in members] == before
        assert all(member.track.path.exists() for member in members)


def test_a_copy_takes_the_place_of_a_file_that_is_gone(filled, tmp_path, music):
    with Catalogue(filled) as catalogue:
        first = catalogue.track(1).path
        shutil.copy(first, tmp_path / "music" / "copy.wav")
        scanned(catalogue, tmp_path / "music")
        first.unlink()
        scanned(catalogue, tmp_path / "music")
        assert catalogue.playlists.get("mine").members[1].track.path.name == "copy.wav"


def test_a_playlist_may_name_files_that_the_library_does_not_know(filled, tmp_path):
    unknown = tmp_path / "elsewhere" / "x.wav"
    with Catalogue(filled) as catalogue:
        known = catalogue.track(2).path
        catalogue.playlists.save("mixed", [unknown, known], {})
        first, second = catalogue.playlists.get("mixed").members
        assert (first.path, first.track) == (unknown, None)
        assert second.track.id == 2
        with pytest.raises(LibraryError, match="track=99"):
            catalogue.playlists.save("mixed", [99], {})
        assert len(catalogue.playlists.get("mixed").members) == 2


def test_ten_thousand_places_are_stored_and_read(filled):
    with Catalogue(filled) as catalogue:
        catalogue.playlists.save("long", [1 + n % 5 for n in range(10_000)], {})
        members = catalogue.playlists.get("long").members
    assert [member.track.id for member in members] == [1 + n % 5 for n in range(10_000)]


def test_reading_goes_on_while_another_connection_writes(filled):
    with (
        Catalogue(filled) as writer,
        writer.database.transaction() as connection,
        Catalogue(filled) as reader,
    ):
        connection.execute("DELETE FROM tracks")
        assert len(list(reader.tracks())) == 5


# --- a disk that can only be read ----------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
def test_a_read_only_library_is_read_and_says_so_when_written_to(filled):
    with tempfile.TemporaryDirectory() as name:  # only its owner may enter pytest's own folder
        folder = Path(name) / "library"
        shutil.copytree(filled, folder)
        Path(name).chmod(0o755)
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
        with as_nobody(), Catalogue(folder) as catalogue:
            assert catalogue.read_only
            assert len(list(catalogue.tracks())) == 5
            assert len(catalogue.vectors()[1]) == 5
            assert catalogue.playlists.get("mine").members
            for write in (
                lambda: catalogue.playlists.save("new", [1], {}),
                lambda: scanned(catalogue, Path(name)),
                lambda: rebuild(folder),
            ):
                with pytest.raises(LibraryError, match="may only be read, not written to"):
                    write()
        folder.chmod(0o755)


# --- damage --------------------------------------------------------------------------------------


def damage(path, share=0.5):
    """Overwrite a page in the middle of a database."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(int(size * share) // 4096 * 4096)
        file.write(b"\xa5" * 4096)


def test_a_sound_library_has_no_problems(filled):
    health = verify(filled)
    assert health.problems == ()
    assert (health.tracks, health.rows, health.unused) == (5, 5, 0)
    assert rebuild(filled).done == ()


def assert_scan_finds_all_without_analysis(folder, tmp_path, music):
    with Catalogue(folder) as catalogue:
        report = scanned(catalogue, tmp_path / "music", analyser=no_analysis)
        assert report.found == report.recognised + report.unchanged == 5
        assert set(vectors_by_path(catalogue)) == set(music)
    assert verify(folder).problems == ()


@pytest.mark.parametrize("content", [b"", b"no database" * 1000, None])
def test_a_destroyed_database_is_kept_aside_and_rebuilt_without_analysis(
    filled, tmp_path, music, content
):
    path = filled / CATALOGUE_FILE
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    before = {file.name: file.read_bytes() for file in filled.glob("vectors*")}
    for act in (Catalogue, lambda folder: Catalogue.create(folder, HEADER)):
        with pytest.raises(LibraryError, match="verify --rebuild"):
            act(filled)
    assert verify(filled).problems
    health = rebuild(filled)
    assert health.problems == ()
    assert {file.name: file.read_bytes() for file in filled.glob("vectors*")} == before
    kept = [file for file in filled.iterdir() if ".damaged-" in file.name]
    assert [file.read_bytes() for file in kept] == ([] if content is None else [content])
    assert_scan_finds_all_without_analysis(filled, tmp_path, music)


@pytest.mark.parametrize("share", [0.15, 0.3, 0.5, 0.7, 0.9])
def test_what_can_be_read_of_a_damaged_database_is_kept(tmp_path, share):
    music = write_music(tmp_path / "music", 5)
    with library(tmp_path) as catalogue:
        scanned(catalogue, tmp_path / "music")
        with catalogue.database.transaction() as connection:  # enough for many pages
            for n in range(300):
                connection.execute(
                    "INSERT INTO failures VALUES (?, ?, 1, 1, 1.0)", (b"/x/%d" % n, "reason " * 20)
                )
        for n in range(50):
            catalogue.playlists.save(f"playlist {n}", [1, 2, 3], {"seed": n})
    folder = tmp_path / "library"
    damage(folder / CATALOGUE_FILE, share)
    assert verify(folder).problems
    assert rebuild(folder).problems == ()
    with Catalogue(folder) as catalogue:
        assert len(catalogue.playlists.names()) + len(catalogue.failures()) > 0
    assert_scan_finds_all_without_analysis(folder, tmp_path, music)


def test_a_damaged_vector_is_found_and_analysed_again(filled, tmp_path, music):
    with (filled / VECTORS_FILE).open("r+b") as file:
        file.seek(2 * 4 * DIM + 1)
        file.write(b"\x55\xaa")
    problems = verify(filled).problems
    assert "1 of 5 vectors are not what was written." in problems
    assert "1 tracks have a vector that is lost, or not theirs." in problems
    health = rebuild(filled)
    assert health.problems == ()
    assert "1 tracks have no vector now; the next scan analyses them." in health.done
    with Catalogue(filled) as catalogue:
        assert len(list(catalogue.tracks())) == 4
        report = scanned(catalogue, tmp_path / "music")
        assert (report.analysed, report.unchanged) == (1, 4)
        for path, vector in vectors_by_path(catalogue).items():
            np.testing.assert_array_equal(vector, vector_of(path))
    assert verify(filled).problems == ()


@pytest.mark.parametrize("name", [VECTORS_FILE, IDENTITIES_FILE])
def test_lost_vectors_are_told_and_analysed_again(filled, tmp_path, name):
    os.truncate(filled / name, (filled / name).stat().st_size // 2)
    with pytest.raises(LibraryError, match="vectors are lost"):
        Catalogue(filled)
    assert verify(filled).problems
    assert rebuild(filled).problems == ()
    with Catalogue(filled) as catalogue:
        report = scanned(catalogue, tmp_path / "music")
        assert (report.analysed, report.unchanged) == (3, 2)
        for path, vector in vectors_by_path(catalogue).items():
            np.testing.assert_array_equal(vector, vector_of(path))


def test_a_lost_space_file_is_written_anew(filled):
    (filled / "vectors.json").unlink()
    assert verify(filled).problems == ("vectors.json is lost.",)
    assert rebuild(filled).problems == ()
    with Catalogue(filled) as catalogue:
        assert catalogue.header == HEADER


def test_a_track_that_points_to_the_vector_of_another_is_given_its_own(filled):
    with closing(sqlite3.connect(filled / CATALOGUE_FILE)) as connection:
        connection.execute("UPDATE tracks SET vector = 4 - vector")
        connection.commit()
    assert verify(filled).problems == ("4 tracks have a vector that is lost, or not theirs.",)
    assert rebuild(filled).problems == ()
    with Catalogue(filled) as catalogue:
        for path, vector in vectors_by_path(catalogue).items():
            np.testing.assert_array_equal(vector, vector_of(path))


def test_there_is_nothing_to_verify_in_another_folder(tmp_path):
    write_tone(tmp_path / "x", 1)
    for act in (verify, rebuild):
        with pytest.raises(LibraryError, match="does not exist"):
            act(tmp_path)

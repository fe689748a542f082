import io
import zipfile

import numpy as np
import pytest
import soundfile

from myna_rpe.data.download import FetchPlan
from myna_rpe.errors import ConfigError, TaskError
from myna_rpe.evaluation.corpus import fetch
from myna_rpe.evaluation.corpus.fetch import fetch_corpus
from myna_rpe.evaluation.corpus.manifest import MANIFEST, read_tracks
from myna_rpe.evaluation.corpus.packages import PACKAGES, VARIANTS, composer_of, packages_of
from myna_rpe.storage import acquire_lock, file_sha256

from .packages_on_path import game, install_tools, write_sound

MUSIC = "usr/share/game/music"


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "MIN_SECONDS", 3.0)
    return install_tools(tmp_path / "system", monkeypatch)


@pytest.fixture
def sounds(tmp_path):
    return tmp_path / "sounds"


def test_music_is_kept_and_everything_else_is_counted(mirror, sounds, tmp_path):
    song = write_sound(sounds / "song.ogg", 4, artist="www.elysis.de")
    mirror.publish(
        "game",
        {
            f"{MUSIC}/one/song.ogg": song,
            f"{MUSIC}/one/again.ogg": song,
            f"{MUSIC}/one/song_fast.ogg": write_sound(sounds / "fast.ogg", 4, pitch=230),
            f"{MUSIC}/two/theme.flac": write_sound(sounds / "theme.flac", 5, rate=16000),
            f"{MUSIC}/two/jingle.ogg": write_sound(sounds / "jingle.ogg", 1),
            f"{MUSIC}/two/wind.ogg": write_sound(sounds / "wind.ogg", 4, pitch=99),
            f"{MUSIC}/two/broken.ogg": song.read_bytes()[:90],
            f"{MUSIC}/readme.txt": b"music",
            "usr/share/game/sounds/long.ogg": write_sound(sounds / "long.ogg", 9, pitch=77),
        },
    )
    package = game(leave_out=["*/wind.ogg"], composers={"/two/*": "Somebody"})
    report = fetch_corpus(tmp_path / "corpus", [package])
    assert report.found == 7 == len(report.tracks) + sum(report.dropped.values())
    assert report.dropped == {
        "duplicate": 1,
        "variant": 1,
        "too short": 1,
        "no music": 1,
        "unreadable": 1,
    }
    one, two = report.tracks
    # The first of two equal files by name is the one.
    assert (one.path, one.composer, one.group) == ("game/one/again.ogg", "elysis", "game/one")
    assert (two.path, two.composer, two.album) == ("game/two/theme.flac", "Somebody", "two")
    assert (two.sample_rate, two.duration, two.licence) == (16000, 5.0, "CC0-1.0")
    for track in report.tracks:
        path = tmp_path / "corpus" / track.path
        assert (track.sha256, track.bytes) == (file_sha256(path), path.stat().st_size)
    assert (tmp_path / "corpus/game/COPYRIGHT").read_bytes() == b"free"
    assert tuple(read_tracks(tmp_path / "corpus" / MANIFEST)) == report.tracks


def test_a_second_run_fetches_nothing_and_changes_nothing(mirror, sounds, tmp_path):
    mirror.publish("game", {f"{MUSIC}/a.ogg": write_sound(sounds / "a.ogg", 4)})
    first = fetch_corpus(tmp_path / "corpus", [game()])
    before = (tmp_path / "corpus" / MANIFEST).read_bytes()
    mirror.calls()
    second = fetch_corpus(tmp_path / "corpus", [game()])
    assert mirror.calls() == []
    assert (first.fetched, second.fetched) == (1, 0)
    assert second.tracks == first.tracks
    assert (tmp_path / "corpus" / MANIFEST).read_bytes() == before
    assert not list((tmp_path / "corpus").rglob("*.deb"))


def test_disk_use_is_told_before_anything_is_fetched_and_can_be_declined(mirror, sounds, tmp_path):
    mirror.publish("game", {f"{MUSIC}/a.ogg": write_sound(sounds / "a.ogg", 4)})
    size = (mirror.archives / "game.deb").stat().st_size
    plans: list[FetchPlan] = []
    report = fetch_corpus(tmp_path / "corpus", [game()], announce=lambda p: bool(plans.append(p)))
    assert (plans[0].to_fetch, plans[0].pending, plans[0].total) == (size, 1, 1)
    assert plans[0].needed == 4 * size
    assert (report.packages, report.fetched, report.tracks) == (0, 0, ())
    assert not any(call.startswith("dpkg") for call in mirror.calls())


def test_too_little_room_is_refused_before_anything_is_fetched(
    mirror, sounds, tmp_path, monkeypatch
):
    mirror.publish("game", {f"{MUSIC}/a.ogg": write_sound(sounds / "a.ogg", 4)})
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(TaskError, match=r"is less than the .* free some space"):
        fetch_corpus(tmp_path / "corpus", [game()])


@pytest.mark.parametrize("damage", ["lost", "cut", "manifest", "half", "counts"])
def test_what_was_lost_or_half_written_is_fetched_again(mirror, sounds, tmp_path, damage):
    mirror.publish("game", {f"{MUSIC}/a.ogg": write_sound(sounds / "a.ogg", 4)})
    mirror.publish("other", {f"{MUSIC}/b.ogg": write_sound(sounds / "b.ogg", 4, pitch=99)})
    packages = [game(), game("other")]
    corpus = tmp_path / "corpus"
    whole = fetch_corpus(corpus, packages)
    if damage == "lost":
        (corpus / "game/a.ogg").unlink()
    elif damage == "cut":
        (corpus / "game/a.ogg").write_bytes(b"")
    elif damage == "manifest":
        text = (corpus / "game/tracks.jsonl").read_bytes()
        (corpus / "game/tracks.jsonl").write_bytes(text[:40])
    elif damage == "counts":
        (corpus / "game/counts.json").unlink()
    else:
        (corpus / MANIFEST).write_bytes(b'{"path": "ga')
    again = fetch_corpus(corpus, packages)
    assert again.fetched == (0 if damage == "half" else 1)
    assert again.tracks == whole.tracks
    assert tuple(read_tracks(corpus / MANIFEST)) == whole.tracks


def test_a_run_that_was_cut_goes_on_with_the_packages_it_lacks(mirror, sounds, tmp_path):
    names = ["first", "second", "third"]
    for number, name in enumerate(names):
        song = write_sound(sounds / f"{name}.ogg", 4, pitch=100 + number)
        mirror.publish(name, {f"{MUSIC}/{name}.ogg": song})

    def cut(done: int, total: int, name: str) -> None:
        if name == "second" and done == 1:
            raise KeyboardInterrupt

    packages = [game(name) for name in names]
    with pytest.raises(KeyboardInterrupt):
        fetch_corpus(tmp_path / "corpus", packages, progress=cut)
    assert [t.package for t in read_tracks(tmp_path / "corpus" / MANIFEST)] == ["first"]
    (tmp_path / "corpus/.fetch/unpacked/left").mkdir(parents=True, exist_ok=True)
    mirror.calls()
    report = fetch_corpus(tmp_path / "corpus", packages)
    assert report.fetched == 2
    assert [track.package for track in report.tracks] == names
    assert not any("first" in call for call in mirror.calls())


def test_a_package_of_which_more_is_known_now_is_labelled_anew(mirror, sounds, tmp_path):
    mirror.publish("game", {f"{MUSIC}/a.ogg": write_sound(sounds / "a.ogg", 4)})
    fetch_corpus(tmp_path / "corpus", [game()])
    report = fetch_corpus(tmp_path / "corpus", [game(composers={"*": "Ada"})])
    assert (report.fetched, report.tracks[0].composer) == (1, "Ada")


def test_another_role_adds_to_the_manifest(mirror, sounds, tmp_path):
    for name in ("one", "two"):
        song = write_sound(sounds / f"{name}.ogg", 4, pitch=100.0 * len(name + name[0]))
        mirror.publish(name, {f"{MUSIC}/{name}.ogg": song})
    fetch_corpus(tmp_path / "corpus", [game("one")])
    report = fetch_corpus(tmp_path / "corpus", [game("two", role="train")])
    assert [track.package for track in report.tracks] == ["two"]
    everything = read_tracks(tmp_path / "corpus" / MANIFEST)
    assert [(t.package, t.role) for t in everything] == [("one", "dev"), ("two", "train")]


def pk3(names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_music_in_a_pk3_archive_is_unpacked(mirror, sounds, tmp_path):
    song = write_sound(sounds / "a.ogg", 4).read_bytes()
    content = pk3({"music/a.ogg": song, "maps/level.bsp": b"map"})
    mirror.publish("game", {"usr/share/game/data.pk3": content})
    report = fetch_corpus(tmp_path / "corpus", [game(root="usr/share/game/data.pk3")])
    assert [track.path for track in report.tracks] == ["game/music/a.ogg"]
    assert sorted(path.name for path in (tmp_path / "corpus/game").rglob("*.*")) == [
        "a.ogg",
        "counts.json",
        "tracks.jsonl",
    ]


@pytest.mark.parametrize("name", ["../out.ogg", "/out.ogg", "a/../../out.ogg", "..\\out.ogg"])
def test_a_pk3_archive_that_names_files_outside_is_refused(mirror, sounds, tmp_path, name):
    song = write_sound(sounds / "a.ogg", 4).read_bytes()
    content = pk3({"music/a.ogg": song, name: song})
    mirror.publish("game", {"usr/share/game/data.pk3": content})
    with pytest.raises(TaskError, match="names a file outside of it"):
        fetch_corpus(tmp_path / "corpus", [game(root="usr/share/game/data.pk3")])
    assert not list(tmp_path.rglob("out.ogg"))
    assert not (tmp_path / "corpus/game").exists()


def test_damaged_archives_end_in_one_sentence(mirror, sounds, tmp_path):
    mirror.publish("zip", {"usr/share/game/data.pk3": b"PK\x03\x04 cut"})
    with pytest.raises(TaskError, match=r"data.pk3' cannot be unpacked"):
        fetch_corpus(tmp_path / "corpus", [game("zip", root="usr/share/game/data.pk3")])
    mirror.publish("game", {f"{MUSIC}/a.ogg": write_sound(sounds / "a.ogg", 4)})
    (mirror.archives / "game.deb").write_bytes(b"!<arch> cut")
    with pytest.raises(TaskError, match="could not be unpacked: dpkg-deb: error: corrupted"):
        fetch_corpus(tmp_path / "corpus", [game()])
    mirror.publish("moved", {"usr/share/elsewhere/a.ogg": b"OggS"})
    with pytest.raises(TaskError, match="holds no music in usr/share/game/music"):
        fetch_corpus(tmp_path / "corpus", [game("moved")])


def test_a_song_without_its_guitar_is_mixed_with_it(mirror, sounds, tmp_path):
    song = write_sound(sounds / "song.flac", 4, pitch=200)
    guitar = write_sound(sounds / "guitar.flac", 5, pitch=300)
    mirror.publish("game", {f"{MUSIC}/a/song.flac": song, f"{MUSIC}/a/guitar.flac": guitar})
    package = game(stems={"*/song.flac": "guitar.flac"}, albums="package")
    report = fetch_corpus(tmp_path / "corpus", [package])
    (track,) = report.tracks
    assert (track.path, track.group) == ("game/a/song+guitar.flac", "game")
    assert (report.found, report.dropped) == (2, {"part of another": 1})
    mixed, _ = soundfile.read(tmp_path / "corpus" / track.path)
    parts = [soundfile.read(path)[0] for path in (song, guitar)]
    expected = np.pad(parts[0], (0, len(parts[1]) - len(parts[0]))) + parts[1]
    np.testing.assert_allclose(mixed, expected, atol=2e-4)


def test_links_to_music_are_not_music_twice(mirror, sounds, tmp_path):
    content = mirror.folder / "content/game" / MUSIC
    content.mkdir(parents=True)
    (content / "b.ogg").symlink_to("a.ogg")
    (content / "outside.ogg").symlink_to(write_sound(sounds / "secret.ogg", 4, pitch=500))
    mirror.publish("game", {f"{MUSIC}/a.ogg": write_sound(sounds / "a.ogg", 4)})
    report = fetch_corpus(tmp_path / "corpus", [game()])
    assert (report.found, [track.path for track in report.tracks]) == (1, ["game/a.ogg"])


def test_unknown_packages_and_missing_tools_end_in_one_sentence(mirror, tmp_path, monkeypatch):
    with pytest.raises(TaskError, match=r"package='game' is not known to apt-get .*locate"):
        fetch_corpus(tmp_path / "corpus", [game()])
    # Lists of our own were tried, which needs no root.
    assert any("Dir::State::lists" in call and "update" in call for call in mirror.calls())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TaskError, match="tool='apt-get' is not on this system"):
        fetch_corpus(tmp_path / "corpus", [game()])


def test_one_run_at_a_time(mirror, tmp_path):
    (tmp_path / "corpus").mkdir()
    with (
        acquire_lock(tmp_path / "corpus/.fetch/lock"),
        pytest.raises(TaskError, match="is being fetched to by process"),
    ):
        fetch_corpus(tmp_path / "corpus", [game()])


def test_a_folder_that_cannot_be_made_ends_in_one_sentence(mirror, tmp_path):
    (tmp_path / "corpus").write_bytes(b"a file")
    with pytest.raises(TaskError, match="cannot be written to"):
        fetch_corpus(tmp_path / "corpus", [game()])


def test_the_table_has_each_package_once_in_one_role():
    assert len(packages_of("all")) == len(PACKAGES) == 19
    train, dev = packages_of("train"), packages_of("dev")
    assert not set(map(id, train)) & set(map(id, dev))
    assert len(train) + len(dev) == len(PACKAGES)
    with pytest.raises(ConfigError, match="role='test' is unknown"):
        packages_of("test")
    assert all(package.licence and package.root.startswith("usr/") for package in train + dev)
    assert VARIANTS


def test_composers_are_named_by_rule_then_by_tag_and_otherwise_not_at_all():
    ufo = PACKAGES["ufoai-music"]
    assert composer_of(ufo, "/music/PsymongR1.ogg", "<Unknown>") == "Psymong"
    assert composer_of(ufo, "/music/space.ogg", "Sebastian Ahlen") == "Sebastian Ahlen"
    assert composer_of(ufo, "/music/greecei.ogg", "") == ""
    assert composer_of(ufo, "/music/x.ogg", "<Unknown>") == ""
    freecol = PACKAGES["freecol"]
    music = "/default/resources/music/default"
    assert composer_of(freecol, f"{music}/musicbox.ogg", "") == "Stian Grenborgen"
    assert composer_of(freecol, f"{music}/sunrise.ogg", "") == "Alexander Zhelanov"

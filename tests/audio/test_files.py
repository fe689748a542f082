import os
from pathlib import Path

import pytest

from myna_rpe.audio.files import find_audio_files
from myna_rpe.errors import AudioError


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def names(files: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in files]


def test_folders_are_searched_recursively_in_name_order(tmp_path: Path) -> None:
    for name in ("b/2.mp3", "b/1.FLAC", "a/deep/er/x.ogg", "c.m4a", "notes.txt", "cover.jpg"):
        touch(tmp_path / name)
    found = find_audio_files([tmp_path])
    assert names(found, tmp_path) == ["a/deep/er/x.ogg", "b/1.FLAC", "b/2.mp3", "c.m4a"]


def test_hidden_files_and_folders_are_skipped(tmp_path: Path) -> None:
    for name in ("a.mp3", "._a.mp3", ".trash/b.mp3"):
        touch(tmp_path / name)
    assert names(find_audio_files([tmp_path]), tmp_path) == ["a.mp3"]


def test_named_files_are_kept_whatever_their_extension(tmp_path: Path) -> None:
    strange = touch(tmp_path / "music.bin")
    assert find_audio_files([strange]) == [strange]


def test_the_order_of_the_arguments_is_kept_without_duplicates(tmp_path: Path) -> None:
    first, second = touch(tmp_path / "a" / "1.mp3"), touch(tmp_path / "b" / "2.mp3")
    assert find_audio_files([tmp_path / "b", tmp_path, first]) == [second, first]


def test_cyclic_links_end(tmp_path: Path) -> None:
    touch(tmp_path / "album" / "1.mp3")
    (tmp_path / "album" / "again").symlink_to(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert names(find_audio_files([tmp_path]), tmp_path) == ["album/1.mp3"]


def test_a_folder_below_is_named_by_its_real_place_not_by_a_link(tmp_path: Path) -> None:
    touch(tmp_path / "z" / "1.mp3")
    (tmp_path / "a").symlink_to(tmp_path / "z")
    assert names(find_audio_files([tmp_path]), tmp_path) == ["z/1.mp3"]


def test_a_linked_folder_elsewhere_is_searched(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "1.mp3")
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "link").symlink_to(tmp_path / "elsewhere")
    found = find_audio_files([tmp_path / "music"])
    assert names(found, tmp_path) == ["music/link/1.mp3"]


def test_a_folder_named_like_a_file_is_searched(tmp_path: Path) -> None:
    touch(tmp_path / "live.mp3" / "1.mp3")
    assert names(find_audio_files([tmp_path]), tmp_path) == ["live.mp3/1.mp3"]


def test_japanese_and_non_utf8_names_are_found(tmp_path: Path) -> None:
    try:
        strange = [touch(tmp_path / "音楽.mp3"), touch(tmp_path / os.fsdecode(b"caf\xe9.mp3"))]
    except OSError:
        pytest.skip("this file system refuses the name")
    assert sorted(find_audio_files([tmp_path])) == sorted(strange)


def test_a_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"nowhere' does not exist"):
        find_audio_files([tmp_path / "nowhere"])


def test_a_folder_without_audio_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    with pytest.raises(AudioError, match="holds no audio file"):
        find_audio_files([tmp_path])


def test_a_folder_that_cannot_be_listed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(AudioError, match=r"cannot be listed \(Permission denied\)"):
        find_audio_files([tmp_path])

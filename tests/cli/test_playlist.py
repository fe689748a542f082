import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from myna_rpe.library.catalogue import Catalogue, library_folder
from myna_rpe.library.formats import NamedPlaylist, read_playlist, write_playlist

from ..embedding_support import Ended, assert_one_sentence
from ..library.playlists.support import made_library

Myna = Callable[..., Ended]
COUNT = 80
TAGS = [
    {"artist": f"Artist {n % 5}", "genres": [["rock", "jazz"][n % 2]], "duration": 100.0 + n}
    for n in range(COUNT)
]


@pytest.fixture(autouse=True)
def a_shorter_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checking the types of every step makes the search of ways many times slower."""
    monkeypatch.setattr("myna_rpe.library.playlists.between._EXTENSIONS", 300)
    monkeypatch.setattr("myna_rpe.library.playlists.between._BEAM", 24)


@pytest.fixture(autouse=True)
def library() -> Iterator[Catalogue]:
    with made_library(library_folder(), COUNT, TAGS) as catalogue:
        catalogue.playlists.save("mine", list(range(1, 49, 4)), {})
        yield catalogue


def numbers(ended: Ended) -> list[int]:
    assert ended.code == 0, ended
    return [track["number"] for track in json.loads(ended.out)["tracks"]]


def test_check_says_who_is_odd_and_draws_it(myna: Myna, library: Catalogue, tmp_path: Path) -> None:
    library.playlists.save("odd", [*range(1, 33, 4), 2], {})
    plot = tmp_path / "check.png"
    ended = myna("playlist", "check", "odd", "--plot", plot, "--json")
    facts = json.loads(ended.out)
    assert facts["members"][0]["number"] == 2
    assert facts["stands_out"]
    assert facts["odd_one_out"] == "/music/0001.flac"
    assert plot.read_bytes().startswith(b"\x89PNG")
    shown = myna("playlist", "check", "odd")
    assert "odd one out: Artist 1 - Title 1" in shown.err
    assert shown.out.count("\n") == 9
    assert_one_sentence(myna("playlist", "check", "odd", "--plot", tmp_path / "a.gif"), ".png")


COMMANDS = [
    ("grow", "mine", "--until", "0.8"),
    ("fill", "mine", "-n", 3),
    ("edge", "mine", "-n", 3),
    ("between", 1, 2, "-n", 5),
    ("radio", 3, "-n", 6),
    ("order", "mine"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each[0])
def test_every_generating_command_takes_seed_name_export_and_json(
    myna: Myna, library: Catalogue, tmp_path: Path, command: tuple[object, ...]
) -> None:
    file = tmp_path / "out.m3u8"
    options = ("--seed", 4, "--name", "new", "--export", file, "--json")
    found = numbers(myna("playlist", *command, *options))
    assert found == numbers(myna("playlist", *command, "--seed", 4, "--json"))
    members = library.playlists.get("new").members
    assert [member.track.id for member in members if member.track] == found
    assert len(read_playlist(file).entries) == len(found)
    again = myna("playlist", "regenerate", "new", "--json")
    assert numbers(again) == found
    shown = myna("playlist", *command, "--seed", 4)
    assert shown.out.count("\n") == len(found)
    assert f"{len(found)} tracks, " in shown.err


def test_constraints_are_options_and_hold(myna: Myna, library: Catalogue) -> None:
    options = ("--genre", "JAZZ", "--artist-window", 1, "--duration", "1:45-2:10", "--json")
    ended = myna("playlist", "radio", 2, "-n", 5, *options)
    tracks = json.loads(ended.out)["tracks"]
    assert len(tracks) == 6
    assert all(track["number"] % 2 == 0 for track in tracks)
    assert all(105 <= track["duration"] <= 130 for track in tracks[1:])
    artists = [track["artist"] for track in tracks]
    assert all(one != two for one, two in pairwise(artists))
    barred = myna("playlist", "radio", 2, "-n", 60, "--exclude", "mine", "--json")
    assert set(numbers(barred)).isdisjoint(range(1, 49, 4))


def test_an_impossible_constraint_is_one_sentence_that_names_it(myna: Myna) -> None:
    ended = myna("playlist", "fill", "mine", "--genre", "polka")
    assert_one_sentence(ended, "genre=polka leaves 0 of 80 tracks", "relax")
    ended = myna("playlist", "radio", 1, "-n", 5, "--total", "3:00:00-3:05:00")
    assert_one_sentence(ended, "total=3:00:00-3:05:00 cannot be kept with count=5")


@pytest.mark.parametrize(
    ("option", "value", "phrase"),
    [
        ("--year", "about 1990", "year='about 1990' is no range"),
        ("--year", "1999-1990", "year='1999-1990' ends before it begins"),
        ("--total", "60", "total='60' is no range"),
        ("--duration", "-", "duration='-' is no range"),
    ],
)
def test_a_range_that_is_none_is_one_sentence(
    myna: Myna, option: str, value: str, phrase: str
) -> None:
    assert_one_sentence(myna("playlist", "fill", "mine", f"{option}={value}"), phrase)


def test_stored_playlists_are_listed_shown_renamed_and_deleted(myna: Myna) -> None:
    assert json.loads(myna("playlist", "list", "--json").out)[0]["tracks"] == 12
    assert "mine  (12 tracks, by hand" in myna("playlist", "list").out
    shown = json.loads(myna("playlist", "show", "mine", "--json").out)
    assert [track["number"] for track in shown["tracks"]] == list(range(1, 49, 4))
    assert "12 tracks, 24:24" in myna("playlist", "show", "mine").err
    assert myna("playlist", "rename", "mine", "mine too").code == 0
    assert_one_sentence(myna("playlist", "show", "mine"), "did you mean 'mine too'")
    assert_one_sentence(myna("playlist", "regenerate", "mine too"), "was not generated")
    assert myna("playlist", "delete", "mine too").code == 0
    assert_one_sentence(myna("playlist", "delete", "mine too"), "none is stored")


def test_import_finds_tracks_and_its_counts_add_up(
    myna: Myna, library: Catalogue, tmp_path: Path
) -> None:
    file = tmp_path / "from elsewhere.m3u8"
    lines = [
        "#EXTM3U",
        "/music/0003.flac",
        "#EXTINF:104,whoever - whatever",
        "/other disk/0004.flac",
        "#EXTINF:999,whoever - whatever",
        "/other disk/0005.flac",
        "#EXTINF:-1,artist 1 - title 6",
        "gone.mp3",
        "https://example.org/stream",
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    facts = json.loads(myna("playlist", "import", file, "--json").out)
    assert facts["entries"] == 5
    counts = ("path", "recording", "name and duration", "artist and title")
    assert [facts[how] for how in counts] == [1, 0, 1, 1]
    assert (facts["unmatched"], facts["no file"]) == (1, 1)
    members = library.playlists.get("from elsewhere").members
    assert [member.track and member.track.id for member in members] == [4, 5, None, 7]
    shown = myna("playlist", "fill", file, "--json")
    assert shown.code == 0
    assert "missing: /other disk/0005.flac" in shown.err


def test_export_and_import_are_inverse(myna: Myna, library: Catalogue, tmp_path: Path) -> None:
    for name in ("mine.xspf", "mine.jspf", "mine.m3u8"):
        file = tmp_path / name
        assert "12 tracks = 12 written + 0 left out" in myna("playlist", "export", "mine", file).err
        myna("playlist", "import", file, "--name", name)
        assert library.playlists.get(name).members == library.playlists.get("mine").members
    ended = myna("playlist", "export", "mine", tmp_path / "a.m3u8", "--map", "/music=M:\\")
    assert ended.code == 0
    assert "M:\\0000.flac" in (tmp_path / "a.m3u8").read_text()
    assert_one_sentence(myna("playlist", "export", "mine", tmp_path / "a.doc"), "extension")
    assert_one_sentence(
        myna("playlist", "export", "mine", tmp_path / "a.m3u8", "--map", "x"), "map='x'"
    )


def test_groups_are_stored_and_written_one_by_one(
    myna: Myna, library: Catalogue, tmp_path: Path
) -> None:
    options = ("-k", 4, "--name", "part", "--export", tmp_path / "part.m3u8", "--json")
    groups = json.loads(myna("playlist", "cluster", *options).out)
    assert sum(len(group["tracks"]) for group in groups) == COUNT
    stored = [name for name in library.playlists.names() if name.startswith("part: ")]
    assert len(stored) == len(groups) == len(list(tmp_path.glob("part-*.m3u8")))
    again = numbers(myna("playlist", "regenerate", stored[0], "--json"))
    same = next(group for group in groups if group["name"] == stored[0])
    assert again == [track["number"] for track in same["tracks"]]
    assert "4 groups of 80 tracks" in myna("playlist", "cluster", "-k", 4).err


# --- bad input -----------------------------------------------------------------------------------


def test_unknown_names_are_one_sentence_with_suggestions(myna: Myna, tmp_path: Path) -> None:
    assert_one_sentence(myna("playlist", "fill", "mein"), "did you mean 'mine'")
    assert_one_sentence(
        myna("playlist", "radio", "nowhere.flac"), "track='nowhere.flac' is unknown"
    )
    assert_one_sentence(myna("playlist", "radio", 999), "track=999 is not in library")
    assert_one_sentence(myna("playlist", "check", "1"), "playlist='1' is unknown")
    missing = tmp_path / "no.m3u8"
    assert_one_sentence(myna("playlist", "fill", missing), "no.m3u8", "cannot be read")


def test_empty_and_tiny_playlists(myna: Myna, library: Catalogue) -> None:
    library.playlists.save("empty", [], {})
    library.playlists.save("one", [1], {})
    library.playlists.save("two", [1, 5], {})
    library.playlists.save("lost", [Path("/gone.flac")], {})
    for command in ("check", "grow", "fill", "edge", "order"):
        assert_one_sentence(myna("playlist", command, "empty"), "playlist='empty' is empty")
        ended = myna("playlist", command, "lost")
        assert ended.code == 1
        assert "no track that can be used" in ended.err
        assert myna("playlist", command, "two").code == 0, command
    assert_one_sentence(myna("playlist", "check", "one"), "needs at least two")
    ended = myna("playlist", "grow", "one", "--json")
    assert "1 member says nothing of how a playlist scatters" in json.loads(ended.out)["notes"][0]


def test_what_it_is_made_of_is_not_overwritten(myna: Myna) -> None:
    ended = myna("playlist", "grow", "mine", "--name", "mine")
    assert_one_sentence(ended, "would be lost")
    assert myna("playlist", "order", "mine", "--name", "mine").code == 0


def test_a_library_without_vectors_and_none_at_all(myna: Myna, tmp_path: Path) -> None:
    with made_library(tmp_path / "empty", vectors=np.zeros((0, 4), np.float32)):
        pass
    ended = myna("playlist", "radio", 1, "--library", tmp_path / "empty")
    assert_one_sentence(ended, "has no track with a vector")
    assert_one_sentence(myna("playlist", "list", "--library", tmp_path / "none"), "does not exist")


@pytest.mark.parametrize(
    ("module", "command", "extra"),
    [
        ("sklearn.cluster", ("cluster", "--method", "hdbscan"), "scikit-learn"),
        ("matplotlib", ("check", "mine", "--plot", "a.png"), "matplotlib"),
        ("scipy.optimize", ("between", 1, 2), "scipy"),
    ],
)
def test_a_missing_package_is_one_sentence_naming_the_extra(
    myna: Myna,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    command: tuple[object, ...],
    extra: str,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    ended = myna("playlist", *command)
    assert_one_sentence(ended, f"{extra} is not installed", "myna-rpe[library]")


def test_a_playlist_file_of_the_same_tracks_is_the_same_playlist(
    myna: Myna, library: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    members = library.playlists.get("mine").members
    tracks = [member.track for member in members if member.track]
    write_playlist(NamedPlaylist("x", tracks), Path("x.xspf"))
    ours = numbers(myna("playlist", "fill", "x.xspf", "-n", 3, "--json", "--name", "y"))
    assert ours == numbers(myna("playlist", "fill", "mine", "-n", 3, "--json"))
    monkeypatch.chdir("/")
    assert numbers(myna("playlist", "regenerate", "y", "--json")) == ours

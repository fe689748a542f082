import json
import re
from pathlib import Path

import numpy as np
import pytest

from myna_rpe.errors import ExportError, LibraryError
from myna_rpe.library.index import Index
from myna_rpe.library.map import (
    MAP_FILE,
    Neighbourhoods,
    Principal,
    among_neighbours,
    kept_map,
    new_map,
    principal,
)
from myna_rpe.library.map_drawing import (
    COLOURS,
    OTHERS,
    by_folder,
    by_genre,
    check_format,
    picture,
    to_html,
    to_png,
    write_picture,
)
from myna_rpe.library.tracks import Track

from .made import add_tracks, hide, make_library

DIM = 12


def clusters(rng, count, centres=4):
    """Return vectors about some centres, and the centre of each."""
    middle = np.random.default_rng(99).normal(size=(centres, DIM)) * 3
    of = rng.integers(0, centres, count)
    return (middle[of] + rng.normal(size=(count, DIM))).astype(np.float32), of


@pytest.fixture
def catalogue(tmp_path, rng):
    vectors, _ = clusters(rng, 80)
    with make_library(tmp_path / "library", vectors) as made:
        yield made


def places_by_number(made):
    return dict(zip(made.numbers.tolist(), map(tuple, made.places.tolist()), strict=True))


# --- coordinates ---------------------------------------------------------------------------------


def test_principal_components_are_those_of_the_singular_values(rng):
    points = rng.normal(size=(30, 5)) @ rng.normal(size=(5, 5))
    scores = principal(points, 3)
    left, values, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    expected = (left * values)[:, :3]
    np.testing.assert_allclose(np.abs(scores), np.abs(expected), atol=1e-8)
    np.testing.assert_array_equal(principal(points, 3), scores)
    assert principal(np.ones((1, 4)), 6).tolist() == [[0] * 6]


def test_a_new_place_is_the_weighted_mean_of_those_of_the_neighbours(rng):
    known = rng.normal(size=(20, 4)).astype(np.float32)
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    places = rng.normal(size=(20, 2)).astype(np.float32)
    new = rng.normal(size=(3, 4)).astype(np.float32)
    new /= np.linalg.norm(new, axis=1, keepdims=True)
    found = among_neighbours(new, known, places, k=5)
    for direction, place in zip(new, found, strict=True):
        squares = ((known.astype(float) - direction) ** 2).sum(axis=1)
        nearest = np.argsort(squares)[:5]
        weights = 1 / squares[nearest]
        expected = (weights[:, None] * places[nearest]).sum(axis=0) / weights.sum()
        np.testing.assert_allclose(place, expected, atol=1e-4)
    np.testing.assert_allclose(among_neighbours(known[:1], known, places), places[:1], atol=1e-3)


def test_the_same_seed_gives_the_same_map_that_keeps_neighbours_together(tmp_path, rng):
    vectors, of = clusters(rng, 60)
    with make_library(tmp_path / "library", vectors) as catalogue:
        index = Index(catalogue)
        first = new_map(index, seed=3)
        again = new_map(index, seed=3)
        np.testing.assert_array_equal(first.places, again.places)
        assert np.abs(first.places).max() == pytest.approx(1)
        table = ((first.places[:, None] - first.places) ** 2).sum(axis=2)
        np.fill_diagonal(table, np.inf)
        assert (of[table.argmin(axis=1)] == of).mean() > 0.95


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_a_library_of_a_few_tracks_has_a_map(tmp_path, rng, count):
    vectors, _ = clusters(rng, count)
    with make_library(tmp_path / "library", vectors) as catalogue:
        made = new_map(Index(catalogue), layout=Neighbourhoods())
        assert made.places.shape == (count, 2)
        assert np.isfinite(made.places).all()


def test_an_empty_library_has_none(tmp_path):
    with (
        make_library(tmp_path / "library", np.zeros((0, DIM), np.float32)) as catalogue,
        pytest.raises(LibraryError, match="no tracks to draw"),
    ):
        kept_map(Index(catalogue))


def test_tracks_stay_where_they_are_when_the_library_changes(catalogue, rng):
    before = kept_map(Index(catalogue), layout=Principal())
    assert (before.fitted, before.placed, before.stored) == (80, 0, True)
    same = kept_map(Index(catalogue))
    assert (same.fitted, same.placed) == (0, 0)
    np.testing.assert_array_equal(same.places, before.places)
    vectors, _ = clusters(rng, 15)
    add_tracks(catalogue, vectors)
    hide(catalogue, 3, 4)
    after = kept_map(Index(catalogue))
    assert (after.fitted, after.placed) == (0, 15)
    old, new = places_by_number(before), places_by_number(after)
    assert set(new) == set(range(1, 96)) - {3, 4}
    assert all(new[number] == place for number, place in old.items() if number in new)
    # What was placed stays, and what was hidden comes back to its place.
    with catalogue.database.transaction() as connection:
        connection.execute("UPDATE tracks SET state = 'present'")
    back = places_by_number(kept_map(Index(catalogue)))
    assert back[3] == old[3]
    assert all(back[number] == place for number, place in new.items())


def test_a_new_track_lies_among_its_like(tmp_path, rng):
    vectors, of = clusters(rng, 120)
    with make_library(tmp_path / "library", vectors[:100]) as catalogue:
        before = new_map(Index(catalogue), layout=Principal())
        add_tracks(catalogue, vectors[100:])
        places = kept_map(Index(catalogue)).places
        middles = np.stack([before.places[of[:100] == group].mean(axis=0) for group in range(4)])
        nearest = ((places[100:, None] - middles) ** 2).sum(axis=2).argmin(axis=1)
        assert (nearest == of[100:]).all()


def test_refitting_moves_tracks_and_another_seed_does_too(catalogue):
    first = kept_map(Index(catalogue), seed=0)
    new = new_map(Index(catalogue), layout=Principal())
    assert not np.array_equal(first.places, new.places)
    np.testing.assert_array_equal(kept_map(Index(catalogue)).places, new.places)


def test_of_a_large_library_a_part_is_laid_out(catalogue):
    made = new_map(Index(catalogue), layout=Principal(), fitted=30)
    assert (made.fitted, made.placed) == (30, 50)
    assert np.isfinite(made.places).all()


def test_tracks_of_one_sound_share_a_place(tmp_path, rng):
    vectors, _ = clusters(rng, 12)
    names = [b"%032d" % (n % 6) for n in range(12)]
    with make_library(tmp_path / "library", vectors, identities=names) as catalogue:
        made = kept_map(Index(catalogue), layout=Principal())
        places = places_by_number(made)
        assert made.fitted == 6
        assert all(places[number] == places[number + 6] for number in range(1, 7))


def test_a_damaged_map_is_made_anew_and_a_read_only_library_keeps_none(catalogue):
    first = kept_map(Index(catalogue), layout=Principal())
    path = catalogue.folder / MAP_FILE
    path.write_bytes(path.read_bytes()[:100])
    again = kept_map(Index(catalogue), layout=Principal())
    assert again.fitted == 80
    np.testing.assert_array_equal(first.places, again.places)
    path.unlink()
    catalogue.database.read_only = True
    assert not kept_map(Index(catalogue), layout=Principal()).stored
    assert not path.exists()


# --- drawing -------------------------------------------------------------------------------------

HOSTILE = "</script><script>alert(1)</script>&amp;\u2028$x_1$ \udce9 \\"


@pytest.fixture
def drawn(rng):
    tracks = [
        Track(n, Path(f"/m/f{n % 3}/{n}.mp3"), title=f"t{n}", genres=(f"G{n % 12}",))
        for n in range(40)
    ]
    tracks.append(Track(99, Path(f"/m/{HOSTILE}/a.mp3"), HOSTILE, HOSTILE, HOSTILE, "", (HOSTILE,)))
    places = rng.normal(size=(41, 2)).astype(np.float32)
    return picture("41 tracks", tracks, places, by_genre)


def test_groups_are_the_most_frequent_and_add_up(drawn):
    assert drawn.groups[:4] == [("g0", 4), ("g1", 4), ("g2", 4), ("g3", 4)]
    assert len(drawn.groups) == len(COLOURS) + 1
    assert drawn.groups[-1][0] == OTHERS
    assert sum(count for _, count in drawn.groups) == 41
    assert drawn.group[40] == len(drawn.groups) - 1
    by = picture("x", drawn.tracks, drawn.places, by_folder)
    assert by.groups[0] == ("f0", 14)


def test_the_page_holds_every_track_and_no_name_breaks_out(drawn):
    page = to_html(drawn).decode()
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert not re.search(r"(src|href)=", page)
    assert "default-src 'none'" in page
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    data = json.loads(text)
    assert len(data["x"]) == len(data["label"]) == len(data["group"]) == 41
    assert data["album"][40] == HOSTILE
    assert data["folders"][data["folder"][0]] == "/m/f0"
    assert data["groups"][-1] == {"name": OTHERS, "count": drawn.groups[-1][1], "colour": "#8a9199"}


def test_the_picture_is_a_png_and_the_same_each_time(drawn):
    content = to_png(drawn)
    assert content.startswith(b"\x89PNG")
    assert to_png(drawn) == content
    nothing = picture("0 tracks", [], np.zeros((0, 2), np.float32), by_genre)
    assert to_png(nothing).startswith(b"\x89PNG")
    assert b"0 tracks" in to_html(nothing)


def test_files_are_written_by_their_endings(drawn, tmp_path):
    write_picture(tmp_path / "map.HTML", drawn)
    assert (tmp_path / "map.HTML").read_bytes() == to_html(drawn)
    with pytest.raises(ExportError, match=r"ends in no known format; use one of .png, .html"):
        check_format(tmp_path / "map.svg")
    with pytest.raises(ExportError, match="cannot be written"):
        write_picture(tmp_path / "nowhere" / "map.html", drawn)

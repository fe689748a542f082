from pathlib import Path

import numpy as np
import pytest

from myna_rpe.errors import LibraryError
from myna_rpe.library.space import (
    SPACE_FILE,
    fit_space,
    read_hull_space,
    space_of,
    write_hull_space,
)

from .playlists.support import add_tracks, directions, made_library


def numbers_of(count: int) -> np.ndarray:
    return np.arange(1, count + 1)


def test_it_is_the_principal_components_of_the_unit_vectors() -> None:
    vectors = directions(50)
    space = fit_space(numbers_of(50), vectors, space_id="a", dims=5)
    wide = vectors.astype(np.float64)
    unit = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    _, sizes, slow = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(slow[:5] @ space.directions), np.eye(5), atol=1e-6)
    np.testing.assert_allclose(space.explained, (sizes[:5] ** 2).sum() / (sizes**2).sum())
    np.testing.assert_allclose(
        np.abs(space.project(vectors)), np.abs((unit - unit.mean(axis=0)) @ slow[:5].T), atol=1e-6
    )


def test_all_dimensions_keep_every_distance() -> None:
    vectors = directions(30)
    space = fit_space(numbers_of(30), vectors, space_id="a", dims=12)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    ours = np.linalg.norm(space.project(vectors)[:, None] - space.project(vectors), axis=2)
    np.testing.assert_allclose(ours, np.linalg.norm(unit[:, None] - unit, axis=2), atol=1e-6)


@pytest.mark.parametrize(("count", "dims"), [(1, 1), (2, 1), (5, 4), (40, 12)])
def test_a_small_library_has_fewer_dimensions(count: int, dims: int) -> None:
    space = fit_space(numbers_of(count), directions(count), space_id="a")
    assert space.dims == dims
    assert np.isfinite(space.project(directions(count))).all()


def test_it_is_the_same_each_time_whatever_the_sign_of_the_directions() -> None:
    first = fit_space(numbers_of(30), directions(30), space_id="a", dims=4)
    again = fit_space(numbers_of(30), directions(30), space_id="a", dims=4)
    np.testing.assert_array_equal(first.directions, again.directions)
    largest = np.abs(first.directions).argmax(axis=0)
    assert (first.directions[largest, np.arange(4)] > 0).all()


def test_vectors_that_are_all_the_same_are_one_place() -> None:
    space = fit_space(numbers_of(5), np.ones((5, 3), np.float32), space_id="a")
    assert space.explained == 1.0
    np.testing.assert_allclose(space.project(np.ones((5, 3), np.float32)), 0, atol=1e-7)


def test_nothing_and_no_dimensions_are_one_sentence() -> None:
    with pytest.raises(LibraryError, match="make no space"):
        fit_space(numbers_of(0), directions(0), space_id="a")
    with pytest.raises(LibraryError, match="dims=0"):
        fit_space(numbers_of(3), directions(3), space_id="a", dims=0)


def test_it_is_kept_and_read_back(tmp_path: Path) -> None:
    space = fit_space(numbers_of(20), directions(20), space_id="a", dims=4)
    write_hull_space(tmp_path / SPACE_FILE, space)
    back = read_hull_space(tmp_path / SPACE_FILE)
    assert back is not None
    assert (back.space_id, back.asked, back.count, back.dims) == ("a", 4, 20, 4)
    np.testing.assert_array_equal(back.directions, space.directions)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 broken zip"])
def test_a_damaged_file_is_fitted_anew(tmp_path: Path, content: bytes) -> None:
    with made_library(tmp_path / "library") as catalogue:
        (catalogue.folder / SPACE_FILE).write_bytes(content)
        assert read_hull_space(catalogue.folder / SPACE_FILE) is None
        assert space_of(catalogue, *catalogue.vectors()).count == 40
        assert read_hull_space(catalogue.folder / SPACE_FILE) is not None


def test_it_stays_until_more_than_a_tenth_of_the_library_has_changed(tmp_path: Path) -> None:
    with made_library(tmp_path / "library", 40) as catalogue:
        first = space_of(catalogue, *catalogue.vectors())
        add_tracks(catalogue, directions(4, seed=1))
        kept = space_of(catalogue, *catalogue.vectors())
        np.testing.assert_array_equal(kept.directions, first.directions)
        assert kept.count == 40
        add_tracks(catalogue, directions(1, seed=2))
        fitted = space_of(catalogue, *catalogue.vectors())
        assert fitted.count == 45
        assert space_of(catalogue, *catalogue.vectors(), dims=3).dims == 3


def test_as_many_tracks_that_are_others_are_another_library() -> None:
    space = fit_space(numbers_of(20), directions(20), space_id="a")
    assert space.fits("a", 32, numbers_of(20))
    assert not space.fits("a", 32, numbers_of(20) + 100)
    assert not space.fits("b", 32, numbers_of(20))
    assert not space.fits("a", 31, numbers_of(20))

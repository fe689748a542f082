import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from myna_rpe.errors import LibraryError
from myna_rpe.library.vectors import IDENTITIES_FILE, VECTORS_FILE, Vectors

DIM = 3


def identity(number: int) -> bytes:
    return number.to_bytes(32, "big")


def rows(*numbers: float) -> np.ndarray:
    return np.array([[n, n + 0.5, -n] for n in numbers], np.float32).reshape(-1, DIM)


def test_appended_rows_are_found_by_identity_in_another_process(tmp_path):
    assert Vectors(tmp_path, DIM).append([identity(7), identity(8)], rows(1, 2)) == [0, 1]
    assert Vectors(tmp_path, DIM).append([identity(9)], rows(3)) == [2]
    vectors = Vectors(tmp_path, DIM)
    assert len(vectors) == 3
    np.testing.assert_array_equal(vectors.rows(), rows(1, 2, 3))
    assert [vectors.find(identity(n)) for n in (7, 8, 9, 10)] == [0, 1, 2, None]


def test_the_files_are_what_the_format_says(tmp_path):
    Vectors(tmp_path, DIM).append([identity(7), identity(8)], rows(1, 2))
    assert (tmp_path / VECTORS_FILE).read_bytes() == struct.pack("<6f", 1, 1.5, -1, 2, 2.5, -2)
    first = identity(7) + struct.pack("<3f", 1, 1.5, -1)
    labels = (tmp_path / IDENTITIES_FILE).read_bytes()
    assert labels[:36] == identity(7) + struct.pack("<I", zlib.crc32(first))
    assert len(labels) == 72


def test_an_empty_folder_holds_no_rows(tmp_path):
    vectors = Vectors(tmp_path, DIM)
    assert len(vectors) == 0
    assert vectors.rows().shape == (0, DIM)
    assert vectors.find(identity(1)) is None
    assert list(vectors.unsound()) == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=12), st.lists(st.integers(1, 40), max_size=12))
def test_the_index_agrees_with_a_dictionary(before, after):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as name:
        Vectors(Path(name), DIM).append(list(map(identity, before)), rows(*before))
        vectors = Vectors(Path(name), DIM)  # from the disk up to here, then as appended
        vectors.find(identity(1))
        vectors.append(list(map(identity, after)), rows(*after))
        # The newest counts.
        expected = {key: row for row, key in enumerate([*before, *after])}
        for key in range(42):
            assert vectors.find(identity(key)) == expected.get(key)


def test_identities_that_begin_alike_are_told_apart(tmp_path):
    vectors = Vectors(tmp_path, DIM)
    keys = [b"12345678" + bytes(23) + bytes([n]) for n in (1, 2, 3)]
    vectors.append(keys, rows(1, 2, 3))
    again = Vectors(tmp_path, DIM)
    assert [again.find(key) for key in keys] == [0, 1, 2]
    assert again.find(b"12345678" + bytes(24)) is None


def test_a_flipped_bit_is_noticed_and_the_row_not_found(tmp_path):
    Vectors(tmp_path, DIM).append([identity(n) for n in (1, 2, 3)], rows(1, 2, 3))
    with (tmp_path / VECTORS_FILE).open("r+b") as file:
        file.seek(4 * DIM + 2)
        file.write(b"\xff")
    vectors = Vectors(tmp_path, DIM)
    assert list(vectors.unsound()) == [1]
    assert [vectors.find(identity(n)) for n in (1, 2, 3)] == [0, None, 2]


def test_a_disowned_row_is_found_no_more_and_appended_anew(tmp_path):
    vectors = Vectors(tmp_path, DIM)
    vectors.append([identity(1), identity(2)], rows(1, 2))
    vectors.disown([0])
    assert vectors.find(identity(1)) is None
    assert list(vectors.unsound()) == []
    assert vectors.append([identity(1)], rows(5)) == [2]
    assert vectors.find(identity(1)) == 2


@pytest.mark.parametrize("cut", range(1, 4 * DIM))
def test_a_torn_tail_is_cut_off_and_nothing_before_it(tmp_path, cut):
    Vectors(tmp_path, DIM).append([identity(n) for n in (1, 2, 3)], rows(1, 2, 3))
    size = (tmp_path / VECTORS_FILE).stat().st_size
    os.truncate(tmp_path / VECTORS_FILE, size - cut)
    vectors = Vectors(tmp_path, DIM)
    vectors.repair()
    assert len(vectors) == 2
    assert (tmp_path / VECTORS_FILE).stat().st_size == 2 * 4 * DIM
    assert (tmp_path / IDENTITIES_FILE).stat().st_size == 2 * 36
    assert vectors.append([identity(4)], rows(4)) == [2]
    np.testing.assert_array_equal(vectors.rows(), rows(1, 2, 4))


def test_vectors_without_identities_are_written_over(tmp_path):
    # What a kill between the two writes leaves behind.
    Vectors(tmp_path, DIM).append([identity(1)], rows(1))
    with (tmp_path / VECTORS_FILE).open("ab") as file:
        file.write(rows(9, 9).tobytes())
    vectors = Vectors(tmp_path, DIM)
    assert len(vectors) == 1
    vectors.append([identity(2)], rows(2))
    np.testing.assert_array_equal(vectors.rows(), rows(1, 2))


def test_a_full_disk_leaves_the_files_as_they_were(tmp_path, monkeypatch):
    vectors = Vectors(tmp_path, DIM)
    vectors.append([identity(1)], rows(1))

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(LibraryError, match="No space left on device"):
        vectors.append([identity(2)], rows(2))
    assert (tmp_path / VECTORS_FILE).stat().st_size == 4 * DIM
    assert len(Vectors(tmp_path, DIM)) == 1

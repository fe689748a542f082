"""Numbers that a library keeps about its sounds, in files that may be lost.

A file holds arrays under names, and a stamp: what they were worked out from. With another stamp, or
damaged, it counts as lost, and its owner works everything out anew. What is kept of a sound is
found by its key, the first 8 bytes of its identity, so that it survives moves, retags and a rebuilt
catalogue. Two sounds of a million share a key with a chance of 3e-8.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt64

from ..storage import atomic_write
from .catalogue import Catalogue

_STAMP = "stamp"


def write_kept(path: Path, stamp: Mapping[str, Any], **arrays: np.ndarray) -> None:
    """Write arrays and their stamp, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_write(path) as file:
        np.savez(file, allow_pickle=False, **{_STAMP: np.array(_text(stamp))}, **arrays)


def read_kept(path: Path, stamp: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """Return the arrays of a file; None where it is missing, damaged or has another stamp."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None
    return arrays if str(arrays.pop(_STAMP, "")) == _text(stamp) else None


def sound_keys(
    catalogue: Catalogue, numbers: Int64[np.ndarray, " tracks"]
) -> UInt64[np.ndarray, " tracks"]:
    """Return the keys of the sounds of tracks; 0 for tracks that are gone meanwhile."""
    known, identities = [], []
    for number, identity in catalogue.database.query(
        "SELECT id, substr(identity, 1, 8) FROM tracks ORDER BY id"
    ):
        known.append(number)
        identities.append(identity)
    keys = np.frombuffer(b"".join(identities), "<u8").astype(np.uint64)
    places = places_of(numbers.astype(np.uint64), np.array(known, np.uint64))
    found: UInt64[np.ndarray, " tracks"] = np.append(keys, np.uint64(0))[places]
    return found


def places_of(
    wanted: UInt64[np.ndarray, " wanted"], keys: UInt64[np.ndarray, " keys"]
) -> Int64[np.ndarray, " wanted"]:
    """Return where each wanted key is among `keys`; -1 where it is not."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    order = np.argsort(keys, kind="stable")
    at = np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)
    found: Int64[np.ndarray, " wanted"] = np.where(keys[order[at]] == wanted, order[at], -1).astype(
        np.int64
    )
    return found


def _text(stamp: Mapping[str, Any]) -> str:
    return json.dumps(dict(stamp), sort_keys=True)

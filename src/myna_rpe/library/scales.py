"""Tracks that are near everything, weighed down: local scaling of a library.

Each track has a scale, from the cosines with its own nearest neighbours. They are worked out once
and kept in the library's folder. In a library of more than `REFERENCE` sounds the neighbours are
looked for among so many, drawn with a fixed seed: in place of the tenth nearest of a million counts
the tenth nearest of those.

Source: the formulas are those of `geometry.hubs`, on directions.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt64

from ..geometry.hubs import csls, nicdm
from .index import NUMBERS_AT_ONCE, Directions, Index, Judge, blocks, products
from .kept import places_of, read_kept, sound_keys, write_kept

REFERENCE = 20_000
SCALES_FILE = "scales.npz"

_NEIGHBOURS = 10
_SEED = 0
# Scales are worked out anew when so much of the library has changed.
_CHANGED = 0.1


Progress = Callable[[int, int], None]
"""Called with how many tracks have their scale, and of how many."""


@runtime_checkable
class Scaling(Protocol):
    """What is made of cosines so that hubs do not come first. It must rise with the cosine."""

    def scales(self, cosines: Float[np.ndarray, "tracks k"]) -> Float[np.ndarray, " tracks"]:
        """Return the scales of tracks, by the cosines with their nearest neighbours."""
        ...

    def score(
        self,
        cosines: Float[np.ndarray, "m n"],
        first: Float[np.ndarray, " m"],
        second: Float[np.ndarray, " n"],
    ) -> Float[np.ndarray, "m n"]:
        """Return how near pairs are, larger is nearer, by cosines and both scales."""
        ...


@dataclass(frozen=True)
class CSLS:
    """`geometry.hubs.csls`: twice the cosine, less the mean cosines with the neighbours."""

    def scales(self, cosines: Float[np.ndarray, "tracks k"]) -> Float[np.ndarray, " tracks"]:
        """Return mean cosines."""
        return _row_means(cosines)

    def score(
        self,
        cosines: Float[np.ndarray, "m n"],
        first: Float[np.ndarray, " m"],
        second: Float[np.ndarray, " n"],
    ) -> Float[np.ndarray, "m n"]:
        """Return `csls`, in [-4, 4]."""
        return csls(cosines, first, second)


@dataclass(frozen=True)
class NICDM:
    """`geometry.hubs.nicdm` of the distances of directions, less than zero so that it rises."""

    def scales(self, cosines: Float[np.ndarray, "tracks k"]) -> Float[np.ndarray, " tracks"]:
        """Return mean distances."""
        return _row_means(_distances(cosines))

    def score(
        self,
        cosines: Float[np.ndarray, "m n"],
        first: Float[np.ndarray, " m"],
        second: Float[np.ndarray, " n"],
    ) -> Float[np.ndarray, "m n"]:
        """Return minus `nicdm`, of 0 or less."""
        score: Float[np.ndarray, "m n"] = -nicdm(_distances(cosines), first, second)
        return score


SCALINGS: dict[str, Scaling] = {"csls": CSLS(), "nicdm": NICDM()}
"""Ways to weigh hubs down, by name."""


class LocalScaling:
    """A library under a scaling; made once, asked often.

    Args:
        index: of the library.
        scaling: which.
        progress: called while scales are worked out, where that is long.
    """

    def __init__(
        self, index: Index, scaling: Scaling, *, progress: Progress = lambda done, total: None
    ) -> None:
        self._index = index
        self._scaling = scaling
        self._scales = library_scales(index, progress=progress)
        self._theirs = scaling.scales(self._scales.cosines)

    def judge(self, question: Directions, exclude: Sequence[int] = ()) -> Judge:
        """Return what ranks tracks for a question.

        Args:
            question: (questions, dim), directions.
            exclude: numbers of tracks that do not count as neighbours of the question.
        """
        near = self._scales.of_question(self._index, question, exclude)
        ours = self._scaling.scales(near)
        return lambda cosines, positions: self._scaling.score(
            cosines, ours, self._theirs[positions]
        )


@dataclass(frozen=True, eq=False)
class LibraryScales:
    """How near the neighbours of every track are.

    Attributes:
        keys: (tracks,), of the sounds, in the order of the index.
        cosines: (tracks, k), with the k nearest sounds of the reference, itself left out.
        reference: positions of the sounds among which neighbours are looked for.
    """

    keys: UInt64[np.ndarray, " tracks"]
    cosines: Float32[np.ndarray, "tracks k"]
    reference: Int64[np.ndarray, " reference"]

    def of_question(
        self, index: Index, question: Directions, exclude: Sequence[int] = ()
    ) -> Float32[np.ndarray, "questions k"]:
        """Return the cosines of directions with their k nearest sounds, not the excluded ones."""
        out = self.keys[np.isin(index.numbers, list(exclude))]
        reference = self.reference[~np.isin(self.keys[self.reference], out)]
        own = np.full(len(question), -1, np.int64)
        return _nearest_cosines(question, index.directions(reference), own, self.cosines.shape[1])


def library_scales(
    index: Index,
    *,
    reference: int = REFERENCE,
    progress: Progress = lambda done, total: None,
) -> LibraryScales:
    """Return the scales of a library: kept ones, and new ones for what has come since.

    They are worked out anew once a tenth of the library has changed. What cannot be kept, because
    the library may only be read, is worked out each time.

    Args:
        index: of the library.
        reference: among how many sounds neighbours are looked for.
        progress: called while there is much to work out.
    """
    catalogue = index.catalogue
    keys = sound_keys(catalogue, index.numbers)
    stamp = {
        "space_id": catalogue.header.space_id,
        "reference": reference,
        "k": _NEIGHBOURS,
        "seed": _SEED,
    }
    path = catalogue.folder / SCALES_FILE
    kept = read_kept(path, stamp)
    if kept is not None:
        places = places_of(keys, kept["keys"])
        sample = places_of(kept["keys"][kept["reference"]], keys)
        lost = 1 - len(np.unique(places[places >= 0])) / max(1, len(kept["keys"]))
        if max(lost, float((places < 0).mean()) if len(keys) else 0.0) <= _CHANGED:
            new = np.flatnonzero(places < 0)
            sample = np.unique(sample[sample >= 0])
            cosines = kept["cosines"][places]
            cosines[new] = _scales_of(index, keys, sample, new, cosines.shape[1], progress)
            return LibraryScales(keys, cosines, sample)
    _, first = np.unique(keys, return_index=True)
    sample = np.sort(first)
    if len(sample) > reference:
        drawn = np.random.default_rng(_SEED).choice(len(sample), reference, replace=False)
        sample = sample[np.sort(drawn)]
    k = max(0, min(_NEIGHBOURS, len(sample) - 1))
    cosines = _scales_of(index, keys, sample, np.arange(len(index)), k, progress)
    scales = LibraryScales(keys, cosines, sample)
    if not catalogue.read_only:
        unique, at = np.unique(keys, return_index=True)
        with suppress(OSError):
            write_kept(
                path,
                stamp,
                keys=unique,
                cosines=cosines[at],
                reference=places_of(keys[sample], unique),
            )
    return scales


def _scales_of(
    index: Index,
    keys: UInt64[np.ndarray, " tracks"],
    sample: Int64[np.ndarray, " reference"],
    positions: Int64[np.ndarray, " some"],
    k: int,
    progress: Progress,
) -> Float32[np.ndarray, "some k"]:
    """Return the cosines of some tracks with their k nearest sounds of a sample."""
    directions, own = index.directions(sample), places_of(keys[positions], keys[sample])
    cosines = np.empty((len(positions), k), np.float32)
    for block in blocks(len(positions), max(1, NUMBERS_AT_ONCE // max(1, len(sample)))):
        cosines[block] = _nearest_cosines(
            index.directions(positions[block]), directions, own[block], k
        )
        if len(positions) > block.stop - block.start:  # one block is over at once
            progress(block.stop, len(positions))
    return cosines


def _nearest_cosines(
    directions: Float32[np.ndarray, "some dim"],
    reference: Float32[np.ndarray, "reference dim"],
    own: Int64[np.ndarray, " some"],
    k: int,
) -> Float32[np.ndarray, "some k"]:
    """Return the k largest cosines of each direction; `own` is which of the reference it is."""
    table = products(directions, reference)
    known = np.flatnonzero(own >= 0)
    table[known, own[known]] = -np.inf
    k = min(k, table.shape[1])
    if k == 0:
        return np.zeros((len(directions), 0), np.float32)
    nearest: Float32[np.ndarray, "some k"] = np.partition(table, table.shape[1] - k, axis=1)[
        :, table.shape[1] - k :
    ]
    np.clip(nearest, -1, 1, out=nearest)
    return nearest


def _distances(cosines: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m n"]:
    """Return the distances of directions."""
    distances: Float[np.ndarray, "m n"] = np.sqrt(np.maximum(2 - 2 * cosines.astype(np.float64), 0))
    return distances


def _row_means(table: Float[np.ndarray, "tracks k"]) -> Float[np.ndarray, " tracks"]:
    if table.shape[1] == 0:
        return np.zeros(len(table))
    means: Float[np.ndarray, " tracks"] = table.astype(np.float64).mean(axis=1)
    return means

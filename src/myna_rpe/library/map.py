"""Where every track lies on a flat map of the library, and stays.

Coordinates are made once, by a `Layout`, and kept by sound in the library's folder. A rescan does
not move them: tracks that are new are put among their nearest neighbours that have a place, at the
mean of those weighted by nearness. A map that has grown by much is better made anew (``--refit``).
Of a large library so many sounds as `FITTED`, drawn with the seed, are laid out, and all others are
put among them. Tracks of one sound share a place.

The layout is scikit-learn's t-SNE, which starts from the principal components and so keeps the
global arrangement as UMAP does (Kobak and Linderman 2021). PaCMAP (0.9.1) and umap-learn (0.5.12)
are alive and were considered: both need numba and its LLVM, PaCMAP also faiss, together larger than
all else that a library needs, compiled anew for each release of Python; scikit-learn is there for
other reasons. Same seed, same coordinates, on one machine with the same versions.

Sources: van der Maaten and Hinton 2008 (t-SNE); Kobak and Berens 2019, "The art of using t-SNE for
single-cell transcriptomics" (start from PCA); Kobak and Linderman 2021, "Initialization is critical
for preserving global data structure in both t-SNE and UMAP".
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt64

from ..errors import LibraryError
from .index import NUMBERS_AT_ONCE, Index, blocks, products
from .kept import places_of, read_kept, sound_keys, write_kept

MAP_FILE = "map.npz"
FITTED = 10_000

_COMPONENTS = 50
_PERPLEXITY = 30.0
_NEIGHBOURS = 10
# Fewer sounds than this have no neighbourhoods to keep.
_LEAST = 8
_ROWS_AT_ONCE = 65_536


@runtime_checkable
class Layout(Protocol):
    """A way from directions to places."""

    def places(
        self, directions: Float32[np.ndarray, "sounds dim"], seed: int
    ) -> Float[np.ndarray, "sounds 2"]:
        """Return a place for each direction."""
        ...


@dataclass(frozen=True)
class Principal:
    """The two principal components: quick, and blind to all but the largest differences."""

    def places(
        self, directions: Float32[np.ndarray, "sounds dim"], seed: int
    ) -> Float[np.ndarray, "sounds 2"]:
        """Return the coordinates; the seed does not matter."""
        return principal(directions, 2)


@dataclass(frozen=True)
class Neighbourhoods:
    """t-SNE from the principal components: who is near is near on the map."""

    def places(
        self, directions: Float32[np.ndarray, "sounds dim"], seed: int
    ) -> Float[np.ndarray, "sounds 2"]:
        """Return the coordinates.

        Raises:
            LibraryError: scikit-learn is not installed.
        """
        if len(directions) < _LEAST:
            return principal(directions, 2)
        try:
            from sklearn.manifold import TSNE
        except ImportError as error:
            raise LibraryError(
                "scikit-learn is not installed, and the map needs it; run: "
                "pip install 'myna-rpe[library]'"
            ) from error
        reduced = principal(directions, _COMPONENTS)
        start = reduced[:, :2] / max(float(reduced[:, 0].std()), 1e-12) * 1e-4
        perplexity = min(_PERPLEXITY, (len(directions) - 1) / 3)
        fit = TSNE(perplexity=perplexity, init=start.astype(np.float32), random_state=seed)
        places: Float[np.ndarray, "sounds 2"] = fit.fit_transform(reduced)
        return places


LAYOUTS: dict[str, Layout] = {"tsne": Neighbourhoods(), "pca": Principal()}
"""Ways to lay out a map, by name."""


@dataclass(frozen=True, eq=False)
class LibraryMap:
    """Places of tracks.

    Attributes:
        numbers: (tracks,), of all that a search may find.
        places: (tracks, 2), about 0, in [-1, 1] when laid out.
        fitted: sounds that were laid out just now; 0: the map was there.
        placed: sounds that were put among their neighbours just now.
        stored: whether the places are kept for the next time.
    """

    numbers: Int64[np.ndarray, " tracks"]
    places: Float32[np.ndarray, "tracks 2"]
    fitted: int
    placed: int
    stored: bool


def kept_map(index: Index, *, layout: Layout | None = None, seed: int = 0) -> LibraryMap:
    """Return the map of a library as it is kept, with places for the tracks that are new.

    A map is made where there is none.

    Args:
        index: of the library.
        layout: how a map is made; None: `Neighbourhoods`. A map that is kept stays as it is.
        seed: of a map that is made.

    Raises:
        LibraryError: as for `new_map`.
    """
    keys = sound_keys(index.catalogue, index.numbers)
    kept = read_kept(index.catalogue.folder / MAP_FILE, _stamp(index))
    if kept is None or not (places_of(keys, kept["keys"]) >= 0).any():
        return new_map(index, layout=layout, seed=seed)
    at = places_of(keys, kept["keys"])
    new, first = np.unique(keys[at < 0], return_index=True)
    positions = np.flatnonzero(at < 0)[first]
    known = np.unique(at, return_index=True)[1]
    known = known[at[known] >= 0]
    found = _put_among(index, positions, known, kept["places"][at[known]])
    return _finished(
        index,
        keys,
        np.concatenate([kept["keys"], new]),
        np.concatenate([kept["places"], found]),
        placed=len(new),
    )


def new_map(
    index: Index, *, layout: Layout | None = None, seed: int = 0, fitted: int = FITTED
) -> LibraryMap:
    """Return a new map of a library, in place of the one that was kept.

    Args:
        index: of the library.
        layout: None: `Neighbourhoods`.
        seed: of all that is drawn.
        fitted: how many sounds are laid out; the others are put among them.

    Raises:
        LibraryError: the library is empty, or a package is not installed.
    """
    if not len(index):
        raise LibraryError(
            f"library={str(index.catalogue.folder)!r} has no tracks to draw; scan some music."
        )
    keys = sound_keys(index.catalogue, index.numbers)
    sounds, first = np.unique(keys, return_index=True)
    order = np.random.default_rng(seed).permutation(len(sounds))
    # In the order of the rows: what is laid out must not depend on the keys' order.
    chosen, others = np.sort(first[order[:fitted]]), np.sort(first[order[fitted:]])
    places = (layout or Neighbourhoods()).places(index.directions(chosen), seed)
    places = places - places.mean(axis=0)
    places = (places / max(float(np.abs(places).max()), 1e-12)).astype(np.float32)
    found = _put_among(index, others, chosen, places)
    return _finished(
        index,
        keys,
        keys[np.concatenate([chosen, others])],
        np.concatenate([places, found]),
        fitted=len(chosen),
        placed=len(others),
    )


def principal(
    points: Float[np.ndarray, "n dim"], components: int
) -> Float[np.ndarray, "n components"]:
    """Return the first principal components, signs fixed; zeros where there are fewer.

    Args:
        points: (n, dim).
        components: how many, >= 1.
    """
    centred = points.astype(np.float64)
    centred -= centred.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, ::-1][:, :components]
    # An axis has no sign of its own: its largest part shall be positive.
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.sign(axes[largest, np.arange(axes.shape[1])])
    scores: Float[np.ndarray, "n components"] = np.zeros((len(points), components))
    scores[:, : axes.shape[1]] = centred @ axes
    return scores


def among_neighbours(
    directions: Float32[np.ndarray, "new dim"],
    known: Float32[np.ndarray, "known dim"],
    places: Float32[np.ndarray, "known 2"],
    *,
    k: int = _NEIGHBOURS,
) -> Float32[np.ndarray, "new 2"]:
    """Return places at the mean of those of the k nearest, weighted by 1 / squared distance.

    Args:
        directions: of what has no place yet.
        known: directions of what has; at least one.
        places: of these.
        k: how many neighbours count; fewer if there are fewer.
    """
    k = min(k, len(known))
    found = np.empty((len(directions), 2), np.float32)
    for block in blocks(len(directions), max(1, NUMBERS_AT_ONCE // len(known))):
        cosines = products(directions[block], known)
        nearest = np.argpartition(cosines, len(known) - k, axis=1)[:, len(known) - k :]
        squares = 2 - 2 * np.take_along_axis(cosines, nearest, axis=1).astype(np.float64)
        weights = 1 / np.maximum(squares, 1e-6)
        weights /= weights.sum(axis=1, keepdims=True)
        found[block] = (weights[:, :, None] * places[nearest]).sum(axis=1)
    return found


def _put_among(
    index: Index,
    positions: Int64[np.ndarray, " new"],
    known: Int64[np.ndarray, " known"],
    places: Float32[np.ndarray, "known 2"],
) -> Float32[np.ndarray, "new 2"]:
    """Return places for positions of the index, by those of others."""
    if len(known) > FITTED:
        sample = np.linspace(0, len(known) - 1, FITTED).astype(np.int64)
        known, places = known[sample], places[sample]
    directions = index.directions(known)
    found = np.empty((len(positions), 2), np.float32)
    for block in blocks(len(positions), _ROWS_AT_ONCE):
        found[block] = among_neighbours(index.directions(positions[block]), directions, places)
    return found


def _finished(
    index: Index,
    keys: UInt64[np.ndarray, " tracks"],
    sounds: UInt64[np.ndarray, " sounds"],
    places: Float32[np.ndarray, "sounds 2"],
    *,
    fitted: int = 0,
    placed: int = 0,
) -> LibraryMap:
    """Keep a map, and return it for the tracks there are; those of lost sounds stay in the file."""
    stored = not (fitted or placed)
    if not stored and not index.catalogue.read_only:
        with suppress(OSError):
            write_kept(index.catalogue.folder / MAP_FILE, _stamp(index), keys=sounds, places=places)
            stored = True
    at = places_of(keys, sounds)
    return LibraryMap(index.numbers, places[at], fitted, placed, stored)


def _stamp(index: Index) -> dict[str, str]:
    return {"space_id": index.catalogue.header.space_id}

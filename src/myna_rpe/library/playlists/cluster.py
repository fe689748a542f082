"""The whole library as a few playlists of what belongs together, each with a name.

Two ways to tell groups apart: k-medoids, a number of groups of which each has a track in its
middle; and HDBSCAN, as many groups as are dense, with what lies between them left out. A large
library is grouped by a sample, and every other track joins the nearest middle.

A group is named by the tags that it has far more often than the library: those with the largest
share x log(share / share in the library).

Sources: Kaufman & Rousseeuw 1990 (k-medoids, CLARA); Arthur & Vassilvitskii 2007 (first middles);
Campello, Moulavi & Sander 2013 (HDBSCAN, as scikit-learn has it).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64
from pydantic import Field

from ...errors import ConfigError, LibraryError, unknown_name
from ...geometry.points import squared_distances
from ..tracks import Track
from .context import Choice, Context, Proposal, Strategy
from .region import first_of_recordings
from .selection import select

_SAMPLE = 2_000
_STARTS = 4
_ROUNDS = 100
# A tag names a group when so many of its tracks, and such a share of them, have it.
_LEAST_TRACKS = 2
_LEAST_SHARE = 0.2
_TAGS = 2


@dataclass(frozen=True, eq=False)
class Groups:
    """Which points belong together.

    Attributes:
        labels: group of each point; -1 for none.
        middles: of each group, the row of the point that stands for it.
    """

    labels: Int64[np.ndarray, " n"]
    middles: Int64[np.ndarray, " groups"]


@runtime_checkable
class Grouping(Protocol):
    """A way to tell groups apart."""

    def groups(self, points: Float64[np.ndarray, "n d"], rng: np.random.Generator) -> Groups:
        """Return the groups of some points."""
        ...


@dataclass(frozen=True)
class KMedoids:
    """A fixed number of groups.

    Attributes:
        k: how many, at most as many as points.
    """

    k: int

    def groups(self, points: Float64[np.ndarray, "n d"], rng: np.random.Generator) -> Groups:
        """Return the groups with the least total distance to their middles, of a few starts."""
        sample = _sample(len(points), rng)
        table = np.sqrt(squared_distances(points[sample], points[sample]))
        k = min(self.k, len(sample))
        best = min(
            (_medoids(table, k, rng) for _ in range(_STARTS)),
            key=lambda middles: float(table[:, middles].min(axis=1).sum()),
        )
        middles = sample[np.sort(best)]
        return Groups(_nearest(points, points[middles]), middles)


@dataclass(frozen=True)
class Density:
    """As many groups as are dense.

    Attributes:
        least: tracks that a group has at least.
    """

    least: int

    def groups(self, points: Float64[np.ndarray, "n d"], rng: np.random.Generator) -> Groups:
        """Return the dense groups.

        Raises:
            ConfigError: scikit-learn is missing.
        """
        try:
            from sklearn.cluster import HDBSCAN
        except ImportError as error:
            raise ConfigError(
                "scikit-learn is not installed, and groups by density need it; run: "
                "pip install 'myna-rpe[library]'"
            ) from error
        sample = _sample(len(points), rng)
        if len(sample) <= self.least:
            return Groups(np.full(len(points), -1), np.empty(0, np.int64))
        model = HDBSCAN(min_cluster_size=self.least, copy=True, n_jobs=1)
        found = model.fit(points[sample]).labels_.astype(np.int64)
        middles = np.array(
            [_middle(points, sample[found == group]) for group in range(found.max() + 1)], np.int64
        )
        if len(sample) == len(points) or not len(middles):
            labels = np.full(len(points), -1)
            labels[sample] = found
            return Groups(labels, middles)
        return Groups(_nearest(points, points[middles]), middles)


@dataclass(frozen=True)
class Cluster:
    """A group as a playlist.

    Attributes:
        name: of the tags that stand out.
        proposal: its tracks, the middle one first.
    """

    name: str
    proposal: Proposal


def cluster(context: Context, grouping: Grouping, tracks: Mapping[int, Track]) -> list[Cluster]:
    """Return the groups of what the constraints allow, the largest first.

    Args:
        context: the library; its constraints hold in each group.
        grouping: tells them apart.
        tracks: with their tags, by row.

    Raises:
        LibraryError: the constraints leave nothing, or there is no group.
    """
    pool = context.pool
    free = np.array(first_of_recordings(pool, context.free([]).tolist()), dtype=np.int64)
    groups = grouping.groups(pool.points[free], context.rng)
    if not len(groups.middles):
        raise LibraryError(
            f"tracks={len(free)} form no dense group; ask for smaller ones with --least, or use "
            "--method k-medoids."
        )
    tags = {row: tags_of(tracks[row]) for row in free.tolist()}
    overall = Counter(tag for found in tags.values() for tag in found)
    clusters, taken = list[Cluster](), Counter[str]()
    order = sorted(
        range(len(groups.middles)), key=lambda group: (-int((groups.labels == group).sum()), group)
    )
    for group in order:
        rows = free[groups.labels == group]
        middle = int(free[groups.middles[group]])
        away = np.linalg.norm(pool.points[rows] - pool.points[middle], axis=1)
        by_distance = rows[np.argsort(away, kind="stable")].tolist()
        selected = select(by_distance, pool.facts, context.constraints)
        distance = dict(zip(rows.tolist(), away.tolist(), strict=True))
        like = context.label(middle)
        choices = tuple(
            Choice(
                row,
                "the middle" if row == middle else f"{distance[row]:.2f} from {like}",
                distance[row],
            )
            for row in selected.rows
        )
        turned = tuple(f"{rule} turns away {n}" for rule, n in selected.turned_away.items())
        name = group_name([tags[row] for row in rows.tolist()], overall, len(free)) or like
        taken[name] += 1
        number = f" ({taken[name]})" if taken[name] > 1 else ""
        clusters.append(Cluster(f"{name}{number}", Proposal(choices, turned)))
    return clusters


class ClusterPart(Strategy):
    """One of the groups of `cluster`, by its name there.

    Attributes:
        method: how groups are told apart.
        groups: how many, for ``k-medoids``.
        least: tracks of a group at least, for ``hdbscan``.
        part: name of the group.
    """

    name: ClassVar[str] = "cluster"

    method: Literal["k-medoids", "hdbscan"] = "k-medoids"
    groups: int = Field(8, ge=1)
    least: int = Field(5, ge=2)
    part: str = ""

    @property
    def grouping(self) -> Grouping:
        """What tells groups apart."""
        return KMedoids(self.groups) if self.method == "k-medoids" else Density(self.least)

    def propose(self, context: Context) -> Proposal:
        """Return the group of that name."""
        found = {each.name: each for each in cluster(context, self.grouping, context.tracks())}
        if self.part not in found:
            raise LibraryError(unknown_name("group", self.part, found))
        return found[self.part].proposal


# --- names ---------------------------------------------------------------------------------------


def tags_of(track: Track) -> list[str]:
    """Return what a group may be named by: genres, artist, album, decade; else the folder."""
    found = [*track.genres, track.artist, track.album]
    if track.year is not None:
        found.append(f"{track.year // 10 * 10}s")
    kept = list(dict.fromkeys(text for text in found if text))
    return kept or [track.path.parent.name]


def group_name(members: Sequence[Sequence[str]], overall: Mapping[str, int], everybody: int) -> str:
    """Return the tags that stand out in a group, the most telling first; empty where none does.

    Args:
        members: the tags of each track.
        overall: how many tracks of the library have each tag.
        everybody: tracks of the library.
    """
    counts = Counter(tag for tags in members for tag in tags)

    def telling(tag: str) -> float:
        share = counts[tag] / len(members)
        return share * log(share / (overall[tag] / everybody))

    good = [
        tag
        for tag, count in counts.items()
        if count >= min(_LEAST_TRACKS, len(members))
        and count >= _LEAST_SHARE * len(members)
        and telling(tag) > 0
    ]
    return ", ".join(sorted(good, key=lambda tag: (-telling(tag), tag))[:_TAGS])


# --- k-medoids -----------------------------------------------------------------------------------


def _sample(n: int, rng: np.random.Generator) -> Int64[np.ndarray, " k"]:
    if n <= _SAMPLE:
        return np.arange(n)
    return np.sort(rng.choice(n, _SAMPLE, replace=False))


def _medoids(
    table: Float64[np.ndarray, "n n"], k: int, rng: np.random.Generator
) -> Int64[np.ndarray, " k"]:
    """Return k middles: spread out at first, then each moved to the middle of its group."""
    middles = [int(rng.integers(len(table)))]
    while len(middles) < k:
        gap = np.square(table[:, middles].min(axis=1))
        gap[middles] = 0.0
        total = float(gap.sum())
        left = np.setdiff1d(np.arange(len(table)), middles)
        new = rng.choice(len(table), p=gap / total) if total > 0 else rng.choice(left)
        middles.append(int(new))
    for _ in range(_ROUNDS):
        labels = table[:, middles].argmin(axis=1)
        # A middle is nearest to itself: of points that coincide with it the first counts.
        labels[middles] = np.arange(k)
        moved = []
        for group in range(k):
            rows = np.flatnonzero(labels == group)
            moved.append(int(rows[table[np.ix_(rows, rows)].sum(axis=1).argmin()]))
        if moved == middles:
            break
        middles = moved
    return np.array(middles, dtype=np.int64)


def _nearest(
    points: Float64[np.ndarray, "n d"], middles: Float64[np.ndarray, "k d"]
) -> Int64[np.ndarray, " n"]:
    labels: Int64[np.ndarray, " n"] = squared_distances(points, middles).argmin(axis=1)
    return labels


def _middle(points: Float64[np.ndarray, "n d"], rows: Int64[np.ndarray, " k"]) -> int:
    distances = np.sqrt(squared_distances(points[rows], points[rows]))
    return int(rows[distances.sum(axis=1).argmin()])

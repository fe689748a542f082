"""From a strategy, constraints and a seed to a playlist of the library; and the same again.

The same three and the same library give the same playlist. `made_of` is what is kept with a stored
one, `again` makes it anew from that, in place: by the library as it is now.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool

from ...embedding_table import path_to_text
from ...errors import LibraryError
from ..catalogue import Catalogue
from ..space import DIMS
from ..stored import Playlist
from ..tracks import Track
from .between import Between
from .cluster import ClusterPart
from .constraints import Constraints
from .context import Context, Proposal, Strategy
from .edge import Edge
from .fill import Fill
from .grow import Grow
from .order import Order
from .pool import Pool, load_pool
from .radio import Radio
from .sources import canonical, find

STRATEGIES: dict[str, type[Strategy]] = {
    each.name: each for each in (Grow, Fill, Edge, Between, Radio, ClusterPart, Order)
}
"""By the name that is kept with a playlist."""

# Fields of strategies that name playlists and tracks.
_SOURCES = ("playlist", "track", "start", "end", "via", "first", "last")
_DAY = 86_400.0


@dataclass(frozen=True)
class Generated:
    """A playlist that was made.

    Attributes:
        tracks: in order.
        proposal: the same with reasons.
        missing: what the sources also name, and why it could not be used.
        made: how, for making it again.
    """

    tracks: tuple[Track, ...]
    proposal: Proposal
    missing: tuple[str, ...]
    made: dict[str, Any]


class Workshop:
    """A library, ready for making playlists; its points are worked out once.

    Args:
        catalogue: the library, open.
        dims: of hull space.

    Raises:
        LibraryError: it holds no track with a vector.
    """

    def __init__(self, catalogue: Catalogue, *, dims: int = DIMS) -> None:
        self.catalogue = catalogue
        self.pool: Pool = load_pool(catalogue, dims=dims)
        self.missing: dict[str, None] = {}
        self._labels: dict[int, str] = {}

    def members(self, text: str) -> list[int]:
        """Return the rows of a playlist or track; what cannot be used is added to `missing`.

        Raises:
            LibraryError: there is none of that name, or nothing of it can be used.
        """
        source = find(self.catalogue, text)
        self.missing |= dict.fromkeys(source.missing)
        usable, lost = list[int](), len(source.missing)
        for number in source.numbers:
            row = self.pool.row(number)
            if row is None:
                path = path_to_text(self.catalogue.track(number).path)
                self.missing[f"{path}: its file or its vector is missing"] = None
                lost += 1
            else:
                usable.append(row)
        if usable:
            return usable
        if not lost:
            raise LibraryError(
                f"playlist={source.name!r} is empty; name one with at least one track."
            )
        raise LibraryError(
            f"playlist={source.name!r} has no track that can be used: its {lost} entries are "
            "missing from the library; scan the folder they are in, or name another."
        )

    def track(self, row: int) -> Track:
        """Return the track of a row."""
        return self.catalogue.track(int(self.pool.numbers[row]))

    def label(self, row: int) -> str:
        """Return the name of a row to show."""
        if row not in self._labels:
            self._labels[row] = self.track(row).label
        return self._labels[row]

    @cached_property
    def by_row(self) -> dict[int, Track]:
        """Every track of the pool, by row."""
        rows = {int(number): row for row, number in enumerate(self.pool.numbers.tolist())}
        return {rows[track.id]: track for track in self.catalogue.tracks() if track.id in rows}

    def context(
        self, constraints: Constraints, *, seed: int, ignored: str | None = None
    ) -> Context:
        """Return what a strategy works with.

        Args:
            constraints: what must hold.
            seed: of all chance.
            ignored: name of a playlist that does not count as generated lately: the one that is
                being made.
        """
        allowed, survey = self._allowed(constraints, ignored)
        return Context(
            self.pool,
            allowed,
            survey,
            constraints,
            np.random.default_rng(seed),
            self.members,
            self.label,
            lambda: self.by_row,
        )

    def generate(
        self,
        strategy: Strategy,
        constraints: Constraints,
        *,
        seed: int = 0,
        name: str | None = None,
    ) -> Generated:
        """Return a playlist.

        Args:
            strategy: how it is made; the playlists and tracks it names, as users do.
            constraints: what must hold.
            seed: of all chance.
            name: that it will be stored under; None: it will not be.

        Raises:
            LibraryError: something it names is unknown, or the constraints cannot be kept.
        """
        strategy, constraints = self._absolute(strategy), self.absolute(constraints)
        context = self.context(constraints, seed=seed, ignored=name)
        return self.finished(strategy.propose(context), strategy, constraints, seed)

    def finished(
        self, proposal: Proposal, strategy: Strategy, constraints: Constraints, seed: int
    ) -> Generated:
        """Return a proposal with its tracks, and how it was made."""
        tracks = tuple(self.track(choice.row) for choice in proposal.choices)
        made = made_of(strategy, constraints, seed)
        return Generated(tracks, proposal, tuple(self.missing), made)

    def again(self, playlist: Playlist) -> Generated:
        """Return a stored playlist, made anew.

        Raises:
            LibraryError: it was not generated, or as for `generate`.
        """
        strategy, constraints, seed = how_made(playlist)
        return self.generate(strategy, constraints, seed=seed, name=playlist.name)

    def _absolute(self, strategy: Strategy) -> Strategy:
        settings: dict[str, Any] = {}
        for field in _SOURCES:
            value = getattr(strategy, field, None)
            if isinstance(value, str):
                settings[field] = canonical(self.catalogue, value)
            elif isinstance(value, tuple):
                settings[field] = tuple(canonical(self.catalogue, each) for each in value)
        return strategy.with_(**settings)

    def absolute(self, constraints: Constraints) -> Constraints:
        """Return constraints that mean the same from every folder."""
        texts = tuple(canonical(self.catalogue, text) for text in constraints.exclude)
        return constraints.with_(exclude=texts)

    def _allowed(
        self, constraints: Constraints, ignored: str | None
    ) -> tuple[Bool[np.ndarray, " n"], str]:
        """Return which rows may come, and how many each constraint leaves, in words."""
        left: dict[str, Bool[np.ndarray, " n"]] = {}
        rules = constraints.track_rules
        if rules:
            marks = np.zeros((len(rules), len(self.pool)), dtype=bool)
            for track in self.catalogue.tracks():
                row = self.pool.row(track.id)
                if row is not None:
                    marks[:, row] = [rule.allows(track) for rule in rules]
            left |= {rule.name: mark for rule, mark in zip(rules, marks, strict=True)}
        for text in constraints.exclude:
            numbers = find(self.catalogue, text).numbers
            left[f"exclude={text}"] = ~self._recordings(numbers)
        if constraints.fresh_days is not None:
            since = time.time() - constraints.fresh_days * _DAY
            numbers = generated_since(self.catalogue, since, ignored)
            left[f"fresh={constraints.fresh_days:g} days"] = ~self._recordings(numbers)
        allowed = np.ones(len(self.pool), dtype=bool)
        for mark in left.values():
            allowed &= mark
        parts = [f"{name} leaves {int(mark.sum())}" for name, mark in left.items()]
        if len(parts) > 1:
            parts.append(f"together {int(allowed.sum())}")
        total = f" of {len(self.pool)} tracks" if parts else ""
        return allowed, ", ".join(parts) + total

    def _recordings(self, numbers: tuple[int, ...]) -> Bool[np.ndarray, " n"]:
        rows = [self.pool.row(number) for number in numbers]
        return self.pool.recordings_of([row for row in rows if row is not None])


def made_of(strategy: Strategy, constraints: Constraints, seed: int) -> dict[str, Any]:
    """Return what is kept with a playlist for making it again."""
    asked = Constraints().to_dict()
    rules = {name: value for name, value in constraints.to_dict().items() if value != asked[name]}
    return {
        "strategy": strategy.name,
        "settings": strategy.to_dict(),
        "constraints": rules,
        "seed": seed,
    }


def how_made(playlist: Playlist) -> tuple[Strategy, Constraints, int]:
    """Return what a stored playlist was made by; the inverse of `made_of`.

    Raises:
        LibraryError: it was not generated.
        ConfigError: its settings are of another version.
    """
    made: Mapping[str, Any] = playlist.made
    if made.get("strategy") not in STRATEGIES:
        raise LibraryError(
            f"playlist={playlist.name!r} was not generated, so it cannot be made again; make one "
            "with `myna playlist fill` and the like."
        )
    strategy = STRATEGIES[made["strategy"]].from_dict(made["settings"])
    return strategy, Constraints.from_dict(made["constraints"]), int(made["seed"])


def generated_since(catalogue: Catalogue, since: float, ignored: str | None) -> tuple[int, ...]:
    """Return the tracks of all playlists that were generated since then, in seconds since 1970."""
    numbers: dict[int, None] = {}
    for name in catalogue.playlists.names():
        playlist = catalogue.playlists.get(name)
        generated = playlist.made.get("strategy") in STRATEGIES
        if generated and name != ignored and playlist.updated >= since:
            numbers |= {m.track.id: None for m in playlist.members if m.track is not None}
    return tuple(numbers)

"""A playlist in the order of the least total change, artists and albums apart."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ...errors import LibraryError
from ...geometry import shortest_order
from ...geometry.points import squared_distances
from .constraints import broken
from .context import Choice, Context, Proposal, Strategy
from .region import first_of_recordings
from .selection import arrange

MOST_TRACKS = 1_000
"""Improving a longer path would take minutes."""


class Order(Strategy):
    """The same tracks, each near the one before.

    Without windows it is the shortest path. With them it is the shortest path put right: where a
    track may not stand, the next one that may comes first.

    Attributes:
        playlist: whose tracks are put in order; further copies of a recording are left out.
        first: the track to start with; None: any.
        last: the track to end with; None: any.
    """

    name: ClassVar[str] = "order"

    playlist: str
    first: str | None = None
    last: str | None = None

    def propose(self, context: Context) -> Proposal:
        """Return the tracks in order."""
        pool, given = context.pool, list(context.members(self.playlist))
        rows = first_of_recordings(pool, given)
        notes = []
        if len(rows) < len(given):
            notes.append(f"{len(given) - len(rows)} further copies of a recording are left out")
        ends = [_end(context, rows, text) for text in (self.first, self.last)]
        if len(rows) > MOST_TRACKS:
            raise LibraryError(
                f"playlist={self.playlist!r} has {len(rows)} tracks, too many to be put in order; "
                f"use one of at most {MOST_TRACKS}."
            )
        points = pool.points[rows]
        table = np.sqrt(squared_distances(points, points))
        path = shortest_order(table, first=ends[0], last=ends[1])
        order = [rows[at] for at in path.indices.tolist()]
        if broken(order, pool.facts, context.constraints) is not None:
            order, exact = self._put_right(context, order, ends), False
        else:
            exact = path.exact
        steps = [0.0, *np.linalg.norm(np.diff(pool.points[order], axis=0), axis=1).tolist()]
        choices = [
            Choice(row, f"{step:.2f} from the one before" if at else "start")
            for at, (row, step) in enumerate(zip(order, steps, strict=True))
        ]
        shortest = "no order is shorter" if exact else "a short order, not surely the shortest"
        notes.append(f"total change {sum(steps):.2f}; {shortest}")
        return Proposal(tuple(choices), tuple(notes))

    def _put_right(
        self, context: Context, order: Sequence[int], ends: Sequence[int | None]
    ) -> list[int]:
        facts, constraints = context.pool.facts, context.constraints
        before = [order[0]] if ends[0] is not None else []
        after = [order[-1]] if ends[1] is not None else []
        middle = list(order[len(before) : len(order) - len(after)])
        found = arrange(middle, facts, constraints, before=before)
        whole = [] if found is None else [*before, *found, *after]
        rule = broken(whole or order, facts, constraints)
        if rule is None:
            return whole
        raise LibraryError(
            f"{rule} cannot be kept by any order that was found of these {len(order)} tracks; use "
            "a smaller number, or free the ends."
        )


def _end(context: Context, rows: Sequence[int], text: str | None) -> int | None:
    if text is None:
        return None
    wanted = {int(context.pool.facts.recordings[row]) for row in context.members(text)}
    for at, row in enumerate(rows):
        if int(context.pool.facts.recordings[row]) in wanted:
            return at
    raise LibraryError(f"track={text!r} is not in the playlist; fix an end that is.")

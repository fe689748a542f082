"""So many tracks between the members of a playlist, spread over all of it."""

from typing import ClassVar

import numpy as np
from pydantic import Field

from ...geometry import AsDrawn, FarthestFirst, fill, within
from .context import Context, Proposal, Strategy
from .grow import distance_of
from .region import region_of
from .selection import select

_SPARE = 4

COUNT = 20
"""Tracks where neither their number nor their duration is asked for."""


class Fill(Strategy):
    """Tracks that count as inside, drawn towards points between the members.

    Attributes:
        playlist: whose members they lie between.
        count: how many; None: 20, or as many as the total duration needs.
    """

    name: ClassVar[str] = "fill"

    playlist: str
    count: int | None = Field(None, ge=1)

    def propose(self, context: Context) -> Proposal:
        """Return tracks between the members."""
        members = list(context.members(self.playlist))
        region = region_of(context.pool, members)
        free = context.free(members)
        points = context.pool.points[free]
        found = within(region.hull, points, distance_of(region, "inside"))
        inside = points[found.indices]
        count, enough = how_many(context, self.count)
        # The spread chooses first; what the constraints turn away is made up for as drawn, and when
        # that is used up too, by the nearest.
        order: list[int] = []
        first = count or COUNT
        for spread, wanted in ((FarthestFirst(), first), (AsDrawn(), _SPARE * first)):
            picked = fill(
                region.hull,
                inside,
                count=wanted,
                limit=np.inf,
                rng=context.rng,
                used=order,
                spread=spread,
            )
            order += picked.indices.tolist()
        order += sorted(set(range(len(inside))).difference(order))
        candidates = free[found.indices[order]].tolist()
        selected = select(
            candidates, context.pool.facts, context.constraints, count=count, enough=enough
        )
        return context.proposal(
            selected,
            context.chosen(region, selected.chosen, found, free),
            found=len(candidates),
            wanted=count,
            notes=region.notes,
        )


def how_many(context: Context, count: int | None) -> tuple[int | None, float | None]:
    """Return the number of tracks to choose, and the seconds that are enough; one is None."""
    if count is None and context.constraints.has_total:
        least, most = context.constraints.least_total, context.constraints.most_total
        return None, most if least is None else least
    return count or COUNT, None

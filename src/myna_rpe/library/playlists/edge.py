"""Surprises: tracks just beyond a playlist, evenly in all directions, by chance."""

from typing import ClassVar

import numpy as np
from pydantic import Field

from ...geometry import shell, within
from .context import Context, Proposal, Strategy
from .fill import how_many
from .grow import distance_of
from .region import region_of
from .selection import select


class Edge(Strategy):
    """Tracks in a shell around a playlist.

    Attributes:
        playlist: around which.
        low: share of the members that lie nearer than the shell begins, in (0, 1).
        high: share of the members that lie nearer than it ends; None: 0.9, or where that needs more
            members than there are, the member that is farthest out.
        count: as for `Fill`.
    """

    name: ClassVar[str] = "edge"

    playlist: str
    low: float = Field(0.5, gt=0, lt=1)
    high: float | None = Field(None, gt=0, lt=1)
    count: int | None = Field(None, ge=1)

    def propose(self, context: Context) -> Proposal:
        """Return tracks of the shell."""
        members = list(context.members(self.playlist))
        region = region_of(context.pool, members)
        near = region.calibration.near
        farthest = float(region.calibration.scatter[-1])
        low = distance_of(region, self.low)
        if self.high is not None:
            high = distance_of(region, self.high)
        else:
            high = near if np.isfinite(near) else farthest
        free = context.free(members)
        points = context.pool.points[free]
        found = within(region.hull, points, high)
        count, enough = how_many(context, self.count)
        reach = len(found)
        order: list[int] = []
        if low < high and reach:
            order = shell(
                region.hull,
                points[found.indices],
                low=low,
                high=high,
                count=reach,
                rng=context.rng,
            ).indices.tolist()
        candidates = free[found.indices[order]].tolist()
        selected = select(
            candidates, context.pool.facts, context.constraints, count=count, enough=enough
        )
        return context.proposal(
            selected,
            context.chosen(region, selected.chosen, found, free),
            found=len(candidates),
            wanted=count,
            notes=[*region.notes, f"distances above {low:.2f} and up to {high:.2f}"],
        )

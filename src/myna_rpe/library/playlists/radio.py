"""A station of one track: its neighbours, nearer ones more often, drifting outwards."""

from typing import ClassVar

import numpy as np
from pydantic import Field

from ...geometry import nearest
from .context import Context, Proposal, Strategy
from .fill import COUNT, how_many
from .region import region_of
from .selection import select

# The draw is among so many times more tracks than are wanted.
_POOL = 2


class Radio(Strategy):
    """A track and those around it, drawn with a chance that falls with their distance.

    The chance is exp(-d^2 / (2 s^2)), s the distance of the nearest neighbours that count as
    inside; all are drawn at once by the Gumbel method. They come in order of distance.

    Attributes:
        track: where it starts.
        count: how many besides it; None as for `Fill`.
    """

    name: ClassVar[str] = "radio"

    track: str
    count: int | None = Field(None, ge=1)

    def propose(self, context: Context) -> Proposal:
        """Return the track and its neighbours."""
        start = list(context.members(self.track))
        region = region_of(context.pool, start)
        free = context.free(start)
        count, enough = how_many(context, self.count)
        points = context.pool.points[free]
        found = nearest(region.hull, points, len(free))
        distances = found.distances.values
        scale = region.calibration.inside or 1.0
        drawn = -np.square(distances) / (2 * scale**2) + context.rng.gumbel(size=len(distances))
        pool = _POOL * (count or COUNT)
        by_chance = np.argsort(-drawn[:pool], kind="stable")
        order = [*by_chance.tolist(), *range(len(by_chance), len(found))]
        candidates = free[found.indices[order]].tolist()
        facts, constraints = context.pool.facts, context.constraints
        drawn_rows = select(
            candidates, facts, constraints, count=count, enough=enough, before=start
        )
        # In order of distance as far as artists and albums may stand so.
        rank = {int(free[index]): at for at, index in enumerate(found.indices.tolist())}
        outwards = sorted(drawn_rows.chosen, key=rank.__getitem__)
        selected = drawn_rows.arranged(outwards, facts, constraints)
        return context.proposal(
            selected,
            context.chosen(region, selected.chosen, found, free),
            found=len(candidates),
            wanted=count,
            notes=region.notes,
        )

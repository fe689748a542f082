"""Every track as near to a playlist as its own members are to each other: no count, a threshold."""

from typing import ClassVar, Literal

import numpy as np

from ...errors import LibraryError
from ...geometry import within
from .context import Context, Proposal, Strategy
from .region import Region, region_of
from .selection import select

_SHARES = {"inside": 0.5, "near": 0.9}


class Grow(Strategy):
    """All tracks up to a calibrated distance, the nearest first.

    Attributes:
        playlist: to grow.
        until: ``inside``, ``near``, or the share of members that are to be as far out, in (0, 1).
        opening: what stands at the beginning; the constraints hold for what comes after it.
    """

    name: ClassVar[str] = "grow"

    playlist: str
    until: Literal["inside", "near"] | float = "inside"
    opening: Literal["members", "nothing"] = "nothing"

    def propose(self, context: Context) -> Proposal:
        """Return the tracks within the threshold."""
        members = list(context.members(self.playlist))
        region = region_of(context.pool, members)
        radius = distance_of(region, self.until)
        free = context.free(members)
        found = within(region.hull, context.pool.points[free], radius)
        candidates = free[found.indices].tolist()
        before = members if self.opening == "members" else []
        selected = select(candidates, context.pool.facts, context.constraints, before=before)
        return context.proposal(
            selected,
            context.chosen(region, selected.chosen, found, free),
            found=len(candidates),
            wanted=None,
            notes=[*region.notes, f"all tracks up to a distance of {radius:.2f} ({self.until})"],
        )


def distance_of(region: Region, until: str | float) -> float:
    """Return the distance up to which a word or a share of members reaches.

    Raises:
        LibraryError: the share is none, or needs more members than there are.
    """
    share = _SHARES[until] if isinstance(until, str) else until
    distance = region.calibration.quantile(share)
    if np.isfinite(distance):
        return distance
    count = len(region.calibration.scatter)
    raise LibraryError(
        f"until={until} cannot be told by {count} members, of which the farthest is at "
        f"{count / (count + 1):.2f}; use a smaller share, or a larger playlist."
    )

"""Playlists that are made by where their tracks lie: regions, ways and groups of hull space.

`generate.Workshop` makes them, by a strategy (one module each: grow, fill, edge, between, radio,
order, cluster), `constraints` that always hold, and a seed; `check` says who does not belong;
`sources` and `importing` find what users name. `pool`, `region`, `selection` and `context` are what
these stand on.
"""

from .check import Check, check
from .constraints import Constraints
from .context import Choice, Proposal, Strategy
from .generate import STRATEGIES, Generated, Workshop
from .sources import Source, find, find_playlist

__all__ = [
    "STRATEGIES",
    "Check",
    "Choice",
    "Constraints",
    "Generated",
    "Proposal",
    "Source",
    "Strategy",
    "Workshop",
    "check",
    "find",
    "find_playlist",
]

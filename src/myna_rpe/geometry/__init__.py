"""Playlists as convex hulls of embeddings: pure functions on arrays, no files, no catalogue.

hull: distances with certificates; search: the nearest tracks; calibration: what counts as near;
selection: tracks between and around the members; matching, sequence, transitions: from one playlist
to another; order: the shortest way through tracks; hubs: tracks that turn up everywhere; baselines:
what the hull has to beat. `minnorm` and `points` are what these stand on.
"""

from .calibration import Calibration, Place, calibrate, neighbour_distances
from .hull import Distance, Distances, Hull, HullSum, scaled_distances
from .matching import Matched, Matching, Minkowski, Path, match
from .order import Order, shortest_order
from .search import Coreset, Found, coreset, nearest, within
from .selection import AsDrawn, FarthestFirst, GreedyDPP, Picked, Spread, fill, shell
from .transitions import Transition, slot_times, transition

__all__ = [
    "AsDrawn",
    "Calibration",
    "Coreset",
    "Distance",
    "Distances",
    "FarthestFirst",
    "Found",
    "GreedyDPP",
    "Hull",
    "HullSum",
    "Matched",
    "Matching",
    "Minkowski",
    "Order",
    "Path",
    "Picked",
    "Place",
    "Spread",
    "Transition",
    "calibrate",
    "coreset",
    "fill",
    "match",
    "nearest",
    "neighbour_distances",
    "scaled_distances",
    "shell",
    "shortest_order",
    "slot_times",
    "transition",
    "within",
]

"""A playlist that leads from one place to another, by way of others if need be.

The way is cut into slots at even steps. At each end and waypoint stands one of its own tracks; each
slot between them takes a track near the region that the way has there (`geometry.matching`). Of all
sequences that keep to the constraints, the one is taken that stays nearest to its regions with the
smallest steps (`geometry.sequence`); the constraints are its rules, so they hold over the whole.

Nothing is drawn: the seed changes nothing here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float64, Int64
from pydantic import Field

from ...errors import LibraryError
from ...geometry import HullSum, Matched, Minkowski, nearest
from ...geometry.points import squared_distances
from ...geometry.sequence import Chosen, Rule, Slot, best_sequence
from .constraints import Constraints, Kind, broken, clock, kinds
from .context import Choice, Context, Proposal, Strategy
from .fill import COUNT
from .pool import UNKNOWN, Facts
from .region import Region, in_words, region_of

_PER_SLOT = 30
_WIDER = 8
_SMOOTHNESS = 0.5
# Of the search: a fifth of its own limits, which takes a second and is hardly ever worse.
_EXTENSIONS, _BEAM = 10_000, 128
# So many lengths beside the likeliest are tried to reach a duration.
_LENGTHS = 8


class Between(Strategy):
    """A way from one track or playlist to another.

    Attributes:
        start: where it starts.
        end: where it ends.
        via: where it passes, in order.
        count: how many tracks, ends and waypoints included; None: 20, or as many as the total
            duration needs.
        path: ``matched`` mixes matched pairs of members; ``minkowski`` any two, which is wider.
    """

    name: ClassVar[str] = "between"

    start: str
    end: str
    via: tuple[str, ...] = ()
    count: int | None = Field(None, ge=2)
    path: Literal["matched", "minkowski"] = "matched"

    def propose(self, context: Context) -> Proposal:
        """Return the way."""
        names = (self.start, *self.via, self.end)
        stops = [region_of(context.pool, list(context.members(name))) for name in names]
        way = _Way(context, stops, self.path)
        notes = [note for stop in stops if stop.error > 0 for note in stop.notes[:1]]
        if self.count is not None or not context.constraints.has_total:
            count = self.count or COUNT
            return way.proposal(way.best(count), count, notes)
        return self._long_enough(context, way, notes)

    def _long_enough(self, context: Context, way: "_Way", notes: list[str]) -> Proposal:
        least, most = context.constraints.least_total, context.constraints.most_total
        ends = [seconds for seconds in (least, most) if seconds is not None]
        usual = float(np.median(context.pool.facts.durations[way.free])) or 1.0
        likely = max(len(way.stops), round(float(np.mean(ends)) / usual))
        failed: LibraryError | None = None
        for off in sorted(range(-_LENGTHS, _LENGTHS + 1), key=abs):
            count = likely + off
            if count < len(way.stops):
                continue
            try:
                return way.proposal(way.best(count), count, notes)
            except LibraryError as error:
                failed = failed or error
        assert failed is not None
        raise LibraryError(
            f"{context.constraints.total_name} cannot be kept with about {likely} tracks of "
            f"{clock(usual)} each, the usual duration: {failed}"
        )


# --- rules of the sequence -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class OneRecording:
    """No recording twice."""

    facts: Facts

    def allows(self, before: Sequence[int], track: int) -> bool:
        """Return whether the recording is new."""
        recordings = self.facts.recordings
        ours = int(recordings[track])
        return all(int(recordings[other]) != ours for other in before)


@dataclass(frozen=True, eq=False)
class Apart:
    """The window and cap of a kind."""

    kind: Kind

    def allows(self, before: Sequence[int], track: int) -> bool:
        """Return whether the track's artist or album may come now."""
        groups, cap = self.kind.groups, self.kind.cap
        group = int(groups[track])
        if group == UNKNOWN:
            return True
        recent = before[-self.kind.window :] if self.kind.window else ()
        if any(groups[other] == group for other in recent):
            return False
        return cap is None or sum(int(groups[other]) == group for other in before) < cap


@dataclass(frozen=True, eq=False)
class InTime:
    """A total duration: looked at as soon as what is left can no longer reach it.

    Attributes:
        facts: of all tracks.
        constraints: with the range.
        count: tracks of the whole sequence.
        longest: duration of the longest candidate.
    """

    facts: Facts
    constraints: Constraints
    count: int
    longest: float

    def allows(self, before: Sequence[int], track: int) -> bool:
        """Return whether the range can still be reached."""
        durations = self.facts.durations
        seconds = float(durations[track]) + float(sum(durations[other] for other in before))
        least, most = self.constraints.least_total, self.constraints.most_total
        left = self.count - len(before) - 1
        if most is not None and seconds > most:
            return False
        return least is None or seconds + left * self.longest >= least


# --- the way -------------------------------------------------------------------------------------


class _Way:
    """The stops, and what lies between them."""

    def __init__(self, context: Context, stops: Sequence[Region], path: str) -> None:
        self.context, self.stops = context, stops
        members = [row for stop in stops for row in stop.members.tolist()]
        self.free = context.free(members)
        points = [context.pool.points[stop.vertices] for stop in stops]
        make = Matched if path == "matched" else Minkowski
        self._legs = [make(one, two) for one, two in pairwise(points)]

    def best(self, count: int) -> "tuple[Chosen, list[_Place]]":
        """Return the best sequence of that length, and where its slots stand.

        Raises:
            LibraryError: there is none; it says which constraint is in the way.
        """
        if count < len(self.stops):
            raise LibraryError(
                f"count={count} has no room for {len(self.stops)} ends and waypoints; use a "
                "larger count."
            )
        places = _places(count, len(self.stops))
        failed = None
        for per_slot in (max(_PER_SLOT, count), _WIDER * max(_PER_SLOT, count)):
            slots = self._slots(places, per_slot)
            rules = self._rules(slots)
            try:
                return self._sequence(slots, list(rules.values())), places
            except LibraryError as error:
                failed = error
        guilty = [name for name in rules if self._works_without(slots, rules, name)]
        asked = guilty or list(rules)
        raise LibraryError(
            f"{' and '.join(asked)} cannot be kept by {count} tracks on this way; of "
            f"{len(self.context.pool)} tracks {len(self.free)} may be chosen"
            + (f" ({self.context.survey})" if self.context.survey else "")
            + "; relax it, or change the count."
        ) from failed

    def proposal(
        self, found: "tuple[Chosen, list[_Place]]", count: int, notes: Sequence[str]
    ) -> Proposal:
        """Return the sequence with its reasons."""
        chosen, places = found
        rows = chosen.tracks.tolist()
        context = self.context
        assert broken(rows, context.pool.facts, context.constraints) is None
        kind = "no sequence of the candidates costs less" if chosen.exact else "a good sequence"
        choices = [self._choice(row, place) for row, place in zip(rows, places, strict=True)]
        return Proposal(tuple(choices), (*notes, f"cost {chosen.cost:.2f}: {kind}"), count)

    def _choice(self, row: int, place: "_Place") -> Choice:
        if place.stop is not None:
            words = "start" if place.stop == 0 else "end"
            inner = 0 < place.stop < len(self.stops) - 1
            return Choice(row, "waypoint" if inner else words, 0.0)
        distances = self._hull(place).distances(self.context.pool.points[[row]])
        value = float(distances.values[0])
        weights, rows = self._shares(place, distances.weights[0])
        words = in_words(value, weights, rows, self.context.label)
        return Choice(row, f"at {100 * place.t:.0f} %: {words}", value)

    def _slots(self, places: "Sequence[_Place]", per_slot: int) -> list[Slot]:
        points = self.context.pool.points[self.free]
        slots = []
        for place in places:
            if place.stop is not None:
                own = self.stops[place.stop].vertices
                slots.append(Slot(own, np.zeros(len(own))))
            else:
                found = nearest(self._hull(place), points, per_slot)
                slots.append(Slot(self.free[found.indices], found.distances.values))
        return slots

    def _rules(self, slots: Sequence[Slot]) -> dict[str, Rule]:
        facts, constraints = self.context.pool.facts, self.context.constraints
        rules: dict[str, Rule] = {"no repeats": OneRecording(facts)}
        for kind in kinds(facts, constraints):
            asked = [f"{kind.name}-window={kind.window}"] if kind.window else []
            asked += [f"{kind.name}-cap={kind.cap}"] if kind.cap is not None else []
            rules[" with ".join(asked)] = Apart(kind)
        if constraints.has_total:
            longest = max(float(facts.durations[slot.tracks].max()) for slot in slots)
            rules[constraints.total_name] = InTime(facts, constraints, len(slots), longest)
        return rules

    def _sequence(self, slots: Sequence[Slot], rules: Sequence[Rule]) -> Chosen:
        points = self.context.pool.points
        steps = [
            _SMOOTHNESS * np.sqrt(squared_distances(points[one.tracks], points[two.tracks]))
            for one, two in pairwise(slots)
        ]
        return best_sequence(slots, steps, rules=rules, extensions=_EXTENSIONS, beam=_BEAM)

    def _works_without(self, slots: Sequence[Slot], rules: dict[str, Rule], name: str) -> bool:
        try:
            self._sequence(slots, [rule for other, rule in rules.items() if other != name])
        except LibraryError:
            return False
        return True

    def _hull(self, place: "_Place") -> HullSum:
        return self._legs[place.leg].at(place.local)

    def _shares(
        self, place: "_Place", weights: Float64[np.ndarray, " v"]
    ) -> tuple[Float64[np.ndarray, " w"], list[int]]:
        """Return the weights of the members on both sides, and who these are."""
        leg = self._legs[place.leg]
        one, two = self.stops[place.leg].vertices, self.stops[place.leg + 1].vertices
        if isinstance(leg, Matched):
            ours: Int64[np.ndarray, " v"] = one[leg.matching.first]
            theirs: Int64[np.ndarray, " v"] = two[leg.matching.second]
            near, far = weights, weights
        else:
            ours, theirs = one, two
            near, far = weights[: len(one)], weights[len(one) :]
        shares = np.concatenate([(1 - place.local) * near, place.local * far])
        return shares, [*ours.tolist(), *theirs.tolist()]


@dataclass(frozen=True)
class _Place:
    """Where a slot stands.

    Attributes:
        t: of the whole way, in [0, 1].
        leg: between which two stops.
        local: of that leg, in [0, 1].
        stop: whose track stands here; None between them.
    """

    t: float
    leg: int
    local: float
    stop: int | None


def _places(count: int, stops: int) -> list[_Place]:
    """Return where slots stand: evenly, with one at every stop."""
    at_stop = [round(stop * (count - 1) / (stops - 1)) for stop in range(stops)]
    places = []
    for leg, (first, last) in enumerate(pairwise(at_stop)):
        for slot in range(first, last + (leg == stops - 2)):
            local = (slot - first) / (last - first)
            stop = leg if slot == first else leg + 1 if slot == last else None
            places.append(_Place((leg + local) / (stops - 1), leg, local, stop))
    return places

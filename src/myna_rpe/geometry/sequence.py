"""One candidate for each slot, at the least cost, under rules that hold over the whole sequence.

The cost is a number for every candidate and one for every step between neighbouring slots. Two
rules: no track twice, however far apart, and no artist again within a window of slots. Without them
this is Viterbi's problem. With them a candidate's worth depends on everything chosen before, so
Viterbi is run backwards without the rules, and what it finds, the least cost from each candidate to
the end, guides a best-first search (A*) that only ever extends sequences obeying the rules. The
guess never exceeds the truth, so the first complete sequence is the best one: the search lists
Viterbi's k best sequences, cutting each off at its first broken rule.

The number of extensions is limited. Beyond the limit a beam search, guided and restricted in the
same way, looks for a good sequence; ``exact`` is then False. A sequence that breaks a rule is never
returned; where none is found, that is an error.

Sources: Viterbi 1967; Hart, Nilsson & Raphael 1968 (A*).
"""

import heapq
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from ..errors import LibraryError

_EXTENSIONS = 50_000
_BEAM = 512


@dataclass(frozen=True, eq=False)
class Slot:
    """The candidates of one slot.

    Attributes:
        tracks: numbers of the tracks.
        costs: of choosing each; finite.
    """

    tracks: Int[np.ndarray, " c"]
    costs: Float[np.ndarray, " c"]


@runtime_checkable
class Rule(Protocol):
    """Says whether a track may follow others."""

    def allows(self, before: Sequence[int], track: int) -> bool:
        """Return whether the track may come right after these, which obey the rule."""
        ...


@dataclass(frozen=True)
class NoRepeat:
    """No track twice in the whole sequence."""

    def allows(self, before: Sequence[int], track: int) -> bool:
        """Return whether the track is new."""
        return track not in before


@dataclass(frozen=True)
class ArtistWindow:
    """No artist again within some slots.

    Attributes:
        artists: by track; None: unknown, and then it clashes with none.
        window: an artist may come again after this many other tracks; 0: at once.
    """

    artists: Sequence[Hashable]
    window: int

    def allows(self, before: Sequence[int], track: int) -> bool:
        """Return whether the track's artist is none of the last few's."""
        artist = self.artists[track]
        if artist is None or self.window <= 0:
            return True
        return all(self.artists[other] != artist for other in before[-self.window :])


@dataclass(frozen=True, eq=False)
class Chosen:
    """One track for each slot.

    Attributes:
        tracks: in order.
        positions: of each among its slot's candidates.
        cost: the total.
        exact: whether no sequence that obeys the rules costs less.
    """

    tracks: Int[np.ndarray, " slots"]
    positions: Int[np.ndarray, " slots"]
    cost: float
    exact: bool


def best_sequence(
    slots: Sequence[Slot],
    steps: Sequence[Float[np.ndarray, "_ _"]],
    *,
    rules: Sequence[Rule] = (),
    extensions: int = _EXTENSIONS,
    beam: int = _BEAM,
) -> Chosen:
    """Return the cheapest sequence without repeats that obeys the rules.

    Args:
        slots: the candidates, >= 1 slot.
        steps: between each two neighbouring slots, the cost of every pair of candidates; finite.
        rules: besides `NoRepeat`, which always holds.
        extensions: how many the exact search may make.
        beam: how many sequences the search beyond that keeps for each slot.

    Raises:
        LibraryError: a slot without candidates, costs that do not fit or are not finite, or no
            sequence that obeys the rules was found.
    """
    slots = list(slots)
    _check(slots, steps)
    all_rules = [NoRepeat(), *rules]
    to_go = _costs_to_go(slots, steps)
    found, exhausted = _best_first(slots, steps, to_go, all_rules, extensions)
    exact = found is not None
    if found is None and not exhausted:
        found = _beam_search(slots, steps, to_go, all_rules, beam)
    if found is None:
        known = "there is" if exhausted else "the search found"
        raise LibraryError(
            f"slots={len(slots)} cannot all be filled: {known} no sequence without repeats that "
            "keeps to the rules; give more candidates, fewer slots or a shorter artist window."
        )
    positions = np.array(found)
    tracks = np.array([slot.tracks[at] for slot, at in zip(slots, found, strict=True)])
    path = [int(track) for track in tracks]
    assert all(rule.allows(path[:at], track) for at, track in enumerate(path) for rule in all_rules)
    return Chosen(tracks, positions, sequence_cost(slots, steps, found), exact)


def sequence_cost(
    slots: Sequence[Slot],
    steps: Sequence[Float[np.ndarray, "_ _"]],
    positions: Sequence[int],
) -> float:
    """Return the total cost of choosing these positions."""
    own = sum(float(slot.costs[at]) for slot, at in zip(slots, positions, strict=True))
    pairs = zip(steps, positions[:-1], positions[1:], strict=True)
    return own + sum(float(step[one, two]) for step, one, two in pairs)


def _check(slots: Sequence[Slot], steps: Sequence[Float[np.ndarray, "_ _"]]) -> None:
    if not slots or any(len(slot.tracks) == 0 for slot in slots):
        raise LibraryError(
            f"slots={len(slots)} with {[len(slot.tracks) for slot in slots]} candidates; "
            "give at least one candidate for each of at least one slot."
        )
    sizes = [len(slot.tracks) for slot in slots]
    wanted = list(pairwise(sizes))
    uncosted = any(len(slot.costs) != len(slot.tracks) for slot in slots)
    if [step.shape for step in steps] != wanted or uncosted:
        raise LibraryError(
            f"steps={[step.shape for step in steps]} do not fit slots of {sizes} candidates; "
            f"give one table between each two slots, and a cost for each candidate."
        )
    if not all(np.isfinite(costs).all() for costs in [*(s.costs for s in slots), *steps]):
        raise LibraryError(
            f"costs of {len(slots)} slots hold NaN or infinite numbers; leave such tracks out."
        )


def _costs_to_go(
    slots: Sequence[Slot], steps: Sequence[Float[np.ndarray, "_ _"]]
) -> list[Float[np.ndarray, " _"]]:
    """Return the least cost after each candidate, with no rule: Viterbi from the end."""
    to_go = [np.zeros(len(slots[-1].tracks))]
    for slot, step in zip(reversed(slots[1:]), reversed(steps), strict=True):
        to_go.append((step + (slot.costs + to_go[-1])).min(axis=1))
    return to_go[::-1]


def _best_first(
    slots: Sequence[Slot],
    steps: Sequence[Float[np.ndarray, "_ _"]],
    to_go: Sequence[Float[np.ndarray, " _"]],
    rules: Sequence[Rule],
    extensions: int,
) -> tuple[list[int] | None, bool]:
    """Return the best sequence, or None; and whether every possible one was looked at."""
    # Entries: promised total, -length, a number that settles ties, cost so far, positions, tracks.
    queue: list[tuple[float, int, int, float, list[int], list[int]]] = [(0.0, 0, 0, 0.0, [], [])]
    count = 0
    while queue:
        _, length, _, cost, positions, tracks = heapq.heappop(queue)
        if -length == len(slots):
            return positions, True
        if count >= extensions:
            return None, False
        at = -length
        own = cost + slots[at].costs
        if positions:
            own = own + steps[at - 1][positions[-1]]
        promised = own + to_go[at]
        for position, track in enumerate(slots[at].tracks.tolist()):
            if all(rule.allows(tracks, track) for rule in rules):
                count += 1
                entry = (
                    float(promised[position]),
                    length - 1,
                    count,
                    float(own[position]),
                    [*positions, position],
                    [*tracks, track],
                )
                heapq.heappush(queue, entry)
    return None, True


def _beam_search(
    slots: Sequence[Slot],
    steps: Sequence[Float[np.ndarray, "_ _"]],
    to_go: Sequence[Float[np.ndarray, " _"]],
    rules: Sequence[Rule],
    beam: int,
) -> list[int] | None:
    """Return a good sequence, or None if the beam runs dry."""
    kept: list[tuple[float, list[int], list[int]]] = [(0.0, [], [])]
    for at, slot in enumerate(slots):
        tracks = slot.tracks.tolist()
        options = []
        for row, (cost, positions, before) in enumerate(kept):
            own = cost + slot.costs
            if positions:
                own = own + steps[at - 1][positions[-1]]
            promised = own + to_go[at]
            for position, track in enumerate(tracks):
                if all(rule.allows(before, track) for rule in rules):
                    options.append((float(promised[position]), row, position, float(own[position])))
        options.sort()
        kept = [
            (cost, [*kept[row][1], position], [*kept[row][2], tracks[position]])
            for _, row, position, cost in options[:beam]
        ]
    return kept[0][1] if kept else None

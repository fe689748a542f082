"""Candidates in order of preference -> a playlist that keeps to its constraints.

First it is decided which tracks come: in order of preference, each that no rule forbids. A window
is a rule about how many, too: with k others between two of one artist, an artist has at most
ceil(n / (k + 1)) of n tracks, and only so many artists may have that many. Then they are put in
order: the preferred track first, unless one must come now because its artist has just as many left
as there is room for. Where that fails, the artist with the most left comes first, which always
succeeds where one kind has a window (the argument of task scheduling with a cooldown). Where
artists and albums both have one it may fail; then one track fewer is tried.

Nothing is returned that breaks a rule: `broken` has the last word.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import LibraryError
from .constraints import (
    NO_REPEATS,
    Constraints,
    Kind,
    broken,
    clock,
    kinds,
    sum_of,
    total_fits,
)
from .pool import UNKNOWN, Facts

_EXCHANGES = 200
_LONGER = 200


@dataclass(frozen=True)
class Selected:
    """A playlist.

    Attributes:
        rows: of the tracks, in order; those given at the beginning too.
        given: how many were given.
        turned_away: candidates that did not come, by the rule that kept them out.
    """

    rows: tuple[int, ...]
    given: int
    turned_away: dict[str, int]

    @property
    def chosen(self) -> tuple[int, ...]:
        """The tracks that were not given."""
        return self.rows[self.given :]

    def arranged(
        self, preferred: Sequence[int], facts: Facts, constraints: Constraints
    ) -> "Selected":
        """Return the same tracks in another order, as far as it may be; else as they are."""
        before = self.rows[: self.given]
        order = arrange(preferred, facts, constraints, before=before)
        if order is None:
            return self
        return Selected((*before, *order), self.given, self.turned_away)


def select(
    candidates: Sequence[int],
    facts: Facts,
    constraints: Constraints,
    *,
    count: int | None = None,
    enough: float | None = None,
    before: Sequence[int] = (),
) -> Selected:
    """Return the preferred tracks that may stand together, in an order in which they may.

    Args:
        candidates: rows, the best first.
        facts: of all tracks.
        constraints: over the whole playlist.
        count: how many to choose; None: all.
        enough: a total duration in seconds after which nothing more is needed; None: never.
        before: rows that stand at the beginning; they are not judged, but count.

    Raises:
        LibraryError: the total duration cannot be reached.
    """
    problem = _Problem(facts, constraints, tuple(before))
    most = len(candidates) if count is None else min(count, len(candidates))
    selected = problem.attempt(candidates, most, enough)
    tried = len(selected.chosen)
    while not problem.total_fits(selected) and count is None and tried < len(candidates):
        # Windows may have needed more tracks than the duration alone did.
        tried += 1
        if tried - len(selected.chosen) > _LONGER:
            break
        longer = problem.attempt(candidates, tried, None)
        if problem.total_fits(longer):
            selected = longer
    if not problem.total_fits(selected):
        raise _unreachable(problem, candidates, selected, count)
    assert broken(selected.rows, facts, constraints, given=selected.given) is None
    return selected


def arrange(
    rows: Sequence[int], facts: Facts, constraints: Constraints, *, before: Sequence[int] = ()
) -> list[int] | None:
    """Return tracks in an order that keeps artists and albums apart; None where none was found.

    Args:
        rows: in the order preferred; it is kept as far as it may be.
        facts: of all tracks.
        constraints: whose windows count.
        before: rows that stand at the beginning.
    """
    return _Problem(facts, constraints, tuple(before)).arrange(rows)


class _Problem:
    """What is the same for every attempt."""

    def __init__(self, facts: Facts, constraints: Constraints, before: tuple[int, ...]) -> None:
        self.facts, self.constraints, self.before = facts, constraints, before
        self.kinds = kinds(facts, constraints)

    def attempt(self, candidates: Sequence[int], most: int, enough: float | None) -> Selected:
        """Return as many rows as can be put in order, `most` at best; any total duration."""
        while True:
            picked, turned = self.pick(candidates, most, enough)
            if len(picked) < most:
                # The windows of a shorter playlist have room for fewer of each artist.
                again, turned_again = self.pick(candidates, len(picked), enough)
                if len(again) < len(picked):
                    most = len(again)
                    continue
                picked, turned = again, turned | turned_again
            picked = self.lengthened(picked, candidates)
            arranged = self.arrange(picked)
            if arranged is not None:
                return Selected((*self.before, *arranged), len(self.before), dict(turned))
            most = len(picked) - 1

    def total_fits(self, selected: Selected) -> bool:
        """Return whether the whole playlist is as long as it must be."""
        return total_fits(sum_of(selected.rows, self.facts), self.constraints)

    # --- which tracks ----------------------------------------------------------------------------

    def pick(
        self, candidates: Sequence[int], count: int, enough: float | None
    ) -> tuple[list[int], Counter[str]]:
        """Return at most `count` rows that obey what does not depend on their order."""
        state = _Taken(self, count)
        turned: Counter[str] = Counter()
        for row in candidates:
            if len(state.rows) == count or (enough is not None and state.seconds >= enough):
                break
            rule = state.refuses(row)
            if rule is None:
                state.add(row)
            else:
                turned[rule] += 1
        return state.rows, turned

    def lengthened(self, picked: list[int], candidates: Sequence[int]) -> list[int]:
        """Return as many rows, of which some are exchanged so that the total is long enough."""
        least = self.constraints.least_total
        for _ in range(_EXCHANGES):
            missing = 0.0 if least is None else least - sum_of((*self.before, *picked), self.facts)
            if missing <= 0:
                break
            others = [row for row in candidates if row not in set(picked)]
            exchange = self._exchange(picked, others)
            if exchange is None:
                break
            picked = exchange
        return picked

    def _exchange(self, picked: list[int], others: Sequence[int]) -> list[int] | None:
        """Return the rows with the shortest exchanged for the first longer one that fits."""
        durations = self.facts.durations
        for out in sorted(range(len(picked)), key=lambda at: (float(durations[picked[at]]), -at)):
            rest = [*picked[:out], *picked[out + 1 :]]
            state = _Taken(self, len(picked))
            for row in rest:
                state.add(row)
            for row in others:
                if durations[row] > durations[picked[out]] and state.refuses(row) is None:
                    return [*picked[:out], row, *picked[out + 1 :]]
        return None

    # --- in which order --------------------------------------------------------------------------

    def arrange(self, rows: Sequence[int]) -> list[int] | None:
        """Return the rows in an order that the windows allow; None where none was found."""
        windows = [kind for kind in self.kinds if kind.window]
        if not windows:
            return list(rows)
        for eager in (False, True):
            found = self._arranged(rows, windows, most_first=eager)
            if found is not None:
                return found
        return None

    def _arranged(
        self, rows: Sequence[int], windows: Sequence[Kind], *, most_first: bool
    ) -> list[int] | None:
        placed, left = list(self.before), list(rows)
        counts = [Counter(int(kind.groups[row]) for row in left) for kind in windows]
        for count in counts:
            count.pop(UNKNOWN, None)
        while left:
            urgent = [
                _urgent(count, kind.window, len(left), most_first=most_first)
                for kind, count in zip(windows, counts, strict=True)
            ]
            # What is urgent for a kind comes first; of those, and of all, what was preferred.
            best, most = None, -1
            recent = [{int(k.groups[r]) for r in placed[-k.window :]} - {UNKNOWN} for k in windows]
            for row in left:
                groups = [int(kind.groups[row]) for kind in windows]
                if any(group in seen for group, seen in zip(groups, recent, strict=True)):
                    continue
                score = sum(group in few for group, few in zip(groups, urgent, strict=True))
                if score > most:
                    best, most = row, score
                if most == sum(map(bool, urgent)):
                    break
            if best is None:
                return None
            placed.append(best)
            left.remove(best)
            for kind, count in zip(windows, counts, strict=True):
                group = int(kind.groups[best])
                if group != UNKNOWN:
                    count[group] -= 1
        return placed[len(self.before) :]


def _urgent(count: Counter[int], window: int, left: int, *, most_first: bool) -> set[int]:
    """Return the groups of which one must come now: there is just room for what they have left."""
    most = max(count.values(), default=0)
    if most == 0:
        return set()
    groups = {group for group, number in count.items() if number == most}
    full = (most - 1) * (window + 1) + len(groups) >= left
    return groups if most_first or full else set()


class _Taken:
    """Rows taken so far, and which further ones no rule forbids."""

    def __init__(self, problem: _Problem, count: int) -> None:
        facts = problem.facts
        self._facts, self._constraints = facts, problem.constraints
        self._kinds, self._length = problem.kinds, count + len(problem.before)
        self.rows: list[int] = []
        self.seconds = sum_of(problem.before, facts)
        self._recordings = {int(facts.recordings[row]) for row in problem.before}
        self._counts = [Counter(int(k.groups[row]) for row in problem.before) for k in self._kinds]

    def refuses(self, row: int) -> str | None:
        """Return the name of the rule that keeps a row out; None where it may come."""
        if int(self._facts.recordings[row]) in self._recordings:
            return NO_REPEATS
        for kind, counts in zip(self._kinds, self._counts, strict=True):
            group = int(kind.groups[row])
            if group == UNKNOWN:
                continue
            now = counts[group] + 1
            if kind.cap is not None and now > kind.cap:
                return f"{kind.name}-cap={kind.cap}"
            if kind.window and not self._has_room(counts, group, now, kind.window):
                return f"{kind.name}-window={kind.window}"
        most = self._constraints.most_total
        if most is not None and self.seconds + float(self._facts.durations[row]) > most:
            return self._constraints.total_name
        return None

    def add(self, row: int) -> None:
        """Take a row."""
        self.rows.append(row)
        self.seconds += float(self._facts.durations[row])
        self._recordings.add(int(self._facts.recordings[row]))
        for kind, counts in zip(self._kinds, self._counts, strict=True):
            counts[int(kind.groups[row])] += 1

    def _has_room(self, counts: Counter[int], group: int, now: int, window: int) -> bool:
        """Return whether a window leaves room for one more of a group in the whole playlist."""
        full = (now - 1) * (window + 1)
        as_many = sum(
            number >= now for other, number in counts.items() if other not in (group, UNKNOWN)
        )
        return full + 1 + as_many <= self._length


def _unreachable(
    problem: _Problem, candidates: Sequence[int], selected: Selected, count: int | None
) -> LibraryError:
    asked = "" if count is None else f" with count={count}"
    reached = clock(sum_of(selected.rows, problem.facts))
    return LibraryError(
        f"{problem.constraints.total_name} cannot be kept{asked}: of the {len(candidates)} tracks "
        f"left by everything else a playlist of {reached} can be made; widen the range, or change "
        "the count."
    )

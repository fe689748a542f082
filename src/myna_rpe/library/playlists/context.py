"""What a strategy works with, and what it answers.

A strategy says how a playlist is made: its settings are its fields (text, numbers), so that they
can be kept with the playlist and it can be made again. `Strategy.propose` is given a `Context`,
which has the library, what the constraints leave of it, chance, and names for the answer.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Int64

from ...config.base import Config
from ...errors import LibraryError
from ...geometry import Found, Place
from ..tracks import Track
from .constraints import Constraints
from .pool import Pool
from .region import Region, in_words
from .selection import Selected


@dataclass(frozen=True)
class Choice:
    """A track of an answer, and why it is there.

    Attributes:
        row: of the pool.
        why: in words.
        distance: to the region it was chosen for; None where it was given.
        place: what that distance is; None as for `distance`, or where the region has no scatter.
    """

    row: int
    why: str
    distance: float | None = None
    place: Place | None = None


@dataclass(frozen=True)
class Proposal:
    """A playlist.

    Attributes:
        choices: in order; all constraints hold.
        notes: what else there is to know, in sentences without a full stop.
        wanted: how many tracks were asked for; None where no number was.
    """

    choices: tuple[Choice, ...]
    notes: tuple[str, ...] = ()
    wanted: int | None = None


@dataclass(frozen=True, eq=False)
class Context:
    """What a strategy works with.

    Attributes:
        pool: the library.
        allowed: which of its rows the constraints allow.
        survey: how many tracks each constraint leaves, of how many; for messages.
        constraints: those over the whole playlist are the strategy's to keep.
        rng: all its chance.
        members: playlist, playlist file or track -> rows of the pool.
        label: row -> the name to show.
        tracks: gives every track of the pool with its tags, by row.
    """

    pool: Pool
    allowed: Bool[np.ndarray, " n"]
    survey: str
    constraints: Constraints
    rng: np.random.Generator
    members: Callable[[str], Sequence[int]]
    label: Callable[[int], str]
    tracks: Callable[[], Mapping[int, Track]]

    def free(self, without: Sequence[int]) -> Int64[np.ndarray, " k"]:
        """Return the rows that may be chosen; none is of the same recording as those given.

        Raises:
            LibraryError: the constraints leave none.
        """
        rows = np.flatnonzero(self.allowed & ~self.pool.recordings_of(without))
        if not len(rows):
            raise LibraryError(
                f"tracks=0 of {len(self.pool)} may be chosen: {self.survey}; relax one of them, or "
                "scan more music."
            )
        return rows

    def chosen(
        self, region: Region, rows: Sequence[int], found: Found, free: Int64[np.ndarray, " k"]
    ) -> list[Choice]:
        """Return why rows are chosen that were found near a region.

        Args:
            region: they were found near.
            rows: of the pool.
            found: what holds their distances; its indices are of `free`.
            free: rows of the pool.
        """
        at = {int(free[index]): place for place, index in enumerate(found.indices.tolist())}
        return [
            self._choice(region, row, found.distances.values[at[row]], found, at[row])
            for row in rows
        ]

    def _choice(self, region: Region, row: int, distance: float, found: Found, at: int) -> Choice:
        weights = found.distances.weights[at]
        why = in_words(float(distance), weights, region.vertices.tolist(), self.label)
        return Choice(row, why, float(distance), region.calibration.place(float(distance)))

    def proposal(
        self,
        selected: Selected,
        chosen: Sequence[Choice],
        *,
        found: int,
        wanted: int | None,
        notes: Sequence[str] = (),
    ) -> Proposal:
        """Return a playlist of what was given and chosen; what is missing is told, or an error.

        Args:
            selected: the playlist.
            chosen: its tracks that were not given.
            found: how many candidates there were.
            wanted: how many were asked for; None: no number was.
            notes: of the region.

        Raises:
            LibraryError: nothing was chosen.
        """
        turned = ", ".join(f"{rule} turns away {n}" for rule, n in selected.turned_away.items())
        rules = "; ".join(part for part in (self.survey, turned) if part)
        why = f"{found} candidates" + (f" ({rules})" if rules else "")
        if not chosen:
            raise LibraryError(
                f"tracks=0 were found: there are {why}; go farther, relax a constraint, or scan "
                "more music."
            )
        said = list(notes)
        if wanted is not None and len(chosen) < wanted:
            said.append(f"{len(chosen)} of {wanted} tracks: there are {why}")
        given = [Choice(row, "given") for row in selected.rows[: selected.given]]
        return Proposal((*given, *chosen), tuple(said), wanted)


class Strategy(Config):
    """How a playlist is made; the fields are its settings."""

    name: ClassVar[str]

    @abstractmethod
    def propose(self, context: Context) -> Proposal:
        """Return a playlist that keeps to the constraints.

        Raises:
            LibraryError: there is none, with the reason.
        """
        raise NotImplementedError

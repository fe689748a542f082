"""Ranges as people type them: ``1990-1999``, ``2:00-``, ``-5:00``."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..errors import LibraryError

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Range(Generic[Number]):
    """Numbers from one to another, both included; an end of None is open."""

    low: Number | None = None
    high: Number | None = None


def years(text: str) -> Range[int]:
    """Return the range of years that ``1990``, ``1990-1999``, ``1990-`` or ``-1999`` is.

    Raises:
        LibraryError: it is none of these, or ends before it begins.
    """
    both = text if "-" in text else f"{text}-{text}"
    return _range(both, text, "year", "1990, 1990-1999, 1990- or -1999", _year)


def seconds(text: str, subject: str = "duration") -> Range[float]:
    """Return the range of durations that ``120-300``, ``2:00-5:00``, ``2:00-`` or ``-300`` is.

    Args:
        text: seconds, minutes:seconds or hours:minutes:seconds.
        subject: whose range it is, for a message.

    Raises:
        LibraryError: it is none of these, or ends before it begins.
    """
    return _range(text, text, subject, "120-300, 2:00-5:00, 2:00- or -5:00", _seconds)


def _range(
    both: str, text: str, subject: str, examples: str, number: Callable[[str], Number]
) -> Range[Number]:
    first, dash, last = both.strip().partition("-")
    try:
        low = number(first) if first.strip() else None
        high = number(last) if last.strip() else None
        if not dash or (low is None and high is None):
            raise ValueError(text)
    except ValueError as error:
        raise LibraryError(f"{subject}={text!r} is no range; write {examples}.") from error
    if low is not None and high is not None and low > high:
        raise LibraryError(f"{subject}={text!r} ends before it begins; write {examples}.")
    return Range(low, high)


def _year(text: str) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,4}\s*", text):
        raise ValueError(text)
    return int(text)


def _seconds(text: str) -> float:
    pieces = text.split(":")
    if len(pieces) > 3 or not all(re.fullmatch(r"\s*[0-9]+(\.[0-9]*)?\s*", p) for p in pieces):
        raise ValueError(text)
    return math.fsum(float(piece) * 60**power for power, piece in enumerate(reversed(pieces)))

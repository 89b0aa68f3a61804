"""Which group a frame is of: the value that its header has under a key, as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline import Outcome, Rejected, RejectFrame
from pipeline.texts import one_line
from stages.records.header import Header

MISSING = "(missing)"
"""Frames whose header has no such key."""

NO_VALUE = "(no single value)"
"""Frames that have under the key what is no single number or text: nil, a list, an array of several, or something broken."""

OTHERS = "(other values)"
"""Frames whose value came after `MOST` others."""

RESERVED = (MISSING, NO_VALUE, OTHERS)
"""Groups that are no value of the key."""

MOST = 20
"""So many values are told apart; a key with a number of its own for each frame is no grouping."""

_LONGEST = 60
"""Characters of a value."""

_DIGITS = 6
"""Significant digits of a number that is not whole: readings of one delay are one group, and are rarely known better."""

_WHOLE = 10.0 ** (_DIGITS - 1)
"""From here on so many digits leave nothing behind the point."""

_LARGEST = 1 << 64
"""Whole numbers below this are told apart to the last digit."""


@dataclass(frozen=True)
class Grouping:
    """Groups frames by what their headers have under a key.

    Whole numbers are told apart exactly, others by six digits, and 1.0 is 1. Booleans are ``false`` and ``true``, numpy's like
    Python's; an array of one element is that element. Text is what it is, without blanks around it.

    Attributes
    ----------
    key
        As the sender calls it.
    step
        Numbers are rounded to multiples of this first; 0 leaves them as they are.

    >>> Grouping("delay").of({"delay": 0.30000000000000004}), Grouping("delay", 0.5).of({"delay": 1.1})
    ('0.3', '1')
    >>> Grouping("laser_on").of({"laser_on": np.array(True)}), Grouping("laser_on").of({})
    ('true', '(missing)')
    """

    key: str
    step: float = 0.0

    def of_outcome(self, outcome: Outcome) -> str | None:
        """Return the group of a frame, also of one that was rejected; None if that was before its header was read."""
        header = (outcome.frame if isinstance(outcome, Rejected) else outcome).get(Header)
        return None if header is None else self.of(header)

    def of(self, header: Mapping[str, Any]) -> str:
        """Return the group of a header."""
        if self.key not in header:
            return NO_VALUE if isinstance(header, Header) and self.key in header.images else MISSING
        try:
            return self._text(header[self.key])
        except RejectFrame:
            return NO_VALUE

    def _text(self, value: Any) -> str:
        if isinstance(value, (np.ndarray, np.generic)) and value.size == 1:
            value = value.item()
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, (int, float)):
            return self._number(value)
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if not isinstance(value, str):
            return NO_VALUE
        text = one_line(value.strip(), _LONGEST)
        # text that could be taken for one of the groups that are no value is quoted
        return repr(text) if not text or text in RESERVED else text

    def _number(self, value: float) -> str:
        if isinstance(value, int):
            if abs(value) < _LARGEST and not self.step:
                return str(value)
            try:
                value = float(value)
            except OverflowError:
                return NO_VALUE
        if self.step and math.isfinite(value):
            value = float(np.rint(value / self.step)) * self.step
        if math.isfinite(value) and (value.is_integer() or abs(value) >= _WHOLE) and abs(value) < _LARGEST:
            return str(round(value))
        return f"{value:.{_DIGITS}g}"


class Values:
    """The values that are told apart: the first `MOST` that come."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def group_of(self, label: str) -> str:
        """Return the group that a frame counts in."""
        if label in RESERVED or label in self._known:
            return label
        if len(self._known) >= MOST:
            return OTHERS
        self._known.add(label)
        return label


def in_order(labels: Iterable[str]) -> list[str]:
    """Put groups in their order: numbers by their value, then words, then those that are no value.

    >>> in_order(["(missing)", "10", "true", "9", "false", "-0.5"])
    ['-0.5', '9', '10', 'false', 'true', '(missing)']
    """
    return sorted(labels, key=_place)


def _place(label: str) -> tuple[int, float, str]:
    if label in RESERVED:
        return 2, float(RESERVED.index(label)), label
    try:
        number = float(label)
    except ValueError:
        number = math.nan
    return (0, number, label) if math.isfinite(number) else (1, 0.0, label)

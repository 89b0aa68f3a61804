"""Indices and intensities out of the rows of a stream's reflection list, without making a word of each number."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel

_SPACE, _NEWLINE = ord(" "), ord("\n")
_MINUS, _PLUS, _POINT, _ZERO, _NINE = ord("-"), ord("+"), ord("."), ord("0"), ord("9")
_LOWER_E, _UPPER_E = ord("e"), ord("E")

_MOST_POWER = 400.0
"""Powers of ten beyond this, either way, are infinite or nothing; larger ones are not counted on."""

_MOST_INDEX = 1e6
"""A row whose indices are larger has none."""


@kernel
def _sign(text: NDArray[np.uint8], at: int, end: int) -> tuple[float, int]:
    """The sign that stands at a place, 1 where there is none, and where the digits begin."""
    if at < end and (text[at] == _MINUS or text[at] == _PLUS):
        return (-1.0 if text[at] == _MINUS else 1.0), at + 1
    return 1.0, at


@kernel
def _number(text: NDArray[np.uint8], at: int, end: int) -> tuple[float, int]:
    """The number that begins at or after some spaces, and where it ends; NaN where there is none."""
    while at < end and text[at] == _SPACE:
        at += 1
    begin = at
    sign, at = _sign(text, at, end)
    value = 0.0
    digits = 0
    while at < end and _ZERO <= text[at] <= _NINE:
        value = value * 10.0 + (text[at] - _ZERO)
        digits += 1
        at += 1
    if at < end and text[at] == _POINT:
        at += 1
        divisor = 1.0
        while at < end and _ZERO <= text[at] <= _NINE:
            value = value * 10.0 + (text[at] - _ZERO)
            divisor *= 10.0
            digits += 1
            at += 1
        value /= divisor
    if digits > 0 and at < end and (text[at] == _LOWER_E or text[at] == _UPPER_E):
        power, at = _power(text, at + 1, end)
        value *= 10.0**power
    while at < end and text[at] != _SPACE and text[at] != _NEWLINE:  # nan, inf, or what is no number
        digits = 0
        at += 1
    if digits == 0 or begin == at:
        return math.nan, at
    return sign * value, at


@kernel
def _power(text: NDArray[np.uint8], at: int, end: int) -> tuple[float, int]:
    """The whole number at a place, which stands behind an E, and where it ends."""
    sign, at = _sign(text, at, end)
    power = 0.0
    while at < end and _ZERO <= text[at] <= _NINE:
        power = min(power * 10.0 + (text[at] - _ZERO), _MOST_POWER)
        at += 1
    return sign * power, at


@kernel
def parse_rows(
    text: NDArray[np.uint8], begin: int, end: int, hkl: NDArray[np.int32], intensity: NDArray[np.float64]
) -> tuple[int, int]:
    """Read the lines between two places: h, k, l, I; what follows in a line is passed over.

    Returns the number of rows, and that of rows that cannot be read. An intensity of nan or inf is NaN.
    """
    rows = 0
    unreadable = 0
    at = begin
    while at < end and rows < len(intensity):
        h, at = _number(text, at, end)
        k, at = _number(text, at, end)
        l, at = _number(text, at, end)  # noqa: E741
        value, at = _number(text, at, end)
        is_whole = at < end and text[at] == _SPACE
        while at < end and text[at] != _NEWLINE:
            at += 1
        at += 1
        if is_whole and abs(h) < _MOST_INDEX and abs(k) < _MOST_INDEX and abs(l) < _MOST_INDEX:
            hkl[rows, 0] = int(h)
            hkl[rows, 1] = int(k)
            hkl[rows, 2] = int(l)
            intensity[rows] = value
            rows += 1
        else:
            unreadable += 1
    return rows, unreadable

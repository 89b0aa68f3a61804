"""Indices and intensities out of the rows of a stream's reflection list, without making a word of each number."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel

_SPACE, _NEWLINE = 32, 10
_MINUS, _PLUS, _POINT, _ZERO, _NINE = 45, 43, 46, 48, 57
_LOWER_E, _UPPER_E = 101, 69


@kernel
def _number(text: NDArray[np.uint8], at: int, end: int) -> tuple[float, int]:
    """The number that begins at or after some spaces, and where it ends; NaN where there is none."""
    while at < end and text[at] == _SPACE:
        at += 1
    begin = at
    sign = 1.0
    if at < end and (text[at] == _MINUS or text[at] == _PLUS):
        sign = -1.0 if text[at] == _MINUS else 1.0
        at += 1
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
    sign = 1.0
    if at < end and (text[at] == _MINUS or text[at] == _PLUS):
        sign = -1.0 if text[at] == _MINUS else 1.0
        at += 1
    power = 0.0
    while at < end and _ZERO <= text[at] <= _NINE:
        power = min(power * 10.0 + (text[at] - _ZERO), 400.0)
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
        if is_whole and abs(h) < 1e6 and abs(k) < 1e6 and abs(l) < 1e6:
            hkl[rows, 0] = int(h)
            hkl[rows, 1] = int(k)
            hkl[rows, 2] = int(l)
            intensity[rows] = value
            rows += 1
        else:
            unreadable += 1
    return rows, unreadable

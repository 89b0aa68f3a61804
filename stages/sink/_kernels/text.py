"""Peak and reflection lines written as bytes, to the letter what C's printf makes of the same numbers.

A crystal of 900 reflections is 9000 numbers of text; with ``%`` they take longer than indexing. Here each number is scaled to
an integer and its digits are put into one buffer.

Rounding is exact. A value v shown with d decimals is the integer nearest to v 10^d, and a tie goes to the even one. The
product p = v 10^d is itself rounded, and what that loses is known exactly (Dekker's product, doi:10.1007/BF01397083): v is
split in two halves of 26 bits, each of which times 10^d is exact, so that ``lost = (high 10^d - p) + low 10^d``. It decides
where p lies on a half: 2.675 is less than it looks and gives 2.67, though 2.675 * 100 is 267.5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

LIMIT = 1e12
"""Values of this size and above, and those that are not finite, must not be given to these functions."""

LONGEST_LINE = 160
"""No line is longer than this, without its panel's name: 3 integers of 11 places and 6 numbers of 16, with spaces."""

_SPLITTER = 2.0**27 + 1.0
"""Splits the 53 bits of a number in two halves."""

_SPACE = ord(" ")
_NEWLINE = ord("\n")
_ZERO = ord("0")
_MINUS = ord("-")
_POINT = ord(".")


@kernel
def _scaled(value: float, scale: float) -> Any:
    """The integer nearest to ``value * scale``, ties to even, for value >= 0 and a scale of at most 26 bits."""
    product = value * scale
    spread = _SPLITTER * value
    high = spread - (spread - value)
    low = value - high
    lost = (high * scale - product) + low * scale
    whole = np.int64(product)
    over = product - whole
    if over > 0.5 or (over == 0.5 and (lost > 0.0 or (lost == 0.0 and whole % 2 == 1))):
        whole += 1
    return whole


@kernel
def _put_digits(out: Bytes, at: int, number: Any, decimals: int, negative: bool, width: int) -> int:
    """Write an integer >= 0 right-justified, a point before its last `decimals` digits; return where it ends."""
    places = 1
    bound = 10
    while number >= bound:
        places += 1
        bound *= 10
    if places <= decimals:
        places = decimals + 1
    length = places
    if decimals > 0:
        length += 1
    if negative:
        length += 1
    for _ in range(width - length):
        out[at] = _SPACE
        at += 1
    if negative:
        out[at] = _MINUS
        at += 1
        length -= 1
    end = at + length
    put = end - 1
    for place in range(places):
        if decimals > 0 and place == decimals:
            out[put] = _POINT
            put -= 1
        rest = number // 10
        out[put] = _ZERO + (number - rest * 10)
        number = rest
        put -= 1
    return end


@kernel
def _put_fixed(out: Bytes, at: int, value: float, decimals: int, scale: float, width: int) -> int:
    """Write a number as ``%{width}.{decimals}f`` does, the sign of a negative zero included."""
    negative = bool(np.signbit(value))
    return _put_digits(out, at, _scaled(abs(value), scale), decimals, negative, width)


@kernel
def _put_integer(out: Bytes, at: int, value: int, width: int) -> int:
    """Write an integer as ``%{width}i`` does."""
    number = np.int64(value)
    return _put_digits(out, at, abs(number), 0, bool(number < 0), width)


@kernel
def _put_name(out: Bytes, at: int, names: Bytes, first: int, last: int) -> int:
    """Write a panel's name and the end of the line."""
    for n in range(first, last):
        out[at] = names[n]
        at += 1
    out[at] = _NEWLINE
    return at + 1


@kernel
def peak_lines(
    fs: Floats,
    ss: Floats,
    inverse_d_per_nm: Floats,
    intensity: Floats,
    panel: NDArray[np.int32],
    names: Bytes,
    name_ends: NDArray[np.int64],
    out: Bytes,
) -> int:
    """Write one line for each peak, ``%7.2f %7.2f %10.2f  %10.2f   %s``; return how many bytes were written.

    Parameters
    ----------
    fs, ss, inverse_d_per_nm, intensity
        float64 (n,), all finite and below `LIMIT`.
    panel
        int32 (n,), index into the names.
    names, name_ends
        uint8, all panels' names one after the other; int64 (P + 1,), where each begins, and the end.
    out
        uint8, at least n * (`LONGEST_LINE` + longest name).
    """
    at = 0
    for n in range(fs.size):
        at = _put_fixed(out, at, fs[n], 2, 100.0, 7)
        out[at] = _SPACE
        at = _put_fixed(out, at + 1, ss[n], 2, 100.0, 7)
        out[at] = _SPACE
        at = _put_fixed(out, at + 1, inverse_d_per_nm[n], 2, 100.0, 10)
        out[at] = _SPACE
        out[at + 1] = _SPACE
        at = _put_fixed(out, at + 2, intensity[n], 2, 100.0, 10)
        out[at] = _SPACE
        out[at + 1] = _SPACE
        out[at + 2] = _SPACE
        at = _put_name(out, at + 3, names, name_ends[panel[n]], name_ends[panel[n] + 1])
    return at


@kernel
def reflection_lines(
    hkl: NDArray[np.int32],
    values: Floats,
    fs: Floats,
    ss: Floats,
    panel: NDArray[np.int32],
    names: Bytes,
    name_ends: NDArray[np.int64],
    out: Bytes,
) -> int:
    """Write one line for each reflection, ``%4i %4i %4i %10.2f %10.2f %10.2f %10.2f %6.1f %6.1f %s``; return the bytes.

    Parameters
    ----------
    hkl
        int32 (n, 3).
    values
        float64 (4, n): intensity, sigma, peak, background, finite and below `LIMIT`.
    fs, ss
        float64 (n,), finite and below `LIMIT`.
    panel, names, name_ends, out
        As for :func:`peak_lines`.
    """
    at = 0
    for n in range(fs.size):
        for index in range(3):
            at = _put_integer(out, at, hkl[n, index], 4)
            out[at] = _SPACE
            at += 1
        for column in range(4):
            at = _put_fixed(out, at, values[column, n], 2, 100.0, 10)
            out[at] = _SPACE
            at += 1
        at = _put_fixed(out, at, fs[n], 1, 10.0, 6)
        out[at] = _SPACE
        at = _put_fixed(out, at + 1, ss[n], 1, 10.0, 6)
        out[at] = _SPACE
        at = _put_name(out, at + 1, names, name_ends[panel[n]], name_ends[panel[n] + 1])
    return at


@kernel
def are_ordinary(values: Floats) -> bool:
    """Whether all numbers are of the size for which these functions are made; NaN and infinities are not."""
    ordinary = True
    for k in range(values.size):
        ordinary &= abs(values[k]) < LIMIT
    return ordinary


@kernel
def are_below(numbers: NDArray[np.int32], limit: int) -> bool:
    """Whether all numbers are 0 or more, and below the limit."""
    below = True
    for k in range(numbers.size):
        below &= 0 <= numbers[k] < limit
    return below

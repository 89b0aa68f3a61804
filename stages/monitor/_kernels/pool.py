"""Squares of pixels become one: the highest of each for the eye, their sum for the mean of many frames.

A spot of a single pixel must be seen in a picture that has a quarter of the pixels; so of each square the highest counts, and
a square is masked only if all of it is. What is not finite counts as masked: ``v - v == 0`` is true of finite numbers alone.

The rows of a square are taken together first, column by column, which the processor does for many columns at once.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel

Array = NDArray[Any]


@kernel
def highest_of_squares(pixels: Array, bad: Array, side: int, lowest: Array, highest: Array, good: Array) -> None:
    """Find the highest good pixel of each square.

    Parameters
    ----------
    pixels
        (h, w), any number.
    bad
        uint8 (h, w), not 0 where a pixel does not count.
    side
        Of a square; those at the end may be smaller.
    lowest
        (1,), the lowest number that there is of what pixels are.
    highest
        (ceil(h / side), ceil(w / side)), as `pixels`; written: the highest, and `lowest` where there is none.
    good
        uint8, as large; written: whether there is one.
    """
    height, width = pixels.shape
    top = np.empty(width, pixels.dtype)
    seen = np.empty(width, np.uint8)
    for row in range(highest.shape[0]):
        top[:] = lowest[0]
        seen[:] = 0
        for y in range(row * side, min((row + 1) * side, height)):
            values, masked = pixels[y], bad[y]
            for x in range(width):
                value = values[x]
                counts = (masked[x] == 0) & (value - value == 0)
                seen[x] |= counts
                top[x] = value if counts & (value > top[x]) else top[x]
        for column in range(highest.shape[1]):
            most, found = lowest[0], np.uint8(0)
            for x in range(column * side, min((column + 1) * side, width)):
                found |= seen[x]
                most = max(most, top[x])
            highest[row, column] = most
            good[row, column] = found


@kernel
def range_of_good(values: Array, good: Array) -> tuple[float, float]:
    """Return the lowest and the highest of the good values; infinity and minus infinity if there are none."""
    lowest, highest = np.inf, -np.inf
    height, width = values.shape
    for y in range(height):
        for x in range(width):
            if good[y, x] != 0:
                value = float(values[y, x])
                lowest = min(lowest, value)
                highest = max(highest, value)
    return lowest, highest


@kernel
def above_offset(values: Array, good: Array, offset: float, masked: int, written: Array) -> None:
    """Write good values less `offset`, and `masked` for all others.

    Parameters
    ----------
    values
        (h, w), any number; less `offset` they fit into what `written` is of.
    written
        (h, w), whole numbers.
    """
    height, width = values.shape
    for y in range(height):
        for x in range(width):
            written[y, x] = values[y, x] - offset if good[y, x] != 0 else masked


@kernel
def add_squares(pixels: Array, bad: Array, side: int, total: Array, number: Array, highest: Array) -> None:
    """Add a frame to the sums over frames.

    Parameters
    ----------
    pixels, bad, side
        As :func:`highest_of_squares` takes them.
    total
        float64 (ceil(h / side), ceil(w / side)); the good pixels of each square are added.
    number
        float64, as large; how many they are is added.
    highest
        float32, as large; the highest so far, minus infinity where there was none.
    """
    height, width = pixels.shape
    sums, counted = np.empty(width, np.float64), np.empty(width, np.float64)
    top = np.empty(width, np.float32)
    for row in range(total.shape[0]):
        sums[:], counted[:], top[:] = 0.0, 0.0, -np.inf
        for y in range(row * side, min((row + 1) * side, height)):
            values, masked = pixels[y], bad[y]
            for x in range(width):
                value = np.float64(values[x])
                counts = (masked[x] == 0) & (value - value == 0)
                sums[x] += value if counts else 0.0
                counted[x] += 1.0 if counts else 0.0
                top[x] = np.float32(value) if counts & (value > top[x]) else top[x]
        for column in range(total.shape[1]):
            for x in range(column * side, min((column + 1) * side, width)):
                total[row, column] += sums[x]
                number[row, column] += counted[x]
                highest[row, column] = max(highest[row, column], top[x])

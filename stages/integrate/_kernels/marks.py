"""Marks: which pixels are bad, and how many reflections claim each."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.integrate._kernels.tuples import Pixels, Places
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]

BAD = 128
"""Marks a bad pixel; fewer reflections than this ever claim one pixel."""

CLAIM, RELEASE = np.uint8(1), np.uint8(255)
"""What is added to the marks of a reflection's circle, and added once more to take it away: 255 is -1."""


@kernel
def mark_some(pixels: Pixels, places: Places, begin: int, end: int, offsets: Array, step: Any) -> None:
    """As :func:`mark`, of the reflections with the numbers from `begin` up to `end`."""
    where, row_of_panel, marks = pixels.where, pixels.row_of_panel, pixels.marks
    panel, fs, ss = places
    reach = max(abs(offsets[0, 0]), abs(offsets[0, 1]))  # the first offset is as long as the radius, along an axis
    for i in range(begin, end):
        row = row_of_panel[panel[i]]
        if row < 0:
            continue
        width, height, first = where[row, WIDTH], where[row, HEIGHT], where[row, START]
        x0, y0 = math.floor(fs[i]), math.floor(ss[i])
        middle = first + y0 * width + x0
        if x0 >= reach and y0 >= reach and x0 + reach < width and y0 + reach < height:
            for j in range(offsets.shape[0]):
                marks[middle + offsets[j, 1] * width + offsets[j, 0]] += step
            continue
        for j in range(offsets.shape[0]):
            x, y = x0 + offsets[j, 0], y0 + offsets[j, 1]
            if 0 <= x < width and 0 <= y < height:
                marks[first + y * width + x] += step


@kernel
def mark(pixels: Pixels, places: Places, offsets: Array, step: Any) -> None:
    """Add `step` to the marks of the pixels within the inner radius of each reflection that lies in one array.

    All reflections are marked by one function: one call for each would let numba count references, and wait, each time.
    """
    mark_some(pixels, places, 0, places.panel.size, offsets, step)


@kernel
def claims_at(marks: Array, where: Array, x: int, y: int) -> int:
    """Return the mark of a pixel."""
    return int(marks[where[START] + y * where[WIDTH] + x])


@kernel
def value_at(flat: Array, where: Array, x: int, y: int) -> float:
    """Return a pixel."""
    return float(flat[where[OFFSET] + y * where[STRIDE_SS] + x * where[STRIDE_FS]])

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
def mark_one(where: Array, row: int, fs: float, ss: float, offsets: Array, marks: Array, step: Any) -> None:
    """Add `step` to the marks of the pixels within the inner radius of a reflection, whose panel has this row of the table."""
    reach = max(abs(offsets[0, 0]), abs(offsets[0, 1]))  # the first offset is as long as the radius, along an axis
    width, height, first = where[row, WIDTH], where[row, HEIGHT], where[row, START]
    x0, y0 = math.floor(fs), math.floor(ss)
    middle = first + y0 * width + x0
    if x0 >= reach and y0 >= reach and x0 + reach < width and y0 + reach < height:
        for j in range(offsets.shape[0]):
            marks[middle + offsets[j, 1] * width + offsets[j, 0]] += step
        return
    for j in range(offsets.shape[0]):
        x, y = x0 + offsets[j, 0], y0 + offsets[j, 1]
        if 0 <= x < width and 0 <= y < height:
            marks[first + y * width + x] += step


@kernel
def mark(pixels: Pixels, places: Places, offsets: Array, step: Any) -> None:
    """Add `step` to the marks of all reflections that lie in one array."""
    where, row_of_panel, marks = pixels.where, pixels.row_of_panel, pixels.marks
    panel, fs, ss = places
    for i in range(panel.size):
        row = row_of_panel[panel[i]]
        if row >= 0:
            mark_one(where, row, fs[i], ss[i], offsets, marks, step)


@kernel
def claims_at(marks: Array, where: Array, x: int, y: int) -> int:
    """Return the mark of a pixel."""
    return int(marks[where[START] + y * where[WIDTH] + x])


@kernel
def value_at(flat: Array, where: Array, x: int, y: int) -> float:
    """Return a pixel."""
    return float(flat[where[OFFSET] + y * where[STRIDE_SS] + x * where[STRIDE_FS]])

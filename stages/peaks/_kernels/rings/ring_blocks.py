"""Where the rings are: the map of rings, its blocks, and the bounds that a block's rings have in common."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel

Array = NDArray[Any]

BLOCK = 256
PART = 32
"""Pixels of a block that are looked at together, once the block has one that is beyond its bounds."""
FIRST_RING, LAST_RING, LEVEL, MASKED, N_COLUMNS = range(5)
"""Columns of the table of blocks, and their number: the range of rings, the power of two that fits in it (-1: all pixels are
masked), and whether a pixel is masked."""


@kernel
def radii(vectors: Array, width: int, height: int, out: Array) -> None:
    """Fill `out` (height * width) with the distance of one panel's pixels from the beam, float32, in pixels.

    `vectors` is cnx, cny, fsx, fsy, ssx, ssy in pixels. As in CrystFEL, x and y are cut down to whole pixels first.
    """
    for ss in range(height):
        for fs in range(width):
            x = int(vectors[0] + fs * vectors[2] + ss * vectors[4])
            y = int(vectors[1] + fs * vectors[3] + ss * vectors[5])
            out[ss * width + fs] = math.sqrt(x * x + y * y)


@kernel
def fold_mask(ring: Array, bad: Array, out: Array, count: Array) -> None:
    """Put bad pixels in the last ring (`out`), and count the pixels of each ring."""
    masked = count.size - 1
    count[:] = 0
    for i in range(ring.size):
        r = masked if bad[i] else ring[i]
        out[i] = r
        count[r] += 1


@kernel
def describe_blocks(ring: Array, bad: Array, width: Array, start: Array, masked: int, block: Array) -> int:
    """Fill the table of blocks, panel by panel and row by row; return how many levels the range tables need."""
    n = 0
    levels = 1
    for p in range(width.size):
        if width[p] == 0:
            continue
        for row in range(start[p], start[p + 1], width[p]):
            for first in range(row, row + width[p], BLOCK):
                lowest = masked
                highest = -1
                some_masked = False
                for i in range(first, min(first + BLOCK, row + width[p])):
                    r = int(ring[i])
                    if r != masked and not bad[i]:
                        lowest = min(lowest, r)
                        highest = max(highest, r)
                    else:
                        some_masked = True
                level = -1
                span = highest - lowest + 1
                while span > 0:
                    level += 1
                    span >>= 1
                block[n, FIRST_RING] = lowest
                block[n, LAST_RING] = highest
                block[n, LEVEL] = level
                block[n, MASKED] = some_masked
                levels = max(levels, level + 1)
                n += 1
    return levels


@kernel
def range_tables(bound: Array, sign: float, out: Array) -> None:
    """Set ``out[k, r]`` to the least (`sign` 1; the greatest: -1) of ``bound[r : r + 2**k]``, as far as there are rings."""
    rings = out.shape[1]
    for r in range(rings):
        out[0, r] = bound[r]
    for k in range(1, out.shape[0]):
        half = 1 << (k - 1)
        for r in range(rings):
            other = min(r + half, rings - 1)
            if sign > 0:
                out[k, r] = min(out[k - 1, r], out[k - 1, other])
            else:
                out[k, r] = max(out[k - 1, r], out[k - 1, other])


@kernel
def pixels_of(flat: Array, first: int, step: int, size: int, buffer: Array) -> Array:
    """Return `size` pixels from number `first` on; they are copied to the buffer if they are no neighbours."""
    if step == 1:
        pixels = flat[first : first + size]
    else:
        pixels = buffer[:size]
        for x in range(size):
            buffer[x] = flat[first + x * step]
    return pixels


@kernel
def lowest_of(bounds: Array, level: int, first: int, last: int) -> np.float32:
    """Return the least upper bound of a block's rings, from a range table made with `sign` 1; the block's columns are given."""
    return min(bounds[level, first], bounds[level, last - (1 << level) + 1])


@kernel
def highest_of(bounds: Array, level: int, first: int, last: int) -> np.float32:
    """Return the greatest lower bound of a block's rings, from a range table made with `sign` -1."""
    return max(bounds[level, first], bounds[level, last - (1 << level) + 1])

"""The polar cells of the detector's pixels: how far each pixel is from the beam, and in which sector of its ring."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel

Array = NDArray[Any]


@kernel
def radii(vectors: Array, width: int, height: int, radius: Array) -> None:
    """Fill `radius` (float32, row after row) with the distances of a panel's pixel centres from the beam, in pixels.

    `vectors` (6,) are x and y of corner, fs step and ss step in pixels.
    """
    for ss in range(height):
        x = vectors[0] + (ss + 0.5) * vectors[4]
        y = vectors[1] + (ss + 0.5) * vectors[5]
        row = radius[ss * width : (ss + 1) * width]
        for fs in range(np.uint64(width)):
            dx = x + (np.float64(fs) + 0.5) * vectors[2]
            dy = y + (np.float64(fs) + 0.5) * vectors[3]
            row[fs] = math.sqrt(dx * dx + dy * dy)


@kernel
def sector(x: float, y: float, sectors: int) -> int:
    """Return in which of so many equal sectors, counted from the direction +x towards +y, a direction lies.

    >>> [sector(1.0, 0.1, 4), sector(-0.1, 1.0, 4), sector(0.1, -1.0, 4), sector(-1.0, -0.1, 8), sector(1.0, -0.1, 1)]
    [0, 1, 3, 4, 0]
    """
    if sectors == 8:  # nearly all of them: halves and quarters need no angle
        half = 4 if y < 0.0 or (y == 0.0 and x < 0.0) else 0
        if half:
            x, y = -x, -y
        if x > 0.0:
            return half + (y >= x)
        return half + 2 + (-x >= y)
    turn = math.atan2(y, x) / (2.0 * math.pi)
    return min(int((turn + 1.0 if turn < 0.0 else turn) * sectors), sectors - 1)


@kernel
def number(
    vectors: Array, width: int, radius: Array, step: float, rings: Array, offset: Array, seen: Array, cell: Array
) -> None:
    """Fill `cell` (row after row) with the numbers of a panel's pixels, and mark in `seen` the numbers that occur.

    A pixel at `radius` belongs to ring ``int(radius / step)``; `rings` lists the rings, ascending. The i-th of them is divided
    into equal sectors, which have the numbers ``offset[i]`` to ``offset[i + 1] - 1`` and begin at the direction +x.
    """
    last = rings.size - 1
    dense = rings[last] - rings[0] == last
    for ss in range(radius.size // width):
        x = vectors[0] + (ss + 0.5) * vectors[4]
        y = vectors[1] + (ss + 0.5) * vectors[5]
        for fs in range(width):
            i = ss * width + fs
            ring = int(radius[i] / step)
            at = ring - rings[0] if dense else np.searchsorted(rings, ring)
            at = min(max(at, 0), last)
            sectors = offset[at + 1] - offset[at]
            mine = offset[at] + sector(x + (fs + 0.5) * vectors[2], y + (fs + 0.5) * vectors[3], sectors)
            cell[i] = mine
            seen[mine] = 1

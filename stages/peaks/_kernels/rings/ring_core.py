"""One pass over the frame: what lies well within each ring's thresholds is added up, the rest is listed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.panels import ArrayPixels
from stages.peaks._kernels.rings.ring_blocks import (
    BLOCK,
    FIRST_RING,
    LAST_RING,
    LEVEL,
    MASKED,
    PART,
    highest_of,
    lowest_of,
    pixels_of,
)
from stages.peaks._kernels.rings.ring_tuples import Blocks, Core, Listed
from stages.peaks._kernels.screening import any_not_between
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]

BITS = 36
SQUARES = np.int64(BITS)
"""Bits of a packed sum that hold the sum of squares; the sum stands above them."""
SQUARES_MASK = np.int64((1 << BITS) - 1)
LARGEST_PACKED_SQUARES = float(1 << BITS)
LARGEST_PACKED_SUM = float(1 << (63 - BITS))
"""The sum, which may be negative, has the other bits of a 64-bit number, without its sign."""


@kernel
def fit_packed(count: Array, low: Array, high: Array) -> bool:
    """Return whether sum and sum of squares of every ring's core fit in one 64-bit number."""
    for r in range(count.size - 1):
        if low[r] < high[r]:
            farthest = max(abs(low[r]), abs(high[r]))
            if count[r] * farthest >= LARGEST_PACKED_SUM or count[r] * farthest * farthest >= LARGEST_PACKED_SQUARES:
                return False
    return True


@kernel
def packed(value: Any) -> Any:
    """Return an integer and its square as one number, modulo 2**64."""
    exact = np.int64(value)
    return (exact << SQUARES) + exact * exact


@kernel
def any_outside(pixels: Array, rings: Array, below: np.float32, above: np.float32, masked: np.uint16) -> bool:
    """Return whether a pixel that is not masked is not between the bounds (NaN is not)."""
    outside = False
    for x in range(np.uint64(pixels.size)):
        v = np.float32(pixels[x])
        outside |= (not ((v > below) & (v < above))) & (rings[x] != masked)
    return outside


@kernel
def add_integers(pixels: Array, rings: Array, lanes: Array) -> None:
    """Add a block's pixels to their rings, packed: neighbours in lanes of their own."""
    lane0 = lanes[0]
    lane1 = lanes[1]
    lane2 = lanes[2]
    lane3 = lanes[3]
    size = np.uint64(rings.size)
    for quarter in range(size >> np.uint64(2)):
        x = quarter << np.uint64(2)
        lane0[rings[x]] += packed(pixels[x])
        lane1[rings[x | np.uint64(1)]] += packed(pixels[x | np.uint64(1)])
        lane2[rings[x | np.uint64(2)]] += packed(pixels[x | np.uint64(2)])
        lane3[rings[x | np.uint64(3)]] += packed(pixels[x | np.uint64(3)])
    for rest in range(size & ~np.uint64(3), size):
        lane0[rings[rest]] += packed(pixels[rest])


@kernel
def take_off(
    pixels: Array,
    rings: Array,
    core: Core,
    lanes: Array,
    below: np.float32,
    above: np.float32,
    begin: int,
    n: int,
    listed: Listed,
) -> int:
    """Take those of a block's pixels off again that are outside their ring's core, and list them; return how many are listed.

    `below` and `above` are bounds that all rings of the block have in common, `begin` is the block's first packed place.
    """
    low, high = core.low, core.high
    place, value = listed.place, listed.value
    lane = lanes[0]
    size = np.uint64(rings.size)
    masked = np.uint16(low.size - 1)
    for part in range(np.uint64(0), size, np.uint64(PART)):
        if not any_outside(pixels[part : part + PART], rings[part : part + PART], below, above, masked):
            continue
        for one in range(part, min(part + np.uint64(PART), size)):
            r = rings[one]
            v = np.float32(pixels[one])
            if not (v > low[r] and v < high[r]) and r != masked:
                lane[r] -= packed(pixels[one])
                place[n] = begin + one
                value[n] = v
                n += 1
    return n


@kernel
def add_floats(pixels: Array, rings: Array, lanes: Array) -> None:
    """Add a block's pixels, all of which are in the core, to their rings: neighbours in lanes of their own."""
    lane0 = lanes[0]
    lane1 = lanes[1]
    lane2 = lanes[2]
    lane3 = lanes[3]
    size = np.uint64(rings.size)
    for quarter in range(size >> np.uint64(2)):
        x = quarter << np.uint64(2)
        r0 = rings[x]
        r1 = rings[x | np.uint64(1)]
        r2 = rings[x | np.uint64(2)]
        r3 = rings[x | np.uint64(3)]
        v0 = np.float64(np.float32(pixels[x]))
        v1 = np.float64(np.float32(pixels[x | np.uint64(1)]))
        v2 = np.float64(np.float32(pixels[x | np.uint64(2)]))
        v3 = np.float64(np.float32(pixels[x | np.uint64(3)]))
        lane0[r0, 0] += v0
        lane0[r0, 1] += v0 * v0
        lane1[r1, 0] += v1
        lane1[r1, 1] += v1 * v1
        lane2[r2, 0] += v2
        lane2[r2, 1] += v2 * v2
        lane3[r3, 0] += v3
        lane3[r3, 1] += v3 * v3
    for rest in range(size & ~np.uint64(3), size):
        exact = np.float64(np.float32(pixels[rest]))
        lane0[rings[rest], 0] += exact
        lane0[rings[rest], 1] += exact * exact


@kernel
def sort_out(pixels: Array, rings: Array, core: Core, lanes: Array, begin: int, n: int, listed: Listed) -> int:
    """Add those of a block's pixels to their rings that are in the core, and list the others; return how many are listed."""
    low, high = core.low, core.high
    place, value = listed.place, listed.value
    masked = low.size - 1
    for one in range(np.uint64(rings.size)):
        r = rings[one]
        v = np.float32(pixels[one])
        if v > low[r] and v < high[r]:
            exact = np.float64(v)
            lanes[one & np.uint64(3), r, 0] += exact
            lanes[one & np.uint64(3), r, 1] += exact * exact
        elif r != masked:
            place[n] = begin + one
            value[n] = v
            n += 1
    return n


@kernel
def collect(pixels: ArrayPixels, ring: Array, core: Core, blocks: Blocks, lanes: Array, n: int, listed: Listed) -> int:
    """Add up the pixels within their ring's core, and list the others from number `n` on.

    The sums stand in four `lanes` that add up, so that neighbouring pixels, which often share a ring, need not wait for each
    other. ``lanes[:, r, 0]`` and ``lanes[:, r, 1]`` add up to the sum and the sum of squares, float64. Lanes (4, rings + 1) of
    int64 take integers only: both sums are one number (:func:`packed`). Then all pixels are added, and those outside the core
    are taken off again. They may have been too large for a packed sum: the arithmetic is modulo 2**64, so the rest is exact.
    Returns how many are listed now, or -1 if there are too many.
    """
    flat, where = pixels.flat, pixels.where
    lows, highs = core.lows, core.highs
    table, first_block = blocks.table, blocks.first
    room = listed.place.size
    masked = np.uint16(core.low.size - 1)
    buffer = np.empty(BLOCK, flat.dtype)
    for p in range(where.shape[0]):
        width = where[p, WIDTH]
        step = where[p, STRIDE_FS]
        b = first_block[p] - 1
        for ss in range(where[p, HEIGHT]):
            begin = where[p, START] + ss * width
            row = where[p, OFFSET] + ss * where[p, STRIDE_SS]
            for x0 in range(0, width, BLOCK):
                b += 1
                level = table[b, LEVEL]
                if level < 0:
                    continue
                if n + BLOCK > room:
                    return -1
                x1 = min(x0 + BLOCK, width)
                rings = ring[begin + x0 : begin + x1]
                some = pixels_of(flat, row + x0 * step, step, x1 - x0, buffer)
                below = highest_of(lows, level, table[b, FIRST_RING], table[b, LAST_RING])
                above = lowest_of(highs, level, table[b, FIRST_RING], table[b, LAST_RING])
                if table[b, MASKED]:
                    outside = any_outside(some, rings, below, above, masked)
                else:
                    outside = any_not_between(some, below, above)
                if lanes.ndim == 2:
                    add_integers(some, rings, lanes)
                    if outside:
                        n = take_off(some, rings, core, lanes, below, above, begin + x0, n, listed)
                elif outside:
                    n = sort_out(some, rings, core, lanes, begin + x0, n, listed)
                else:
                    add_floats(some, rings, lanes)
    return n


@kernel
def unpack(lanes: Array, sums: Array) -> None:
    """Turn packed sums into float64 (rings + 1, 2) and add them: the sum and the sum of squares of each ring."""
    for r in range(sums.shape[0] - 1):
        both = lanes[0, r] + lanes[1, r] + lanes[2, r] + lanes[3, r]
        sums[r, 0] += np.float64(both >> SQUARES)
        sums[r, 1] += np.float64(both & SQUARES_MASK)

"""One pass over the frame: what lies well within each ring's thresholds is added up, the rest is listed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.rings.ring_blocks import BLOCK, FIRST_RING, LAST_RING, LEVEL
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]

PART = 32
"""Pixels of a block that are looked at together, once the block has one that is beyond its bounds."""
SQUARES = np.int64(36)
"""Bits of a packed sum that hold the sum of squares; the sum stands above them."""
SQUARES_MASK = np.int64((1 << 36) - 1)
LARGEST_PACKED_SQUARES = float(1 << 36)
LARGEST_PACKED_SUM = float(1 << 27)


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
def add_integers(
    pixels: Array,
    rings: Array,
    low: Array,
    high: Array,
    lanes: Array,
    below: np.float32,
    above: np.float32,
    outside: bool,
    begin: int,
    n: int,
    place: Array,
    value: Array,
) -> int:
    """Add a block's pixels to their rings; take off again, and list, those outside the core. Returns how many are listed."""
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
    if outside:
        masked = np.uint16(low.size - 1)
        for part in range(np.uint64(0), size, np.uint64(PART)):
            if not any_outside(pixels[part : part + PART], rings[part : part + PART], below, above, masked):
                continue
            for one in range(part, min(part + np.uint64(PART), size)):
                r = rings[one]
                v = np.float32(pixels[one])
                if not (v > low[r] and v < high[r]) and r != masked:
                    lane0[r] -= packed(pixels[one])
                    place[n] = begin + one
                    value[n] = v
                    n += 1
    return n


@kernel
def add_floats(
    pixels: Array,
    rings: Array,
    low: Array,
    high: Array,
    lanes: Array,
    outside: bool,
    begin: int,
    n: int,
    place: Array,
    value: Array,
) -> int:
    """Add a block's pixels that are in the core to their rings, and list the others; return how many are listed."""
    lane0 = lanes[0]
    lane1 = lanes[1]
    lane2 = lanes[2]
    lane3 = lanes[3]
    size = np.uint64(rings.size)
    masked = low.size - 1
    if outside:
        for one in range(size):
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
    return n


@kernel
def collect_integers(
    flat: Array,
    where: Array,
    ring: Array,
    low: Array,
    high: Array,
    block: Array,
    block_of_panel: Array,
    lows: Array,
    highs: Array,
    lanes: Array,
    n: int,
    place: Array,
    value: Array,
) -> int:
    """Add up all pixels of each ring, list those outside its core (place and value, from number `n` on), and take them off.

    Sum and sum of squares of a ring are one 64-bit number, in four `lanes` (4, rings + 1) that add up, so that neighbouring
    pixels, which often share a ring, need not wait for each other. What is taken off again may have been too large for that:
    the arithmetic is modulo 2**64, so the rest is exact. Returns how many are listed now, or -1 if there are too many.
    """
    masked = np.uint16(low.size - 1)
    buffer = np.empty(BLOCK, flat.dtype)
    for p in range(where.shape[0]):
        width = where[p, WIDTH]
        step = where[p, STRIDE_FS]
        b = block_of_panel[p] - 1
        for ss in range(where[p, HEIGHT]):
            begin = where[p, START] + ss * width
            row = where[p, OFFSET] + ss * where[p, STRIDE_SS]
            for x0 in range(0, width, BLOCK):
                b += 1
                level = block[b, LEVEL]
                if level < 0:
                    continue
                if n + BLOCK > place.size:
                    return -1
                x1 = min(x0 + BLOCK, width)
                rings = ring[begin + x0 : begin + x1]
                first = block[b, FIRST_RING]
                last = block[b, LAST_RING] - (1 << level) + 1
                below = max(lows[level, first], lows[level, last])
                above = min(highs[level, first], highs[level, last])
                if step == 1:
                    pixels = flat[row + x0 : row + x1]
                else:
                    pixels = buffer[: x1 - x0]
                    for x in range(x0, x1):
                        buffer[x - x0] = flat[row + x * step]
                outside = any_outside(pixels, rings, below, above, masked)
                n = add_integers(pixels, rings, low, high, lanes, below, above, outside, begin + x0, n, place, value)
    return n


@kernel
def collect_floats(
    flat: Array,
    where: Array,
    ring: Array,
    low: Array,
    high: Array,
    block: Array,
    block_of_panel: Array,
    lows: Array,
    highs: Array,
    lanes: Array,
    n: int,
    place: Array,
    value: Array,
) -> int:
    """Add up the pixels within their ring's core, and list the others: place and value, from number `n` on.

    ``lanes[:, r, 0]`` and ``lanes[:, r, 1]`` add up to the sum and the sum of squares. Returns how many are listed now, or -1
    if there are too many.
    """
    masked = np.uint16(low.size - 1)
    buffer = np.empty(BLOCK, flat.dtype)
    for p in range(where.shape[0]):
        width = where[p, WIDTH]
        step = where[p, STRIDE_FS]
        b = block_of_panel[p] - 1
        for ss in range(where[p, HEIGHT]):
            begin = where[p, START] + ss * width
            row = where[p, OFFSET] + ss * where[p, STRIDE_SS]
            for x0 in range(0, width, BLOCK):
                b += 1
                level = block[b, LEVEL]
                if level < 0:
                    continue
                if n + BLOCK > place.size:
                    return -1
                x1 = min(x0 + BLOCK, width)
                rings = ring[begin + x0 : begin + x1]
                first = block[b, FIRST_RING]
                last = block[b, LAST_RING] - (1 << level) + 1
                below = max(lows[level, first], lows[level, last])
                above = min(highs[level, first], highs[level, last])
                if step == 1:
                    pixels = flat[row + x0 : row + x1]
                else:
                    pixels = buffer[: x1 - x0]
                    for x in range(x0, x1):
                        buffer[x - x0] = flat[row + x * step]
                outside = any_outside(pixels, rings, below, above, masked)
                n = add_floats(pixels, rings, low, high, lanes, outside, begin + x0, n, place, value)
    return n


@kernel
def unpack(lanes: Array, sums: Array) -> None:
    """Turn packed sums into float64 (rings + 1, 2) and add them: the sum and the sum of squares of each ring."""
    for r in range(sums.shape[0] - 1):
        both = lanes[0, r] + lanes[1, r] + lanes[2, r] + lanes[3, r]
        sums[r, 0] += np.float64(both >> SQUARES)
        sums[r, 1] += np.float64(both & SQUARES_MASK)

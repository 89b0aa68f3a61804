"""Rounds of clipping: from the core and the listed pixels, or plainly from all pixels of a ring."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.panels import ArrayPixels
from stages.peaks._kernels.rings.ring_moments import FARTHEST, NO_THRESHOLD, ROUNDS, thresholds_of
from stages.peaks._kernels.rings.ring_tuples import Core, Listed, Rule, Thresholds
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]


@kernel
def add_within(
    of_ring: Array, value: Array, lower: Array, upper: Array, n: Array, total: Array, total_sq: Array
) -> None:
    """Add to number, sum and sum of squares of each ring the pixels between its thresholds, exclusive."""
    for k in range(value.size):
        r = of_ring[k]
        if value[k] > lower[r] and value[k] < upper[r]:
            exact = np.float64(value[k])
            n[r] += 1
            total[r] += exact
            total_sq[r] += exact * exact


@kernel
def clip(
    count: Array,
    sums: Array,
    core: Core,
    ring: Array,
    listed: Listed,
    rule: Rule,
    found: Thresholds,
    lower: Array,
    cut: Array,
) -> bool:
    """Find each ring's mean and both thresholds from its core and the listed pixels; `lower` is for the lower ones, float32.

    `count` is how many pixels each ring has; `sums` (rings + 1, 2) are sum and sum of squares of the cores. Sets ``cut[r]``
    where the thresholds cut into the core, so that the ring must be done plainly. Returns whether all pixels above their
    threshold are sure to be listed (in the rings that are not cut).
    """
    low, high, constant = core.low, core.high, core.constant
    place, value = listed.place, listed.value
    offset, upper = found.offset, found.upper
    rings = count.size - 1
    core_n = count[:rings].copy()
    of_ring = np.empty(place.size, np.uint16)
    for k in range(place.size):
        of_ring[k] = ring[place[k]]
        core_n[of_ring[k]] -= 1
    lower[:] = -FARTHEST
    upper[:rings] = FARTHEST
    upper[rings] = NO_THRESHOLD
    offset[:] = 0.0
    cut[:] = 0
    n = np.zeros(rings, np.int64)
    total = np.zeros(rings)
    total_sq = np.zeros(rings)
    for _ in range(ROUNDS):
        for r in range(rings):
            n[r] = 0
            total[r] = 0.0
            total_sq[r] = 0.0
            if core_n[r] == 0:
                continue
            if constant[r]:
                only = np.nextafter(low[r], np.float32(np.inf))
                inside = only > lower[r] and only < upper[r]
            else:
                inside = True
                cut[r] |= upper[r] < high[r] or lower[r] > low[r]
            if inside:
                n[r] = core_n[r]
                total[r] = sums[r, 0]
                total_sq[r] = sums[r, 1]
        add_within(of_ring, value, lower, upper, n, total, total_sq)
        for r in range(rings):
            offset[r], lower[r], upper[r] = thresholds_of(n[r], total[r], total_sq[r], rule)
    complete = True
    for r in range(rings):
        if core_n[r] > 0 and not cut[r] and np.nextafter(high[r], np.float32(-np.inf)) > upper[r]:
            complete = False
    return complete


@kernel
def gather(pixels: ArrayPixels, ring: Array, wanted: Array, n: int, of_ring: Array, value: Array) -> int:
    """List ring and value of all pixels in the wanted rings, from number `n` on; return how many are listed now."""
    flat, where = pixels.flat, pixels.where
    for p in range(where.shape[0]):
        width = where[p, WIDTH]
        for ss in range(where[p, HEIGHT]):
            begin = where[p, START] + ss * width
            row = where[p, OFFSET] + ss * where[p, STRIDE_SS]
            for fs in range(width):
                r = ring[begin + fs]
                if wanted[r]:
                    of_ring[n] = r
                    value[n] = np.float32(flat[row + fs * where[p, STRIDE_FS]])
                    n += 1
    return n


@kernel
def clip_plainly(of_ring: Array, value: Array, wanted: Array, rule: Rule, found: Thresholds) -> None:
    """Find mean and upper threshold of the wanted rings from all their pixels."""
    offset, upper = found.offset, found.upper
    rings = wanted.size - 1
    lower = np.full(rings, -FARTHEST, np.float32)
    higher = np.full(rings, FARTHEST, np.float32)
    for _ in range(ROUNDS):
        n = np.zeros(rings, np.int64)
        total = np.zeros(rings)
        total_sq = np.zeros(rings)
        add_within(of_ring, value, lower, higher, n, total, total_sq)
        for r in range(rings):
            if wanted[r]:
                offset[r], lower[r], higher[r] = thresholds_of(n[r], total[r], total_sq[r], rule)
    for r in range(rings):
        if wanted[r]:
            upper[r] = higher[r]

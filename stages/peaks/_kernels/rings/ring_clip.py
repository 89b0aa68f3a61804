"""Rounds of clipping: from the core and the listed pixels, or plainly from all pixels of a ring."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.rings.ring_samples import FARTHEST, NO_THRESHOLD, ROUNDS, thresholds_of
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]


@kernel
def clip(
    count: Array,
    sums: Array,
    low: Array,
    high: Array,
    constant: Array,
    ring: Array,
    place: Array,
    value: Array,
    threshold: float,
    min_snr: float,
    offset: Array,
    upper: Array,
    cut: Array,
) -> bool:
    """Find each ring's mean (`offset`) and upper threshold from its core and the listed pixels.

    Sets ``cut[r]`` where the thresholds cut into the core, so that the ring must be done plainly. Returns whether all pixels
    above their threshold are sure to be listed (in the rings that are not cut).
    """
    rings = count.size - 1
    core_n = count[:rings].copy()
    of = np.empty(place.size, np.uint16)
    for k in range(place.size):
        of[k] = ring[place[k]]
        core_n[of[k]] -= 1
    lower = np.full(rings, -FARTHEST, np.float32)
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
        for k in range(place.size):
            r = of[k]
            if value[k] > lower[r] and value[k] < upper[r]:
                exact = np.float64(value[k])
                n[r] += 1
                total[r] += exact
                total_sq[r] += exact * exact
        for r in range(rings):
            offset[r], lower[r], upper[r] = thresholds_of(n[r], total[r], total_sq[r], threshold, min_snr)
    complete = True
    for r in range(rings):
        if core_n[r] > 0 and not cut[r] and np.nextafter(high[r], np.float32(-np.inf)) > upper[r]:
            complete = False
    return complete


@kernel
def gather(flat: Array, where: Array, ring: Array, wanted: Array, n: int, of_ring: Array, value: Array) -> int:
    """List ring and value of all pixels in the wanted rings, from number `n` on; return how many are listed now."""
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
def clip_plainly(
    of_ring: Array, value: Array, wanted: Array, threshold: float, min_snr: float, offset: Array, upper: Array
) -> None:
    """Find mean and upper threshold of the wanted rings from all their pixels."""
    rings = wanted.size - 1
    lower = np.full(rings, -FARTHEST, np.float32)
    higher = np.full(rings, FARTHEST, np.float32)
    for _ in range(ROUNDS):
        n = np.zeros(rings, np.int64)
        total = np.zeros(rings)
        total_sq = np.zeros(rings)
        for k in range(value.size):
            r = of_ring[k]
            if value[k] > lower[r] and value[k] < higher[r]:
                exact = np.float64(value[k])
                n[r] += 1
                total[r] += exact
                total_sq[r] += exact * exact
        for r in range(rings):
            if wanted[r]:
                offset[r], lower[r], higher[r] = thresholds_of(n[r], total[r], total_sq[r], threshold, min_snr)
    for r in range(rings):
        if wanted[r]:
            upper[r] = higher[r]

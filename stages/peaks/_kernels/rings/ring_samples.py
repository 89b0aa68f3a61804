"""Some pixels of each ring: which they are, and what they tell of where its thresholds will be."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.rings.ring_moments import FARTHEST, bulk_of, moments
from stages.peaks._kernels.rings.ring_tuples import Core, Rule, Samples, Thresholds

Array = NDArray[Any]

SAMPLES_PER_RING = 128
"""Pixels from which a ring's thresholds are guessed before the pass over all of them."""
FAST_SAMPLES_PER_RING = 224
FAST_SAMPLES_PER_SHORT_RING = 512
"""Pixels from which the fast search takes a ring's thresholds; more for short rings, whose neighbours are short as well."""
CORE = 0.7
"""How far the core reaches, in units of the threshold's distance from the mean."""
BESIDE = 2
"""Neighbours of a ring to either side that bound its core."""
ONE_NUMBER = 1e-6
"""Pixels may all be one number if their sigma, which is rounded, is no more than this part of their mean."""


@kernel
def choose_samples(
    ring: Array, width: Array, start: Array, count: Array, per_ring: int, per_short_ring: int, out: Array
) -> int:
    """List (packed places, ascending) some pixels of each ring but the last, spread evenly; return how many.

    Up to `per_ring` are taken from every eighth row where that gives enough: fewer rows touch fewer pages of memory. Else up to
    `per_short_ring` from all rows.
    """
    rings = count.size - 1
    in_rows = np.zeros(rings + 1, np.int64)
    for p in range(width.size):
        for i in range(start[p], start[p + 1]):
            if ((i - start[p]) // width[p]) % 8 == 0:
                in_rows[ring[i]] += 1
    seen = np.zeros(rings + 1, np.int64)
    n = 0
    for p in range(width.size):
        for i in range(start[p], start[p + 1]):
            r = ring[i]
            if r == rings:
                continue
            available = count[r]
            wanted = per_short_ring
            if in_rows[r] >= per_ring:
                if ((i - start[p]) // width[p]) % 8 != 0:
                    continue
                available = in_rows[r]
                wanted = per_ring
            # the k-th of `available` pixels is chosen where k * wanted passes another multiple of `available`
            k = seen[r]
            seen[r] += 1
            if available <= wanted or (k * wanted) // available != ((k + 1) * wanted) // available:
                out[n] = i
                n += 1
    return n


@kernel
def estimate_core(samples: Samples, rule: Rule, core: Core) -> None:
    """Choose each ring's core (low, high), exclusive, from its samples.

    With mean and sigma of the bulk of the samples it reaches CORE min_snr sigma to either side, and at least up to `threshold`.
    Where the bulk is one number, the core is that number alone and `constant` is set. A ring that has no more than a few pixels
    (all of them are samples), or no good sample, has an empty core: all its pixels will be listed.
    """
    values, first, count = samples
    low, high, constant = core.low, core.high, core.constant
    for r in range(first.size - 1):
        all_sampled = first[r + 1] - first[r] >= count[r]
        of_ring = values[first[r] : first[r] if all_sampled else first[r + 1]]
        n, mean, sigma, below, above = bulk_of(of_ring, moments(of_ring, -FARTHEST, FARTHEST))
        constant[r] = 0
        if n == 0:
            low[r] = FARTHEST
            high[r] = -FARTHEST
            continue
        low[r] = max(mean - CORE * rule.min_snr * sigma, -FARTHEST)
        high[r] = min(max(mean + CORE * rule.min_snr * sigma, rule.threshold), FARTHEST)
        if sigma <= ONE_NUMBER * abs(mean):
            least = np.float32(np.inf)
            most = np.float32(-np.inf)
            for k in range(of_ring.size):
                if of_ring[k] > below and of_ring[k] < above:
                    least = min(least, of_ring[k])
                    most = max(most, of_ring[k])
            if least == most:
                low[r] = np.nextafter(least, np.float32(-np.inf))
                high[r] = np.nextafter(least, np.float32(np.inf))
                constant[r] = 1


@kernel
def core_from_thresholds(found: Thresholds, lower: Array, rule: Rule, core: Core) -> None:
    """Choose each ring's core as `estimate_core` would, from what was found on an earlier frame, `lower` thresholds included.

    No core reaches farther than those of its neighbours: a peak in a short ring spreads its thresholds on one frame alone.
    Cores of one number and empty ones stay as they are, as do those of rings in which all pixels were alike.
    """
    low, high = core.low, core.high
    rings = lower.size
    reach = np.empty(rings)
    for r in range(rings):
        reach[r] = CORE * (found.offset[r] - lower[r])
    for r in range(rings):
        if low[r] < high[r] and not core.constant[r] and reach[r] > 0:
            least = reach[r]
            for other in range(max(r - BESIDE, 0), min(r + BESIDE + 1, rings)):
                if reach[other] > 0:
                    least = min(least, reach[other])
            low[r] = max(found.offset[r] - least, -FARTHEST)
            high[r] = min(max(found.offset[r] + least, rule.threshold), FARTHEST)

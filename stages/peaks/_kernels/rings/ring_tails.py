"""Thresholds of the fast search: from samples of each ring, and from all pixels of its upper tail."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.rings.ring_moments import (
    FARTHEST,
    NO_THRESHOLD,
    ROUNDS,
    bulk_of,
    moments,
    moments_within,
    thresholds_of,
)
from stages.peaks._kernels.rings.ring_tuples import Listed, Rule, Samples, Thresholds

Array = NDArray[Any]

NEIGHBOURS = 8
"""Rings to either side that help to find the threshold of a sampled one."""
FEWEST_FOR_LINE = 5
"""Rings through which a line may be drawn."""
LEAST_VARIANCE = 0.02
"""Photons of the background have no smaller variance in the formula of a threshold's error, which would be endless at 0."""
TAIL = 0.85
"""Where the tail of a sampled ring begins, in units of the threshold's distance from the mean."""


@kernel
def sampled_cuts(samples: Samples, rule: Rule, found: Thresholds, whole: Array) -> None:
    """Set ``found.upper[r]`` to where a ring's tail begins, and ``whole[r]`` to the moments of its samples.

    The tail is what lies further above the mean of the bulk than TAIL min_snr sigma, and above `threshold`. A ring whose
    pixels are all samples gets its mean and final threshold at once.
    """
    values, first, count = samples
    offset, upper = found
    rings = first.size - 1
    for r in range(rings):
        of_ring = values[first[r] : first[r + 1]]
        if of_ring.size >= count[r]:
            offset[r], upper[r] = clip_samples(of_ring, rule)
            continue
        of_all = moments(of_ring, -FARTHEST, FARTHEST)
        whole[r, 0], whole[r, 1], whole[r, 2] = of_all
        _, mean, sigma, _, _ = bulk_of(of_ring, of_all)
        offset[r] = mean
        upper[r] = np.float32(max(mean + TAIL * rule.min_snr * sigma, rule.threshold))
    offset[rings] = 0.0
    upper[rings] = NO_THRESHOLD


@kernel
def clip_samples(values: Array, rule: Rule) -> tuple[float, np.float32]:
    """Return mean and upper threshold of the values, after the usual rounds."""
    lower = -FARTHEST
    higher = FARTHEST
    mean = 0.0
    n_before = -1.0
    total_before = 0.0
    for _ in range(ROUNDS):
        n, total, total_sq = moments(values, lower, higher)
        if n == n_before and total == total_before:
            break
        n_before = n
        total_before = total
        mean, lower, higher = thresholds_of(n, total, total_sq, rule)
    return mean, higher


@kernel
def tails_of(ring: Array, listed: Listed, rings: int) -> tuple[Array, Array]:
    """Return the listed values in the order of their rings, and where each ring's begin (rings + 1)."""
    place, value = listed.place, listed.value
    begin = np.zeros(rings + 1, np.int64)
    for k in range(place.size):
        begin[ring[place[k]]] += 1
    for r in range(1, rings):
        begin[r] += begin[r - 1]
    tail = np.empty(place.size, np.float32)
    for k in range(place.size - 1, -1, -1):
        r = ring[place[k]]
        begin[r] -= 1
        tail[begin[r]] = value[k]
    begin[rings] = place.size
    return tail, begin


@kernel
def clip_tails(
    samples: Samples, whole: Array, ring: Array, listed: Listed, rule: Rule, cut: Array, found: Thresholds
) -> bool:
    """Find each ring's mean and upper threshold from its samples below the `cut` and all its pixels above (the listed ones).

    The moments of all samples are in `whole` (rings, 3). The samples stand for all pixels of the ring that are not listed.
    Where they are all the same number, as on a frame that is nearly empty, they are never clipped: others of the ring would
    have kept the bounds apart. Returns whether all pixels above their threshold are sure to be listed.
    """
    values, first, count = samples
    offset, upper = found
    rings = first.size - 1
    tail, begin = tails_of(ring, listed, rings)
    sampled = np.zeros(rings)
    variance = np.zeros(rings)
    for r in range(rings):
        of_ring = values[first[r] : first[r + 1]]
        if of_ring.size >= count[r]:
            upper[r] = cut[r]
            continue
        of_all = whole[r, 0], whole[r, 1], whole[r, 2]
        in_tail = tail[begin[r] : begin[r + 1]]
        lower = -FARTHEST
        higher = FARTHEST
        mean = 0.0
        beyond = np.nextafter(cut[r], np.float32(np.inf))
        scale = 1.0
        n_before = -1.0
        total_before = 0.0
        constant = False
        for step in range(ROUNDS):
            lowest = -FARTHEST if constant else lower
            n, total, total_sq = moments_within(of_ring, of_all, lowest, min(higher, beyond))
            if step == 0 and n > 0:
                scale = (count[r] - in_tail.size) / n
                constant = n * total_sq == total * total
            n *= scale
            total *= scale
            total_sq *= scale
            if in_tail.size > 0:
                n_listed, total_listed, total_sq_listed = moments(in_tail, lower, higher)
                n += n_listed
                total += total_listed
                total_sq += total_sq_listed
            if n == n_before and total == total_before:
                break
            n_before = n
            total_before = total
            mean, lower, higher = thresholds_of(n, total, total_sq, rule)
        offset[r] = mean
        upper[r] = higher
        if n > 0:
            sampled[r] = n / scale
            variance[r] = max(total_sq / n - mean * mean, 0.0)
    draw_together(sampled, count, variance, rule, found)
    complete = True
    for r in range(rings):
        complete &= upper[r] >= cut[r]
    offset[rings] = 0.0
    upper[rings] = NO_THRESHOLD
    return complete


@kernel
def draw_together(sampled: Array, count: Array, variance: Array, rule: Rule, found: Thresholds) -> None:
    """Draw mean and threshold of each sampled ring towards a straight line through those of its neighbours.

    ``sampled[r]`` is the number of samples behind mean and variance, 0 for a ring that stays as it is. A threshold t = m + k s
    from n samples is off by a variance q / n, with q = s^2 (1 + k^2 (2 + s^-2) / 4 + k / s) for photons (and so for all that
    is nearly normal). The line through 2 NEIGHBOURS + 1 rings is off by q / N from the ring's N pixels, and by what the rings
    differ from it beyond q / n. Each counts by the inverse of its variance: so where the background has an edge, a ring
    keeps what its own samples say.
    """
    min_snr = rule.min_snr
    offset, upper = found
    rings = sampled.size
    own = np.empty(rings)
    for r in range(rings):
        own[r] = offset[r] + min_snr * math.sqrt(variance[r])
    mean_of = offset[:rings].copy()
    for r in range(rings):
        reach = min(NEIGHBOURS, r, rings - 1 - r)
        if sampled[r] == 0 or reach < 2:
            continue
        rings_used = 0
        weight = 0.0
        sum_x = 0.0
        sum_xx = 0.0
        sum_t = 0.0
        sum_xt = 0.0
        sum_m = 0.0
        sum_xm = 0.0
        spread = 0.0
        for j in range(r - reach, r + reach + 1):
            w = sampled[j]
            x = float(j - r)
            rings_used += w > 0
            weight += w
            sum_x += w * x
            sum_xx += w * x * x
            sum_t += w * own[j]
            sum_xt += w * x * own[j]
            sum_m += w * mean_of[j]
            sum_xm += w * x * mean_of[j]
            spread += w * variance[j]
        spread /= weight
        determinant = weight * sum_xx - sum_x * sum_x
        if rings_used < FEWEST_FOR_LINE or determinant <= 0 or spread <= 0:
            continue
        slope = (weight * sum_xt - sum_x * sum_t) / determinant
        line = (sum_t - slope * sum_x) / weight
        line_of_mean = (sum_m - (weight * sum_xm - sum_x * sum_m) / determinant * sum_x) / weight
        scatter = 0.0
        for j in range(r - reach, r + reach + 1):
            scatter += sampled[j] * (own[j] - line - slope * (j - r)) ** 2
        scatter /= rings_used - 2
        expected = spread * (1.0 + min_snr**2 * (2.0 + 1.0 / max(spread, LEAST_VARIANCE)) / 4.0) + min_snr * math.sqrt(
            spread
        )
        error_own = expected * (1.0 / sampled[r] - 1.0 / count[r])
        error_line = expected * (1.0 / count[r] + 1.0 / weight) + max(scatter - expected, 0.0) / sampled[r]
        trust = error_line / (error_own + error_line)
        offset[r] = line_of_mean + trust * (mean_of[r] - line_of_mean)
        upper[r] = np.float32(max(line + trust * (own[r] - line), rule.threshold))

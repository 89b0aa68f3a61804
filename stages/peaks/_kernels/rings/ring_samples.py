"""What a few pixels of each ring tell of its threshold: roughly, or, for the sampled statistics, finally."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]

ROUNDS = 5
FARTHEST = np.float32(1e9)
"""Values beyond it never count in the first round."""
BULK = 5.0
CORE = 0.7
"""How far the core reaches, in units of the threshold's distance from the mean."""
NEIGHBOURS = 8
"""Rings to either side that help to find the threshold of a sampled one."""
TAIL = 0.85
"""Where the tail of a sampled ring begins, in the same unit."""
LARGEST = np.float32(np.finfo(np.float32).max)
SMALLEST = np.float32(np.finfo(np.float32).tiny)
NO_THRESHOLD = np.float32(np.inf)
ANY_ORDER = {"reassoc", "nsz", "contract"}
"""Sums may be taken in any order; NaN stays NaN."""


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
def locate_samples(where: Array, ring: Array, sample: Array, slot: Array, masked: int, source: Array, to: Array) -> int:
    """List, for the samples in one array's panels, pixel in the flat array and slot, without those that are masked now."""
    n = 0
    for p in range(where.shape[0]):
        begin = where[p, START]
        width = where[p, WIDTH]
        first = np.searchsorted(sample, begin)
        last = np.searchsorted(sample, begin + width * where[p, HEIGHT])
        for k in range(first, last):
            place = sample[k]
            if ring[place] == masked:
                continue
            ss = (place - begin) // width
            fs = (place - begin) - ss * width
            source[n] = where[p, OFFSET] + ss * where[p, STRIDE_SS] + fs * where[p, STRIDE_FS]
            to[n] = slot[k]
            n += 1
    return n


@kernel
def take_samples(flat: Array, source: Array, to: Array, out: Array) -> None:
    """Put samples into their slots of `out`; infinite ones as NaN."""
    for k in range(source.size):
        value = np.float32(flat[np.uint64(source[k])])
        if not abs(value) <= LARGEST:
            value = np.float32(np.nan)
        out[np.uint64(to[k])] = value


@kernel(fastmath=ANY_ORDER)
def moments(values: Array, below: np.float32, above: np.float32) -> tuple[float, float, float]:
    """Return number, sum and sum of squares of the values between the bounds, exclusive."""
    n = 0.0
    total = 0.0
    total_sq = 0.0
    for k in range(values.size):
        inside = (values[k] > below) & (values[k] < above)
        value = np.float64(values[k]) if inside else 0.0
        n += 1.0 if inside else 0.0
        total += value
        total_sq += value * value
    return n, total, total_sq


@kernel
def thresholds_of(
    n: float, total: float, total_sq: float, threshold: float, min_snr: float
) -> tuple[float, np.float32, np.float32]:
    """Return a ring's mean, and the lower and upper threshold mean -+ min_snr sigma; the upper is `threshold` at least.

    A ring without pixels gets CrystFEL's answer: mean 0, thresholds the smallest and the largest positive float32.
    """
    if n == 0:
        return 0.0, SMALLEST, LARGEST
    mean = total / n
    sigma = math.sqrt(max(total_sq / n - mean * mean, 0.0))
    return mean, np.float32(mean - min_snr * sigma), np.float32(max(mean + min_snr * sigma, threshold))


@kernel
def sampled_cuts(
    values: Array, first: Array, count: Array, threshold: float, min_snr: float, offset: Array, upper: Array
) -> None:
    """Set ``upper[r]`` to where a ring's tail begins, from its samples ``values[first[r]:first[r + 1]]``.

    The tail is what lies further above the mean of the bulk (what is within 5 sigma) than TAIL min_snr sigma, and above
    `threshold`. A ring whose pixels are all samples gets its mean (`offset`) and final threshold at once.
    """
    rings = first.size - 1
    for r in range(rings):
        of_ring = values[first[r] : first[r + 1]]
        below = -FARTHEST
        above = FARTHEST
        mean = 0.0
        sigma = 0.0
        n = -1.0
        if of_ring.size >= count[r]:
            offset[r], upper[r] = clip_samples(of_ring, threshold, min_snr)
            continue
        for _ in range(ROUNDS):
            in_bulk, total, total_sq = moments(of_ring, below, above)
            if in_bulk in (0.0, n):
                break
            n = in_bulk
            mean = total / n
            sigma = math.sqrt(max(total_sq / n - mean * mean, 0.0))
            below = np.float32(mean - BULK * sigma)
            above = np.float32(mean + BULK * sigma)
        offset[r] = mean
        upper[r] = np.float32(max(mean + TAIL * min_snr * sigma, threshold))
    offset[rings] = 0.0
    upper[rings] = NO_THRESHOLD


@kernel
def clip_samples(values: Array, threshold: float, min_snr: float) -> tuple[float, np.float32]:
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
        mean, lower, higher = thresholds_of(n, total, total_sq, threshold, min_snr)
    return mean, higher


@kernel
def clip_tails(
    values: Array,
    first: Array,
    count: Array,
    ring: Array,
    place: Array,
    value: Array,
    threshold: float,
    min_snr: float,
    cut: Array,
    offset: Array,
    upper: Array,
) -> bool:
    """Find each ring's mean and upper threshold from its samples below the `cut` and all its pixels above (the listed ones).

    The samples stand for all pixels of the ring that are not listed. Where they are all the same number, as on a frame that is
    nearly empty, they are never clipped: others of the ring would have kept the bounds apart. Returns whether all pixels
    above their threshold are sure to be listed.
    """
    rings = first.size - 1
    end = np.zeros(rings + 1, np.int64)
    for k in range(place.size):
        end[ring[place[k]]] += 1
    for r in range(1, rings):
        end[r] += end[r - 1]
    tail = np.empty(place.size, np.float32)
    for k in range(place.size - 1, -1, -1):
        r = ring[place[k]]
        end[r] -= 1
        tail[end[r]] = value[k]
    end[rings] = place.size
    sampled = np.zeros(rings)
    variance = np.zeros(rings)
    complete = True
    for r in range(rings):
        of_ring = values[first[r] : first[r + 1]]
        if of_ring.size >= count[r]:
            upper[r] = cut[r]
            continue
        listed = tail[end[r] : end[r + 1]]
        lower = -FARTHEST
        higher = FARTHEST
        mean = 0.0
        beyond = np.nextafter(cut[r], np.float32(np.inf))
        scale = 1.0
        n_before = -1.0
        total_before = 0.0
        constant = False
        for step in range(ROUNDS):
            n, total, total_sq = moments(of_ring, -FARTHEST if constant else lower, min(higher, beyond))
            if step == 0 and n > 0:
                scale = (count[r] - listed.size) / n
                constant = n * total_sq == total * total
            n *= scale
            total *= scale
            total_sq *= scale
            if listed.size > 0:
                n_listed, total_listed, total_sq_listed = moments(listed, lower, higher)
                n += n_listed
                total += total_listed
                total_sq += total_sq_listed
            if n == n_before and total == total_before:
                break
            n_before = n
            total_before = total
            mean, lower, higher = thresholds_of(n, total, total_sq, threshold, min_snr)
        offset[r] = mean
        upper[r] = higher
        if n > 0:
            sampled[r] = n / scale
            variance[r] = max(total_sq / n - mean * mean, 0.0)
    draw_together(sampled, count, variance, threshold, min_snr, offset, upper)
    for r in range(rings):
        complete &= upper[r] >= cut[r]
    offset[rings] = 0.0
    upper[rings] = NO_THRESHOLD
    return complete


@kernel
def draw_together(
    sampled: Array, count: Array, variance: Array, threshold: float, min_snr: float, offset: Array, upper: Array
) -> None:
    """Draw mean and threshold of each sampled ring towards a straight line through those of its neighbours.

    ``sampled[r]`` is the number of samples behind mean and variance, 0 for a ring that stays as it is. A threshold t = m + k s
    from n samples is off by a variance q / n, with q = s^2 (1 + k^2 (2 + s^-2) / 4 + k / s) for photons (and so for all that
    is nearly normal). The line through 2 NEIGHBOURS + 1 rings is off by q / N from the ring's N pixels, and by what the rings
    differ from it beyond q / n. Each counts by the inverse of its variance: so where the background has an edge, a ring
    keeps what its own samples say.
    """
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
        if rings_used < 5 or determinant <= 0 or spread <= 0:
            continue
        slope = (weight * sum_xt - sum_x * sum_t) / determinant
        line = (sum_t - slope * sum_x) / weight
        line_of_mean = (sum_m - (weight * sum_xm - sum_x * sum_m) / determinant * sum_x) / weight
        scatter = 0.0
        for j in range(r - reach, r + reach + 1):
            scatter += sampled[j] * (own[j] - line - slope * (j - r)) ** 2
        scatter /= rings_used - 2
        expected = spread * (1.0 + min_snr**2 * (2.0 + 1.0 / max(spread, 0.02)) / 4.0) + min_snr * math.sqrt(spread)
        error_own = expected * (1.0 / sampled[r] - 1.0 / count[r])
        error_line = expected * (1.0 / count[r] + 1.0 / weight) + max(scatter - expected, 0.0) / sampled[r]
        trust = error_line / (error_own + error_line)
        offset[r] = line_of_mean + trust * (mean_of[r] - line_of_mean)
        upper[r] = np.float32(max(line + trust * (own[r] - line), threshold))


@kernel
def estimate_core(
    values: Array,
    first: Array,
    count: Array,
    threshold: float,
    min_snr: float,
    low: Array,
    high: Array,
    constant: Array,
) -> None:
    """Choose each ring's core (low, high), exclusive, from its samples ``values[first[r]:first[r + 1]]``.

    With mean and sigma of the bulk of the samples (within 5 sigma) it reaches CORE min_snr sigma to either side, and at least
    up to `threshold`. Where the bulk is one number, the core is that number alone and `constant` is set. A ring that has no
    more than a few pixels (all of them are samples), or no good sample, has an empty core: all its pixels will be listed.
    """
    for r in range(first.size - 1):
        of_ring = values[first[r] : first[r + 1]]
        below = -FARTHEST
        above = FARTHEST
        mean = 0.0
        sigma = 0.0
        n = 0.0
        kept_below = below
        kept_above = above
        for _ in range(ROUNDS if of_ring.size < count[r] else 0):
            in_bulk, total, total_sq = moments(of_ring, below, above)
            if in_bulk in (0.0, n):
                break
            n = in_bulk
            kept_below = below
            kept_above = above
            mean = total / n
            sigma = math.sqrt(max(total_sq / n - mean * mean, 0.0))
            below = np.float32(mean - BULK * sigma)
            above = np.float32(mean + BULK * sigma)
        constant[r] = 0
        if n == 0:
            low[r] = FARTHEST
            high[r] = -FARTHEST
            continue
        low[r] = max(mean - CORE * min_snr * sigma, -FARTHEST)
        high[r] = min(max(mean + CORE * min_snr * sigma, threshold), FARTHEST)
        if sigma <= 1e-6 * abs(mean):
            least = np.float32(np.inf)
            most = np.float32(-np.inf)
            for k in range(of_ring.size):
                if of_ring[k] > kept_below and of_ring[k] < kept_above:
                    least = min(least, of_ring[k])
                    most = max(most, of_ring[k])
            if least == most:
                low[r] = np.nextafter(least, np.float32(-np.inf))
                high[r] = np.nextafter(least, np.float32(np.inf))
                constant[r] = 1

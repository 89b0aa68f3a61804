"""Kernels for the statistics of rings: mean and threshold of all pixels at the same distance from the beam.

The file is longer than most because numba caches a kernel safely only together with all that it calls.

Words: a *ring* is the set of pixels whose distance from the beam rounds to the same number of pixels; `ring` is a uint16
map in packed order (see ``stages/tables.py``) of each pixel's ring, with masked pixels in a ring of their own, the last.
A *block* is BLOCK neighbouring pixels of a row (fewer at its end). Pixels are taken as float32, whatever their type on the
wire; sums are exact for integers, float64 for the others.

The statistics ask for five rounds of clipping over all pixels. What is done instead gives the same numbers in one pass:
a few pixels of each ring tell roughly where the thresholds will be (:func:`estimate`, :func:`choose_core`); the pass adds up
what lies well within (the ring's *core*) and lists what does not (:func:`collect_integers`, :func:`collect_floats`); then each
round adds the listed pixels that are within its thresholds to the core (:func:`clip`). A ring whose thresholds come to cut
into its core is done by five plain rounds (:func:`gather`, :func:`clip_plainly`).

A block is looked at pixel by pixel only where one of them is outside what *all* rings of the block have in common: the
rings of a block are a range of numbers, and tables of the range's least and greatest bound (:func:`range_tables`) cost
next to nothing.
"""

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from stages.kernel import kernel

OFFSET, STRIDE_SS, STRIDE_FS, WIDTH, HEIGHT, START = range(6)
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

BLOCK = 256
PART = 32
"""Pixels of a block that are looked at together, once the block has one that is beyond its bounds."""
FIRST_RING, LAST_RING, LEVEL = range(3)
"""Columns of the table of blocks: the range of rings, and the power of two that fits in it; LEVEL -1: all masked."""

SQUARES = np.int64(36)
"""Bits of a packed sum that hold the sum of squares; the sum stands above them."""
SQUARES_MASK = np.int64((1 << 36) - 1)
LARGEST_PACKED_SQUARES = float(1 << 36)
LARGEST_PACKED_SUM = float(1 << 27)

ANY_ORDER = {"reassoc", "nsz", "contract"}
"""Sums may be taken in any order; NaN stays NaN."""

Array = NDArray[Any]


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
                for i in range(first, min(first + BLOCK, row + width[p])):
                    r = int(ring[i])
                    if r != masked and not bad[i]:
                        lowest = min(lowest, r)
                        highest = max(highest, r)
                level = -1
                span = highest - lowest + 1
                while span > 0:
                    level += 1
                    span >>= 1
                block[n, FIRST_RING] = lowest
                block[n, LAST_RING] = highest
                block[n, LEVEL] = level
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


@kernel
def pick(ring: Array, upper: Array, place: Array, value: Array, out: Array) -> int:
    """Choose from the listed pixels those above their ring's threshold; return how many."""
    n = 0
    for k in range(place.size):
        if value[k] > upper[ring[place[k]]] and value[k] <= LARGEST:
            out[n] = place[k]
            n += 1
    return n


def any_above(pixels: Array, limit: np.float32) -> bool:
    """Return whether a pixel is above the limit."""
    return bool((pixels.astype(np.float32) > limit).any())


@overload(any_above)
def any_above_compiled(pixels: Any, limit: np.float32) -> Any:  # noqa: ARG001
    """Give integers a maximum in their own type, which takes half the time; NaN would spoil that of floats."""
    if isinstance(pixels.dtype, types.Integer):

        def integers(pixels: Any, limit: np.float32) -> Any:
            highest = pixels[0]
            for x in range(np.uint64(pixels.size)):
                highest = pixels[x] if pixels[x] > highest else highest
            return bool(np.float32(highest) > limit)

        return integers

    def floats(pixels: Any, limit: np.float32) -> Any:
        above = False
        for x in range(np.uint64(pixels.size)):
            above |= bool(np.float32(pixels[x]) > limit)
        return above

    return floats


@kernel
def any_good_above(pixels: Array, rings: Array, limit: np.float32, masked: np.uint16) -> bool:
    """Return whether a pixel that is not masked is above the limit."""
    above = False
    for x in range(np.uint64(pixels.size)):
        above |= (np.float32(pixels[x]) > limit) & (rings[x] != masked)
    return above


@kernel
def list_above(
    pixels: Array, rings: Array, upper: Array, limit: np.float32, begin: int, n: int, place: Array, value: Array
) -> int:
    """List a block's pixels above their ring's threshold, from number `n` on; return how many are listed now."""
    size = np.uint64(pixels.size)
    for part in range(np.uint64(0), size, np.uint64(PART)):
        if not any_above(pixels[part : part + PART], limit):
            continue
        for x in range(part, min(part + np.uint64(PART), size)):
            v = np.float32(pixels[x])
            if v > upper[rings[x]] and v <= LARGEST:
                if n < place.size:
                    place[n] = begin + x
                    value[n] = v
                n += 1
    return n


@kernel
def screen(
    flat: Array,
    where: Array,
    ring: Array,
    upper: Array,
    block: Array,
    block_of_panel: Array,
    uppers: Array,
    n: int,
    place: Array,
    value: Array,
) -> int:
    """List all pixels above their ring's threshold: place and value, from number `n` on.

    Returns how many are listed now; `place` and `value` may hold only the first of them.
    """
    masked = np.uint16(upper.size - 1)
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
                x1 = min(x0 + BLOCK, width)
                rings = ring[begin + x0 : begin + x1]
                last = block[b, LAST_RING] - (1 << level) + 1
                limit = min(uppers[level, block[b, FIRST_RING]], uppers[level, last])
                if step == 1:
                    pixels = flat[row + x0 : row + x1]
                else:
                    pixels = buffer[: x1 - x0]
                    for x in range(x0, x1):
                        buffer[x - x0] = flat[row + x * step]
                if any_above(pixels, limit) and any_good_above(pixels, rings, limit, masked):
                    n = list_above(pixels, rings, upper, limit, begin + x0, n, place, value)
    return n

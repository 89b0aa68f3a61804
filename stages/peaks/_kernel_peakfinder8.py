"""Kernels of peakfinder8: ring statistics over all panels, then peaks as connected pixels above their ring's threshold.

The file is longer than most because numba caches a kernel safely only together with all that it calls.

Words: a *ring* is the set of pixels whose distance from the beam rounds to the same number of pixels; `ring` is a uint16
map in packed order (see ``stages/tables.py``) of each pixel's ring, with masked pixels in a ring of their own, the last.
Pixels are taken as float32, whatever their type on the wire; sums are float64.

The statistics ask for five rounds of clipping over all pixels. What is done instead gives the same numbers in one pass:
a few pixels of each ring tell roughly where the thresholds will be (:func:`estimate_core`); the pass adds up what lies well
within (the ring's *core*) and lists what does not (:func:`collect`); then each round adds the listed pixels that are within its
thresholds to the core (:func:`clip`). A ring whose thresholds come to cut into its core is done by five
plain rounds (:func:`gather`, :func:`clip_plainly`).
"""

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

OFFSET, STRIDE_SS, STRIDE_FS, WIDTH, HEIGHT, START = range(6)
ROUNDS = 5
FARTHEST = np.float32(1e9)
"""Values beyond it never count in the first round."""
BULK = 5.0
LARGEST = np.float32(np.finfo(np.float32).max)
SMALLEST = np.float32(np.finfo(np.float32).tiny)
NO_THRESHOLD = np.float32(np.inf)

FS, SS, INTENSITY, SNR, HIGHEST, HIGHEST_ABOVE_BACKGROUND, NUM_PIXELS = range(7)
"""Columns of the table of peaks."""

Array = NDArray[Any]


@njit(cache=True, nogil=True)
def radii(vectors: Array, width: int, height: int, out: Array) -> None:
    """Fill `out` (height * width) with the distance of one panel's pixels from the beam, float32, in pixels.

    `vectors` is cnx, cny, fsx, fsy, ssx, ssy in pixels. As in CrystFEL, x and y are cut down to whole pixels first.
    """
    for ss in range(height):
        for fs in range(width):
            x = int(vectors[0] + fs * vectors[2] + ss * vectors[4])
            y = int(vectors[1] + fs * vectors[3] + ss * vectors[5])
            out[ss * width + fs] = math.sqrt(x * x + y * y)


@njit(cache=True, nogil=True)
def fold_mask(ring: Array, bad: Array, out: Array, count: Array) -> None:
    """Put bad pixels in the last ring (`out`), and count the pixels of each ring."""
    masked = count.size - 1
    count[:] = 0
    for i in range(ring.size):
        r = masked if bad[i] else ring[i]
        out[i] = r
        count[r] += 1


@njit(cache=True, nogil=True)
def choose_samples(ring: Array, width: Array, start: Array, count: Array, per_ring: int, out: Array) -> int:
    """List (packed places, ascending) up to `per_ring` pixels of each ring but the last, spread evenly; return how many.

    They are taken from every eighth row where that gives enough: fewer rows touch fewer pages of memory.
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
            if in_rows[r] >= per_ring:
                if ((i - start[p]) // width[p]) % 8 != 0:
                    continue
                available = in_rows[r]
            # the k-th of `available` pixels is chosen where k * per_ring passes another multiple of `available`
            k = seen[r]
            seen[r] += 1
            if available <= per_ring or (k * per_ring) // available != ((k + 1) * per_ring) // available:
                out[n] = i
                n += 1
    return n


@njit(cache=True, nogil=True)
def take_samples(flat: Array, where: Array, ring: Array, sample: Array, slot: Array, masked: int, out: Array) -> None:
    """Put the samples of one array's panels into their slots of `out`; NaN where masked or not finite."""
    for p in range(where.shape[0]):
        begin = where[p, START]
        width = where[p, WIDTH]
        first = np.searchsorted(sample, begin)
        last = np.searchsorted(sample, begin + width * where[p, HEIGHT])
        for k in range(first, last):
            place = sample[k]
            ss = (place - begin) // width
            fs = (place - begin) - ss * width
            value = np.float32(flat[where[p, OFFSET] + ss * where[p, STRIDE_SS] + fs * where[p, STRIDE_FS]])
            if ring[place] == masked or not abs(value) <= LARGEST:
                value = np.float32(np.nan)
            out[slot[k]] = value


@njit(cache=True, nogil=True)
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

    With mean and sigma of the bulk of the samples (within 5 sigma) it reaches 0.6 min_snr sigma to either side, and at least up
    to `threshold`. Where the bulk is one number, the core is that number alone and `constant` is set. A ring that has no
    more than a few pixels (all of them are samples), or no good sample, has an empty core: all its pixels will be listed.
    """
    for r in range(first.size - 1):
        below = -FARTHEST
        above = FARTHEST
        mean = 0.0
        sigma = 0.0
        least = np.float32(np.inf)
        most = np.float32(-np.inf)
        for _ in range(ROUNDS if first[r + 1] - first[r] < count[r] else 0):
            n = 0
            total = 0.0
            total_sq = 0.0
            lowest = np.float32(np.inf)
            highest = np.float32(-np.inf)
            for k in range(first[r], first[r + 1]):
                if values[k] > below and values[k] < above:
                    value = np.float64(values[k])
                    n += 1
                    total += value
                    total_sq += value * value
                    lowest = min(lowest, values[k])
                    highest = max(highest, values[k])
            if n == 0:
                break
            least = lowest
            most = highest
            mean = total / n
            sigma = math.sqrt(max(total_sq / n - mean * mean, 0.0))
            below = np.float32(mean - BULK * sigma)
            above = np.float32(mean + BULK * sigma)
        if least > most:
            low[r] = FARTHEST
            high[r] = -FARTHEST
            constant[r] = 0
        elif least == most:
            low[r] = np.nextafter(least, np.float32(-np.inf))
            high[r] = np.nextafter(least, np.float32(np.inf))
            constant[r] = 1
        else:
            low[r] = max(mean - 0.6 * min_snr * sigma, -FARTHEST)
            high[r] = min(max(mean + 0.6 * min_snr * sigma, threshold), FARTHEST)
            constant[r] = 0


@njit(cache=True, nogil=True)
def collect(
    flat: Array,
    where: Array,
    ring: Array,
    low: Array,
    high: Array,
    masked: int,
    sums: Array,
    n: int,
    place: Array,
    value: Array,
) -> int:
    """Add up the pixels within their ring's core, and list the others: place and value, from number `n` on.

    ``sums[r, :, 0]`` and ``[r, :, 1]`` add up to the sum and the sum of squares; the four lanes keep neighbouring pixels, which
    often share a ring, from waiting for each other. Returns how many are listed now, or -1 if there are too many.
    """
    for p in range(where.shape[0]):
        width = where[p, WIDTH]
        step = where[p, STRIDE_FS]
        for ss in range(where[p, HEIGHT]):
            begin = where[p, START] + ss * width
            here = ring[begin : begin + width]
            row = where[p, OFFSET] + ss * where[p, STRIDE_SS]
            pixels = flat[row : row + width * step : step] if step != 1 else flat[row : row + width]
            if n + width > place.size:
                return -1
            for x in range(np.uint64(here.size)):
                r = here[x]
                v = np.float32(pixels[x])
                if v > low[r] and v < high[r]:
                    exact = np.float64(v)
                    lane = x & np.uint64(3)
                    sums[r, lane, 0] += exact
                    sums[r, lane, 1] += exact * exact
                elif r != masked:
                    place[n] = begin + x
                    value[n] = v
                    n += 1
    return n


@njit(cache=True, nogil=True)
def thresholds_of(
    n: int, total: float, total_sq: float, threshold: float, min_snr: float
) -> tuple[float, np.float32, np.float32]:
    """Return a ring's mean, and the lower and upper threshold mean -+ min_snr sigma; the upper is `threshold` at least.

    A ring without pixels gets CrystFEL's answer: mean 0, thresholds the smallest and the largest positive float32.
    """
    if n == 0:
        return 0.0, SMALLEST, LARGEST
    mean = total / n
    sigma = math.sqrt(max(total_sq / n - mean * mean, 0.0))
    return mean, np.float32(mean - min_snr * sigma), np.float32(max(mean + min_snr * sigma, threshold))


@njit(cache=True, nogil=True)
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
    for k in range(place.size):
        core_n[ring[place[k]]] -= 1
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
                total[r] = sums[r, :, 0].sum()
                total_sq[r] = sums[r, :, 1].sum()
        for k in range(place.size):
            r = ring[place[k]]
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def pick(ring: Array, upper: Array, place: Array, value: Array, out: Array) -> int:
    """Choose from the listed pixels those above their ring's threshold; return how many."""
    n = 0
    for k in range(place.size):
        if value[k] > upper[ring[place[k]]] and value[k] <= LARGEST:
            out[n] = place[k]
            n += 1
    return n


@njit(cache=True, nogil=True)
def screen(flat: Array, where: Array, ring: Array, upper: Array, out: Array) -> int:
    """List all pixels above their ring's threshold; return how many there are, of which `out` may hold only the first."""
    n = 0
    for p in range(where.shape[0]):
        width = where[p, WIDTH]
        for ss in range(where[p, HEIGHT]):
            begin = where[p, START] + ss * width
            row = where[p, OFFSET] + ss * where[p, STRIDE_SS]
            for fs in range(width):
                v = np.float32(flat[row + fs * where[p, STRIDE_FS]])
                if v > upper[ring[begin + fs]] and v <= LARGEST:
                    if n < out.size:
                        out[n] = begin + fs
                    n += 1
    return n


@njit(cache=True, nogil=True)
def flood(
    flat: Array, where: Array, ring: Array, upper: Array, offset: Array, mark: Array, pool: Array, seed: int, head: int
) -> tuple[int, float, float]:
    """Mark all pixels above threshold that hang together (by sides or corners) with `seed`, and list them in `pool`.

    The list begins at `head`. Returns where it ends, and the centroid from the seed, weighted with the absolute deviation
    from the ring's mean; NaN where all weights are 0.
    """
    origin, stride_ss, stride_fs = where[OFFSET], where[STRIDE_SS], where[STRIDE_FS]
    width, height, start = where[WIDTH], where[HEIGHT], where[START]
    seed_ss = (seed - start) // width
    seed_fs = (seed - start) - seed_ss * width
    pool[head] = seed
    mark[seed] = 1
    tail = head + 1
    total = 0.0
    total_fs = 0.0
    total_ss = 0.0
    while head < tail:
        here = pool[head]
        head += 1
        ss = (here - start) // width
        fs = (here - start) - ss * width
        value = np.float32(flat[origin + ss * stride_ss + fs * stride_fs])
        weight = abs(value - offset[ring[here]])
        total += weight
        total_fs += weight * (fs - seed_fs)
        total_ss += weight * (ss - seed_ss)
        for y in range(max(ss - 1, 0), min(ss + 2, height)):
            for x in range(max(fs - 1, 0), min(fs + 2, width)):
                next_to = start + y * width + x
                if mark[next_to]:
                    continue
                value = np.float32(flat[origin + y * stride_ss + x * stride_fs])
                if value > upper[ring[next_to]] and value <= LARGEST:
                    mark[next_to] = 1
                    pool[tail] = next_to
                    tail += 1
    if total < 1e-10:
        return tail, np.nan, np.nan
    return tail, total_fs / total, total_ss / total


@njit(cache=True, nogil=True)
def local_background(
    flat: Array, where: Array, ring: Array, upper: Array, mark: Array, fs: int, ss: int, radius: int
) -> tuple[int, float, float, float]:
    """Return number, mean, standard deviation and highest value (0 at least) of the background pixels near (fs, ss).

    Those are the pixels below their threshold, in no peak, within twice `radius`; of the square's edges only the left and
    upper belong to it, as in CrystFEL.
    """
    origin, stride_ss, stride_fs = where[OFFSET], where[STRIDE_SS], where[STRIDE_FS]
    width, height, start = where[WIDTH], where[HEIGHT], where[START]
    reach = 2 * radius
    masked = upper.size - 1
    n = 0
    total = 0.0
    total_sq = 0.0
    highest = 0.0
    for y in range(max(ss - reach, 0), min(ss + reach, height)):
        for x in range(max(fs - reach, 0), min(fs + reach, width)):
            if (x - fs) * (x - fs) + (y - ss) * (y - ss) > reach * reach:
                continue
            place = start + y * width + x
            r = ring[place]
            value = np.float32(flat[origin + y * stride_ss + x * stride_fs])
            if r == masked or mark[place] or not (value < upper[r] and value >= -LARGEST):
                continue
            exact = np.float64(value)
            n += 1
            total += exact
            total_sq += exact * exact
            highest = max(highest, exact)
    if n == 0:
        return 0, 0.0, 0.01, 0.0
    mean = total / n
    variance = total_sq / n - mean * mean
    return n, mean, math.sqrt(variance) if variance >= 0 else 0.01, highest


@njit(cache=True, nogil=True)
def find_peaks(
    flat: Array,
    where: Array,
    ring: Array,
    upper: Array,
    offset: Array,
    candidate: Array,
    min_pix_count: int,
    max_pix_count: int,
    local_bg_radius: int,
    min_snr: float,
    mark: Array,
    pool: Array,
    peak: Array,
    row_of_peak: Array,
) -> int:
    """Grow peaks from the candidates of one array's panels (packed places, ascending), and measure them.

    Fills rows of `peak` (see the columns above; positions of pixel centres are whole numbers) and the panels' rows of
    `where`; returns how many, and stops when `peak` is full. `mark` is all 0 before and after.
    """
    n = 0
    p = 0
    used = 0
    masked = upper.size - 1
    for k in range(candidate.size):
        seed = candidate[k]
        while seed >= where[p, START] + where[p, WIDTH] * where[p, HEIGHT]:
            p += 1
            for i in range(used):
                mark[pool[i]] = 0
            used = 0
        panel = where[p]
        width, height, start = panel[WIDTH], panel[HEIGHT], panel[START]
        seed_ss = (seed - start) // width
        seed_fs = (seed - start) - seed_ss * width
        at_border = seed_fs < 1 or seed_fs >= width - 1 or seed_ss < 1 or seed_ss >= height - 1
        if at_border or mark[seed]:
            continue
        begin = used
        used, shift_fs, shift_ss = flood(flat, panel, ring, upper, offset, mark, pool, seed, begin)
        if math.isnan(shift_fs) or not min_pix_count <= used - begin <= max_pix_count:
            continue
        # fabs-weighted, so the centroid lies within the peak's extent, and on the panel
        centre_fs = int(np.rint(seed_fs + shift_fs))
        centre_ss = int(np.rint(seed_ss + shift_ss))
        in_background, background, sigma, background_highest = local_background(
            flat, panel, ring, upper, mark, centre_fs, centre_ss, local_bg_radius
        )
        if in_background == 0:
            r = ring[start + centre_ss * width + centre_fs]
            background = offset[r] if r != masked else offset[ring[seed]]
        raw = 0.0
        intensity = 0.0
        highest = -np.inf
        sum_fs = 0.0
        sum_ss = 0.0
        for i in range(begin, used):
            ss = (pool[i] - start) // width
            fs = (pool[i] - start) - ss * width
            value = np.float64(np.float32(flat[panel[OFFSET] + ss * panel[STRIDE_SS] + fs * panel[STRIDE_FS]]))
            raw += value
            intensity += value - background
            highest = max(highest, value)
            sum_fs += value * (fs - seed_fs)
            sum_ss += value * (ss - seed_ss)
        if raw < 1e-10:
            continue
        snr = intensity / sigma if sigma > 1e-10 else 0.0
        above_background = max(highest - background, 0.0)
        if snr < min_snr or above_background < background_highest - background:
            continue
        fs_found = seed_fs + sum_fs / raw
        ss_found = seed_ss + sum_ss / raw
        if not (0 <= fs_found <= width - 1 and 0 <= ss_found <= height - 1):
            continue
        peak[n, FS] = fs_found
        peak[n, SS] = ss_found
        peak[n, INTENSITY] = intensity
        peak[n, SNR] = snr
        peak[n, HIGHEST] = highest
        peak[n, HIGHEST_ABOVE_BACKGROUND] = above_background
        peak[n, NUM_PIXELS] = used - begin
        row_of_peak[n] = p
        n += 1
        if n == peak.shape[0]:
            break
    for i in range(used):
        mark[pool[i]] = 0
    return n

"""Kernels of peakfinder8: peaks as connected pixels above the threshold of their ring.

Rings and their thresholds come from ``rings``. `ring` is a uint16 map in packed order (see ``stages/pixels/tables.py``) of
each pixel's ring, with masked pixels in a ring of their own, the last, whose threshold is infinite. Pixels are taken as
float32, whatever their type on the wire; sums are float64.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.panels import LARGEST, ArrayPixels
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

FS, SS, INTENSITY, SNR, HIGHEST, HIGHEST_ABOVE_BACKGROUND, NUM_PIXELS, N_COLUMNS = range(8)
"""Columns of the table of peaks, and their number."""

NOTHING = 1e-10
"""Sums and standard deviations below it are taken for 0, as in CrystFEL."""
NO_SIGMA = 0.01
"""Standard deviation of a background without pixels, as in CrystFEL."""

Array = NDArray[Any]


class Rings(NamedTuple):
    """Which ring each pixel belongs to, and the rings' upper thresholds (float32) and means (float64)."""

    ring: Array
    upper: Array
    offset: Array


class Conditions(NamedTuple):
    """What makes a peak: fewest and most pixels, half the reach of its background in pixels, and least snr."""

    min_pix_count: int
    max_pix_count: int
    local_bg_radius: int
    min_snr: float


class Workspace(NamedTuple):
    """Which pixels are in a peak: a uint8 map in packed order, and a list with room for one panel's pixels (int32)."""

    mark: Array
    pool: Array


@kernel
def flood(
    flat: Array, where: Array, rings: Rings, workspace: Workspace, seed: int, head: int
) -> tuple[int, float, float]:
    """Mark all pixels above threshold that hang together (by sides or corners) with `seed`, and list them in the pool.

    `where` is one panel's row. The list begins at `head`. Returns where it ends, and the centroid from the seed, weighted with
    the absolute deviation from the ring's mean; NaN where all weights are 0.
    """
    ring, upper, offset = rings
    mark, pool = workspace
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
    if total < NOTHING:
        return tail, np.nan, np.nan
    return tail, total_fs / total, total_ss / total


@kernel
def local_background(
    flat: Array, where: Array, rings: Rings, mark: Array, fs: int, ss: int, radius: int
) -> tuple[int, float, float, float]:
    """Return number, mean, standard deviation and highest value (0 at least) of the background pixels near (fs, ss).

    Those are the pixels below their threshold, in no peak, within twice `radius`; of the square's edges only the left and
    upper belong to it, as in CrystFEL.
    """
    ring, upper, _ = rings
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
        return 0, 0.0, NO_SIGMA, 0.0
    mean = total / n
    variance = total_sq / n - mean * mean
    return n, mean, math.sqrt(variance) if variance >= 0 else NO_SIGMA, highest


@kernel
def add_up(
    flat: Array, where: Array, places: Array, background: float, seed_fs: int, seed_ss: int
) -> tuple[float, float, float, float, float]:
    """Return a peak's sum, its sum above the background, its highest pixel, and the sums weighted with fs and ss."""
    width, start = where[WIDTH], where[START]
    raw = 0.0
    intensity = 0.0
    highest = -np.inf
    sum_fs = 0.0
    sum_ss = 0.0
    for i in range(places.size):
        ss = (places[i] - start) // width
        fs = (places[i] - start) - ss * width
        value = np.float64(np.float32(flat[where[OFFSET] + ss * where[STRIDE_SS] + fs * where[STRIDE_FS]]))
        raw += value
        intensity += value - background
        highest = max(highest, value)
        sum_fs += value * (fs - seed_fs)
        sum_ss += value * (ss - seed_ss)
    return raw, intensity, highest, sum_fs, sum_ss


@kernel
def examine(
    flat: Array,
    where: Array,
    rings: Rings,
    conditions: Conditions,
    workspace: Workspace,
    seed: int,
    begin: int,
    row: Array,
) -> tuple[int, bool]:
    """Grow a peak from the seed and measure it; return where its list in the pool ends, and whether it is a peak.

    `where` is one panel's row; the list begins at `begin`. A peak's columns are put in `row`.
    """
    width, height, start = where[WIDTH], where[HEIGHT], where[START]
    seed_ss = (seed - start) // width
    seed_fs = (seed - start) - seed_ss * width
    end, shift_fs, shift_ss = flood(flat, where, rings, workspace, seed, begin)
    num_pixels = end - begin
    if math.isnan(shift_fs) or not conditions.min_pix_count <= num_pixels <= conditions.max_pix_count:
        return end, False
    # fabs-weighted, so the centroid lies within the peak's extent, and on the panel
    centre_fs = int(np.rint(seed_fs + shift_fs))
    centre_ss = int(np.rint(seed_ss + shift_ss))
    in_background, background, sigma, background_highest = local_background(
        flat, where, rings, workspace.mark, centre_fs, centre_ss, conditions.local_bg_radius
    )
    if in_background == 0:
        ring, upper, offset = rings
        r = ring[start + centre_ss * width + centre_fs]
        background = offset[r] if r != upper.size - 1 else offset[ring[seed]]
    raw, intensity, highest, sum_fs, sum_ss = add_up(
        flat, where, workspace.pool[begin:end], background, seed_fs, seed_ss
    )
    if raw < NOTHING:
        return end, False
    snr = intensity / sigma if sigma > NOTHING else 0.0
    above_background = max(highest - background, 0.0)
    if snr < conditions.min_snr or above_background < background_highest - background:
        return end, False
    row[FS] = seed_fs + sum_fs / raw
    row[SS] = seed_ss + sum_ss / raw
    row[INTENSITY] = intensity
    row[SNR] = snr
    row[HIGHEST] = highest
    row[HIGHEST_ABOVE_BACKGROUND] = above_background
    row[NUM_PIXELS] = num_pixels
    return end, 0 <= row[FS] <= width - 1 and 0 <= row[SS] <= height - 1


@kernel
def find_peaks(
    pixels: ArrayPixels,
    rings: Rings,
    candidate: Array,
    conditions: Conditions,
    workspace: Workspace,
    peak: Array,
    row_of_peak: Array,
) -> int:
    """Grow peaks from the candidates of one array's panels (packed places, ascending), and measure them.

    Fills rows of `peak` (see the columns above; positions of pixel centres are whole numbers) and the panels' rows of
    the table; returns how many, and stops when `peak` is full. No pixel is marked before and after.
    """
    flat, where = pixels
    mark, pool = workspace
    n = 0
    p = 0
    used = 0
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
        # np.int64: else numba takes `used` for the constant 0 at first, and compiles twice
        used, is_peak = examine(flat, panel, rings, conditions, workspace, seed, int(np.int64(used)), peak[n])
        if is_peak:
            row_of_peak[n] = p
            n += 1
            if n == peak.shape[0]:
                break
    for i in range(used):
        mark[pool[i]] = 0
    return n

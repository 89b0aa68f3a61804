"""The highest candidate of each group: is it a peak, where is its centre, how wide is it?"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.likelihood.columns import AROUND, BACKGROUND, FS, SIGMA, SIGNIFICANCE, SS, VARIANCE
from stages.peaks._kernels.likelihood.pixels import pixel
from stages.peaks._kernels.likelihood.tuples import Background, Candidates, RawPixels
from stages.peaks._kernels.panels import LARGEST
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]

NEAR, FAR = 5, 9
"""Background of a peak is measured further than NEAR from it and no further than FAR, pixels."""
ANNULUS = (2 * FAR + 1) ** 2
REACH_NEAR = tuple(math.isqrt(NEAR * NEAR - y * y) if y <= NEAR else -1 for y in range(FAR + 1))
REACH_FAR = tuple(math.isqrt(FAR * FAR - y * y) for y in range(FAR + 1))
"""How far the circles of NEAR and FAR reach along a row, by the row's distance from the centre; -1: not at all."""
FEWEST_AROUND = 40
RADII_SQ = (2, 5, 10, 21)
"""Squares of the radii of the circles in which a peak is looked for: 9, 21, 37 and 69 pixels."""
WINDOW = 6
SEEN_AROUND = WINDOW + 1
"""Of the square around a summit that is looked at; the peak's centre may be 3 pixels from it, and circles reach 4 further."""
STEPS = 8
"""A window is moved and widened so often at most."""
FIRST_WINDOW, LEAST_WINDOW = 1.5, 0.8
"""Widths of the window that is moved to the peak's centre, pixels."""
MOST_STRETCH = 2.5
"""No step is made longer by more than this factor."""
FARTHEST_CENTRE = 3.0
"""How far the centre may be from the summit along fs and ss, pixels."""
SETTLED_WIDTH, SETTLED_SQ = 0.05, 4e-4
"""The window has come to rest if its width changes by less, and the square of the step by less, pixels."""
OFF_CENTRE = 1.0
"""By how much a summit may be less significant than the peak's centre."""


@kernel
def value_at(
    raw: Array, kind: int, where: Array, is_bad: Array, label: Array, parent: Array, summit: int, fs: int, ss: int
) -> float:
    """Return a pixel's value; NaN if it is off the panel, bad, not finite or part of another peak. `where` is a panel's row."""
    if fs < 0 or ss < 0 or fs >= where[WIDTH] or ss >= where[HEIGHT]:
        return np.nan
    place = where[START] + ss * where[WIDTH] + fs
    if is_bad[place]:
        return np.nan
    if label[place] > 0 and parent[label[place] - 1] != summit:
        return np.nan
    value = pixel(raw, kind, where[OFFSET] + ss * where[STRIDE_SS] + fs * where[STRIDE_FS])
    return np.float64(value) if abs(value) <= LARGEST else np.nan


@kernel
def background_around(
    pixels: RawPixels,
    where: Array,
    label: Array,
    fs: int,
    ss: int,
    gain: float,
    mean: float,
    variance: float,
    clumping: float,
) -> tuple[float, float, float]:
    """Return mean, variance and number of background pixels around (fs, ss): good ones that are no candidates.

    Pixels that stand out are left out once. Fewer than FEWEST_AROUND are made up with the cell's own `mean` and `variance`. The
    variance is that which sums over pixels show: `clumping` times that of the pixels; the cell's own is so already.
    """
    raw, kind, _, is_bad = pixels
    listed = np.empty(ANNULUS)
    found = 0
    for y in range(max(ss - FAR, 0), min(ss + FAR + 1, where[HEIGHT])):
        row = where[START] + y * where[WIDTH]
        origin = where[OFFSET] + y * where[STRIDE_SS]
        near, far = REACH_NEAR[abs(y - ss)], REACH_FAR[abs(y - ss)]
        # left and right of the gap in the middle of the row
        for side in range(2):
            begin, end = (fs - far, min(fs - near, fs)) if side == 0 else (fs + near + 1, fs + far + 1)
            for x in range(max(begin, 0), min(end, where[WIDTH])):
                if is_bad[row + x] or label[row + x] > 0:
                    continue
                value = pixel(raw, kind, origin + x * where[STRIDE_FS])
                if abs(value) <= LARGEST:
                    # from the cell's mean, so that squares lose nothing where the mean is large
                    listed[found] = np.float64(value) - mean
                    found += 1
    n = 0
    around = 0.0
    spread = 0.0
    reach = np.inf
    for _ in range(2):
        n = 0
        total = 0.0
        total_sq = 0.0
        for k in range(found):
            if abs(listed[k] - around) <= reach:
                n += 1
                total += listed[k]
                total_sq += listed[k] * listed[k]
        if n == 0:
            break
        around = total / n
        spread = max(total_sq / n - around * around, 0.0)
        reach = 5.0 * math.sqrt(spread) + 3.0 * gain
    missing = max(FEWEST_AROUND - n, 0)
    used = n + missing
    around = n * around / used
    spread = (n * clumping * spread + missing * variance) / used
    return mean + around, max(spread, gain * gain / used), float(used)


@kernel
def significance_of(on: float, off: float, ratio: float) -> float:
    """Return Li and Ma's significance of `on` photons where a background `off` was counted elsewhere, `ratio` times as long.

    Their equation 17 (doi:10.1086/161295), the likelihood ratio of two Poisson means; 0 where there is no excess.
    """
    if on <= ratio * off:
        return 0.0
    both = on + off
    log_on = on * math.log((1.0 + ratio) / ratio * on / both)
    log_off = off * math.log((1.0 + ratio) * off / both) if off > 0 else 0.0
    return math.sqrt(2.0 * max(log_on + log_off, 0.0))


@kernel
def look_around(
    pixels: RawPixels,
    where: Array,
    candidates: Candidates,
    summit: int,
    fs: int,
    ss: int,
    background: float,
    out: Array,
) -> None:
    """Fill the square `out` around (fs, ss) with what is above the background; NaN where :func:`value_at` says so."""
    raw, kind, _, is_bad = pixels
    label, parent = candidates.label, candidates.parent
    for y in range(out.shape[0]):
        row = ss - SEEN_AROUND + y
        if row < 0 or row >= where[HEIGHT]:
            out[y] = np.nan
            continue
        place = where[START] + row * where[WIDTH]
        origin = where[OFFSET] + row * where[STRIDE_SS]
        for x in range(out.shape[1]):
            column = fs - SEEN_AROUND + x
            out[y, x] = np.nan
            if column < 0 or column >= where[WIDTH] or is_bad[place + column]:
                continue
            other = label[place + column]
            if other > 0 and parent[other - 1] != summit:
                continue
            value = pixel(raw, kind, origin + column * where[STRIDE_FS])
            if abs(value) <= LARGEST:
                out[y, x] = np.float64(value) - background


@kernel
def best_significance(seen: Array, fs: int, ss: int, gain: float, variance: float, around: float) -> float:
    """Return the significance of what is above the background around (fs, ss), in the circle where it is greatest.

    `seen` is what :func:`look_around` found; fs and ss are counted in it.
    """
    count = np.zeros(len(RADII_SQ))
    excess = np.zeros(len(RADII_SQ))
    for y in range(max(ss - 4, 0), min(ss + 5, seen.shape[0])):
        for x in range(max(fs - 4, 0), min(fs + 5, seen.shape[1])):
            distance_sq = (x - fs) * (x - fs) + (y - ss) * (y - ss)
            if distance_sq > RADII_SQ[3] or math.isnan(seen[y, x]):
                continue
            i = 3
            while i > 0 and distance_sq <= RADII_SQ[i - 1]:
                i -= 1
            count[i] += 1.0
            excess[i] += seen[y, x]
    best = 0.0
    expected = variance / (gain * gain)
    for i in range(len(RADII_SQ)):
        if i > 0:
            count[i] += count[i - 1]
            excess[i] += excess[i - 1]
        on = max(count[i] * expected + excess[i] / gain, 0.0)
        best = max(best, significance_of(on, around * expected, count[i] / around))
    return best


@kernel
def locate(seen: Array, fs: int, ss: int, widest: float, row: Array) -> bool:
    """Find a peak's centre and width with a Gaussian window that moves and grows to fit it; False if there is none.

    `seen` is what :func:`look_around` found around (fs, ss). A window exp(-r^2 / 2 w^2) sees a Gaussian peak of width s as one
    of width s w / sqrt(s^2 + w^2) and makes a step towards it too short by w^2 / (s^2 + w^2), so each step is made longer
    accordingly (SExtractor's windowed centroid).
    """
    size = 2 * WINDOW + 1
    above = np.empty((size, size))
    for y in range(size):
        for x in range(size):
            value = seen[y + SEEN_AROUND - WINDOW, x + SEEN_AROUND - WINDOW]
            above[y, x] = 0.0 if math.isnan(value) else value
    along = np.empty(size)
    column = np.empty(size)
    column_first = np.empty(size)
    column_second = np.empty(size)
    window = FIRST_WINDOW
    at_fs = 0.0
    at_ss = 0.0
    sigma = window
    for _ in range(STEPS):
        total = 0.0
        sum_fs = 0.0
        sum_ss = 0.0
        sum_sq = 0.0
        for x in range(size):
            along[x] = math.exp(-0.5 * ((x - WINDOW - at_fs) / window) ** 2)
        # moments of the columns first: many columns at a time
        column[:] = 0.0
        column_first[:] = 0.0
        column_second[:] = 0.0
        for y in range(size):
            from_ss = y - WINDOW - at_ss
            across = math.exp(-0.5 * (from_ss / window) ** 2)
            for x in range(size):
                weighted = across * above[y, x]
                column[x] += weighted
                column_first[x] += weighted * from_ss
                column_second[x] += weighted * (from_ss * from_ss)
        for x in range(size):
            from_fs = x - WINDOW - at_fs
            total += along[x] * column[x]
            sum_fs += along[x] * column[x] * from_fs
            sum_ss += along[x] * column_first[x]
            sum_sq += along[x] * (column[x] * (from_fs * from_fs) + column_second[x])
        if total <= 0:
            return False
        spread = max(0.5 * sum_sq / total, 0.01)
        sigma = math.sqrt(1.0 / max(1.0 / spread - 1.0 / (window * window), 1e-4))
        stretch = min(1.0 + (sigma / window) ** 2, MOST_STRETCH)
        at_fs += stretch * sum_fs / total
        at_ss += stretch * sum_ss / total
        if abs(at_fs) > FARTHEST_CENTRE or abs(at_ss) > FARTHEST_CENTRE:
            return False
        before, window = window, min(max(sigma, LEAST_WINDOW), widest)
        if abs(window - before) < SETTLED_WIDTH and sum_fs * sum_fs + sum_ss * sum_ss < SETTLED_SQ * total * total:
            break
    row[FS] = fs + at_fs
    row[SS] = ss + at_ss
    row[SIGMA] = sigma
    return True


@kernel
def examine(
    pixels: RawPixels,
    background: Background,
    gain: Array,
    candidates: Candidates,
    least_significance: float,
    widest: float,
    clumping: float,
    out: Array,
    summit_of: Array,
) -> int:
    """Look at each summit among the candidates: background, position, width, significance; list those that are peaks.

    `gain` is the size of a photon in ADU, for each panel. Fills rows of `out` and the summits' numbers; returns how many.
    """
    where = pixels.where
    cell, mean, variance = background
    candidate, panel, parent = candidates.place, candidates.panel, candidates.parent
    seen = np.empty((2 * SEEN_AROUND + 1, 2 * SEEN_AROUND + 1))
    n = 0
    for k in range(candidate.size):
        if parent[k] != k:
            continue
        here = where[panel[k]]
        g = gain[panel[k]]
        ss = (candidate[k] - here[START]) // here[WIDTH]
        fs = (candidate[k] - here[START]) - ss * here[WIDTH]
        c = cell[candidate[k]]
        b, v, around = background_around(pixels, here, candidates.label, fs, ss, g, mean[c], variance[c], clumping)
        look_around(pixels, here, candidates, k, fs, ss, b, seen)
        if best_significance(seen, SEEN_AROUND, SEEN_AROUND, g, v, around) < least_significance - OFF_CENTRE:
            continue
        row = out[n]
        if not locate(seen, fs, ss, widest, row):
            continue
        shift_fs, shift_ss = int(np.rint(row[FS])) - fs, int(np.rint(row[SS])) - ss
        best = best_significance(seen, SEEN_AROUND + shift_fs, SEEN_AROUND + shift_ss, g, v, around)
        if best < least_significance:
            continue
        row[SIGNIFICANCE] = best
        row[BACKGROUND] = b
        row[VARIANCE] = v
        row[AROUND] = around
        summit_of[n] = k
        n += 1
        if n == out.shape[0]:
            break
    return n

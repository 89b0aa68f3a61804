"""Kernels of peakfinder9: highest pixels that stand out from the border of the window around them.

``peakfinder9_rows`` lets through all pixels that can be peaks and a few more. :func:`examine` then decides about each of them,
by the conditions themselves.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.panels import PanelPixels
from stages.peaks._kernels.peakfinder9_rows import BORDER, MISSING, SIDE, load, screen
from stages.pixels.columns import HEIGHT, WIDTH

SAFE = 0.999
"""By this factor the bound on squares is lowered, for the same reason."""
FEWEST = BORDER // 2
"""With fewer good pixels in the border there is no peak."""
WORD = 8
"""Flags (bytes) that are looked at together, as one 64-bit number."""

FS, SS, INTENSITY, SNR, HIGHEST, NUM_PIXELS, N_COLUMNS = range(7)
"""Columns of the table of peaks, and their number."""

Array = NDArray[Any]


class Conditions(NamedTuple):
    """What makes a peak; the parameters of the stage of the same names.

    Attributes
    ----------
    radius
        Reach of the window, pixels.
    min_over_neighbour, min_sig
        In ADU.
    min_snr_biggest_pix, min_snr_peak_pix, min_snr
        In standard deviations of the background.
    """

    radius: int
    min_over_neighbour: float
    min_snr_biggest_pix: float
    min_snr_peak_pix: float
    min_snr: float
    min_sig: float


class Limits(NamedTuple):
    """Where and how high peaks may be: distance from the beam in pixels (`max_res` 0: any), highest pixel in ADU."""

    min_res: float
    max_res: float
    highest_allowed: float


class Workspace(NamedTuple):
    """Room for 2 radius + 3 rows with their margins, float32, and flags (uint8): a panel's width rounded up to WORD."""

    buffer: Array
    flags: Array


class Window(NamedTuple):
    """The 2 radius + 3 rows around a pixel: ``rows[slot[k]]`` is the k-th one; work space for what lies within the border."""

    rows: Array
    slot: Array
    seen: Array
    stack: Array


@kernel
def outranks(other: float, v: float, dx: int, dy: int) -> bool:
    """Return whether a pixel, dx and dy away from another of value v, is higher, or as high and met earlier."""
    return other > v or (other == v and (dy < 0 or (dy == 0 and dx < 0)))


@kernel
def is_summit(window: Window, x: int) -> bool:
    """Return whether no neighbour outranks the pixel in column `x` of the window's middle row."""
    rows, slot = window.rows, window.slot
    middle = slot.size // 2
    v = rows[slot[middle], x]
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            if outranks(rows[slot[middle + dy], x + dx], v, dx, dy):
                return False
    return True


@kernel
def border_of(window: Window, x: int) -> tuple[int, float, float, float]:
    """Return number, mean, standard deviation and highest value of the good pixels of the border.

    The border is the middle of the window's four sides, 2 SIDE + 1 pixels of its outermost two rows and columns each. With
    fewer than two good pixels in it, mean and deviation are no numbers.
    """
    rows, slot = window.rows, window.slot
    reach = slot.size // 2
    n = 0
    total = 0.0
    total_sq = 0.0
    highest = -np.inf
    for along in range(-SIDE, SIDE + 1):
        for across in (-reach, 1 - reach, reach - 1, reach):
            for turned in range(2):
                dy, dx = (along, across) if turned else (across, along)
                value = np.float64(rows[slot[reach + dy], x + dx])
                if not math.isnan(value):
                    n += 1
                    total += value
                    total_sq += value * value
                    highest = max(highest, value)
    mean = total / n
    return n, mean, math.sqrt(max(total_sq - n * mean * mean, 0.0) / (n - 1)), highest


@kernel
def grow(window: Window, x: int, radius: int, mean: float, height: float, out: Array) -> bool:
    """Add up what hangs together with the pixel in column `x` of the middle row and is more than `height` above the mean.

    Fills FS and SS, counted from that pixel, INTENSITY and NUM_PIXELS. Returns False if another pixel outranks it.
    """
    rows, slot = window.rows, window.slot
    seen, stack = window.seen, window.stack
    middle = slot.size // 2
    v = rows[slot[middle], x]
    seen[:] = 0
    side = 2 * radius + 1
    stack[0] = radius * side + radius
    seen[stack[0]] = 1
    size = 1
    num_pixels = 0
    intensity = 0.0
    sum_fs = 0.0
    sum_ss = 0.0
    while size > 0:
        size -= 1
        place = stack[size]
        dy = place // side - radius
        dx = place % side - radius
        above = np.float64(rows[slot[middle + dy], x + dx]) - mean
        num_pixels += 1
        intensity += above
        sum_fs += above * dx
        sum_ss += above * dy
        for ny in range(max(dy - 1, 1 - radius), min(dy + 2, radius)):
            for nx in range(max(dx - 1, 1 - radius), min(dx + 2, radius)):
                place = (ny + radius) * side + nx + radius
                other = rows[slot[middle + ny], x + nx]
                if seen[place] or not other - mean > height:
                    continue
                if outranks(other, v, nx, ny):
                    return False
                seen[place] = 1
                stack[size] = place
                size += 1
    out[FS] = sum_fs / intensity
    out[SS] = sum_ss / intensity
    out[INTENSITY] = intensity
    out[NUM_PIXELS] = num_pixels
    return True


@kernel
def examine(window: Window, x: int, conditions: Conditions, out: Array) -> bool:
    """Decide whether the pixel in column `x` of the window's middle row is a peak's highest; fill the row `out` of its table.

    FS and SS are counted from that pixel.
    """
    v = window.rows[window.slot[window.slot.size // 2], x]
    if not is_summit(window, x):
        return False
    n, mean, sigma, highest = border_of(window, x)
    if n < FEWEST:
        return False
    sigma = max(sigma, conditions.min_sig)
    if not v > highest + conditions.min_over_neighbour or not v - mean > conditions.min_snr_biggest_pix * sigma:
        return False
    if not grow(window, x, conditions.radius, mean, conditions.min_snr_peak_pix * sigma, out):
        return False
    intensity = out[INTENSITY]
    if not intensity > conditions.min_snr * sigma or intensity <= 0.0:
        return False
    out[SNR] = intensity / sigma if sigma > 0.0 else np.inf
    out[HIGHEST] = v
    return True


@kernel
def distance_from_beam(vectors: Array, fs: int, ss: int) -> float:
    """Return a pixel's distance from the beam in pixels; x and y are cut down to whole pixels first, as for peakfinder8.

    `vectors` is cnx, cny, fsx, fsy, ssx, ssy in pixels.
    """
    x = int(vectors[0] + fs * vectors[2] + ss * vectors[4])
    y = int(vectors[1] + fs * vectors[3] + ss * vectors[5])
    return math.sqrt(x * x + y * y)


@kernel
def is_within(panel_vectors: Array, fs: int, ss: int, limits: Limits) -> bool:
    """Return whether a pixel is within the limits of resolution."""
    if not (limits.min_res > 0 or limits.max_res > 0):
        return True
    distance = distance_from_beam(panel_vectors, fs, ss)
    return distance > limits.min_res and (not limits.max_res > 0 or distance < limits.max_res)


@kernel
def find_peaks(
    panel: PanelPixels, vectors: Array, conditions: Conditions, limits: Limits, workspace: Workspace, found: Array
) -> int:
    """Search one panel; fill rows of `found` (positions of pixel centres are whole numbers) and return how many.

    `vectors` (6,) are the panel's corner and steps in pixels (:func:`distance_from_beam`). Stops when `found` is full.
    """
    where, flags = panel.where, workspace.flags
    width = where[WIDTH]
    radius = conditions.radius
    side = 2 * radius + 3
    asked = width - 2 * radius
    if asked <= 0 or where[HEIGHT] <= 2 * radius:
        return 0
    rows = workspace.buffer[: side * (width + 2)].reshape(side, width + 2)
    rows[:] = MISSING
    possible = flags[:asked]
    words = flags[: (asked + WORD - 1) // WORD * WORD].view(np.uint64)
    flags[asked : words.size * WORD] = 0
    slot = np.empty(side, np.int64)
    window = Window(rows, slot, np.zeros(side * side, np.uint8), np.empty(side * side, np.int64))
    spare = conditions.min_snr_biggest_pix - math.sqrt((BORDER - 8.0) * (BORDER - 1.0) / (8.0 * BORDER))
    least = np.float32(spare * conditions.min_sig) if spare > 0 else np.float32(-np.inf)
    factor = np.float32(max(spare, 0.0) ** 2 / (BORDER - 1.0) * SAFE)
    for ss in range(2 * radius + 1):
        load(panel, ss, rows[ss])
    n = 0
    for ss in range(radius, where[HEIGHT] - radius):
        load(panel, ss + radius + 1, rows[(ss + radius + 1) % side])
        for k in range(side):
            slot[k] = (ss - radius - 1 + k + side) % side
        screen(rows, slot, least, factor, possible)
        for w in range(words.size):
            if words[w] == 0:
                continue
            for x in range(w * WORD, min((w + 1) * WORD, asked)):
                fs = x + radius
                if not possible[x] or not examine(window, fs + 1, conditions, found[n]):
                    continue
                if found[n, HIGHEST] > limits.highest_allowed or not is_within(vectors, fs, ss, limits):
                    continue
                found[n, FS] += fs
                found[n, SS] += ss
                n += 1
                if n == found.shape[0]:
                    return n
    return n

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
from stages.peaks._kernels.peakfinder9_rows import MISSING, load, screen
from stages.pixels.columns import HEIGHT, WIDTH

SAFE = 0.999
"""By this factor the bound on squares is lowered, for the same reason."""
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
    """Room for 2 radius + 1 rows with their margins, float32, and flags (uint8): a panel's width rounded up to WORD."""

    buffer: Array
    flags: Array


class Window(NamedTuple):
    """The rows around a pixel: ``rows[slot[k]]`` is the k-th one of the window; work space for what lies within it."""

    rows: Array
    slot: Array
    seen: Array
    stack: Array


@kernel
def outranks(other: float, v: float, dx: int, dy: int) -> bool:
    """Return whether a pixel, dx and dy away from another of value v, is higher, or as high and met earlier."""
    return other > v or (other == v and (dy < 0 or (dy == 0 and dx < 0)))


@kernel
def is_summit(window: Window, x: int, radius: int) -> bool:
    """Return whether no neighbour outranks the pixel in column `x` of the window's middle row."""
    rows, slot = window.rows, window.slot
    v = rows[slot[radius], x]
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            if outranks(rows[slot[radius + dy], x + dx], v, dx, dy):
                return False
    return True


@kernel
def border_of(window: Window, x: int, radius: int) -> tuple[int, float, float, float]:
    """Return number, mean, variance and highest value of the good pixels of the window's border."""
    rows, slot = window.rows, window.slot
    n = 0
    total = 0.0
    total_sq = 0.0
    highest = -np.inf
    for dy in range(-radius, radius + 1):
        step = 1 if abs(dy) == radius else 2 * radius
        row = rows[slot[radius + dy]]
        for dx in range(-radius, radius + 1, step):
            value = np.float64(row[x + dx])
            if not math.isnan(value):
                n += 1
                total += value
                total_sq += value * value
                highest = max(highest, value)
    mean = total / n
    return n, mean, max(total_sq / n - mean * mean, 0.0), highest


@kernel
def grow(window: Window, x: int, radius: int, mean: float, height: float, out: Array) -> bool:
    """Add up what hangs together with the pixel in column `x` of the middle row and is more than `height` above the mean.

    Fills FS and SS, counted from that pixel, INTENSITY and NUM_PIXELS. Returns False if another pixel outranks it.
    """
    rows, slot = window.rows, window.slot
    seen, stack = window.seen, window.stack
    v = rows[slot[radius], x]
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
        above = np.float64(rows[slot[radius + dy], x + dx]) - mean
        num_pixels += 1
        intensity += above
        sum_fs += above * dx
        sum_ss += above * dy
        for ny in range(max(dy - 1, 1 - radius), min(dy + 2, radius)):
            for nx in range(max(dx - 1, 1 - radius), min(dx + 2, radius)):
                place = (ny + radius) * side + nx + radius
                other = rows[slot[radius + ny], x + nx]
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
    radius = conditions.radius
    v = window.rows[window.slot[radius], x]
    if not is_summit(window, x, radius):
        return False
    n, mean, variance, highest = border_of(window, x, radius)
    if n < 4 * radius:
        return False
    sigma = max(math.sqrt(variance), conditions.min_sig)
    if not v > highest + conditions.min_over_neighbour or not v - mean > conditions.min_snr_biggest_pix * sigma:
        return False
    if not grow(window, x, radius, mean, conditions.min_snr_peak_pix * sigma, out):
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
    side = 2 * radius + 1
    rows = workspace.buffer[: side * (width + 2 * radius)].reshape(side, width + 2 * radius)
    rows[:] = MISSING
    possible = flags[:width]
    words = flags[: (width + WORD - 1) // WORD * WORD].view(np.uint64)
    flags[width:] = 0
    slot = np.empty(side, np.int64)
    window = Window(rows, slot, np.zeros(side * side, np.uint8), np.empty(side * side, np.int64))
    spare = conditions.min_snr_biggest_pix - math.sqrt(2.0 * radius - 1.0)
    least = np.float32(spare * conditions.min_sig) if spare > 0 else np.float32(-np.inf)
    factor = np.float32(max(spare, 0.0) ** 2 / (8.0 * radius) * SAFE)
    for ss in range(radius):
        load(panel, ss, radius, rows[ss % side])
    n = 0
    for ss in range(where[HEIGHT]):
        load(panel, ss + radius, radius, rows[(ss + radius) % side])
        for k in range(side):
            slot[k] = (ss - radius + k + side) % side
        screen(
            rows[slot[radius - 1]],
            rows[slot[radius]],
            rows[slot[radius + 1]],
            rows[slot[0]],
            rows[slot[2 * radius]],
            radius,
            least,
            factor,
            possible,
        )
        for w in range(words.size):
            if words[w] == 0:
                continue
            for fs in range(w * WORD, min((w + 1) * WORD, width)):
                if not possible[fs] or not examine(window, fs + radius, conditions, found[n]):
                    continue
                if found[n, HIGHEST] > limits.highest_allowed or not is_within(vectors, fs, ss, limits):
                    continue
                found[n, FS] += fs
                found[n, SS] += ss
                n += 1
                if n == found.shape[0]:
                    return n
    return n

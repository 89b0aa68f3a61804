"""Ring integration: reflections are summed one by one, while all of them are marked."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.integrate._kernels.background import fit_background
from stages.integrate._kernels.marks import BAD, CLAIM, RELEASE, claims_at, mark_some, value_at
from stages.integrate._kernels.tuples import (
    BACKGROUND,
    FS,
    HIGHEST_OF_CIRCLE,
    HIGHEST_OF_RING,
    IMPLAUSIBLE,
    IMPLAUSIBLE_BELOW,
    INTENSITY,
    LEVEL,
    MEAN,
    MEASURED,
    MOMENT,
    NUM_RING,
    PEAK,
    SATURATED,
    SIGMA,
    SLOPE_FS,
    SLOPE_SS,
    SS,
    STANDS_OUT,
    TOTAL,
    UNMEASURABLE,
    VARIANCE,
    WHOLE,
    Circles,
    Measured,
    Pixels,
    Places,
)
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]

FEWEST_PIXELS = 4
"""With fewer pixels in circle or ring a reflection cannot be measured."""

MAX_CENTRINGS = 10
"""A circle is moved so many times at most."""


@kernel
def offset_of_peak(
    flat: Array, where: Array, marks: Array, x0: int, y0: int, inner: Array, fit: Array, num_ring: int, gain: float
) -> tuple[int, int]:
    """Return (dx, dy) of the pixel in which the circle's centre of intensity lies; (0, 0) where nothing stands out.

    Pixels claimed by other peaks do not count. Something stands out if the sum exceeds STANDS_OUT of its standard deviations.
    """
    total = along_x = along_y = 0.0
    n = 0
    for j in range(inner.shape[0]):
        dx, dy = inner[j, 0], inner[j, 1]
        if claims_at(marks, where, x0 + dx, y0 + dy) != 0:
            continue
        value = value_at(flat, where, x0 + dx, y0 + dy)
        if not math.isfinite(value):
            continue
        n += 1
        net = value - (fit[LEVEL] + fit[SLOPE_FS] * dx + fit[SLOPE_SS] * dy)
        total += net
        along_x += net * dx
        along_y += net * dy
    variance = gain * max(total, gain) + n * (1.0 + n / num_ring) * fit[VARIANCE]
    if not total > STANDS_OUT * math.sqrt(variance):
        return 0, 0
    return math.floor(along_x / total + 0.5), math.floor(along_y / total + 0.5)


@kernel
def find_centre(  # noqa: PLR0913 - arrays in a tuple would have their references counted for every reflection
    flat: Array,
    where: Array,
    marks: Array,
    x0: int,
    y0: int,
    inner: Array,
    ring: Array,
    half: int,
    gain: float,
    cen: bool,
    grad: bool,
    fit: Array,
) -> tuple[int, int, int]:
    """Fit the background of a reflection in the pixel (x0, y0), moved with `cen` to where its intensity has its centre.

    Returns how many pixels the ring has, 0 if the reflection cannot be measured, and by how many pixels it was moved.
    """
    width, height = where[WIDTH], where[HEIGHT]
    moved_x = moved_y = num_ring = 0
    farthest_sq = inner[0, 0] ** 2 + inner[0, 1] ** 2  # the first offset is as long as the inner radius, to the pixel
    for step in range(MAX_CENTRINGS + 1):
        x, y = x0 + moved_x, y0 + moved_y
        if x < half or y < half or x + half >= width or y + half >= height:
            return 0, 0, 0
        num_ring = fit_background(flat, where, marks, x, y, ring, grad, fit)
        if num_ring < FEWEST_PIXELS:
            return 0, 0, 0
        if not cen or step == MAX_CENTRINGS:
            break
        dx, dy = offset_of_peak(flat, where, marks, x, y, inner, fit, num_ring, gain)
        if dx == 0 and dy == 0:
            break
        moved_x += dx
        moved_y += dy
        if moved_x * moved_x + moved_y * moved_y > farthest_sq:  # that is another peak: stay where it should be
            moved_x = moved_y = 0
            cen = False
    return num_ring, moved_x, moved_y


@kernel
def integrate_one(  # noqa: PLR0913 - arrays in a tuple would have their references counted for every reflection
    flat: Array,
    where: Array,
    marks: Array,
    fs: float,
    ss: float,
    inner: Array,
    ring: Array,
    half: int,
    gain: float,
    max_adu: float,
    cen: bool,
    grad: bool,
    fit: Array,
    out: Array,
) -> int:
    """Integrate the reflection at (fs, ss); return its status. See :func:`integrate`."""
    claims = (
        0 if cen else 1
    )  # how many may claim a pixel: 1, or 0 where the reflection's own marks have been taken away
    x0, y0 = math.floor(fs), math.floor(ss)
    num_ring, moved_x, moved_y = find_centre(flat, where, marks, x0, y0, inner, ring, half, gain, cen, grad, fit)
    if num_ring == 0:
        return UNMEASURABLE
    x0 += moved_x
    y0 += moved_y
    total = moment = 0.0
    highest = -np.inf
    num_inner = 0
    width, stride_ss, stride_fs = where[WIDTH], where[STRIDE_SS], where[STRIDE_FS]
    packed, at = where[START] + y0 * width + x0, where[OFFSET] + y0 * stride_ss + x0 * stride_fs
    a, b, c = fit[LEVEL], fit[SLOPE_FS], fit[SLOPE_SS]
    for j in range(inner.shape[0]):
        dx, dy = inner[j, 0], inner[j, 1]
        value = float(flat[at + dy * stride_ss + dx * stride_fs])
        claimed = marks[packed + dy * width + dx]
        if claimed >= BAD or not math.isfinite(value):
            return UNMEASURABLE
        if claimed > claims:
            continue
        num_inner += 1
        highest = max(highest, value)
        net = value - (a + b * dx + c * dy)
        total += net
        moment += net * (dx * dx + dy * dy)
    if num_inner < FEWEST_PIXELS:
        return UNMEASURABLE
    fit[NUM_RING], fit[HIGHEST_OF_CIRCLE] = num_ring, highest
    highest = max(highest, fit[HIGHEST_OF_RING])
    from_photons = gain * max(abs(total), gain)
    # the background's mean is subtracted num_inner times, and has the variance of a ring pixel / num_ring itself
    sigma = math.sqrt(from_photons + num_inner * (1.0 + num_inner / num_ring) * fit[VARIANCE])
    out[INTENSITY], out[SIGMA], out[PEAK], out[BACKGROUND] = total, sigma, highest, fit[MEAN]
    out[FS], out[SS] = fs + moved_x, ss + moved_y
    out[MOMENT], out[WHOLE], out[TOTAL] = moment, num_inner == inner.shape[0], total
    saturated = SATURATED if highest > max_adu else MEASURED
    return saturated + (IMPLAUSIBLE if total < IMPLAUSIBLE_BELOW * sigma else MEASURED)


@kernel
def integrate(
    pixels: Pixels,
    places: Places,
    circles: Circles,
    adu_per_photon: Array,
    max_adu: Array,
    cen: bool,
    grad: bool,
    measured: Measured,
) -> None:
    """Integrate all reflections that lie in one array, into `measured`.

    Parameters
    ----------
    adu_per_photon, max_adu
        float64 (P,), of each panel.
    cen, grad
        Centre the peaks; fit a sloping background.
    """
    flat, where, row_of_panel, marks = pixels
    panel, fs, ss = places
    results, fits, status = measured
    inner, ring, half = circles
    for i in range(panel.size):
        p = panel[i]
        row = row_of_panel[p]
        if row < 0:
            continue
        if cen:  # its own claim must not hide the peak from itself while it is searched
            mark_some(pixels, places, i, i + 1, inner, RELEASE)
        status[i] = integrate_one(
            flat,
            where[row],
            marks,
            fs[i],
            ss[i],
            inner,
            ring,
            half,
            adu_per_photon[p],
            max_adu[p],
            cen,
            grad,
            fits[i],
            results[i],
        )
        if cen:
            mark_some(pixels, places, i, i + 1, inner, CLAIM)

"""Kernels of ring integration: the peaks of a frame are marked, summed one by one, and unmarked.

``flat``, ``where`` are a flat array and its panel table (see ``stages/pixels/tables.py``). ``marks`` has a byte for every pixel
in packed order: BAD where it is bad, plus the number of peaks that claim it.

Sums over rings and fits of profiles read the same marks and stand together; hence the length.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]


MEASURED, UNMEASURABLE, SATURATED, IMPLAUSIBLE = 0, 1, 2, 4
"""What becomes of a reflection; a measured one can be saturated and implausible at once."""

BAD = 128
"""Marks a bad pixel; fewer peaks than this ever claim one pixel."""

FEWEST_PIXELS = 4
MAX_CENTRINGS = 10
STANDS_OUT = 5.0


@kernel
def mark(
    panel: Array, fs: Array, ss: Array, size: Array, start: Array, offsets: Array, marks: Array, step: Any
) -> None:
    """Add `step` (1 or 255, which is -1) to the marks of the pixels within the inner radius of each reflection.

    `size` int64 (P, 2) is width and height of the panels, `start` where they
    begin in packed order.
    """
    reach = max(abs(offsets[0, 0]), abs(offsets[0, 1]))  # the first offset is as long as the radius, along an axis
    for i in range(panel.size):
        p = panel[i]
        width, height, first = size[p, 0], size[p, 1], start[p]
        x0, y0 = math.floor(fs[i]), math.floor(ss[i])
        middle = first + y0 * width + x0
        if x0 >= reach and y0 >= reach and x0 + reach < width and y0 + reach < height:
            for j in range(offsets.shape[0]):
                marks[middle + offsets[j, 1] * width + offsets[j, 0]] += step
            continue
        for j in range(offsets.shape[0]):
            x, y = x0 + offsets[j, 0], y0 + offsets[j, 1]
            if 0 <= x < width and 0 <= y < height:
                marks[first + y * width + x] += step


@kernel
def fit_background(
    flat: Array,
    where: Array,
    marks: Array,
    x0: int,
    y0: int,
    ring: Array,
    gradient: bool,
    max_adu: float,
    fit: Array,
) -> int:
    """Fit a + b dx + c dy to the ring around (x0, y0), b = c = 0 unless `gradient`; return how many pixels it has.

    Pixels that are bad, not finite, or claimed by a peak are left out. `fit` receives a, b, c, the variance about the fit
    (of m pixels: the sum of squares over m - 1, for the plane over m - 3), the highest pixel, 1 if any pixel exceeds
    `max_adu`, and the mean. Sums are taken relative to the first pixel, so that nothing cancels.
    """
    origin, stride_ss, stride_fs, width, start = (
        where[OFFSET],
        where[STRIDE_SS],
        where[STRIDE_FS],
        where[WIDTH],
        where[START],
    )
    n = 0
    first = 0.0
    s_x = s_y = s_xx = s_xy = s_yy = s_v = s_xv = s_yv = s_vv = 0.0
    highest = -np.inf
    packed, at = start + y0 * width + x0, origin + y0 * stride_ss + x0 * stride_fs
    for j in range(ring.shape[0]):
        dx, dy = ring[j, 0], ring[j, 1]
        if marks[packed + dy * width + dx] != 0:
            continue
        value = float(flat[at + dy * stride_ss + dx * stride_fs])
        if not math.isfinite(value):
            continue
        if n == 0:
            first = value
        n += 1
        highest = max(highest, value)
        value -= first
        s_v += value
        s_vv += value * value
        if gradient:
            s_x += dx
            s_y += dy
            s_xx += dx * dx
            s_xy += dx * dy
            s_yy += dy * dy
            s_xv += dx * value
            s_yv += dy * value
    if n == 0:
        return n
    a, b, c = s_v / n, 0.0, 0.0
    variance = s_vv / n - a * a
    if gradient:
        # normal equations about the centre of the pixels used
        xx, xy, yy = s_xx - s_x * s_x / n, s_xy - s_x * s_y / n, s_yy - s_y * s_y / n
        xv, yv = s_xv - s_x * s_v / n, s_yv - s_y * s_v / n
        determinant = xx * yy - xy * xy
        if not determinant > 1e-6 * xx * yy:
            return 0
        b, c = (xv * yy - yv * xy) / determinant, (yv * xx - xv * xy) / determinant
        a -= (b * s_x + c * s_y) / n
        variance -= (b * xv + c * yv) / n
    free = n - 3 if gradient else n - 1
    if free > 0:
        variance *= n / free
    fit[0], fit[1], fit[2] = first + a, b, c
    fit[3] = max(0.0, variance)
    fit[4], fit[5], fit[6] = highest, highest > max_adu, first + s_v / n
    return n


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
        packed = where[START] + (y0 + dy) * where[WIDTH] + x0 + dx
        if marks[packed] != 0:
            continue
        value = float(flat[where[OFFSET] + (y0 + dy) * where[STRIDE_SS] + (x0 + dx) * where[STRIDE_FS]])
        if not math.isfinite(value):
            continue
        n += 1
        net = value - (fit[0] + fit[1] * dx + fit[2] * dy)
        total += net
        along_x += net * dx
        along_y += net * dy
    variance = gain * max(total, gain) + n * (1.0 + n / num_ring) * fit[3]
    if not total > STANDS_OUT * math.sqrt(variance):
        return 0, 0
    return math.floor(along_x / total + 0.5), math.floor(along_y / total + 0.5)


@kernel
def integrate_one(
    flat: Array,
    where: Array,
    marks: Array,
    fs: float,
    ss: float,
    inner: Array,
    ring: Array,
    half: int,
    adu_per_photon: float,
    max_adu: float,
    cen: bool,
    grad: bool,
    claims: int,
    fit: Array,
    out: Array,
) -> int:
    """Integrate the reflection at (fs, ss); return its status. See :func:`integrate`.

    `claims`: how many peaks may claim a pixel that is summed: 1, or 0 where the reflection's own marks have been taken away.
    """
    width, height, start = where[WIDTH], where[HEIGHT], where[START]
    x0, y0 = math.floor(fs), math.floor(ss)
    moved_x = moved_y = num_ring = 0
    farthest_sq = inner[0, 0] ** 2 + inner[0, 1] ** 2  # the first offset is as long as the inner radius, to the pixel
    for step in range(MAX_CENTRINGS + 1):
        if x0 < half or y0 < half or x0 + half >= width or y0 + half >= height:
            return UNMEASURABLE
        num_ring = fit_background(flat, where, marks, x0, y0, ring, grad, max_adu, fit)
        if num_ring < FEWEST_PIXELS:
            return UNMEASURABLE
        if not cen or step == MAX_CENTRINGS:
            break
        dx, dy = offset_of_peak(flat, where, marks, x0, y0, inner, fit, num_ring, adu_per_photon)
        if dx == 0 and dy == 0:
            break
        moved_x += dx
        moved_y += dy
        if moved_x * moved_x + moved_y * moved_y > farthest_sq:  # that is another peak: stay where it should be
            dx, dy = dx - moved_x, dy - moved_y
            moved_x = moved_y = 0
            cen = False
        x0 += dx
        y0 += dy
    total = moment = 0.0
    highest = fit[4]
    num_inner = 0
    stride_ss, stride_fs = where[STRIDE_SS], where[STRIDE_FS]
    packed, at = start + y0 * width + x0, where[OFFSET] + y0 * stride_ss + x0 * stride_fs
    a, b, c = fit[0], fit[1], fit[2]
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
    from_photons = adu_per_photon * max(abs(total), adu_per_photon)
    # the background's mean is subtracted num_inner times, and has the variance of a ring pixel / num_ring itself
    sigma = math.sqrt(from_photons + num_inner * (1.0 + num_inner / num_ring) * fit[3])
    out[0], out[1], out[2], out[3] = total, sigma, highest, fit[6]
    out[4], out[5] = fs + moved_x, ss + moved_y
    out[6], out[7], out[8] = moment, num_inner == inner.shape[0], total
    fit[7] = num_ring
    return (SATURATED if highest > max_adu else MEASURED) + (IMPLAUSIBLE if total < -5.0 * sigma else MEASURED)


@kernel
def integrate(
    flat: Array,
    where: Array,
    row_of_panel: Array,
    marks: Array,
    panel: Array,
    fs: Array,
    ss: Array,
    inner: Array,
    ring: Array,
    half: int,
    adu_per_photon: Array,
    max_adu: Array,
    cen: bool,
    grad: bool,
    results: Array,
    status: Array,
) -> None:
    """Integrate all reflections that lie in one array.

    Parameters
    ----------
    flat, where
        The array, any integer or floating dtype, and its panel table.
    row_of_panel
        int64 (P,), each panel's row in that table; -1 where it lies in another array.
    marks
        uint8, in packed order: BAD for bad pixels, plus by how many peaks the pixel is claimed.
    panel, fs, ss
        Predicted positions of all reflections of all crystals.
    inner, ring
        int64 (n, 2): offsets dx, dy of the pixels within the inner radius, and between the middle and the outer.
    half
        Half width of the box that must lie on the panel.
    adu_per_photon, max_adu
        float64 (P,), of each panel.
    cen, grad
        Centre the peaks; fit a sloping background.
    results
        float64 (n, 9), written: intensity, sigma, highest pixel, background per pixel, fs, ss, sum of the intensity times its
        squared distance from the circle's central pixel, 1 if all pixels of the circle count, intensity by summation.
    status
        int64 (n,), written: UNMEASURABLE, or MEASURED plus SATURATED plus IMPLAUSIBLE as it applies.
    """
    fit = np.zeros(8)
    size, start = where[:, WIDTH : HEIGHT + 1], where[:, START]
    own_row = np.zeros(1, np.int64)
    for i in range(panel.size):
        p = panel[i]
        row = row_of_panel[p]
        if row < 0:
            continue
        if cen:  # its own claim must not hide the peak from itself while it is searched
            own_row[0] = row
            mark(own_row, fs[i : i + 1], ss[i : i + 1], size, start, inner, marks, np.uint8(255))
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
            0 if cen else 1,
            fit,
            results[i],
        )
        if cen:
            mark(own_row, fs[i : i + 1], ss[i : i + 1], size, start, inner, marks, np.uint8(1))


STEEPEST = 0.1


@kernel
def highest_of_circle(flat: Array, where: Array, marks: Array, x0: int, y0: int, inner: Array, claims: int) -> float:
    """Return the highest pixel of the circle that counts."""
    highest = -np.inf
    for j in range(inner.shape[0]):
        x, y = x0 + inner[j, 0], y0 + inner[j, 1]
        if marks[where[START] + y * where[WIDTH] + x] <= claims:
            highest = max(highest, float(flat[where[OFFSET] + y * where[STRIDE_SS] + x * where[STRIDE_FS]]))
    return highest


@kernel
def collect_profile(
    flat: Array,
    where: Array,
    row_of_panel: Array,
    marks: Array,
    panel: Array,
    fs: Array,
    ss: Array,
    inner: Array,
    ring: Array,
    half: int,
    adu_per_photon: Array,
    max_adu: Array,
    cen: bool,
    sat: bool,
    results: Array,
    status: Array,
    fits: Array,
    profile: Array,
) -> None:
    """Sum a crystal's reflections that lie in one array with planes as background, and add the suitable ones to the profile.

    As :func:`integrate`; besides, `fits` (n, 8) receives the planes, and `profile` (2, pixels of the circle) gains, for each
    pixel, the sum over suitable reflections of v, the pixel above background, and of S, the intensity by summation. A
    reflection is suitable if S exceeds STANDS_OUT of its standard deviations and the plane is not steep; the status of
    one with a steep plane becomes UNMEASURABLE.
    """
    size, start = where[:, WIDTH : HEIGHT + 1], where[:, START]
    own_row = np.zeros(1, np.int64)
    claims = 0 if cen else 1
    for i in range(panel.size):
        p = panel[i]
        row = row_of_panel[p]
        if row < 0:
            continue
        own_row[0] = row
        if cen:
            mark(own_row, fs[i : i + 1], ss[i : i + 1], size, start, inner, marks, np.uint8(255))
        fit = fits[i]
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
            True,
            claims,
            fit,
            results[i],
        )
        if status[i] != UNMEASURABLE:
            x0, y0 = math.floor(results[i, 4]), math.floor(results[i, 5])
            highest = highest_of_circle(flat, where[row], marks, x0, y0, inner, claims)
            steep = max(abs(fit[1]), abs(fit[2])) > STEEPEST * abs(highest - fit[0])
            suitable = results[i, 8] > STANDS_OUT * results[i, 1]
            if steep:
                status[i] = UNMEASURABLE
            elif suitable and (sat or not status[i] & SATURATED):
                total = results[i, 8]
                for j in range(inner.shape[0]):
                    dx, dy = inner[j, 0], inner[j, 1]
                    x, y = x0 + dx, y0 + dy
                    if marks[start[row] + y * where[row, WIDTH] + x] > claims:
                        continue
                    value = float(flat[where[row, OFFSET] + y * where[row, STRIDE_SS] + x * where[row, STRIDE_FS]])
                    profile[0, j] += value - fit[0] - fit[1] * dx - fit[2] * dy
                    profile[1, j] += total
        if cen:
            mark(own_row, fs[i : i + 1], ss[i : i + 1], size, start, inner, marks, np.uint8(1))


@kernel
def fit_profile(
    flat: Array,
    where: Array,
    row_of_panel: Array,
    marks: Array,
    panel: Array,
    fs: Array,
    ss: Array,
    inner: Array,
    adu_per_photon: Array,
    cen: bool,
    shape: Array,
    results: Array,
    status: Array,
    fits: Array,
) -> None:
    """Replace intensity and sigma of the reflections in one array by those of a fit of the profile `shape`, whose sum is 1.

    With pixels v above background, J = sum(P v) / sum(P^2) over the pixels that count, and the intensity is J. Each pixel has
    the variance s^2 + adu_per_photon J P, and the background that they share s^2 / m.
    """
    size, start = where[:, WIDTH : HEIGHT + 1], where[:, START]
    own_row = np.zeros(1, np.int64)
    claims = 0 if cen else 1
    for i in range(panel.size):
        p = panel[i]
        row = row_of_panel[p]
        if row < 0 or status[i] == UNMEASURABLE:
            continue
        own_row[0] = row
        if cen:
            mark(own_row, fs[i : i + 1], ss[i : i + 1], size, start, inner, marks, np.uint8(255))
        fit = fits[i]
        x0, y0 = math.floor(results[i, 4]), math.floor(results[i, 5])
        s_p = s_pp = s_ppp = s_pv = 0.0
        for j in range(inner.shape[0]):
            dx, dy = inner[j, 0], inner[j, 1]
            x, y = x0 + dx, y0 + dy
            if marks[start[row] + y * where[row, WIDTH] + x] > claims:
                continue
            value = float(flat[where[row, OFFSET] + y * where[row, STRIDE_SS] + x * where[row, STRIDE_FS]])
            s_p += shape[j]
            s_pp += shape[j] * shape[j]
            s_ppp += shape[j] * shape[j] * shape[j]
            s_pv += shape[j] * (value - fit[0] - fit[1] * dx - fit[2] * dy)
        if cen:
            mark(own_row, fs[i : i + 1], ss[i : i + 1], size, start, inner, marks, np.uint8(1))
        if not s_pp > 0.0:
            status[i] = UNMEASURABLE
            continue
        total = s_pv / s_pp
        gain = adu_per_photon[p]
        variance = gain * max(abs(total), gain) * max(s_ppp, 0.0) + fit[3] * (s_pp + s_p * s_p / fit[7])
        sigma = math.sqrt(variance) / s_pp
        results[i, 0], results[i, 1] = total, sigma
        status[i] = (status[i] & SATURATED) | (IMPLAUSIBLE if total < -5.0 * sigma else MEASURED)

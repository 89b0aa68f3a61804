"""The background of a reflection: the mean of the ring around it, or a plane."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.integrate._kernels.tuples import (
    HIGHEST_OF_RING,
    LEVEL,
    MEAN,
    SLOPE_FS,
    SLOPE_SS,
    VARIANCE,
)
from stages.pixels.columns import OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]

LEAST_DETERMINANT = 1e-6
"""Pixels whose places have a smaller one, relative to that of uncorrelated ones, lie in a line: they determine no plane."""


@kernel
def fit_background(
    flat: Array, where: Array, marks: Array, x0: int, y0: int, ring: Array, gradient: bool, fit: Array
) -> int:
    """Fit a + b dx + c dy to the ring around (x0, y0), b = c = 0 unless `gradient`; return how many pixels it has.

    `where` is the panel's row of the table. Pixels that are bad, not finite, or claimed by a peak are left out. `fit` receives
    a, b, c, the variance about the fit (of m pixels: the sum of squares over m - 1, for the plane over m - 3), the highest
    pixel, and the mean. Sums are taken relative to the first pixel, so that nothing cancels.
    """
    stride_ss, stride_fs, width = where[STRIDE_SS], where[STRIDE_FS], where[WIDTH]
    n = 0
    first = 0.0
    s_x = s_y = s_xx = s_xy = s_yy = s_v = s_xv = s_yv = s_vv = 0.0
    highest = -np.inf
    packed, at = where[START] + y0 * width + x0, where[OFFSET] + y0 * stride_ss + x0 * stride_fs
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
        if not determinant > LEAST_DETERMINANT * xx * yy:
            return 0
        b, c = (xv * yy - yv * xy) / determinant, (yv * xx - xv * xy) / determinant
        a -= (b * s_x + c * s_y) / n
        variance -= (b * xv + c * yv) / n
    free = n - 3 if gradient else n - 1
    if free > 0:
        variance *= n / free
    fit[LEVEL], fit[SLOPE_FS], fit[SLOPE_SS] = first + a, b, c
    fit[VARIANCE], fit[HIGHEST_OF_RING], fit[MEAN] = max(0.0, variance), highest, first + s_v / n
    return n

"""Rows of a panel on their way through peakfinder9: loaded, and screened for pixels that can be peaks.

Rows of a panel pass through a small buffer as float32, with a margin around the panel; bad pixels, pixels that are not finite
and the margin are NaN there, and no comparison with NaN is ever true, so that they take no part wherever they are met.

:func:`screen` lets through all pixels that can be peaks and a few more, many at a time. With k = min_snr_biggest_pix, mean
m and standard deviation s of the n border pixels, and mean a of any four of them, ``|a - m| <= g s`` with
``g = sqrt((n - 4) / 4)``, and n s^2 is at least the four's sum of squares q from their mean. So ``v - m > k s`` needs::

    v - a > (k - g) max(s, min_sig) >= (k - g) max(sqrt(q / n), min_sig)        if k > g
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.panels import LARGEST, PanelPixels
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]

MISSING = np.float32(np.nan)
ROUNDING = np.float32(1e-5)
"""What float32 sums may be off by, relative to the largest term; the screen is that much too kind."""


@kernel
def load(panel: PanelPixels, ss: int, radius: int, out: Array) -> None:
    """Put one row of a panel into the buffer, NaN where it is bad, and everywhere if it is beyond the panel."""
    flat, where, bad = panel
    width = where[WIDTH]
    if ss < 0 or ss >= where[HEIGHT]:
        out[:] = MISSING
        return
    first = where[OFFSET] + ss * where[STRIDE_SS]
    step = where[STRIDE_FS]
    masked = bad[where[START] + ss * width : where[START] + (ss + 1) * width]
    inner = out[radius : radius + width]
    if step == 1:
        pixels = flat[first : first + width]
        for x in range(np.uint64(width)):
            value = np.float32(pixels[x])
            good = (masked[x] == 0) & (abs(value) <= LARGEST)
            inner[x] = value if good else MISSING
    else:
        for x in range(width):
            value = np.float32(flat[first + x * step])
            good = (masked[x] == 0) & (abs(value) <= LARGEST)
            inner[x] = value if good else MISSING


@kernel
def screen(
    before: Array,
    here: Array,
    after: Array,
    top: Array,
    bottom: Array,
    radius: int,
    least: np.float32,
    factor: np.float32,
    out: Array,
) -> None:
    """Set ``out[x]`` to 1 where a pixel is not below its neighbours and may stand out from its window's border.

    `least` is (k - g) min_sig and `factor` (k - g)^2 / n, see above.
    """
    width = out.size
    centre = here[radius : radius + width]
    left = here[radius - 1 : radius - 1 + width]
    right = here[radius + 1 : radius + 1 + width]
    over = before[radius : radius + width]
    under = after[radius : radius + width]
    x0 = here[:width]
    x1 = here[2 * radius : 2 * radius + width]
    x2 = top[radius : radius + width]
    x3 = bottom[radius : radius + width]
    for x in range(np.uint64(width)):
        v = centre[x]
        mean = np.float32(0.25) * ((x0[x] + x1[x]) + (x2[x] + x3[x]))
        size = (abs(x0[x]) + abs(x1[x])) + (abs(x2[x]) + abs(x3[x])) + abs(v)
        above = v - mean + ROUNDING * size
        d0 = x0[x] - mean
        d1 = x1[x] - mean
        d2 = x2[x] - mean
        d3 = x3[x] - mean
        squares = (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
        too_low = (v < left[x]) | (v < right[x]) | (v < over[x]) | (v < under[x]) | (above < least)
        out[x] = not (too_low | (above * above < factor * squares) | (not (abs(v) <= LARGEST)))

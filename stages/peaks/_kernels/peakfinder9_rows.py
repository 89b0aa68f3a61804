"""Rows of a panel on their way through peakfinder9: loaded, and screened for pixels that can be peaks.

Rows of a panel pass through a small buffer as float32, with a margin of one column at each end; bad pixels, pixels that are
not finite and what lies beyond the panel are NaN there, and no comparison with NaN is ever true, so that they take no part
wherever they are met.

:func:`screen` lets through all pixels that can be peaks and a few more, many at a time. With k = min_snr_biggest_pix, mean
m and standard deviation s of the n border pixels, n <= BORDER, and mean a of any eight of them, ``|a - m| <= g s`` with
``g^2 = (n - 8)(n - 1) / (8 n)``, which grows with n, and (n - 1) s^2 is at least the eight's sum of squares q from their mean.
So ``v - m > k s`` needs::

    v - a > (k - g) max(s, min_sig) >= (k - g) max(sqrt(q / (n - 1)), min_sig)        if k > g
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.panels import LARGEST, PanelPixels
from stages.pixels.columns import HEIGHT, OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]

MISSING = np.float32(np.nan)
SIDE = 2
"""Each side of the border has so many pixels to both sides of its middle."""
BORDER = 2 * 4 * (2 * SIDE + 1)
"""Pixels of a border: four sides, two rows each."""
ROUNDING = np.float32(1e-5)
"""What float32 sums may be off by, relative to the largest term; the screen is that much too kind."""


@kernel
def load(panel: PanelPixels, ss: int, out: Array) -> None:
    """Put one row of a panel into the buffer, NaN where it is bad, and everywhere if it is beyond the panel."""
    flat, where, bad = panel
    width = where[WIDTH]
    if ss < 0 or ss >= where[HEIGHT]:
        out[:] = MISSING
        return
    first = where[OFFSET] + ss * where[STRIDE_SS]
    step = where[STRIDE_FS]
    masked = bad[where[START] + ss * width : where[START] + (ss + 1) * width]
    inner = out[1 : 1 + width]
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
def screen(rows: Array, slot: Array, least: np.float32, factor: np.float32, out: Array) -> None:
    """Set ``out[x]`` to 1 where a pixel of the window's middle row is not below its neighbours and may stand out from its
    border.

    The window's k-th row is ``rows[slot[k]]``; the first pixel that is asked about is the first whose window fits between the
    margins. `least` is (k - g) min_sig and `factor` (k - g)^2 / (n - 1), see above.
    """
    width, reach = out.size, slot.size // 2
    here = rows[slot[reach]]
    centre = here[reach : reach + width]
    left = here[reach - 1 : reach - 1 + width]
    right = here[reach + 1 : reach + 1 + width]
    over = rows[slot[reach - 1], reach : reach + width]
    under = rows[slot[reach + 1], reach : reach + width]
    x0, x1 = here[:width], here[1 : 1 + width]
    x2, x3 = here[2 * reach - 1 : 2 * reach - 1 + width], here[2 * reach : 2 * reach + width]
    y0, y1 = rows[slot[0], reach : reach + width], rows[slot[1], reach : reach + width]
    y2, y3 = rows[slot[2 * reach - 1], reach : reach + width], rows[slot[2 * reach], reach : reach + width]
    for x in range(np.uint64(width)):
        v = centre[x]
        total = ((x0[x] + x1[x]) + (x2[x] + x3[x])) + ((y0[x] + y1[x]) + (y2[x] + y3[x]))
        mean = np.float32(0.125) * total
        size = abs(v) + ((abs(x0[x]) + abs(x1[x])) + (abs(x2[x]) + abs(x3[x])))
        size += (abs(y0[x]) + abs(y1[x])) + (abs(y2[x]) + abs(y3[x]))
        above = v - mean + ROUNDING * size
        d0, d1, d2, d3 = x0[x] - mean, x1[x] - mean, x2[x] - mean, x3[x] - mean
        e0, e1, e2, e3 = y0[x] - mean, y1[x] - mean, y2[x] - mean, y3[x] - mean
        squares = (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3) + (e0 * e0 + e1 * e1) + (e2 * e2 + e3 * e3)
        too_low = (v < left[x]) | (v < right[x]) | (v < over[x]) | (v < under[x]) | (above < least)
        out[x] = not (too_low | (above * above < factor * squares) | (not (abs(v) <= LARGEST)))

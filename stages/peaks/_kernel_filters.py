"""Kernels of the filters that may stand before a peak search; each works on one panel, (height, width)."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]


@njit(cache=True, nogil=True)
def subtract_median(pixels: Array, bad: Array, radius: int, out: Array) -> None:
    """Subtract from each pixel the median of the good ones in the square around it, as far as that lies on the panel.

    Of an even number it is the upper of the two in the middle. The values of the square are kept in order while it moves
    along a row: those that it leaves are taken out, those that it reaches are put in.
    """
    height, width = pixels.shape
    ordered = np.empty((2 * radius + 1) ** 2, np.float32)
    for ss in range(height):
        n = 0
        top, bottom = max(ss - radius, 0), min(ss + radius + 1, height)
        for fs in range(-radius, width):
            leaves, enters = fs - radius - 1, fs + radius
            for y in range(top, bottom):
                if leaves >= 0 and not bad[y, leaves] and np.isfinite(np.float32(pixels[y, leaves])):
                    k = np.searchsorted(ordered[:n], np.float32(pixels[y, leaves]))
                    for i in range(k, n - 1):
                        ordered[i] = ordered[i + 1]
                    n -= 1
                if enters < width and not bad[y, enters] and np.isfinite(np.float32(pixels[y, enters])):
                    value = np.float32(pixels[y, enters])
                    k = np.searchsorted(ordered[:n], value)
                    for i in range(n, k, -1):
                        ordered[i] = ordered[i - 1]
                    ordered[k] = value
                    n += 1
            if fs >= 0:
                out[ss, fs] = np.float32(pixels[ss, fs]) - (ordered[n // 2] if n > 0 else np.float32(0.0))


@njit(cache=True, nogil=True)
def clear_noise(pixels: Array, out: Array) -> None:
    """Set each pixel to zero if one of the nine in the square around it is negative; at the border, if it is itself."""
    height, width = pixels.shape
    for ss in range(height):
        for fs in range(width):
            value = np.float32(pixels[ss, fs])
            negative = value < 0
            if 0 < ss < height - 1 and 0 < fs < width - 1:
                for y in range(ss - 1, ss + 2):
                    for x in range(fs - 1, fs + 2):
                        negative |= np.float32(pixels[y, x]) < 0
            out[ss, fs] = np.float32(0.0) if negative else value


@njit(cache=True, nogil=True)
def average_blocks(pixels: Array, bad: Array, size: int, out: Array) -> None:
    """Average the good pixels of each block of `size` x `size`; NaN where there are none."""
    for ss in range(out.shape[0]):
        for fs in range(out.shape[1]):
            n = 0
            total = 0.0
            for y in range(ss * size, (ss + 1) * size):
                for x in range(fs * size, (fs + 1) * size):
                    value = np.float64(pixels[y, x])
                    if not bad[y, x] and np.isfinite(value):
                        n += 1
                        total += value
            out[ss, fs] = total / n if n else np.nan

"""Bad pixels by value: one pass over a panel's pixels.

A pixel v is flagged if v < lessthan, v > morethan, or v rounded to the nearest integer (ties to even) equals one of
`equal`. NaN is never flagged here: whoever reads pixels leaves NaN out anyway.

>>> pixels = np.array([[1.0, -2.0, 70000.0]]); static = np.zeros((1, 3), np.uint8); out = np.empty((1, 3), np.uint8)
>>> flag(pixels, static, -1.0, 65535.0, np.array([1.0]), out); out
array([[1, 1, 1]], dtype=uint8)
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _is_flagged(value, lessthan, morethan, equal):
    v = np.float64(value)
    if v < lessthan or v > morethan:
        return np.uint8(1)
    for i in range(equal.size):
        if np.rint(v) == equal[i]:
            return np.uint8(1)
    return np.uint8(0)


@njit(cache=True, nogil=True)
def flag(pixels, static_bad, lessthan, morethan, equal, out):
    """Write the static mask together with the flags of one panel's pixels to `out`; all (height, width)."""
    height, width = pixels.shape
    for y in range(height):
        row, bad, to = pixels[y], static_bad[y], out[y]
        for x in range(width):
            to[x] = bad[x] | _is_flagged(row[x], lessthan, morethan, equal)


@njit(cache=True, nogil=True)
def agrees(pixels, static_bad, lessthan, morethan, equal, mask):
    """Tell whether `flag` would write just `mask`; stops at the first row that differs."""
    height, width = pixels.shape
    for y in range(height):
        row, bad, old = pixels[y], static_bad[y], mask[y]
        differs = np.uint8(0)
        for x in range(width):
            differs |= old[x] ^ (bad[x] | _is_flagged(row[x], lessthan, morethan, equal))
        if differs:
            return False
    return True

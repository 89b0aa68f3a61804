"""Bad pixels by value: one pass over a panel's pixels.

A pixel v is flagged if v < lessthan, v > morethan, or v rounded to the nearest integer (ties to even) equals one of
`equal`. NaN is never flagged here: whoever reads pixels leaves NaN out anyway.

>>> pixels = np.array([[1.0, -2.0, 70000.0, 5.0]])
>>> static, mask = np.zeros((1, 4), np.uint8), np.zeros((1, 4), np.uint8)
>>> flag(pixels, static, -1.0, 65535.0, np.array([1.0]), mask, False)
False
>>> flag(pixels, static, -1.0, 65535.0, np.array([1.0]), mask, True), mask
(True, array([[1, 1, 1, 0]], dtype=uint8))
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from stages.compute.kernel import kernel


@kernel
def _combine(row, bad, lessthan, morethan, equal, out):
    """Write one row's mask; loops without branches, so that they run on vectors."""
    for x in range(row.size):
        v = np.float64(row[x])
        out[x] = bad[x] | np.uint8(v < lessthan) | np.uint8(v > morethan)
    for i in range(equal.size):
        marked = equal[i]
        for x in range(row.size):
            out[x] |= np.uint8(np.rint(np.float64(row[x])) == marked)


@kernel
def flag(pixels, static_bad, lessthan, morethan, equal, mask, write):
    """Combine the static mask with the flags of one panel's pixels; all arrays (height, width).

    With `write`, the result goes to `mask`. Without, nothing is written, and the answer is whether `mask` has just that
    result already; it comes with the first row that differs.
    """
    combined = np.empty(pixels.shape[1], np.uint8)
    for y in range(pixels.shape[0]):
        # rows of a panel that is part of a wider array are contiguous, but their type does not say so
        _combine(np.ascontiguousarray(pixels[y]), static_bad[y], lessthan, morethan, equal, combined)
        line = mask[y]
        if write:
            line[:] = combined
            continue
        differs = np.uint8(0)
        for x in range(line.size):
            differs |= line[x] ^ combined[x]
        if differs != 0:
            return False
    return True

"""How much more sums over neighbouring pixels scatter than those pixels by themselves say."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.likelihood.pixels import pixel
from stages.peaks._kernels.likelihood.tuples import Background, RawPixels
from stages.pixels.columns import OFFSET, START, STRIDE_FS, STRIDE_SS, WIDTH

Array = NDArray[Any]

SIDE, LAG = 5, 8
"""Squares of 5 x 5 pixels are compared with the squares 8 pixels further along fs: far enough to know nothing of each other."""
FEWEST_PHOTONS = 4.0
"""Squares that differ by fewer photons tell nothing."""
MOST_SPREAD = 2.5
"""Squares whose pixels scatter so many times as much as the background have a spot in them."""


@kernel
def clumping(pixels: RawPixels, background: Background, place: Array, row: Array, gain: float, out: Array) -> int:
    """Compare pairs of squares; fill rows of `out` with two sums for each pair that tells something, return how many do.

    With d_i the differences of the pixels of two squares, they are ``(sum d_i)^2`` and ``sum d_i^2``, both in units of what
    the background's variance lets expect of the second. Where pixels know nothing of each other both have the same mean,
    whatever the distribution of pixels, since all signs are as likely; where the light of a photon spreads over several pixels
    the first is larger by the number of pixels that go together, about. `place` (packed) is the first pixel of each left
    square, `row` the row of its panel in the array's table, `gain` the size of a photon.
    """
    raw, kind, where, _ = pixels
    n = 0
    for k in range(place.size):
        here = where[row[k]]
        ss = (place[k] - here[START]) // here[WIDTH]
        fs = (place[k] - here[START]) - ss * here[WIDTH]
        first = here[OFFSET] + ss * here[STRIDE_SS] + fs * here[STRIDE_FS]
        total = 0.0
        squares = 0.0
        for y in range(SIDE):
            for x in range(SIDE):
                at = first + y * here[STRIDE_SS] + x * here[STRIDE_FS]
                left, right = pixel(raw, kind, at), pixel(raw, kind, at + LAG * here[STRIDE_FS])
                difference = np.float64(left) - np.float64(right)
                total += difference
                squares += difference * difference
        expected = 2.0 * SIDE * SIDE * background.variance[background.cell[place[k]]]
        if FEWEST_PHOTONS * gain * gain <= squares <= MOST_SPREAD * expected:
            out[n, 0] = total * total / expected
            out[n, 1] = squares / expected
            n += 1
    return n

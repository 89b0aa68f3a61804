"""What the kernels of integration hand each other: pixels, places, circles, results, and the columns of the results."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MEASURED, UNMEASURABLE, SATURATED, IMPLAUSIBLE = 0, 1, 2, 4
"""What becomes of a reflection; a measured one can be saturated and implausible at once."""

INTENSITY, SIGMA, PEAK, BACKGROUND, FS, SS, MOMENT, WHOLE, TOTAL, N_RESULTS = range(10)
"""Columns of the results.

Intensity and its error; the highest pixel of circle and ring; the ring's mean; the place, after centring; the sum of the
intensity times its squared distance from the circle's central pixel; 1 if all pixels of the circle count; the intensity by
summation.
"""

LEVEL, SLOPE_FS, SLOPE_SS, VARIANCE, HIGHEST_OF_RING, MEAN, NUM_RING, HIGHEST_OF_CIRCLE, N_FIT = range(9)
"""Columns of the backgrounds.

Level in the central pixel, and slopes; variance about the fit; highest pixel and mean of the ring, and how many of its pixels
count; highest pixel of the circle.
"""

IMPLAUSIBLE_BELOW = -5.0
"""A reflection of fewer standard deviations than this is implausible."""

STANDS_OUT = 5.0
"""A sum of more standard deviations than this is a spot."""


class Pixels(NamedTuple):
    """One data array of a frame.

    Attributes
    ----------
    flat
        Its pixels in a row, of any integer or floating type.
    where
        int64 (k, 6), the table of its panels; see :mod:`stages.pixels.columns`.
    row_of_panel
        int64 (P,), each panel's row in that table; -1 where it lies in another array.
    marks
        uint8, of all arrays, in packed order: BAD for bad pixels, plus by how many reflections a pixel is claimed.
    """

    flat: Array
    where: Array
    row_of_panel: Array
    marks: Array


class Places(NamedTuple):
    """Where n reflections are predicted: int32 panel, float64 fs and ss."""

    panel: Array
    fs: Array
    ss: Array


class Circles(NamedTuple):
    """What belongs to a reflection.

    Attributes
    ----------
    inner, ring
        int64 (m, 2): offsets dx, dy of the pixels within the inner radius, and between the middle and the outer.
    half
        Half width of the box that must lie on the panel.
    """

    inner: Array
    ring: Array
    half: int


class Measured(NamedTuple):
    """What is measured of n reflections.

    Attributes
    ----------
    results
        float64 (n, N_RESULTS).
    fits
        float64 (n, N_FIT), their backgrounds.
    status
        int64 (n,): UNMEASURABLE, or MEASURED plus SATURATED plus IMPLAUSIBLE as it applies.
    """

    results: Array
    fits: Array
    status: Array

    @staticmethod
    def nothing(n: int) -> "Measured":
        """Return room for n reflections."""
        return Measured(np.zeros((n, N_RESULTS)), np.zeros((n, N_FIT)), np.full(n, UNMEASURABLE, np.int64))

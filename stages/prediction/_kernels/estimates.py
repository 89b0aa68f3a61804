"""What pairs of peaks and reflections tell of a crystal: its profile radius, and how far it diffracts."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import reciprocal
from stages.compute.kernel import kernel

Array = NDArray[Any]

DEFAULT_PROFILE_RADIUS = 0.002
"""1/Angstrom: with what CrystFEL goes on where the radius cannot be determined (0.02 nm^-1)."""

KEPT_SPREAD = 2.5
"""Pairs whose excitation error exceeds so many profile radii are chance pairs, and do not count for the radius."""

_OF_KEPT = math.sqrt(
    1.0
    - math.sqrt(2.0 / math.pi) * KEPT_SPREAD * math.exp(-0.5 * KEPT_SPREAD**2) / math.erf(KEPT_SPREAD / math.sqrt(2.0))
)
"""Root mean square of a standard normal distribution cut off there."""

_MEDIAN_OF_NORMAL = 0.67449
"""Median of |x| for a standard normal x."""

FEWEST_PAIRS = 3
"""With fewer pairs of peaks and reflections nothing is estimated."""

NEAR = 0.25
"""Peaks whose fractional indices are all so near to integers belong to a crystal, where its resolution is asked for."""


@kernel
def radius_of_errors(error: Array, counts: Array) -> float:
    """Return the profile radius that the excitation errors show that count (n); see ``stages.prediction.estimates``.

    S grows or shrinks until what is kept of the errors stays the same; their root mean square is the radius.
    """
    errors = np.empty(error.size)
    n = 0
    for i in range(error.size):
        if counts[i]:
            errors[n] = abs(error[i])
            n += 1
    if n < FEWEST_PAIRS:
        return DEFAULT_PROFILE_RADIUS
    errors = np.sort(errors[:n])
    mean_square = np.empty(n)
    total = 0.0
    for i in range(n):
        total += errors[i] * errors[i]
        mean_square[i] = total / (i + 1)
    radius = 0.5 * (errors[(n - 1) // 2] + errors[n // 2]) / _MEDIAN_OF_NORMAL
    kept = -1
    while radius > 0.0:
        before = kept
        kept = 0
        while kept < n and errors[kept] <= KEPT_SPREAD * radius:
            kept += 1
        spread = math.sqrt(mean_square[kept - 1])
        if kept == before and spread > 0.0:
            return float(spread)
        radius = spread / _OF_KEPT
    return DEFAULT_PROFILE_RADIUS


@kernel
def limit_of_pairs(real: Array, hkl: Array, fraction: Array) -> float:
    """Return the 1/d to which a crystal, rows a, b, c, diffracts: 0 if fewer than three peaks belong to it.

    `hkl` (n, 3) are the peaks' nearest indices, `fraction` (n) how far they are from integers. Of the 1/d of those near a
    fiftieth, but two at least, are set aside as outliers; the next is the limit.
    """
    star = np.empty((3, 3))
    if reciprocal(real, star) == 0.0:
        return 0.0
    length = np.empty(fraction.size)
    n = 0
    for i in range(fraction.size):
        if fraction[i] < NEAR:
            square = 0.0
            for j in range(3):
                g = hkl[i, 0] * star[0, j] + hkl[i, 1] * star[1, j] + hkl[i, 2] * star[2, j]
                square += g * g
            length[n] = math.sqrt(square)
            n += 1
    if n < FEWEST_PAIRS:
        return 0.0
    return float(np.sort(length[:n])[n - 1 - max(2, n // 50)])

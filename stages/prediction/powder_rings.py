"""Which peaks lie on a powder's rings: where many share a radius, and few have one a little smaller or larger."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ICE_ANGSTROM = (3.897, 3.669, 3.441, 2.671, 2.249, 2.072, 1.948, 1.918, 1.883, 1.721, 1.524, 1.473, 1.444, 1.372)
"""Spacings of hexagonal ice, of which cubic ice has 3.669, 2.249, 1.918 and so on (a = 4.5 A, c = 7.32 A near 100 K; Thorn et
al. 2017, doi:10.1107/S2059798317007768)."""

NARROW_PX, WIDE_PX = 3.0, 40.0
"""Peaks so near in radius are of one ring; so far to either side others tell how many there would be without it."""
MANY, SIGMAS = 5, 4.0
"""A ring has at least so many, and by so many standard deviations more than chance lets fall there."""


def off_rings(length: Floats, px: float) -> NDArray[np.bool_]:
    """Return which peaks, |q| = `length` (n,) in 1/Angstrom, are on no ring; `px` is what a pixel is in q.

    Of peaks spread at random as densely as those within WIDE_PX, a mean number m lies within NARROW_PX of a radius, with a
    standard deviation of its root (Poisson).

    >>> rng = np.random.default_rng(1)
    >>> length = np.concatenate([rng.uniform(0.1, 0.5, 40), rng.normal(0.3, 0.0003, 30)])
    >>> free = off_rings(length, 0.0005)
    >>> int(free[:40].sum()) >= 38, int(free[40:].sum())
    (True, 0)
    """
    ordered = np.sort(length)

    def number_within(width: float) -> NDArray[np.int64]:
        above = np.searchsorted(ordered, length + width, side="right")
        return np.asarray(above - np.searchsorted(ordered, length - width, side="left"), np.int64)

    near, far = number_within(NARROW_PX * px), number_within(WIDE_PX * px)
    expected = (far - near) * NARROW_PX / (WIDE_PX - NARROW_PX)
    return np.asarray((near < MANY) | (near <= 1 + expected + SIGMAS * np.sqrt(expected + 1)), np.bool_)

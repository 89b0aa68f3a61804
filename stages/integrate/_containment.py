"""How much of a spot a circle catches, told by the spots' width.

A circle of 4 pixels catches 97 % of a Gaussian spot of 1.5 pixels, and 95 % once what reaches the ring is subtracted as
background: more than sigma where spots have 400 photons. The width of a crystal's spots about the middle of their circles is
measured within the circles; a table, made by integrating Gaussians of many widths, each at many places within the central
pixel, turns that truncated second moment into the part that is caught.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST_SPOTS = 3
"""With fewer spots nothing is said of their width."""

LEAST_CAUGHT = 0.6
"""No more is corrected than this: wider spots need larger radii."""

_WIDTHS = np.geomspace(0.2, 8.0, 120)
_PLACES = (np.arange(9) + 0.5) / 9


@dataclass(frozen=True, eq=False)
class Containment:
    """The table: mean squared distance (pixels squared, ascending) of what a circle catches, and the part it catches."""

    mean_square: NDArray[np.float64]
    caught: NDArray[np.float64]

    @staticmethod
    def of(inner: NDArray[np.int64], ring: NDArray[np.int64]) -> Containment:
        """Make the table for a circle and a ring, offsets (n, 2) of their pixels.

        >>> y, x = np.mgrid[-9:10, -9:10].reshape(2, -1)
        >>> circle, ring = (np.stack([x, y], 1)[(x * x + y * y >= a) & (x * x + y * y <= b)] for a, b in ((0, 16), (25, 49)))
        >>> table = Containment.of(circle, ring)
        >>> bool(0.94 < np.interp(3.9, table.mean_square, table.caught) < 0.97)
        True
        """
        moments: list[float] = []
        parts: list[float] = []
        squares = (inner * inner).sum(axis=1)
        for width in _WIDTHS:
            net = _pixels(inner, width) - _pixels(ring, width).mean()
            part = float(net.sum())
            moment = float((net * squares).sum()) / part
            if part < LEAST_CAUGHT or (moments and moment <= moments[-1]):
                break
            moments.append(moment)
            parts.append(part)
        return Containment(np.array(moments), np.array(parts))

    def from_sums(self, num: int, intensity: float, moment: float) -> float:
        """Return the part caught of so many spots, of their sums in the circle, and sums times squared distance."""
        if num < FEWEST_SPOTS:
            return 1.0
        return float(np.interp(moment / intensity, self.mean_square, self.caught))


def _pixels(offsets: NDArray[np.int64], width: float) -> NDArray[np.float64]:
    """Mean share of a spot in each pixel, over spots at 81 places within the central one."""
    edges = np.arange(offsets.min(), offsets.max() + 2)[:, None] - _PLACES
    below = np.array([[0.5 * math.erfc(-d / (math.sqrt(2.0) * width)) for d in row] for row in edges])
    share = np.diff(below, axis=0).mean(axis=1)  # places along fs and ss are independent
    column, row = (offsets - offsets.min()).T
    return np.asarray(share[row] * share[column], np.float64)

"""Sums over frames that all statistics of pairs are made of.

Of a pair of variants with the values x and y of a frame, d = x - y is what counts, and a = (x + y) / 2 where a difference is
said as a part of the mean, else a = 1. A difference R is then right if d - R a is zero on average.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.comparison.table import Measure

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

FIRST_UNEQUAL = 10
"""So many frames with a difference say how large differences are; with them the scale is known to a third."""


class PairSums:
    """Sums over frames for each pair of variants; of each frame only pairs count in which both have a number.

    Parameters
    ----------
    measure
        What is compared.
    num_variants
        How many columns there are; pairs are in the order first with second, first with third, ..., second with third.

    Attributes
    ----------
    frames, unequal
        int64 (pairs,): frames with both numbers, and those in which they differ.
    one, other
        float64 (pairs,): sums of x and of y.
    d, dd, absolute, a, aa, da
        float64 (pairs,): sums of d, d^2, |d|, a, a^2 and d a.
    largest, largest_value
        float64 (pairs,): the largest |d|, and the largest of |x| and |y|.
    scale
        float64 (pairs,): the mean of d^2 up to the frame with the `FIRST_UNEQUAL`-th difference; 0 before.

    >>> sums = PairSums(Measure("hits", "hits", is_rate=True, better=0), 2)
    >>> sums.add(np.array([[1.0, 0.0], [1.0, 1.0], [np.nan, 1.0]]))
    >>> sums.frames, sums.d, sums.one
    (array([2]), array([1.]), array([2.]))
    """

    def __init__(self, measure: Measure, num_variants: int) -> None:
        self.measure = measure
        self.first, self.second = np.triu_indices(num_variants, 1)
        pairs = len(self.first)
        self.frames, self.unequal = np.zeros((2, pairs), np.int64)
        self.one, self.other, self.d, self.dd, self.absolute, self.a, self.aa, self.da = np.zeros((8, pairs))
        self.largest, self.largest_value, self.scale = np.zeros((3, pairs))

    def add(self, column: Floats) -> None:
        """Add frames: float64 (n, v), a column for each variant; NaN where it has no number."""
        if not len(column):
            return
        x, y = column[:, self.first], column[:, self.second]
        both = np.isfinite(x) & np.isfinite(y)
        x, y = np.where(both, x, 0.0), np.where(both, y, 0.0)
        d = x - y
        a = 0.5 * (x + y) if self.measure.relative else both.astype(np.float64)
        self._find_scale(d, both)
        self.frames += both.sum(axis=0)
        self.unequal += (d != 0).sum(axis=0)
        self.one += x.sum(axis=0)
        self.other += y.sum(axis=0)
        self.d += d.sum(axis=0)
        self.dd += (d * d).sum(axis=0)
        self.absolute += np.abs(d).sum(axis=0)
        self.a += a.sum(axis=0)
        self.aa += (a * a).sum(axis=0)
        self.da += (d * a).sum(axis=0)
        self.largest = np.maximum(self.largest, np.abs(d).max(axis=0))
        self.largest_value = np.maximum(self.largest_value, np.maximum(np.abs(x), np.abs(y)).max(axis=0))

    def _find_scale(self, d: Floats, both: NDArray[np.bool_]) -> None:
        """Fix the scale of a pair at the frame in which it has its tenth difference, whatever comes later."""
        wanted = np.flatnonzero(self.scale == 0)
        if not len(wanted):
            return
        d, both = d[:, wanted], both[:, wanted]
        enough = self.unequal[wanted] + np.cumsum(d != 0, axis=0) >= FIRST_UNEQUAL
        row, place = enough.argmax(axis=0), np.arange(len(wanted))
        frames = self.frames[wanted] + np.cumsum(both, axis=0)[row, place]
        squares = self.dd[wanted] + np.cumsum(d * d, axis=0)[row, place]
        self.scale[wanted] = np.where(enough[-1], squares / np.maximum(frames, 1), 0.0)

    @property
    def plus(self) -> Floats:
        """float64 (pairs,): of a rate, in how many frames the first alone has it."""
        return np.asarray((self.dd + self.d) / 2)

    @property
    def minus(self) -> Floats:
        """float64 (pairs,): of a rate, in how many frames the second alone has it."""
        return np.asarray((self.dd - self.d) / 2)

    @property
    def difference(self) -> Floats:
        """float64 (pairs,), R: the mean of d, as a part of the mean of a; NaN if there is none."""
        return np.asarray(np.divide(self.d, self.a, out=np.full_like(self.d, np.nan), where=self.a != 0))

    @property
    def error(self) -> Floats:
        """float64 (pairs,): the standard error of R, of a mean or, to first order, of a ratio of means."""
        r = self.difference
        squares = np.maximum(self.dd - 2 * r * self.da + r * r * self.aa, 0.0)
        frames = np.maximum(self.frames, 1)
        spread = np.sqrt(squares * frames / np.maximum(frames - 1, 1))
        return np.where(frames > 1, spread / np.where(self.a != 0, np.abs(self.a), np.nan), np.nan)

    def squares(self, r: Floats, rare: float) -> Floats:
        """float64 (pairs,): the sum of (d - R a)^2, with what differences may amount to that are too rare to have been seen.

        Where the two are equal in most frames, the sum of squares is made of a few frames. Then it takes k more differences
        as large as the largest one, in the part of the frames that are equal; with k = ln(2 / alpha) and no difference at
        all, the interval is that of the rate of something that was seen in none of n frames (the rule of three), and with few
        it is nearly that of a Poisson rate. It is the idea of Agresti and Coull (1998), doi:10.1080/00031305.1998.10480550.
        """
        return np.asarray(np.maximum(self.dd - 2 * r * self.da + r * r * self.aa, 0.0) + self.unseen(rare))

    def unseen(self, rare: float) -> Floats:
        """float64 (pairs,): what is added to the sum of squares for differences that are rare."""
        largest = np.where(self.unequal > 0, self.largest, self.largest_value)
        return np.asarray(rare * largest**2 * (1 - self.unequal / np.maximum(self.frames, 1)))

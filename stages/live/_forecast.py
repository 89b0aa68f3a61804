"""How many crystals merged data need until they are good enough, told from how they have grown.

Each figure of merit is turned into a number x that is proportional to the number of crystals n where all crystals are alike:

- completeness C: a reflection counts when it was measured m times, and measurements fall on it at random, x of them on the
  average, so C = P(m, x) = 1 - exp(-x) sum_{i<m} x^i / i!, which for m = 1 is 1 - exp(-x);
- CC1/2: with the variance T of the true intensities and the variance E / n of each half's means CC = T / (T + E / n), so
  x = CC / (1 - CC);
- the multiplicity is such a number itself, once nearly all reflections have been measured.

They are not alike: some reflections are hardly ever measured, and some errors are the same in all crystals. So x = a n^b is
fitted to the last looks, in which n has tripled, and followed to the x that is wanted. b is at most 1; it is expected to be
near it, and taken to be less as far as looks that scatter so little say so: with the residuals' variance v it is
(S_xy + p) / (S_xx + p), where p = 4 v / 0.2^2, 4 because looks share their crystals. Where x hardly grows, where there are too
few looks, or where that would be very far away, nothing is told.

>>> n = [100, 150, 200, 250, 300]
>>> round(crystals_for(n, [1 - math.exp(-k / 200) for k in n], 0.95, PoissonTail(1)))  # -ln(0.05) * 200
599
>>> crystals_for(n, [0.41, 0.42, 0.41, 0.42, 0.41], 0.95, PoissonTail(1))
'it hardly grows'
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TRIPLED = 3.0
"""The looks from which is told: those since there were so many times fewer crystals."""

_FEWEST_LOOKS = 4

_SLOWEST = 0.25
"""The least power b of a figure that can be said to grow: with it, twice x takes 16 times the crystals."""

_FARTHEST = 30.0
"""So many times the crystals that there are: whatever is beyond is not told."""

_EXPECTED, _SHARED = 0.2, 4.0
"""How far the power b is expected to be off 1, and by how much the variance of looks that share crystals is too small."""

_NARROW = 1e-9


@dataclass(frozen=True)
class PoissonTail:
    """The part of all reflections that has been measured at least `least` times, if x measurements fall on each at random."""

    least: int

    def __call__(self, part: float) -> float:
        """Return the x at which the part is this; bisected, since the part grows with x.

        >>> round(PoissonTail(2)(0.5), 3), PoissonTail(2)(1.0)
        (1.678, inf)
        """
        if part >= 1.0:
            return math.inf
        low, high = 0.0, 1.0
        while self.part(high) < part:
            low, high = high, 2 * high
        while high - low > _NARROW * high:
            middle = (low + high) / 2
            low, high = (middle, high) if self.part(middle) < part else (low, middle)
        return high

    def part(self, x: float) -> float:
        """Return P(least, x)."""
        term = rest = math.exp(-x)
        for i in range(1, self.least):
            term *= x / i
            rest += term
        return 1.0 - rest


def odds(correlation: float) -> float:
    """Return CC / (1 - CC), which grows as the number of crystals does."""
    return correlation / (1.0 - correlation) if correlation < 1.0 else math.inf


def crystals_for(
    crystals: Sequence[int], values: Sequence[float], wanted: float, measure: Callable[[float], float]
) -> float | str:
    """Return the number of crystals at which a figure of merit will be as wanted, or why that cannot be told.

    Parameters
    ----------
    crystals, values
        How many there were at each look, and what the figure was then; NaN where it could not be told.
    measure
        Makes of the figure what grows as the number of crystals does.
    """
    now = crystals[-1] if crystals else 0
    seen = [(n, measure(value)) for n, value in zip(crystals, values, strict=True) if n >= now / _TRIPLED]
    known = [(n, x) for n, x in seen if 0.0 < x < math.inf]
    if len(known) < _FEWEST_LOOKS:
        return "too few looks"
    log_n, log_x = np.log(np.array(known)).T
    power = _power(log_n, log_x)
    if power < _SLOWEST:
        return "it hardly grows"
    x = measure(wanted)
    log_wanted = log_n.mean() + (math.log(x) - log_x.mean()) / power if math.isfinite(x) else math.inf
    if log_wanted > math.log(_FARTHEST * now):
        return f"it takes more than {_FARTHEST:g} times as many"
    return max(float(math.exp(log_wanted)), float(now))


def _power(log_n: NDArray[np.float64], log_x: NDArray[np.float64]) -> float:
    """Return b of x = a n^b."""
    off_n, off_x = log_n - log_n.mean(), log_x - log_x.mean()
    squares, products = float(off_n @ off_n), float(off_n @ off_x)
    variance = float(np.square(off_x - products / squares * off_n).sum()) / (len(log_n) - 2)
    prior = _SHARED * variance / _EXPECTED**2
    return min(1.0, (products + prior) / (squares + prior))

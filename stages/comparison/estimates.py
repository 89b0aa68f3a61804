"""What a measure was in each variant: its mean and how sure it is, and how both have grown with the frames.

>>> found = estimate(np.array([1.0, 0.0, 1.0, 1.0]), is_rate=True)
>>> found.frames, found.mean, round(found.error, 2)
(4, 0.75, 0.17)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.comparison.table import MEASURES, FrameTable

Floats = NDArray[np.float64]

Z_95 = 1.959963984540054
"""Standard deviations on either side of the mean between which 95 % of a normal distribution lie."""

_AGRESTI_COULL = 4.0
"""So many frames are added to a rate, half of them successes, before its error is taken (Agresti & Coull 1998,
doi:10.1080/00031305.1998.10480550): 40 of 40 frames are no certainty."""


@dataclass(frozen=True)
class Estimate:
    """A mean over frames.

    Attributes
    ----------
    frames
        How many have such a number.
    mean, error
        Mean and its standard error; NaN without frames, the error of one number too.
    """

    frames: int
    mean: float
    error: float


NO_ESTIMATE = Estimate(0, math.nan, math.nan)


def estimate(values: Floats, *, is_rate: bool) -> Estimate:
    """Return the mean of float64 (n,) and its error, of what is not NaN."""
    known = values[np.isfinite(values)]
    n = len(known)
    if not n:
        return NO_ESTIMATE
    mean = float(known.mean())
    if is_rate:
        near = (mean * n + _AGRESTI_COULL / 2) / (n + _AGRESTI_COULL)
        return Estimate(n, mean, math.sqrt(near * (1 - near) / (n + _AGRESTI_COULL)))
    return Estimate(n, mean, float(known.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan)


def estimates(table: FrameTable, measure: str) -> list[Estimate]:
    """Return what a measure was, for each variant."""
    return [estimate(column, is_rate=MEASURES[measure].is_rate) for column in table.column(measure).T]


@dataclass(frozen=True, eq=False)
class Course:
    """How a mean has come about.

    Attributes
    ----------
    frames
        int64 (k,), after how many frames; those that have no number count too.
    mean, low, high
        float64 (k,), the mean by then and its interval of 95 %; NaN before the first number.
    """

    frames: NDArray[np.int64]
    mean: Floats
    low: Floats
    high: Floats


def course(values: Floats, *, is_rate: bool, most: int = 200) -> Course:
    """Return how the mean of float64 (n,) has come about, at no more than `most` places."""
    known = np.isfinite(values)
    count = np.cumsum(known)
    total = np.cumsum(np.where(known, values, 0.0))
    squares = np.cumsum(np.where(known, np.square(values), 0.0))
    at = np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).astype(np.int64))
    at = at[count[at] > 0]
    n, mean = count[at].astype(np.float64), total[at] / count[at]
    if is_rate:
        low, high = wilson(mean, n)
    else:
        with np.errstate(all="ignore"):  # one number has no spread
            half = Z_95 * np.sqrt(np.maximum(squares[at] / n - mean**2, 0.0) / (n - 1))
        low, high = mean - half, mean + half
    return Course(at + 1, mean, low, high)


def wilson(rate: Floats, frames: Floats) -> tuple[Floats, Floats]:
    """Return the interval of 95 % of rates that were seen in so many frames (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    >>> [round(float(limit), 3) for limit in wilson(np.array(1.0), np.array(40.0))]
    [0.912, 1.0]
    """
    z2n = Z_95**2 / frames
    centre = (rate + z2n / 2) / (1 + z2n)
    half = Z_95 * np.sqrt(rate * (1 - rate) / frames + z2n / (4 * frames)) / (1 + z2n)
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)

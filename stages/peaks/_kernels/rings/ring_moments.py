"""Mean, standard deviation and thresholds of a ring from some of its pixels."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.peaks._kernels.panels import ANY_ORDER, LARGEST
from stages.peaks._kernels.rings.ring_tuples import Rule

Array = NDArray[Any]

ROUNDS = 5
"""How often mean and sigma are found, each time without what lies beyond the thresholds of the round before."""
NONE, ONE = np.float32(0), np.float32(1)
FARTHEST = np.float32(1e9)
"""Values beyond it never count in the first round."""
BULK = 5.0
"""Values within so many sigma of the mean are the bulk."""
SMALLEST = np.float32(np.finfo(np.float32).tiny)
NO_THRESHOLD = np.float32(np.inf)
"""The threshold of masked pixels: none is above it."""


@kernel(fastmath=ANY_ORDER)
def moments(values: Array, below: np.float32, above: np.float32) -> tuple[float, float, float]:
    """Return number, sum and sum of squares of the values between the bounds, exclusive."""
    n = 0.0
    total = 0.0
    total_sq = 0.0
    for k in range(values.size):
        inside = (values[k] > below) & (values[k] < above)
        value = np.float64(values[k]) if inside else 0.0
        n += 1.0 if inside else 0.0
        total += value
        total_sq += value * value
    return n, total, total_sq


@kernel(fastmath=ANY_ORDER)
def number_within(values: Array, below: np.float32, above: np.float32) -> np.float32:
    """Return how many values are between the bounds, exclusive: a third of the work of `moments`."""
    n = NONE
    for k in range(values.size):
        n += ONE if (values[k] > below) & (values[k] < above) else NONE
    return n


@kernel
def moments_within(
    values: Array, whole: tuple[float, float, float], below: np.float32, above: np.float32
) -> tuple[float, float, float]:
    """Return the moments of the values between the bounds; `whole` is of all values within FARTHEST, and often the same."""
    if below >= -FARTHEST and above <= FARTHEST and number_within(values, below, above) == whole[0]:
        return whole
    return moments(values, below, above)


@kernel
def thresholds_of(n: float, total: float, total_sq: float, rule: Rule) -> tuple[float, np.float32, np.float32]:
    """Return a ring's mean, and the lower and upper threshold mean -+ min_snr sigma; the upper is `threshold` at least.

    A ring without pixels gets CrystFEL's answer: mean 0, thresholds the smallest and the largest positive float32.
    """
    if n == 0:
        return 0.0, SMALLEST, LARGEST
    mean = total / n
    sigma = math.sqrt(max(total_sq / n - mean * mean, 0.0))
    return mean, np.float32(mean - rule.min_snr * sigma), np.float32(max(mean + rule.min_snr * sigma, rule.threshold))


@kernel
def bulk_of(values: Array, whole: tuple[float, float, float]) -> tuple[float, float, float, np.float32, np.float32]:
    """Return number, mean and sigma of the bulk, and the bounds (exclusive) between which it was looked for at last.

    `whole` is the moments of all values within FARTHEST. The number is 0 if there are none.
    """
    below = -FARTHEST
    above = FARTHEST
    mean = 0.0
    sigma = 0.0
    n = 0.0
    kept_below = below
    kept_above = above
    in_bulk, total, total_sq = whole
    for _ in range(ROUNDS):
        if in_bulk in (0.0, n):
            break
        n = in_bulk
        kept_below = below
        kept_above = above
        mean = total / n
        sigma = math.sqrt(max(total_sq / n - mean * mean, 0.0))
        below = np.float32(mean - BULK * sigma)
        above = np.float32(mean + BULK * sigma)
        in_bulk, total, total_sq = moments_within(values, whole, below, above)
    return n, mean, sigma, kept_below, kept_above
